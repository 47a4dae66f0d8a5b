//! The local API on the unix socket: status and epochs here, what owners have and claim in a file of
//! its own. The types are in `poolbox-api`.

mod accounts;
mod claims;
mod secrets;

pub mod audit;
mod lightning;
pub mod recovery;
mod rounds;

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use cdk::mint::Mint;
use cdk::nuts::CurrencyUnit;
use poolbox_accounting::{EpochId, EpochState, JournalId, Network, Owner, Sats, Work};
use poolbox_api::{Problem, mint as api};
use poolbox_journal::Cursor;
use poolbox_service::Answer;

use crate::health::Health;
use crate::history;
use crate::invariants::{outstanding, paid_in_all, shared_in_all};
use crate::keys::Keys;
use crate::ledger::{self, Place, Progress, Redeemed, Settled};
use crate::purses::Purses;
use crate::settlement::blocks_missing;
use crate::treasury::{Statement, Treasury};
use crate::units::unit_of;

pub use secrets::Guard;

/// What the local API shows.
pub struct Local {
    /// cdk's mint.
    pub mint: Arc<Mint>,
    /// Keys of owners.
    pub keys: Keys,
    /// The wallets of owners whose key the box holds.
    pub purses: Arc<Purses>,
    /// Counts wrong claim secrets.
    pub guard: Guard,
    /// The reserve.
    pub treasury: Arc<Treasury>,
    /// Progress and halts.
    pub health: Arc<Health>,
    /// Network of the node.
    pub network: Network,
    /// How wallets reach the mint.
    pub public_url: String,
    /// When the process started, Unix seconds.
    pub started_at: u64,
    /// Confirmations after which a coinbase can be spent.
    pub maturity: u32,
    /// Where a restore leaves its record.
    pub data_dir: PathBuf,
}

type Reply<T> = Result<Json<T>, Answer>;

/// The routes of the local API.
pub fn router(local: Local) -> Router {
    Router::new()
        .route(api::STATUS, get(status))
        .route(api::EPOCHS, get(epochs))
        .route(&format!("{}/{{n}}/history", api::EPOCHS), get(history))
        .merge(accounts::routes())
        .merge(claims::routes())
        .merge(secrets::routes())
        .merge(lightning::router())
        .merge(rounds::routes())
        .with_state(Arc::new(local))
}

async fn status(State(local): State<Arc<Local>>) -> Reply<api::Status> {
    local.status().await.map(Json).map_err(broken)
}

async fn epochs(State(local): State<Arc<Local>>) -> Reply<Vec<api::Epoch>> {
    local.epochs().await.map(Json).map_err(broken)
}

fn taken_of((&journal, cursor): (&JournalId, &Cursor)) -> api::TakenJournal {
    api::TakenJournal { journal, cursor: cursor.seq, queued_at: cursor.at }
}

async fn history(State(local): State<Arc<Local>>, Path(n): Path<u64>) -> Reply<Vec<api::Transition>> {
    history::of(&local.mint.localstore(), EpochId::new(n)).await.map(Json).map_err(broken)
}

fn broken(error: impl Into<anyhow::Error>) -> Answer {
    let error: anyhow::Error = error.into();
    tracing::error!(error = format!("{error:#}"), "a local request failed");
    Answer::unavailable(Problem::new(format!("{error:#}")))
}

impl Local {
    fn owner(&self, text: &str) -> Result<Owner, Answer> {
        Owner::parse(text, self.network).map_err(|error| Answer::bad_request(Problem::new(error.to_string())))
    }

    async fn progress(&self) -> anyhow::Result<Progress> {
        let progress = ledger::read(&self.mint.localstore(), &Place::progress()).await?;
        progress.ok_or_else(|| anyhow::anyhow!("the mint has no record of progress"))
    }

