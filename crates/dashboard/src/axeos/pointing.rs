//! Pointing a miner at the box, step by step, watched until its first share is accepted; and back. Every
//! change is written down before it is made, so that it can be undone after a restart of the box too.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use poolbox_api::pool;
use poolbox_service::write_whole;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use super::change::{Change, Goal};
use super::client::{Address, AxeOs};
use super::device::{Device, Pool};
use crate::feed::{Snapshot, now};

/// How many are remembered.
const MAX_KEPT: usize = 50;
/// A restart of a miner takes half a minute; the first share of a slow one may take several.
const PATIENCE: Duration = Duration::from_secs(600);

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The change is written down and about to be made.
    Writing,
    /// The miner took it over, and restarts.
    Restarting,
    /// It should come to the box now.
    Waiting,
    /// Its first share was accepted.
    Mining,
    /// It did not get there.
    Failed(String),
    /// It is as it was before.
    Undone,
    /// It could not be taken back.
    UndoFailed(String),
}

/// One miner that was pointed at the box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pointing {
    /// A number of its own.
    pub id: u64,
    /// Where the miner is.
    pub address: Address,
    /// What it is called.
    pub name: String,
    /// User name at the box.
    pub user: String,
    /// Where it mined before.
    pub before: String,
    /// When it was changed, Unix seconds.
    pub at: u64,
    /// How far it is.
    pub stage: Stage,
    undo: Value,
    /// Host and port of its pool before, to tell whether it is back.
    old: Option<(String, u16)>,
}

/// Those that were.
pub struct Pointings {
    file: PathBuf,
    axeos: AxeOs,
    list: Mutex<Vec<Pointing>>,
}

impl Pointings {
    /// With what an earlier run wrote down in `dir`.
    pub fn open(dir: &Path, axeos: AxeOs) -> Self {
        let file = dir.join("pointings.json");
        let read = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut list: Vec<Pointing> = read.unwrap_or_default();
        for pointing in &mut list {
            if matches!(pointing.stage, Stage::Writing | Stage::Restarting | Stage::Waiting) {
                pointing.stage = Stage::Failed("the dashboard was restarted meanwhile".to_owned());
            }
        }
        Self { file, axeos, list: Mutex::new(list) }
    }

    /// Asks miners.
    pub const fn axeos(&self) -> &AxeOs {
        &self.axeos
    }

    /// Newest first.
    pub fn all(&self) -> Vec<Pointing> {
        self.list().iter().rev().cloned().collect()
    }

    /// The one of that number.
    pub fn get(&self, id: u64) -> Option<Pointing> {
        self.list().iter().find(|pointing| pointing.id == id).cloned()
    }

    /// Begins; the rest goes on by itself. Returns its number.
    ///
    /// # Errors
    /// When it cannot be written down: then nothing is changed.
    pub fn begin(
        self: &Arc<Self>,
        address: Address,
        device: &Device,
        goal: Goal,
        feed: watch::Receiver<Arc<Snapshot>>,
    ) -> anyhow::Result<u64> {
        let change = Change::new(device, &goal);
        let id = {
            let mut list = self.list();
            let id = list.last().map_or(1, |newest| newest.id + 1);
            list.push(Pointing {
                id,
                address,
                name: device.name().to_owned(),
                user: goal.user.clone(),
                before: device.primary().map_or_else(|| "none".to_owned(), Pool::spoken),
                at: now(),
                stage: Stage::Writing,
                undo: change.undo.clone(),
                old: device.primary().map(|pool| (pool.host.clone(), pool.port)),
            });
            let surplus = list.len().saturating_sub(MAX_KEPT);
            list.drain(..surplus);
            id
        };
        self.save()?;
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let stage = match this.walk(id, address, &change, &goal, feed).await {
                Ok(()) => Stage::Mining,
                Err(error) => Stage::Failed(format!("{error:#}")),
            };
            tracing::info!(miner = %address, ?stage, "a miner was pointed at the box");
            this.reached(id, stage);
        });
        Ok(id)
    }

    async fn walk(
        &self,
        id: u64,
        address: Address,
        change: &Change,
        goal: &Goal,
        mut feed: watch::Receiver<Arc<Snapshot>>,
    ) -> anyhow::Result<()> {
        self.axeos.write(address, &change.body).await.context("the miner did not take the change")?;
        let device = self.axeos.read(address).await.context("the change could not be read back")?;
        if !change.is_done(&device, goal) {
            bail!("the miner answered yes but did not take the change over; its firmware may be too old");
        }
        self.reached(id, Stage::Restarting);
        let restarted = now();
        self.axeos.restart(address).await?;
        self.reached(id, Stage::Waiting);
        let arrived = async {
            loop {
                let has = feed
                    .borrow_and_update()
                    .pool
                    .as_ref()
                    .is_some_and(|pool| has_share(pool, goal, restarted));
                if has || feed.changed().await.is_err() {
                    return has;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, arrived).await {
            Ok(true) => Ok(()),
            _ => bail!("no share of it was accepted within ten minutes; see “Why isn't it mining?”"),
        }
    }

    /// Takes the miner back to where it was.
    ///
    /// # Errors
    /// When there is nothing by that number.
    pub async fn undo(&self, id: u64) -> anyhow::Result<()> {
        let pointing = self.get(id).context("this change is not known any more")?;
        let stage = match self.walk_back(&pointing).await {
            Ok(()) => Stage::Undone,
            Err(error) => Stage::UndoFailed(format!("{error:#}")),
        };
        tracing::info!(miner = %pointing.address, ?stage, "a miner was taken back to its pool");
        self.reached(id, stage);
        Ok(())
    }

    async fn walk_back(&self, pointing: &Pointing) -> anyhow::Result<()> {
        self.axeos.write(pointing.address, &pointing.undo).await?;
        let device = self.axeos.read(pointing.address).await?;
        let is = device.primary().map(|pool| (pool.host.clone(), pool.port));
        if pointing.old.is_some() && is != pointing.old {
            bail!("the miner answered yes but did not take the change over");
        }
        self.axeos.restart(pointing.address).await
    }

    fn reached(&self, id: u64, stage: Stage) {
        if let Some(pointing) = self.list().iter_mut().find(|pointing| pointing.id == id) {
            // What was undone meanwhile stays so.
            if !matches!(pointing.stage, Stage::Undone) || matches!(stage, Stage::UndoFailed(_)) {
                pointing.stage = stage;
            }
        }
        if let Err(error) = self.save() {
            tracing::warn!(error = format!("{error:#}"), "how far a miner is was not written down");
        }
    }

    fn save(&self) -> anyhow::Result<()> {
        let text = serde_json::to_vec(&*self.list())?;
        write_whole(&self.file, &text, 0o640)
            .context("what is changed at miners cannot be written down; is the disk full?")
    }

    fn list(&self) -> MutexGuard<'_, Vec<Pointing>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a share of that user was accepted since.
fn has_share(pool: &pool::Status, goal: &Goal, since: u64) -> bool {
    pool.workers.iter().any(|worker| {
        let user = if worker.name.is_empty() {
            worker.owner.clone()
        } else {
            format!("{}.{}", worker.owner, worker.name)
        };
        user == goal.user && worker.last_share_at.is_some_and(|at| at >= since)
    })
}
