//! Rounds: the epochs of mode proxy. A round is the stretch of shares that an upstream pool's payment
//! pays for. It has no ehash: its work is paid in sats, pro rata, once the payment is final.
//!
//! A payment that is seen ends the round that is open, which is how long its work was done for. Should
//! the payment vanish before it is final, as with a block that is orphaned, the round stays ended and the
//! next payment is its own: rounds are paid in their order.
//!
//! Anybody can send money to where upstream pools pay. Were every sat of it the end of a round, who works
//! for a minute could end one before a payment that is known to come, and have it nearly alone. So a
//! payment that comes early, or brings little, is added to the round that is open, which goes on.

mod payment;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use payment::{Payment, PaymentId};

use crate::{FeePpm, JournalId, Mark, Marks, Rate, Sats, SettlementError, Work};

/// What ends a round has to bring a tenth of what the one before it brought.
const LEAST_PART: u64 = 10;

/// Number of a round, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoundId(u64);

/// Where a round ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundEnd {
    /// When the payment that ended it was seen, Unix seconds.
    pub at: u64,
    /// The last share and entry of the round in each journal.
    pub marks: Marks,
}

/// One round's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Its number.
    pub id: RoundId,
    /// When the one before it ended, Unix seconds; 0 for the first.
    #[serde(default)]
    pub opened_at: u64,
    /// Work credited in it.
    pub work: Work,
    /// What it shares out.
    pub payments: Vec<Payment>,
    /// Where it ended; none while it is open.
    pub end: Option<RoundEnd>,
    /// What its work is worth, once sharing out has begun: nothing of it changes any more.
    pub rate: Option<Rate>,
}

/// What happened to a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoundEvent {
    /// A payment arrived that it shares out.
    Paid(RoundId, Payment),
    /// A payment that was not final is gone.
    Lost(RoundId, Payment),
    /// It ended: later shares are another's.
    Ended(RoundId),
}

/// More work than can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("round {0} holds more work than can be counted")]
pub struct TooMuchWork(pub RoundId);

/// The rounds that are not shared out, oldest first; the last is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounds {
    live: Vec<Round>,
    /// How far each journal was credited.
    credited: Marks,
    /// What the latest round that ended had brought by then.
    #[serde(default)]
    usual: Sats,
}

impl RoundId {
    /// The first round of a box.
    pub const FIRST: Self = Self(1);

    /// Round number `n`.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RoundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Round {
    const fn opened(id: RoundId, opened_at: u64) -> Self {
        Self { id, opened_at, work: Work::ZERO, payments: Vec::new(), end: None, rate: None }
    }

    /// R: the sum of its payments.
    pub fn reward(&self) -> Sats {
        self.payments.iter().map(|payment| payment.sats).sum()
    }

    /// Whether it can be shared out: it ended, was paid, and nothing of that can vanish.
    fn is_due(&self) -> bool {
        self.end.is_some()
            && !self.payments.is_empty()
            && (self.rate.is_some() || self.payments.iter().all(|payment| payment.is_final))
    }
}

impl Default for Rounds {
    fn default() -> Self {
        let first = Round::opened(RoundId::FIRST, 0);
        Self { live: vec![first], credited: Marks::default(), usual: Sats::ZERO }
    }
}

impl Rounds {
    /// The rounds that are not shared out, oldest first; the last is open.
    pub fn live(&self) -> &[Round] {
        &self.live
    }

    /// The round that is open.
    pub fn open(&self) -> RoundId {
        self.live.last().map_or(RoundId::FIRST, |round| round.id)
    }

    /// Credits work to the round that is open, up to a journal's mark.
    ///
    /// # Errors
    /// [`TooMuchWork`]; nothing is changed then.
    pub fn credit(&mut self, journal: JournalId, mark: Mark, work: Work) -> Result<RoundId, TooMuchWork> {
        let open = self.open_mut();
        open.work = open.work.checked_add(work).ok_or(TooMuchWork(open.id))?;
        let id = open.id;
        self.credited.advance(journal, mark);
        Ok(id)
    }