    async fn status(&self) -> anyhow::Result<api::Status> {
        let progress = self.progress().await?;
        let condition = self.health.now();
        let redeemed = paid_in_all(&self.mint.localstore()).await?;
        let shared = shared_in_all(&self.mint.localstore()).await?;
        let statement = self.treasury.statement().await?;
        let claims = self.treasury.claims(&self.mint.localstore(), redeemed.sats).await?;
        let ecash = outstanding(&self.mint).await?;
        let ehash = ecash.into_iter().filter(|(unit, _)| *unit != CurrencyUnit::Sat);
        let unspent: Work = ehash.map(|(_, amount)| Work::from_ehash(amount)).sum();
        Ok(api::Status {
            network: self.network,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            url: self.public_url.clone(),
            ehash_url: format!("{}/{}", self.public_url, crate::units::METHOD),
            halted: condition.halted,
            restored: crate::restored::read(&self.data_dir)?,
            chain: api::Chain {
                height: progress.epochs.tip(),
                hash: progress.block.to_string(),
                connected: condition.connected,
            },
            queue: api::Queue {
                cursor: progress.cursors.values().map(|cursor| cursor.seq.get()).sum(),
                waiting: condition.waiting,
                trouble: condition.trouble,
                journals: progress.cursors.iter().map(taken_of).collect(),
            },
            epoch: newest(&progress),
            ehash: api::Ehash {
                credited: progress.credited,
                issued: [unspent, redeemed.ehash].into_iter().sum(),
                redeemed: redeemed.ehash,
            },
            sats: sat_totals(&statement, redeemed.sats, shared, claims),
            lightning: self.lightning().await,
        })
    }

    async fn lightning(&self) -> api::LightningState {
        let Some(node) = self.treasury.lightning() else { return api::LightningState::Off };
        match node.trouble().await {
            None => api::LightningState::On,
            Some(reason) => api::LightningState::Down { reason },
        }
    }

    /// All epochs, newest first.
    async fn epochs(&self) -> anyhow::Result<Vec<api::Epoch>> {
        let progress = self.progress().await?;
        let db = self.mint.localstore();
        let ecash = outstanding(&self.mint).await?;
        let mut list = Vec::new();
        for n in (1..=newest(&progress).get()).rev().map(EpochId::new) {
            let settled = ledger::read::<Settled>(&db, &Place::settled(n)).await?;
            let is_settled = settled.is_some();
            let epoch = settled.map(|settled| settled.epoch).or_else(|| progress.epochs.get(n).cloned());
            let Some(epoch) = epoch else { continue };
            let redeemed: Redeemed = ledger::read(&db, &Place::redeemed(n)).await?.unwrap_or_default();
            let unspent = Work::from_ehash(ecash.get(&unit_of(n)).copied().unwrap_or_default());
            let boundary = epoch.boundary();
            // Mature by the chain is not yet settled: the treasury has to see the reward too.
            let state = match epoch.state() {
                EpochState::Settled if !is_settled => EpochState::Closed,
                state => state,
            };
            let closed = boundary.is_some().then(|| epoch.last_payout_height()).flatten();
            list.push(api::Epoch {
                n,
                unit: n.unit(),
                state,
                height: boundary.map(|(height, ..)| height),
                block_hash: boundary.map(|(_, hash, _)| hash.to_string()),
                through: boundary.map(|(.., marks)| marks.clone()),
                reward: epoch.reward(),
                work: epoch.work,
                issued: [unspent, redeemed.ehash].into_iter().sum(),
                redeemed: redeemed.ehash,
                paid: redeemed.sats,
                blocks_to_maturity: closed
                    .map(|height| blocks_missing(height, progress.epochs.tip(), self.maturity)),
            });
        }
        Ok(list)
    }
}

fn sat_totals(statement: &Statement, redeemed: Sats, shared: Sats, claims: Sats) -> api::SatTotals {
    let (reserve, outstanding) = (statement.reserve(), statement.outstanding());
    api::SatTotals {
        reserve,
        onchain: statement.wallet.spendable,
        lightning: statement.lightning.unwrap_or_default().ours,
        channel_reserve: statement.lightning.unwrap_or_default().bound,
        in_flight: statement.in_flight,
        immature: statement.wallet.immature,
        outstanding,
        promised: statement.ecash.promised(),
        pending_out: statement.pending_out(),
        claims,
        surplus: reserve.saturating_sub(outstanding).saturating_sub(claims),
        redeemed,
        shared,
        received: statement.ecash.received.from_outside,
        melted: statement.ecash.melted.paid,
        fees_paid: statement.ecash.melted.fees,
    }
}

/// The epoch that is open.
fn newest(progress: &Progress) -> EpochId {
    progress.epochs.live().last().map_or(EpochId::FIRST, |epoch| epoch.id)
}
