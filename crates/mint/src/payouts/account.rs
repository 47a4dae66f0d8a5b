//! An owner's payouts as a pure state machine: what was learnt goes in, what to do next comes out.
//! Whoever drives it writes the account down before doing what it says; whatever was cut off is
//! taken up again by the next tick.
//!
//! What is promised: one payout under way at most; none handed over twice; a payout handed over ends
//! by its melt quote's word alone; no more is paid than the balance covers, the fee included; no
//! payout below the threshold unless somebody asked for it; pauses between tries are bounded.

use poolbox_accounting::Sats;
use serde::{Deserialize, Serialize};

use super::payout::{Offer, Payout, Stage};
use super::rule::{Rule, Wish};

/// Pause after the first failure, in seconds; it doubles with each further one.
const FIRST_PAUSE: u64 = 15;
/// The longest pause between tries, in seconds.
const LONGEST_PAUSE: u64 = 3_600;
/// Payouts whose numbers an account remembers.
const REMEMBERED: usize = 20;

/// An owner's payouts: what is written down of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Canonical text of the owner.
    pub owner: String,
    /// What was set for the owner.
    pub wish: Wish,
    /// Sats in the box's wallet when it was last looked at.
    pub balance: Sats,
    /// What settled epochs owe besides, as the books say it.
    pub uncollected: Sats,
    /// Whether the wallet has to be looked at, whatever the figures say.
    pub look: bool,
    /// Whether somebody asked for a payout without regard to the threshold.
    pub asked: bool,
    /// Tries in a row that failed.
    pub failures: u32,
    /// No try before this time, Unix seconds.
    pub not_before: u64,
    /// Why the last try failed.
    pub trouble: Option<String>,
    /// The payout under way.
    pub payout: Option<Payout>,
    /// Numbers of the latest payouts that ended, newest last.
    pub ended: Vec<u64>,
}

/// What was learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// An epoch settled that owes so much.
    Settled(Sats),
    /// Somebody wants a payout now.
    Asked,
    /// The rule was set, changed or taken away.
    RuleChanged(Wish),
    /// What the wallet holds, after everything due was collected into it.
    Holds(Sats),
    /// Not everything that is due could be brought into the wallet.
    NotCollected(String),
    /// The mint's offer for payout `n`.
    Offered(u64, Offer),
    /// There is no offer for payout `n`.
    NotOffered(u64, String),
    /// Payout `n` was paid; what left the balance for it, and what proves it.
    Paid(u64, Sats, Option<String>),
    /// Payout `n` is neither paid nor refused yet.
    Pending(u64),
    /// Payout `n` ended without payment, and its quote will never be paid.
    Refused(u64, String),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something is learnt.
    Wait,
    /// Bring everything due into the wallet and say what it holds.
    Collect,
    /// Ask for an offer that `balance` covers.
    Quote {
        /// The payout's number.
        n: u64,
        /// The rule that it follows.
        rule: Rule,
        /// What there is.
        balance: Sats,
    },
    /// Tick at once: the step is written down, the next one follows.
    GoOn,
    /// Pay this quote.
    Pay {
        /// The payout's number.
        n: u64,
        /// Its melt quote.
        quote: String,
    },
    /// See what became of this quote.
    Check {
        /// The payout's number.
        n: u64,
        /// Its melt quote.
        quote: String,
    },
}

/// What a step may look at besides the account.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Unix seconds.
    pub now: u64,
    /// The number that a new payout takes.
    pub next: u64,
    /// The rule that applies, after the event.
    pub rule: Option<Rule>,
}

/// What a step brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do once the account is written down.
    pub action: Action,
    /// A payout that ended.
    pub ended: Option<Payout>,
}

impl From<Action> for Step {
    fn from(action: Action) -> Self {
        Self { action, ended: None }
    }
}

impl Account {
    /// An account of an owner whose wallet nobody has looked at.
    pub fn new(owner: String) -> Self {
        Self {
            owner,
            wish: Wish::default(),
            balance: Sats::ZERO,
            uncollected: Sats::ZERO,
            look: true,
            asked: false,
            failures: 0,
            not_before: 0,
            trouble: None,
            payout: None,
            ended: Vec::new(),
        }
    }

    /// What the next payout would be made from.
    pub fn total(&self) -> Sats {
        [self.balance, self.uncollected].into_iter().sum()
    }

    /// Takes an event in.
    pub fn step(&mut self, event: Event, moment: &Moment) -> Step {
        let now = moment.now;
        match event {
            Event::Tick => self.tick(moment).into(),
            Event::Settled(owed) => {
                self.uncollected = [self.uncollected, owed].into_iter().sum();
                Action::Wait.into()
            }
            Event::Asked => {
                self.asked = true;
                self.not_before = 0;
                Action::Wait.into()
            }
            Event::RuleChanged(wish) => self.rule_changed(wish, now),
            Event::Holds(balance) => self.holds(balance, moment),
            Event::NotCollected(trouble) => {
                self.look = true;
                self.fail(trouble, now);
                Action::Wait.into()
            }
            Event::Offered(n, offer) => self.offered(n, offer, moment),
            Event::NotOffered(n, trouble) => self.not_offered(n, trouble, moment),
            Event::Paid(n, spent, proof) => self.paid(n, spent, proof, now),
            Event::Pending(_) => Action::Wait.into(),
            Event::Refused(n, trouble) => {
                if self.at(n, Stage::Sent).is_none() {
                    return Action::Wait.into();
                }
                self.look = true;
                self.fail(trouble.clone(), now);
                self.end(|payout| payout.failed(trouble, now))
            }
        }
    }

