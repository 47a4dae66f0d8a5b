//! What is known of every worker: its shares, its speed, where it is and what difficulty fits it. No I/O
//! and no clock; the pool's books keep it under one lock.

mod listing;
mod rate;
mod remembered;
mod runs;
mod worker;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use poolbox_accounting::{Difficulty, Identity};
use poolbox_stratum::{RejectedShare, WorkerSeen};

pub use listing::Listing;
use rate::HashRate;
pub use remembered::Remembered;
pub use runs::Runs;
use worker::{Tally, Worker};

/// Workers that are known at once.
const MAX_WORKERS: usize = 10_000;

/// The time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds of a clock that only moves forward.
    pub ms: u64,
    /// Unix seconds.
    pub unix: u64,
}

/// Every worker that is known, and all of them together.
#[derive(Debug)]
pub struct Workers {
    known: HashMap<Arc<Identity>, Worker>,
    /// How many of them are not connected.
    away: usize,
    tally: Tally,
    rate: HashRate,
    /// Something worth remembering happened since [`Self::news_to_remember`] was asked.
    changed: bool,
}

impl Workers {
    /// Nobody is known.
    pub fn new() -> Self {
        Self {
            known: HashMap::new(),
            away: 0,
            tally: Tally::default(),
            rate: HashRate::new(),
            changed: false,
        }
    }

    /// Shares were accepted and are on disk.
    pub fn accepted(&mut self, runs: &Runs, now: Moment) {
        for run in runs.iter() {
            self.tally.accepted(run);
            self.rate.add(run.work, now.ms);
            if let Some(worker) = self.of(&run.identity) {
                worker.tally.accepted(run);
                worker.rate.add(run.work, now.ms);
                worker.last_share_at = Some(now.unix);
                worker.seen_at = now.unix;
            }
            self.changed = true;
        }
    }

    /// A share was refused.
    pub fn rejected(&mut self, share: &RejectedShare) {
        let RejectedShare { identity, reason } = share;
        self.tally.rejected(reason.name());
        if let Some(worker) = identity.as_ref().and_then(|identity| self.of(identity)) {
            worker.tally.rejected(reason.name());
        }
        self.changed = true;
    }

    /// Something happened to a worker's connection.
    pub fn seen(&mut self, seen: &WorkerSeen, now: Moment) {
        if let Some(worker) = self.of(&seen.identity) {
            let was_away = worker.connections == 0;
            worker.seen(seen, now);
            let is_away = worker.connections == 0;
            self.away = self.away + usize::from(is_away) - usize::from(was_away);
            self.changed = true;
        }
    }

    /// The difficulty that was found to fit this worker, when it called itself the same.
    pub fn fit(&self, identity: &Identity, user_agent: &str) -> Option<Difficulty> {
        self.known.get(identity)?.fit(user_agent)
    }

    /// The worker, known from now on; none when the register is full of workers that are connected.
    fn of(&mut self, identity: &Arc<Identity>) -> Option<&mut Worker> {
        if self.known.len() >= MAX_WORKERS && !self.known.contains_key(identity) {
            self.forget_some();
        }
        let full = self.known.len() >= MAX_WORKERS;
        match self.known.entry(Arc::clone(identity)) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if full => None,
            Entry::Vacant(new) => {
                self.away += 1;
                Some(new.insert(Worker::new()))
            }
        }
    }

    /// Forgets a tenth: of those that are not connected, first who never had a share, then who was seen
    /// longest ago.
    fn forget_some(&mut self) {
        let Some(last) = self.away.min(MAX_WORKERS / 10).checked_sub(1) else { return };
        let away = self.known.iter().filter(|(_, worker)| worker.connections == 0);
        let mut away: Vec<_> =
            away.map(|(identity, worker)| (worker.value(), Arc::clone(identity))).collect();
        away.select_nth_unstable_by_key(last, |(value, _)| *value);
        for (_, identity) in away.into_iter().take(last + 1) {
            self.known.remove(&identity);
            self.away -= 1;
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub mod fixture {
    //! Shares for the tests of this crate.

    use bitcoin::BlockHash;
    use bitcoin::hashes::Hash;
    use poolbox_accounting::{Network, Work};

    use super::runs::Run;
    use super::*;

    /// One share of this user, of 100 ehash.
    pub fn one_share(user: &str) -> Runs {
        let identity = Arc::new(Identity::parse(user, Network::Devnet).unwrap());
        let best = BlockHash::from_byte_array([5; 32]);
        [Run { identity, shares: 1, work: Work::from_ehash(100), best }].into_iter().collect()
    }
}
