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

use std::fmt;
use std::str::FromStr;

use bitcoin::BlockHash;
use serde::{Deserialize, Serialize};

use crate::{FeePpm, JournalId, Mark, Marks, Rate, Sats, SettlementError, Work};

/// How long a settled payout is remembered, in blocks: no reorganisation was ever as deep.
const REMEMBERED_BLOCKS: u32 = 2016;

/// Number of an epoch, from 1. Its ecash unit is `ehash-<n>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EpochId(u64);

/// A unit that is no epoch's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not the unit of an epoch; those are written ehash-1, ehash-2, …")]
pub struct UnknownUnit(pub String);

impl EpochId {
    /// The first epoch of a box.
    pub const FIRST: Self = Self(1);

    /// Epoch number `n`.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The ecash unit of this epoch, `ehash-<n>`.
    pub fn unit(self) -> String {
        format!("ehash-{}", self.0)
    }

    /// The epoch whose ecash unit this is.
    ///
    /// # Errors
    /// [`UnknownUnit`] for any other text.
    pub fn of_unit(unit: &str) -> Result<Self, UnknownUnit> {
        let number = unit.strip_prefix("ehash-").and_then(|digits| u64::from_str(digits).ok());
        number.map(Self).filter(|id| id.unit() == unit).ok_or_else(|| UnknownUnit(unit.to_owned()))
    }

    const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

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

/// A block of the active chain, as the watcher saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// Header time, Unix seconds.
    pub time: u32,
    /// What its coinbase pays the mint's wallet; zero for everybody else's block.
    pub reward: Sats,
}

/// Money that arrived with one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout {
    /// Height of the block.
    pub height: u32,
    /// Hash of the block.
    pub hash: BlockHash,
    /// Header time, Unix seconds.
    pub time: u32,
    /// What it paid.
    pub reward: Sats,
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

/// Where an epoch ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Boundary {
    height: u32,
    hash: BlockHash,
    time: u32,
    /// The last share and entry of the epoch in each journal.
    #[serde(alias = "share")]
    marks: Marks,
    /// Its block left the chain and none has taken its height yet.
    orphaned: bool,
}

/// Where an epoch is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EpochState {
    /// Opened by a payout that may still be orphaned: quotes grow, unpaid.
    Provisional,
    /// Its ehash is minted as work comes in.
    Open,
    /// Ended; its reward is maturing.
    Closed,
    /// Its reward is spendable: ehash redeems for sats.
    Settled,
}

/// One epoch's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its number.
    pub id: EpochId,
    /// Work credited in it.
    pub work: Work,
    /// The payouts that it shares out, in chain order.
    pub payouts: Vec<Payout>,
    /// The payout that opened it is final (the first epoch's needs none).
    released: bool,
    /// Header time of the block that opened it; 0 for the first.
    opened_time: u32,
    boundary: Option<Boundary>,
    settled: bool,
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

impl Epoch {
    fn opened(id: EpochId, opened_time: u32) -> Self {
        Self {
            id,
            work: Work::ZERO,
            payouts: Vec::new(),
            released: id == EpochId::FIRST,
            opened_time,
            boundary: None,
            settled: false,
        }
    }

    /// Where it is in its life.
    pub const fn state(&self) -> EpochState {
        if self.settled {
            EpochState::Settled
        } else if self.boundary.is_some() {
            EpochState::Closed
        } else if self.released {
            EpochState::Open
        } else {
            EpochState::Provisional
        }
    }

    /// Whether its quotes may be paid: the block that opened it is final.
    pub const fn released(&self) -> bool {
        self.released
    }

    /// Closed for good by a block that then left the chain, with nothing to share out.
    fn lost_its_reward(&self) -> bool {
        self.payouts.is_empty() && self.boundary.as_ref().is_some_and(|boundary| !boundary.orphaned)
    }

