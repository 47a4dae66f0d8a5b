//! One worker.

use std::borrow::Cow;
use std::sync::Arc;

use bitcoin::BlockHash;
use poolbox_accounting::{Difficulty, Work};
use poolbox_api::pool::Protocol;
use poolbox_stratum::{WorkerChange, WorkerSeen};

use super::Moment;
use super::rate::HashRate;
use super::runs::{Run, harder};

/// Kinds of miners by one name whose fitting difficulties are known. More than one where a household gives
/// all its miners the same name.
const MAX_FITS: usize = 8;

/// Shares and what they are worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accepted.
    pub accepted: u64,
    /// Rejected, by reason; the few that occurred.
    pub rejected: Vec<(Cow<'static, str>, u64)>,
    /// Work of the accepted ones.
    pub work: Work,
    /// The hardest hash.
    pub best: Option<BlockHash>,
}

impl Tally {
    /// Counts accepted shares.
    pub fn accepted(&mut self, run: &Run) {
        self.accepted = self.accepted.saturating_add(run.shares);
        self.work = [self.work, run.work].into_iter().sum();
        self.best = Some(self.best.map_or(run.best, |best| harder(best, run.best)));
    }

    /// Counts a rejected share.
    pub fn rejected(&mut self, reason: &'static str) {
        match self.rejected.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.rejected.push((Cow::Borrowed(reason), 1)),
        }
    }
}

/// What is known of a worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its shares.
    pub tally: Tally,
    /// Its speed.
    pub rate: HashRate,
    /// Connections by this name.
    pub connections: u32,
    /// Since when there has been one, Unix seconds.
    pub connected_since: Option<u64>,
    /// Of the latest connection.
    pub protocol: Protocol,
    /// What the latest connection calls itself.
    pub user_agent: Arc<str>,
    /// What the latest connection works at.
    pub difficulty: Difficulty,
    /// What was found to fit each kind of miner by this name, the latest first.
    pub fits: Vec<(Arc<str>, Difficulty)>,
    /// When the latest share was accepted, Unix seconds.
    pub last_share_at: Option<u64>,
    /// When anything was heard of it, Unix seconds.
    pub seen_at: u64,
}

impl Worker {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self {
            tally: Tally::default(),
            rate: HashRate::new(),
            connections: 0,
            connected_since: None,
            protocol: Protocol::Sv1,
            user_agent: Arc::from(""),
            difficulty: Difficulty::MIN,
            fits: Vec::new(),
            last_share_at: None,
            seen_at: 0,
        }
    }

    /// Something happened to a connection of it.
    pub fn seen(&mut self, seen: &WorkerSeen, now: Moment) {
        self.seen_at = now.unix;
        match seen.change {
            WorkerChange::Joined => {
                self.connections += 1;
                self.connected_since = self.connected_since.or(Some(now.unix));
            }
            WorkerChange::Left => {
                self.connections = self.connections.saturating_sub(1);
                if self.connections == 0 {
                    self.connected_since = None;
                }
            }
            WorkerChange::Retargeted => {}
        }
        if seen.change != WorkerChange::Left {
            self.protocol = match seen.protocol {
                poolbox_stratum::Protocol::Sv1 => Protocol::Sv1,
                poolbox_stratum::Protocol::Sv2 => Protocol::Sv2,
            };
            self.user_agent = Arc::clone(&seen.user_agent);
            self.difficulty = seen.difficulty;
        }
        if let Some(measured) = seen.measured {
            self.fits.retain(|(agent, _)| *agent != seen.user_agent);
            self.fits.truncate(MAX_FITS - 1);
            self.fits.insert(0, (Arc::clone(&seen.user_agent), measured));
        }
    }

    /// What was found to fit the miner by this name that calls itself so.
    pub fn fit(&self, user_agent: &str) -> Option<Difficulty> {
        self.fits.iter().find(|(agent, _)| agent.as_ref() == user_agent).map(|(_, fit)| *fit)
    }

    /// What would be lost by forgetting it: the least first.
    pub const fn value(&self) -> (bool, u64) {
        (self.tally.accepted > 0, self.seen_at)
    }
}
