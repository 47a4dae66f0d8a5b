//! What may be wrong with the box for a while: whether it is so in a snapshot, and how it is told.

use poolbox_api::pool;

use super::event::Topic;
use crate::feed::Snapshot;
use crate::words;

/// Work older than this is stale.
const STALE_S: u64 = 120;
/// How long something that a restart brings about is waited for.
const PATIENCE_S: u64 = 180;
/// How long it has to be well again.
const SETTLED_S: u64 = 60;

/// A state as it is now.
pub struct State {
    /// What it is about.
    pub topic: Topic,
    /// Whether it is so; none when that cannot be known.
    pub holds: Option<bool>,
    /// For how many seconds before it counts, and before its end does.
    pub patience: (u64, u64),
    /// Whether it is expected, so that only its end is told.
    pub expected: bool,
    /// The sentence that tells it.
    pub begun: String,
    /// The sentence that tells its end.
    pub over: String,
}

impl State {
    /// All of them. A disk that `was_full` has to have some room more before it counts as well.
    pub fn all(now: &Snapshot, was_full: bool) -> [Self; 7] {
        let pool = now.pool.as_ref();
        let stale = pool.map(|pool| {
            let fresh = |job: &pool::Job| job.age_ms / 1000 <= STALE_S;
            !pool.source.connected || !pool.job.as_ref().is_some_and(fresh)
        });
        let why_stale = pool.and_then(|pool| pool.source.trouble.as_deref());
        let height = pool.and_then(|pool| pool.job.as_ref()).map(|job| words::grouped(job.height.into()));
        let wrong = wrong_coinbase(now);
        let full = now.disk.map(|disk| if was_full { !disk.has_room() } else { disk.is_nearly_full() });
        let room = now
            .disk
            .map(|disk| format!("{} of {}", words::bytes(disk.free_bytes), words::bytes(disk.total_bytes)));
        let room = room.unwrap_or_default();
        let versions = now.versions.as_ref();
        let running = versions.map(|versions| versions.running.clone()).unwrap_or_default();
        let ready = versions.map(|versions| versions.installed.clone());
        let failed = versions.map(|versions| versions.failed.clone());
        let halted = now.mint.as_ref().map(|mint| mint.halted.as_deref());
        let away = match (pool, &now.pool_trouble) {
            (Some(_), _) => Some(false),
            (None, Some(_)) => Some(true),
            (None, None) => None,
        };
        [
            Self {
                topic: Topic::PoolAway,
                holds: away,
                patience: (PATIENCE_S, 0),
                expected: false,
                begun: "The pool does not answer. Miners go to their fallback pools meanwhile.".to_owned(),
                over: "The pool answers again.".to_owned(),
            },
            Self {
                topic: Topic::NodeStale,
                holds: stale,
                patience: (PATIENCE_S, SETTLED_S),
                expected: now.node.as_ref().is_some_and(|node| node.syncing),
                begun: format!(
                    "There is no fresh work to mine: {}.",
                    why_stale.unwrap_or("the node gives none")
                ),
                over: format!("There is fresh work again, for block {}.", height.unwrap_or_default()),
            },
            Self {
                topic: Topic::DiskFull,
                holds: full,
                patience: (0, 0),
                expected: false,
                begun: format!(
                    "The disk is nearly full: {room} are free. When it is full, shares cannot be kept."
                ),
                over: format!("There is room on the disk again: {room} are free."),
            },
            Self {
                topic: Topic::CoinbaseMismatch,
                holds: wrong.as_ref().map(Option::is_some),
                patience: (0, SETTLED_S),
                expected: false,
                begun: format!(
                    "A block would not pay as it is set: {}.",
                    wrong.flatten().unwrap_or_default()
                ),
                over: "The next block pays again as it is set.".to_owned(),
            },
            Self {
                topic: Topic::MintHalted,
                holds: halted.map(|reason| reason.is_some()),
                patience: (0, SETTLED_S),
                expected: false,
                begun: format!(
                    "The mint signs nothing: {}. Mining goes on.",
                    halted.flatten().unwrap_or_default()
                ),
                over: "The mint signs again.".to_owned(),
            },
            Self {
                topic: Topic::UpdateReady,
                holds: ready.as_ref().map(Option::is_some),
                patience: (0, 0),
                expected: false,
                begun: format!(
                    "Version {} is installed and waits for the next start, at four in the night (UTC). The box runs \
                     {running}.",
                    ready.flatten().unwrap_or_default()
                ),
                over: format!("No update waits any more; the box runs version {running}."),
            },
            Self {
                topic: Topic::UpdateFailed,
                holds: failed.as_ref().map(Option::is_some),
                patience: (0, 0),
                expected: false,
                begun: format!(
                    "Version {} did not work and was given up. The box runs {running} as before; nothing is lost.",
                    failed.flatten().unwrap_or_default()
                ),
                over: format!("The version that had failed is gone; the box runs {running}."),
            },
        ]
    }
}

/// What is wrong with the coinbase, if anything; none at all when it cannot be known.
fn wrong_coinbase(now: &Snapshot) -> Option<Option<String>> {
    let seen = now.coinbase.as_ref().filter(|seen| !seen.right).map(|seen| seen.verdict.clone());
    let told = now.pool.as_ref().map(|pool| {
        let coinbases = pool.job.iter().flat_map(|job| &job.coinbases);
        let mismatch = coinbases.filter_map(|coinbase| coinbase.mismatch.as_ref()).next();
        pool.halted.as_ref().or(mismatch).cloned()
    });
    match (seen, told) {
        (Some(verdict), _) => Some(Some(verdict)),
        (None, told) => told,
    }
}