    /// Whether it has payouts and all are `maturity` blocks deep in a chain with its tip at `tip`.
    fn is_mature(&self, tip: u32, maturity: u32) -> bool {
        let mature = |payout: &Payout| (tip + 1).saturating_sub(payout.height) >= maturity;
        !self.payouts.is_empty() && self.payouts.iter().all(mature)
    }

    /// R: the sum of its payouts.
    pub fn reward(&self) -> Sats {
        self.payouts.iter().map(|payout| payout.reward).sum()
    }

    /// The block that ended it, and its last share and entry in each journal.
    pub fn boundary(&self) -> Option<(u32, BlockHash, &Marks)> {
        self.boundary.as_ref().map(|boundary| (boundary.height, boundary.hash, &boundary.marks))
    }

    /// The height of its newest payout, whose maturity settles it.
    pub fn last_payout_height(&self) -> Option<u32> {
        self.payouts.iter().map(|payout| payout.height).max()
    }

    /// What a holder's ehash is worth.
    ///
    /// # Errors
    /// [`SettlementError::NoWork`] when nothing was credited.
    pub fn rate(&self, fee: FeePpm) -> Result<Rate, SettlementError> {
        Rate::new(self.reward(), self.work, fee)
    }
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

    /// A block became the tip; `now` is the mint's time, Unix seconds.
    ///
    /// # Errors
    /// [`EpochError::Gap`] when it does not follow the tip; nothing is changed then.
    pub fn connect(&mut self, block: Block, now: u64) -> Result<Vec<EpochEvent>, EpochError> {
        if block.height != self.tip + 1 {
            return Err(EpochError::Gap { height: block.height, tip: self.tip });
        }
        self.tip = block.height;
        let mut events = Vec::new();
        let payout =
            Payout { height: block.height, hash: block.hash, time: block.time, reward: block.reward };
        let pays = block.reward > Sats::ZERO && !self.make_good(payout, &mut events);
        let orphan = |epoch: &Epoch| {
            let orphaned = epoch.boundary.as_ref().filter(|boundary| boundary.orphaned);
            orphaned.is_some_and(|boundary| boundary.height == block.height)
        };
        match self.live.iter().position(orphan) {
            Some(place) if pays => self.swap_boundary(place, payout, &mut events),
            Some(place) => self.dissolve_after(place, &mut events),
            None if pays => self.meet_payout(payout, now, &mut events),
            None => {}
        }
        self.release(&mut events);
        self.settle(&mut events);
        Ok(events)
    }

    /// The tip left the chain.
    ///
    /// # Errors
    /// [`EpochError::Gap`] when `height` is not the tip; nothing is changed then.
    pub fn disconnect(&mut self, height: u32, hash: BlockHash) -> Result<Vec<EpochEvent>, EpochError> {
        if height != self.tip || height == 0 {
            return Err(EpochError::Gap { height, tip: self.tip });
        }
        self.tip = height - 1;
        let mut events = Vec::new();
        self.unannounced.retain(|waiting| waiting.payout.hash != hash);
        let shared = self.shared_out.iter_mut().find(|shared| !shared.lost && shared.payout.hash == hash);
        if let Some(shared) = shared {
            shared.lost = true;
            events.push(EpochEvent::PayoutLost(shared.epoch, shared.payout));
        }
        for place in 0..self.live.len() {
            let successor_released = self.live.get(place + 1).is_some_and(|next| next.released);
            let epoch = &mut self.live[place];
            let Some(index) = epoch.payouts.iter().position(|payout| payout.hash == hash) else { continue };
            let payout = epoch.payouts.remove(index);
            events.push(EpochEvent::PayoutLost(epoch.id, payout));
            if let Some(boundary) = epoch.boundary.as_mut().filter(|boundary| boundary.hash == hash) {
                // Past finality the boundary stands: ehash of the next epoch was issued.
                boundary.orphaned = !successor_released;
            }
        }
        let (tip, maturity) = (self.tip, self.rules.maturity_confirmations);
        for epoch in &mut self.live {
            // Mature and not booked yet: it has to mature again.
            epoch.settled &= epoch.is_mature(tip, maturity);
        }
        Ok(events)
    }

