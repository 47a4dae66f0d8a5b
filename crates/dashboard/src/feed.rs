//! What the box says of itself, asked in the background: pages are drawn from the latest answers and wait
//! for nobody. A process that does not answer leaves its place empty, with the reason.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use poolbox_api::mint::payouts::{self, Payout};
use poolbox_api::{Client, ClientError, mint, pool};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::catching::Catching;
use crate::coinbase::Seen;
use crate::disk::Disk;
use crate::node::{Node, NodeState};
use crate::versions::Versions;

/// How often the pool is asked.
const INTERVAL: Duration = Duration::from_secs(2);
/// A pool with many workers takes long to answer: it is left in peace for so many times as long.
const REST: u32 = 10;
/// Mint and node are asked every so many times.
const SELDOM: u32 = 3;
/// Payouts that are listed.
const PAYOUTS: u32 = 20;

/// The latest answers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// When the pool was asked, Unix seconds.
    pub at: u64,
    /// The pool's answer.
    pub pool: Option<pool::Status>,
    /// Why there is none.
    pub pool_trouble: Option<String>,
    /// The mint's answer.
    pub mint: Option<mint::Status>,
    /// Why there is none, where a mint is set.
    pub mint_trouble: Option<String>,
    /// Every epoch, newest first.
    pub epochs: Vec<mint::Epoch>,
    /// The latest rounds of mode proxy, newest first.
    pub rounds: Vec<mint::Round>,
    /// Where upstream pools pay the mint.
    pub upstream: Option<mint::UpstreamAccount>,
    /// The latest payouts, newest first.
    pub payouts: Vec<Payout>,
    /// The mint's Lightning node, where it has one that works.
    pub lightning: Option<mint::LightningNode>,
    /// What a job's coinbase pays, read from the wire.
    pub coinbase: Option<Seen>,
    /// The node's answer.
    pub node: Option<NodeState>,
    /// Why there is none, where a node is set.
    pub node_trouble: Option<String>,
    /// How long the node needs to catch up, in seconds, where that can be known.
    pub sync_left_s: Option<u64>,
    /// Room on the disk with the dashboard's data.
    pub disk: Option<Disk>,
    /// The versions of an appliance, where the system tells them.
    pub versions: Option<Versions>,
}

/// Whom to ask.
#[derive(Debug)]
pub struct Sources {
    /// The pool.
    pub pool: Client,
    /// The mint, where there is one.
    pub mint: Option<Client>,
    /// The node, where it may be asked.
    pub node: Option<Node>,
    /// What was read from the wire.
    pub seen: watch::Receiver<Option<Seen>>,
    /// A folder on the disk to look at.
    pub data_dir: PathBuf,
    /// Where the system lists its versions, on an appliance.
    pub versions_file: Option<PathBuf>,
}