    fn tick(&mut self, moment: &Moment) -> Action {
        let rested = moment.now >= self.not_before;
        let due = self.is_due(moment);
        match &mut self.payout {
            Some(payout) => match (payout.stage, payout.melt_quote.clone()) {
                (Stage::Quoted, Some(quote)) => {
                    payout.sent(moment.now);
                    Action::Pay { n: payout.n, quote }
                }
                (Stage::Sent, Some(quote)) => Action::Check { n: payout.n, quote },
                _ if rested => Action::Collect,
                _ => Action::Wait,
            },
            None if rested && due => Action::Collect,
            None => Action::Wait,
        }
    }

    fn is_due(&self, moment: &Moment) -> bool {
        moment.rule.as_ref().is_some_and(|rule| self.look || self.asked || self.total() >= rule.threshold)
    }

    fn holds(&mut self, balance: Sats, moment: &Moment) -> Step {
        if self.payout.as_ref().is_some_and(|payout| payout.stage != Stage::Planned) {
            return Action::Wait.into();
        }
        self.balance = balance;
        self.uncollected = Sats::ZERO;
        self.look = false;
        let enough = |rule: &&Rule| balance > Sats::ZERO && (self.asked || balance >= rule.threshold);
        let Some(rule) = moment.rule.as_ref().filter(enough) else {
            if self.asked {
                self.asked = false;
                self.trouble = Some("there was nothing to pay".to_owned());
            }
            let gone = "the balance was claimed in another way".to_owned();
            return self.end(|payout| payout.failed(gone, moment.now));
        };
        let planned = || Payout::planned(moment.next, self.owner.clone(), rule.target.clone(), moment.now);
        let payout = self.payout.get_or_insert_with(planned);
        payout.attempts = payout.attempts.saturating_add(1);
        Action::Quote { n: payout.n, rule: rule.clone(), balance }.into()
    }

    fn offered(&mut self, n: u64, offer: Offer, moment: &Moment) -> Step {
        let Some(rule) = moment.rule.as_ref().filter(|_| self.at(n, Stage::Planned).is_some()) else {
            return Action::Wait.into();
        };
        let limit = rule.max_fee(offer.amount);
        if offer.max_fee > limit {
            let Offer { amount, max_fee, .. } = offer;
            let dear = format!("paying {amount} may cost {max_fee} now, and max_fee_ppm allows {limit}");
            return self.not_offered(n, dear, moment);
        }
        let covered = offer.amount.checked_add(offer.max_fee).is_some_and(|sum| sum <= self.balance);
        if !covered || offer.amount == Sats::ZERO {
            let Offer { amount, max_fee, .. } = offer;
            let short = format!("{} does not cover {amount} and a fee of up to {max_fee}", self.balance);
            return self.not_offered(n, short, moment);
        }
        if let Some(payout) = &mut self.payout {
            payout.quoted(offer, moment.now);
        }
        Action::GoOn.into()
    }

    fn not_offered(&mut self, n: u64, trouble: String, moment: &Moment) -> Step {
        if self.at(n, Stage::Planned).is_none() {
            return Action::Wait.into();
        }
        self.fail(trouble.clone(), moment.now);
        let below = moment.rule.as_ref().is_none_or(|rule| self.balance < rule.threshold);
        if below {
            // Asked for once: not tried for ever.
            self.asked = false;
            return self.end(|payout| payout.failed(trouble, moment.now));
        }
        if let Some(payout) = &mut self.payout {
            payout.trouble = Some(trouble);
        }
        Action::Wait.into()
    }

    fn paid(&mut self, n: u64, spent: Sats, proof: Option<String>, now: u64) -> Step {
        let Some(amount) = self.at(n, Stage::Sent).map(|payout| payout.amount) else {
            return Action::Wait.into();
        };
        self.balance = self.balance.saturating_sub(spent);
        self.look = true;
        self.asked = false;
        self.failures = 0;
        self.not_before = 0;
        self.trouble = None;
        self.end(|payout| payout.confirmed(spent.saturating_sub(amount), proof, now))
    }

    fn rule_changed(&mut self, wish: Wish, now: u64) -> Step {
        self.wish = wish;
        self.look = true;
        self.failures = 0;
        self.not_before = 0;
        self.trouble = None;
        // One that was handed over goes its way; the next one follows the new rule.
        if self.payout.as_ref().is_some_and(|payout| payout.stage == Stage::Sent) {
            return Action::Wait.into();
        }
        self.end(|payout| payout.failed("the rule was changed".to_owned(), now))
    }

    fn at(&self, n: u64, stage: Stage) -> Option<&Payout> {
        self.payout.as_ref().filter(|payout| payout.n == n && payout.stage == stage)
    }

    fn fail(&mut self, trouble: String, now: u64) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(pause(self.failures));
        self.trouble = Some(trouble);
    }

    fn end(&mut self, end: impl FnOnce(&mut Payout)) -> Step {
        let mut ended = self.payout.take();
        if let Some(payout) = &mut ended {
            end(payout);
            self.ended.push(payout.n);
            let many = self.ended.len().saturating_sub(REMEMBERED);
            self.ended.drain(..many);
        }
        Step { action: Action::Wait, ended }
    }
}

/// Seconds to wait after so many failures in a row.
fn pause(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_PAUSE << doublings).min(LONGEST_PAUSE)
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