    /// A payout shared out by a settled epoch and lost since is replaced by this one, best by its
    /// own block.
    fn make_good(&mut self, payout: Payout, events: &mut Vec<EpochEvent>) -> bool {
        let itself = |shared: &SharedOut| shared.lost && shared.payout.hash == payout.hash;
        let place = self.shared_out.iter().position(itself);
        let place = place.or_else(|| self.shared_out.iter().position(|shared| shared.lost));
        let Some(shared) = place.map(|place| &mut self.shared_out[place]) else { return false };
        (shared.payout, shared.lost) = (payout, false);
        events.push(EpochEvent::PayoutAdded(shared.epoch, payout));
        true
    }

    /// A payout nobody announced yet: it waits for its share, unless it only adds to a reward. An
    /// epoch whose reward was lost past finality is paid first: its miners lost a whole block.
    fn meet_payout(&mut self, payout: Payout, now: u64, events: &mut Vec<EpochEvent>) {
        if let Some(epoch) = self.live.iter_mut().find(|epoch| epoch.lost_its_reward()) {
            epoch.payouts.push(payout);
            events.push(EpochEvent::PayoutAdded(epoch.id, payout));
        } else if self.unannounced.is_empty() && !self.closes(payout) {
            self.add_payout(payout, events);
        } else {
            self.unannounced.push(Unannounced { payout, seen_at: now });
        }
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

    fn swap_boundary(&mut self, place: usize, payout: Payout, events: &mut Vec<EpochEvent>) {
        let epoch = &mut self.live[place];
        epoch.payouts.push(payout);
        if let Some(boundary) = epoch.boundary.as_mut() {
            boundary.hash = payout.hash;
            boundary.time = payout.time;
            boundary.orphaned = false;
        }
        events.push(EpochEvent::BoundarySwapped(epoch.id, payout));
        if let Some(next) = self.live.get_mut(place + 1) {
            next.opened_time = payout.time;
        }
    }

    /// Everything after `place` flows back into it, newest first.
    fn dissolve_after(&mut self, place: usize, events: &mut Vec<EpochEvent>) {
        while self.live.len() > place + 1 {
            let Some(gone) = self.live.pop() else { break };
            let into = self.open_mut();
            into.boundary = None;
            // Two u64 sums that were one stream of credits: checked when they were credited.
            into.work = [into.work, gone.work].into_iter().sum();
            into.payouts.extend(gone.payouts);
            events.push(EpochEvent::Dissolved { epoch: gone.id, into: into.id });
        }
    }

    fn release(&mut self, events: &mut Vec<EpochEvent>) {
        for place in 1..self.live.len() {
            let boundary = self.live[place - 1].boundary.as_ref();
            let depth = boundary
                .filter(|b| !b.orphaned && b.height <= self.tip)
                .map_or(0, |b| self.tip - b.height + 1);
            let epoch = &mut self.live[place];
            if !epoch.released && depth >= self.rules.final_confirmations.max(1) {
                epoch.released = true;
                events.push(EpochEvent::Released(epoch.id));
            }
        }
    }

    /// Settles the oldest closed epochs whose payouts are all mature. They stay in [`Self::live`]
    /// until [`Self::take_settled`] moves them to the record.
    fn settle(&mut self, events: &mut Vec<EpochEvent>) {
        for place in 0..self.live.len().saturating_sub(1) {
            let next_released = self.live[place + 1].released;
            let epoch = &self.live[place];
            let mature = epoch.is_mature(self.tip, self.rules.maturity_confirmations);
            if !epoch.settled && next_released && mature {
                let id = epoch.id;
                self.live[place].settled = true;
                events.push(EpochEvent::Settled(id));
            }
        }
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
#[path = "epoch_tests.rs"]
mod tests;