/// Unix seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Sources {
    /// Asks until `stop`; each round's answers go to `out` and to `each`.
    pub async fn follow(
        self,
        out: watch::Sender<Arc<Snapshot>>,
        mut each: impl FnMut(&Snapshot),
        stop: CancellationToken,
    ) {
        let mut round = 0_u32;
        let mut catching = Catching::default();
        let mut snapshot = Snapshot::default();
        loop {
            let began = Instant::now();
            self.ask_pool(&mut snapshot).await;
            let took = began.elapsed();
            if round.is_multiple_of(SELDOM) {
                let (mint, node) = tokio::join!(ask_mint(self.mint.as_ref()), ask_node(self.node.as_ref()));
                snapshot.take_mint(mint);
                snapshot.take_node(node);
                snapshot.sync_left_s = catching.left(now(), snapshot.node.as_ref());
                snapshot.disk = self.look_at_disk().await;
                // In memory, and not there until the system has looked.
                snapshot.versions =
                    self.versions_file.as_deref().and_then(|file| Versions::read(file).ok().flatten());
            }
            round = round.wrapping_add(1);
            snapshot.coinbase = self.seen.borrow().clone();
            snapshot.at = now();
            each(&snapshot);
            out.send_replace(Arc::new(snapshot.clone()));
            tokio::select! {
                () = tokio::time::sleep(INTERVAL.max(took * REST)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look_at_disk(&self) -> Option<Disk> {
        let dir = self.data_dir.clone();
        // A disk that fails may not answer.
        let looked = tokio::task::spawn_blocking(move || Disk::of(&dir));
        tokio::time::timeout(INTERVAL, looked).await.ok()?.ok()?.ok()
    }

    async fn ask_pool(&self, snapshot: &mut Snapshot) {
        match self.pool.get::<pool::Status>(pool::STATUS).await {
            Ok(status) => (snapshot.pool, snapshot.pool_trouble) = (Some(status), None),
            Err(error) => (snapshot.pool, snapshot.pool_trouble) = (None, Some(plain(&error, "pool"))),
        }
    }
}

/// All that the mint is asked.
struct OfMint {
    status: mint::Status,
    epochs: Vec<mint::Epoch>,
    rounds: Vec<mint::Round>,
    upstream: Option<mint::UpstreamAccount>,
    payouts: Vec<Payout>,
    lightning: Option<mint::LightningNode>,
}

type MintAnswer = Option<Result<OfMint, String>>;
type NodeAnswer = Option<Result<NodeState, String>>;

impl Snapshot {
    fn take_mint(&mut self, answer: MintAnswer) {
        match answer {
            Some(Ok(OfMint { status, epochs, rounds, upstream, payouts, lightning })) => {
                (self.rounds, self.upstream) = (rounds, upstream);
                (self.mint, self.mint_trouble, self.epochs) = (Some(status), None, epochs);
                (self.payouts, self.lightning) = (payouts, lightning);
            }
            Some(Err(trouble)) => (self.mint, self.mint_trouble) = (None, Some(trouble)),
            None => {}
        }
    }

    fn take_node(&mut self, answer: NodeAnswer) {
        match answer {
            Some(Ok(state)) => (self.node, self.node_trouble) = (Some(state), None),
            Some(Err(trouble)) => (self.node, self.node_trouble) = (None, Some(trouble)),
            None => {}
        }
    }
}

async fn ask_mint(mint: Option<&Client>) -> MintAnswer {
    let mint = mint?;
    let status = match mint.get::<mint::Status>(mint::STATUS).await {
        Ok(status) => status,
        Err(error) => return Some(Err(plain(&error, "mint"))),
    };
    let epochs = match mint.get(mint::EPOCHS).await {
        Ok(epochs) => epochs,
        Err(error) => return Some(Err(plain(&error, "mint"))),
    };
    // These are told where they can be; a page does without.
    let rounds = mint.get(mint::ROUNDS).await.unwrap_or_default();
    let upstream = mint.get(mint::UPSTREAM).await.ok();
    let payouts = mint.get::<payouts::Page>(&format!("{}?limit={PAYOUTS}", payouts::PAYOUTS)).await;
    let lightning = match status.lightning {
        mint::LightningState::On => mint.get(mint::LIGHTNING).await.ok(),
        mint::LightningState::Off | mint::LightningState::Down { .. } => None,
    };
    let payouts = payouts.map(|page| page.payouts).unwrap_or_default();
    Some(Ok(OfMint { status, epochs, rounds, upstream, payouts, lightning }))
}

async fn ask_node(node: Option<&Node>) -> NodeAnswer {
    Some(node?.state().await.map_err(|error| error.to_string()))
}

/// Without paths of this machine: pages are open to the household.
fn plain(error: &ClientError, who: &str) -> String {
    match error {
        ClientError::Unreachable { .. } => format!("the {who} does not answer; it may be starting"),
        ClientError::Refused(problem) => format!("the {who} says: {problem}"),
        ClientError::Malformed { .. } => {
            format!("the answer of the {who} cannot be read, as it has another version than this dashboard")
        }
    }
}
