//! What the chain does to epochs: blocks that come, blocks that go, and time that passes in blocks.

use bitcoin::BlockHash;

use super::{Block, Epoch, EpochError, EpochEvent, Epochs, Payout, SharedOut, Unannounced};
use crate::Sats;

impl Epochs {
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

    pub(super) fn release(&mut self, events: &mut Vec<EpochEvent>) {
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
}