    /// All payments that are there and were not shared out by earlier rounds; `now` is Unix seconds. A
    /// round that has been open for less than `min_time_s` does not end.
    pub fn see(&mut self, seen: &[Payment], now: u64, min_time_s: u64) -> Vec<RoundEvent> {
        let mut events = Vec::new();
        let mut new: BTreeMap<&PaymentId, &Payment> = seen
            .iter()
            .filter(|payment| payment.sats > Sats::ZERO)
            .map(|payment| (&payment.id, payment))
            .collect();
        for round in &mut self.live {
            let id = round.id;
            round.payments.retain_mut(|known| {
                let found = new.remove(&known.id);
                if round.rate.is_some() {
                    return true;
                }
                match found {
                    Some(found) => known.is_final = found.is_final,
                    None => events.push(RoundEvent::Lost(id, known.clone())),
                }
                found.is_some()
            });
        }
        let mut new: Vec<&Payment> = new.into_values().collect();
        new.sort_by_key(|payment| payment.at);
        for payment in new {
            self.take_in(payment.clone(), now, min_time_s, &mut events);
        }
        events
    }

    /// The oldest round that can be shared out.
    pub fn due(&self) -> Option<&Round> {
        self.live.iter().find(|round| round.is_due())
    }

    /// Sharing out begins: what the work of the oldest round that is due is worth, now and for good.
    ///
    /// # Errors
    /// [`SettlementError::NoWork`], which no round that ended has.
    pub fn share_out(&mut self, fee: FeePpm) -> Result<Option<(RoundId, Rate)>, SettlementError> {
        let Some(round) = self.live.iter_mut().find(|round| round.is_due()) else { return Ok(None) };
        let rate = match round.rate {
            Some(rate) => rate,
            None => Rate::new(round.reward(), round.work, fee)?,
        };
        round.rate = Some(rate);
        Ok(Some((round.id, rate)))
    }

    /// Moves a round to the record that was shared out to the last owner.
    pub fn take(&mut self, id: RoundId) -> Option<Round> {
        let place = self.live.iter().position(|round| round.id == id && round.rate.is_some())?;
        Some(self.live.remove(place))
    }

    fn take_in(&mut self, payment: Payment, now: u64, min_time_s: u64, events: &mut Vec<RoundEvent>) {
        let little = |sats: Sats, usual: Sats| sats.get() < usual.get() / LEAST_PART;
        // Nor does a little take the place of a payment that left the chain and may be back in the next block.
        let takes_its_place = !little(payment.sats, self.usual);
        let waits = |round: &&mut Round| round.end.is_some() && round.payments.is_empty();
        if let Some(round) = self.live.iter_mut().find(waits).filter(|_| takes_its_place) {
            events.push(RoundEvent::Paid(round.id, payment.clone()));
            round.payments.push(payment);
            return;
        }
        let (marks, usual) = (self.credited.clone(), self.usual);
        let open = self.open_mut();
        let id = open.id;
        events.push(RoundEvent::Paid(id, payment.clone()));
        open.payments.push(payment);
        let reward = open.reward();
        let early = now.saturating_sub(open.opened_at) < min_time_s;
        // What comes before any work was done waits for some, too.
        if open.work > Work::ZERO && !early && !little(reward, usual) {
            open.end = Some(RoundEnd { at: now, marks });
            events.push(RoundEvent::Ended(id));
            self.live.push(Round::opened(RoundId(id.0 + 1), now));
            self.usual = reward;
        }
    }

    fn open_mut(&mut self) -> &mut Round {
        if self.live.is_empty() {
            // Only the last round is never taken.
            self.live.push(Round::opened(RoundId::FIRST, 0));
        }
        let last = self.live.len() - 1;
        &mut self.live[last]
    }
}
