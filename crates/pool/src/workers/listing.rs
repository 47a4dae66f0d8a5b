//! The workers as the local API tells of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Target};
use poolbox_accounting::Identity;
use poolbox_api::pool::{self, BestShare, HashRates, Shares};

use super::rate::HashRate;
use super::worker::{Tally, Worker};
use super::{Moment, Workers};

/// A copy of what is known at one time: made quickly under the lock, put in order and read without it.
#[derive(Debug)]
pub struct Listing {
    now: Moment,
    pub(super) workers: Vec<(Arc<Identity>, Worker)>,
    pub(super) tally: Tally,
    rate: HashRate,
}

impl Workers {
    /// What is known now.
    pub fn listing(&self, now: Moment) -> Listing {
        let workers = self.known.iter().map(|(identity, worker)| (Arc::clone(identity), worker.clone()));
        Listing { now, workers: workers.collect(), tally: self.tally.clone(), rate: self.rate }
    }
}

impl Listing {
    /// By owner and name, as it is told.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.workers.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self
    }

    /// What all workers do together.
    pub fn hashrate(&self) -> HashRates {
        self.rate.rates(self.now.ms)
    }

    /// Shares of all workers.
    pub fn shares(&self) -> Shares {
        (&self.tally).into()
    }

    /// One identity of each owner with a connected worker.
    pub fn owners_at_work(&self) -> impl Iterator<Item = &Identity> {
        let connected = self.workers.iter().filter(|(_, worker)| worker.connections > 0);
        let mut last = None;
        connected
            .map(|(identity, _)| &**identity)
            .filter(move |identity| last.replace(&identity.owner) != Some(&identity.owner))
    }

    /// Every owner.
    pub fn owners(&self) -> Vec<pool::Owner> {
        let same =
            |one: &(Arc<Identity>, Worker), next: &(Arc<Identity>, Worker)| one.0.owner == next.0.owner;
        let owner = |workers: &[(Arc<Identity>, Worker)]| {
            let (identity, _) = workers.first()?;
            let mut rate = HashRate::new();
            workers.iter().for_each(|(_, worker)| rate.merge(&worker.rate));
            let connected = workers.iter().filter(|(_, worker)| worker.connections > 0).count();
            Some(pool::Owner {
                owner: identity.owner.to_string(),
                hashrate: rate.rates(self.now.ms),
                workers: u32::try_from(workers.len()).unwrap_or(u32::MAX),
                connected: u32::try_from(connected).unwrap_or(u32::MAX),
            })
        };
        self.workers.chunk_by(same).filter_map(owner).collect()
    }

    /// Every worker.
    pub fn workers(&self) -> Vec<pool::Worker> {
        let worker = |(identity, worker): &(Arc<Identity>, Worker)| pool::Worker {
            owner: identity.owner.to_string(),
            name: identity.worker.clone(),
            protocol: worker.protocol,
            user_agent: worker.user_agent.as_ref().to_owned(),
            connected: worker.connections > 0,
            connections: worker.connections,
            connected_since: worker.connected_since,
            difficulty_log2: worker.difficulty.log2(),
            hashrate: worker.rate.rates(self.now.ms),
            shares: (&worker.tally).into(),
            last_share_at: worker.last_share_at,
        };
        self.workers.iter().map(worker).collect()
    }
}

impl From<&Tally> for Shares {
    fn from(tally: &Tally) -> Self {
        let rejected = tally.rejected.iter().map(|(reason, count)| (reason.clone().into_owned(), *count));
        Self {
            accepted: tally.accepted,
            rejected: rejected.collect::<BTreeMap<_, _>>(),
            work_ehash: tally.work,
            best: tally.best.map(best_share),
        }
    }
}

fn best_share(hash: BlockHash) -> BestShare {
    let difficulty = Target::from_le_bytes(hash.to_byte_array()).difficulty_float();
    BestShare { difficulty, hash: hash.to_string() }
}
