//! Epochs: which shares one payout pays for. A pure state machine over two streams, the chain
//! (blocks connected and disconnected) and the quote queues (credits and announced boundaries).
//!
//! Several pools may announce and be credited here, each from a journal of its own. A boundary is a
//! place in every journal ([`Marks`]). In the announcing pool's it is the share that solved the
//! block. In the others', as in all when nobody announced it, it is what was credited at that
//! moment: their entries count by when the mint takes them. So every entry is in one epoch, and an
//! epoch's work is what its entries say.
//!
//! The chain decides: an announcement only says at which share a block of ours was found. What the
//! mint does about it (keysets, quotes, signatures) follows from the [`EpochEvent`]s returned.

mod chain;
mod id;
mod record;

use bitcoin::BlockHash;
use serde::{Deserialize, Serialize};

pub use id::{EpochId, UnknownUnit};
use record::Boundary;
pub use record::{Block, Epoch, EpochState, Payout};

use crate::{JournalId, Mark, Marks, Work};

/// How long a settled payout is remembered, in blocks: no reorganisation was ever as deep.
const REMEMBERED_BLOCKS: u32 = 2016;

/// How epochs open, become final and mature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRules {
    /// A payout closes the open epoch only when its block is at least this many seconds (header
    /// time) after the one that opened it; an earlier one adds its reward to the open epoch.
    pub min_epoch_time_s: u32,
    /// D: confirmations after which a boundary is final and quotes are paid.
    pub final_confirmations: u32,
    /// Confirmations after which a coinbase can be spent.
    pub maturity_confirmations: u32,
    /// How long after the mint saw a payout its announcement is waited for, in seconds.
    pub announcement_grace_s: u64,
}

impl Default for EpochRules {
    fn default() -> Self {
        Self {
            min_epoch_time_s: 0,
            final_confirmations: 6,
            maturity_confirmations: 100,
            announcement_grace_s: 10,
        }
    }
}

/// A payout on the chain whose announcement has not been met in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unannounced {
    payout: Payout,
    /// When the mint saw it, Unix seconds.
    seen_at: u64,
}

/// A payout that a settled epoch shared out. Should the chain lose it after all, the next payout
/// makes good for it, so that what was promised stays backed; met again, it is not shared out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SharedOut {
    epoch: EpochId,
    payout: Payout,
    lost: bool,
}

/// What changed, in order; the mint acts on each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EpochEvent {
    /// A payout's reward belongs to this epoch.
    PayoutAdded(EpochId, Payout),
    /// This epoch ended here (inclusive) in each journal.
    Closed(EpochId, Marks),
    /// This epoch began; provisional.
    Opened(EpochId),
    /// The block that opened this epoch is final: pay its quotes.
    Released(EpochId),
    /// `epoch` never happened: its unpaid credits move to `into`, which is open again.
    Dissolved {
        /// The epoch that is gone.
        epoch: EpochId,
        /// The one that takes its work.
        into: EpochId,
    },
    /// Another block of ours took the boundary's height.
    BoundarySwapped(EpochId, Payout),
    /// A payout left the chain; its reward left this epoch, unless it is settled already.
    PayoutLost(EpochId, Payout),
    /// R and W of this epoch are fixed and spendable.
    Settled(EpochId),
}

/// An input that contradicts what was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// Blocks must connect one height at a time.
    #[error("block at height {height} does not follow the tip at height {tip}")]
    Gap {
        /// Of the block.
        height: u32,
        /// Of the chain so far.
        tip: u32,
    },
    /// More work than 64 bits count.
    #[error("the work of epoch {0} is more than can be counted")]
    TooMuchWork(EpochId),
}

/// All epochs that are not settled yet, oldest first; the last one is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epochs {
    rules: EpochRules,
    tip: u32,
    live: Vec<Epoch>,
    unannounced: Vec<Unannounced>,
    /// How far each journal was credited.
    credited: Marks,
    /// Payouts of settled epochs, oldest first.
    #[serde(default)]
    shared_out: Vec<SharedOut>,
}

impl Epochs {
    /// A box's epochs before its first share, on a chain with its tip at `tip`.
    pub fn new(rules: EpochRules, tip: u32) -> Self {
        let first = Epoch::opened(EpochId::FIRST, 0);
        Self {
            rules,
            tip,
            live: vec![first],
            unannounced: Vec::new(),
            credited: Marks::default(),
            shared_out: Vec::new(),
        }
    }

    /// The epochs not settled yet, oldest first; the last one is open.
    pub fn live(&self) -> &[Epoch] {
        &self.live
    }

    /// The epoch with this number, unless it is settled.
    pub fn get(&self, id: EpochId) -> Option<&Epoch> {
        self.live.iter().find(|epoch| epoch.id == id)
    }

    /// Height of the chain as far as it was followed.
    pub const fn tip(&self) -> u32 {
        self.tip
    }

    /// New rules, as after a change of settings; they apply from the next event on.
    pub const fn set_rules(&mut self, rules: EpochRules) {
        self.rules = rules;
    }

    /// Whether a payout with this hash is on the chain and known here.
    pub fn knows_payout(&self, hash: BlockHash) -> bool {
        self.unannounced.iter().any(|waiting| waiting.payout.hash == hash)
            || self.live.iter().any(|epoch| epoch.payouts.iter().any(|payout| payout.hash == hash))
            || self.shared_out.iter().any(|shared| !shared.lost && shared.payout.hash == hash)
    }

    /// Payouts that settled epochs shared out and the chain has lost since.
    pub fn missing(&self) -> impl Iterator<Item = (EpochId, Payout)> {
        self.shared_out.iter().filter(|shared| shared.lost).map(|shared| (shared.epoch, shared.payout))
    }

