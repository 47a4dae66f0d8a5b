//! What is remembered of the workers past a restart of the pool, as it is written to disk.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::BlockHash;
use poolbox_accounting::{Difficulty, Identity, Network, Owner, Work};
use poolbox_api::pool::Protocol;
use serde::{Deserialize, Serialize};

use super::listing::Listing;
use super::worker::{Tally, Worker};
use super::{MAX_WORKERS, Workers};

/// Everything that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Of all workers together.
    shares: Shares,
    workers: Vec<One>,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct One {
    owner: String,
    worker: String,
    protocol: Protocol,
    user_agent: String,
    /// What was found to fit the miners by this name: what each calls itself, and a difficulty as log2.
    fits: Vec<(String, i8)>,
    shares: Shares,
    last_share_at: Option<u64>,
    seen_at: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shares {
    accepted: u64,
    rejected: BTreeMap<String, u64>,
    work_ehash: Work,
    best: Option<BlockHash>,
}

impl Workers {
    /// Whether there is something to remember that was not there when this was asked last.
    pub fn news_to_remember(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The news could not be written down.
    pub fn not_remembered(&mut self) {
        self.changed = true;
    }

    /// The workers as they are remembered; nobody is connected. What makes no sense is left out.
    pub fn from_remembered(remembered: Remembered, network: Network) -> Self {
        let mut workers = Self { tally: remembered.shares.into(), ..Self::new() };
        for one in remembered.workers.into_iter().take(MAX_WORKERS) {
            let Ok(owner) = Owner::parse(&one.owner, network) else {
                tracing::warn!(
                    owner = one.owner,
                    worker = one.worker,
                    "a remembered worker has no valid owner and is left out"
                );
                continue;
            };
            let fit = |(agent, log2): (String, i8)| Some((agent.into(), Difficulty::from_log2(log2).ok()?));
            let worker = Worker {
                tally: one.shares.into(),
                protocol: one.protocol,
                user_agent: one.user_agent.into(),
                fits: one.fits.into_iter().filter_map(fit).collect(),
                last_share_at: one.last_share_at,
                seen_at: one.seen_at,
                ..Worker::new()
            };
            workers.known.insert(Arc::new(Identity { owner, worker: one.worker }), worker);
        }
        workers.away = workers.known.len();
        workers
    }
}

impl Listing {
    /// What is to be remembered.
    pub fn remembered(&self) -> Remembered {
        let one = |(identity, worker): &(Arc<Identity>, Worker)| One {
            owner: identity.owner.to_string(),
            worker: identity.worker.clone(),
            protocol: worker.protocol,
            user_agent: worker.user_agent.as_ref().to_owned(),
            fits: worker.fits.iter().map(|(agent, fit)| (agent.as_ref().to_owned(), fit.log2())).collect(),
            shares: (&worker.tally).into(),
            last_share_at: worker.last_share_at,
            seen_at: worker.seen_at,
        };
        Remembered { shares: (&self.tally).into(), workers: self.workers.iter().map(one).collect() }
    }
}

impl From<&Tally> for Shares {
    fn from(tally: &Tally) -> Self {
        let rejected = tally.rejected.iter().map(|(reason, count)| (reason.clone().into_owned(), *count));
        Self {
            accepted: tally.accepted,
            rejected: rejected.collect(),
            work_ehash: tally.work,
            best: tally.best,
        }
    }
}

impl From<Shares> for Tally {
    fn from(shares: Shares) -> Self {
        let rejected = shares.rejected.into_iter().map(|(reason, count)| (Cow::Owned(reason), count));
        Self {
            accepted: shares.accepted,
            rejected: rejected.collect(),
            work: shares.work_ehash,
            best: shares.best,
        }
    }
}