    /// How far each journal was credited.
    pub const fn credited(&self) -> &Marks {
        &self.credited
    }

    /// The one journal of records that are older than identities is this one.
    pub fn name_journal(&mut self, journal: JournalId) {
        self.credited.name(journal);
        for boundary in self.live.iter_mut().filter_map(|epoch| epoch.boundary.as_mut()) {
            boundary.marks.name(journal);
        }
    }

    /// Credits `work`, which brings `journal` as far as `mark` and was queued at `at` (Unix seconds),
    /// to the open epoch, whose number is returned. A payout that stayed unannounced past the grace
    /// closes the epoch first.
    ///
    /// # Errors
    /// [`EpochError::TooMuchWork`]; nothing is changed then.
    pub fn credit(
        &mut self,
        journal: JournalId,
        mark: Mark,
        work: Work,
        at: u64,
    ) -> Result<(EpochId, Vec<EpochEvent>), EpochError> {
        let mut events = Vec::new();
        if self.overdue(at).is_none() {
            let id = self.grow(journal, mark, work)?;
            return Ok((id, events));
        }
        let mut next = self.clone();
        // Nobody worked between them: all share their rewards out with the same epoch.
        let mut last = None;
        while let Some(payout) = next.overdue(at) {
            next.unannounced.remove(0);
            if let Some(earlier) = last.replace(payout) {
                next.add_payout(earlier, &mut events);
            }
        }
        if let Some(payout) = last {
            next.take_payout(payout, next.credited.clone(), &mut events);
        }
        let id = next.grow(journal, mark, work)?;
        *self = next;
        Ok((id, events))
    }

    /// The oldest payout that waits for its announcement, if at `at` it waited past the grace.
    fn overdue(&self, at: u64) -> Option<Payout> {
        let first = self.unannounced.first()?;
        (first.seen_at.saturating_add(self.rules.announcement_grace_s) < at).then_some(first.payout)
    }

    fn grow(&mut self, journal: JournalId, mark: Mark, work: Work) -> Result<EpochId, EpochError> {
        let open = self.open_mut();
        open.work = open.work.checked_add(work).ok_or(EpochError::TooMuchWork(open.id))?;
        let id = open.id;
        self.credited.advance(journal, mark);
        Ok(id)
    }

    /// A pool says that block `hash` was found by the share at `mark` of its journal: if the chain
    /// agrees, the open epoch ends there. Unknown hashes change nothing (see [`Self::knows_payout`]).
    pub fn announce(&mut self, hash: BlockHash, journal: JournalId, mark: Mark) -> Vec<EpochEvent> {
        let mut events = Vec::new();
        self.credited.advance(journal, mark);
        let Some(place) = self.unannounced.iter().position(|waiting| waiting.payout.hash == hash) else {
            return events;
        };
        let mut waiting: Vec<_> = self.unannounced.drain(..=place).collect();
        let announced = waiting.pop();
        // Payouts before it that nobody announced share their reward out with the same epoch.
        for earlier in waiting {
            self.add_payout(earlier.payout, &mut events);
        }
        if let Some(announced) = announced {
            self.take_payout(announced.payout, self.credited.clone(), &mut events);
        }
        events
    }

    /// The payout's place is known: end the epoch there, or add to its reward if it is too young or
    /// has nobody to pay.
    fn take_payout(&mut self, payout: Payout, marks: Marks, events: &mut Vec<EpochEvent>) {
        let closes = self.closes(payout) && self.open_mut().work > Work::ZERO;
        self.add_payout(payout, events);
        if closes {
            let Payout { height, hash, time, .. } = payout;
            let open = self.open_mut();
            events.push(EpochEvent::Closed(open.id, marks.clone()));
            open.boundary = Some(Boundary { height, hash, time, marks, orphaned: false });
            let next = Epoch::opened(open.id.next(), time);
            events.push(EpochEvent::Opened(next.id));
            self.live.push(next);
            self.release(events);
        }
        // What waited behind it may now be too young to close anything.
        while let Some(first) = self.unannounced.first().copied() {
            if self.closes(first.payout) {
                break;
            }
            self.unannounced.remove(0);
            self.add_payout(first.payout, events);
        }
    }

    fn closes(&self, payout: Payout) -> bool {
        let opened = self.live.last().map_or(0, |open| open.opened_time);
        payout.time.saturating_sub(opened) >= self.rules.min_epoch_time_s
    }

    fn add_payout(&mut self, payout: Payout, events: &mut Vec<EpochEvent>) {
        let open = self.open_mut();
        open.payouts.push(payout);
        events.push(EpochEvent::PayoutAdded(open.id, payout));
    }

    /// Removes and returns the settled epochs, oldest first: nothing changes them any more.
    pub fn take_settled(&mut self) -> Vec<Epoch> {
        // The open epoch needs its predecessor's boundary while it is not released; a settled
        // predecessor implies that it is.
        let (settled, live): (Vec<Epoch>, _) = self.live.drain(..).partition(|epoch| epoch.settled);
        self.live = live;
        let shared_out = settled.iter().flat_map(|epoch| {
            epoch.payouts.iter().map(|&payout| SharedOut { epoch: epoch.id, payout, lost: false })
        });
        self.shared_out.extend(shared_out);
        let tip = self.tip;
        self.shared_out.retain(|shared| shared.lost || shared.payout.height + REMEMBERED_BLOCKS > tip);
        settled
    }

    fn open_mut(&mut self) -> &mut Epoch {
        if self.live.is_empty() {
            // Never so: `new` starts with one, and only epochs with a successor are taken out.
            self.live.push(Epoch::opened(EpochId::FIRST, 0));
        }
        let last = self.live.len() - 1;
        &mut self.live[last]
    }
}

#[cfg(test)]
mod tests;
