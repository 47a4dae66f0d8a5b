//! Stories of an account, then its promises by property: in a small world of a wallet and melt
//! quotes, where any answer may be late, doubled or lost with the process.

use std::collections::BTreeMap;

use poolbox_accounting::FeePpm;
use proptest::prelude::*;

use super::*;
use crate::payouts::rule::Target;

const THRESHOLD: u64 = 1_000;

fn rule() -> Rule {
    Rule {
        target: Target::Onchain("address".to_owned()),
        threshold: Sats::new(THRESHOLD),
        max_fee: FeePpm::new(100_000).unwrap(),
    }
}

fn at(now: u64) -> Moment {
    Moment { now, next: 1, rule: Some(rule()) }
}

fn offer(quote: &str, amount: u64, max_fee: u64) -> Offer {
    Offer { quote: quote.to_owned(), amount: Sats::new(amount), max_fee: Sats::new(max_fee) }
}

/// An account whose payout 1 of 1,100 sat was handed over with the quote `q`.
fn sent() -> Account {
    let mut account = Account::new("owner".to_owned());
    assert_eq!(account.step(Event::Tick, &at(10)).action, Action::Collect);
    let quote = Action::Quote { n: 1, rule: rule(), balance: Sats::new(1_200) };
    assert_eq!(account.step(Event::Holds(Sats::new(1_200)), &at(11)).action, quote);
    let offered = Event::Offered(1, offer("q", 1_100, 100));
    assert_eq!(account.step(offered, &at(12)).action, Action::GoOn);
    assert_eq!(account.step(Event::Tick, &at(13)).action, Action::Pay { n: 1, quote: "q".to_owned() });
    account
}

#[test]
fn a_payout_goes_from_intent_to_its_end_and_every_step_is_in_its_record() {
    let mut account = sent();
    let check = Action::Check { n: 1, quote: "q".to_owned() };
    assert_eq!(account.step(Event::Tick, &at(14)).action, check);
    let step = account.step(Event::Paid(1, Sats::new(1_130), Some("txid:0".to_owned())), &at(20));
    let ended = step.ended.unwrap();
    assert_eq!((ended.stage, ended.amount.get(), ended.fee), (Stage::Confirmed, 1_100, Some(Sats::new(30))));
    let times = (ended.planned_at, ended.quoted_at, ended.sent_at, ended.ended_at);
    assert_eq!(times, (11, Some(12), Some(13), Some(20)));
    assert_eq!((account.balance.get(), account.ended.as_slice()), (70, [1].as_slice()));
    assert!(account.payout.is_none());
}

#[test]
fn below_the_threshold_nothing_is_paid_unless_somebody_asks() {
    let mut account = Account::new("owner".to_owned());
    account.step(Event::Holds(Sats::new(999)), &at(0));
    assert_eq!(account.step(Event::Tick, &at(1)).action, Action::Wait);
    account.step(Event::Settled(Sats::new(1)), &at(2));
    assert_eq!(account.step(Event::Tick, &at(3)).action, Action::Collect, "with what an epoch owes");

    let mut account = Account::new("owner".to_owned());
    account.step(Event::Holds(Sats::new(5)), &at(0));
    account.step(Event::Asked, &at(1));
    assert_eq!(account.step(Event::Tick, &at(2)).action, Action::Collect);
    let step = account.step(Event::Holds(Sats::new(5)), &at(3));
    assert!(matches!(step.action, Action::Quote { .. }));
    let ended = account.step(Event::NotOffered(1, "too little".to_owned()), &at(4)).ended.unwrap();
    assert_eq!((ended.stage, ended.trouble.as_deref()), (Stage::Failed, Some("too little")));
    assert_eq!(account.step(Event::Tick, &at(100_000)).action, Action::Wait, "asked for once");
}

#[test]
fn a_fee_above_the_maximum_makes_the_payout_wait() {
    let mut account = Account::new("owner".to_owned());
    account.step(Event::Holds(Sats::new(2_000)), &at(0));
    let dear = Event::Offered(1, offer("q", 1_000, 101));
    assert_eq!(account.step(dear, &at(1)), Step { action: Action::Wait, ended: None });
    let trouble = account.trouble.clone().unwrap();
    assert!(trouble.contains("101 sat") && trouble.contains("100 sat"), "{trouble}");
    assert_eq!(account.step(Event::Tick, &at(15)).action, Action::Wait);
    assert_eq!(account.step(Event::Tick, &at(16)).action, Action::Collect);
    account.step(Event::Holds(Sats::new(2_000)), &at(16));
    assert_eq!(account.step(Event::Offered(1, offer("q2", 1_000, 100)), &at(17)).action, Action::GoOn);
    assert_eq!(account.payout.unwrap().attempts, 2);
}

#[test]
fn pauses_double_up_to_an_hour_and_success_ends_them() {
    let mut account = Account::new("owner".to_owned());
    let mut pauses = Vec::new();
    for try_at in 0..10 {
        let now = try_at * 10_000;
        account.step(Event::Holds(Sats::new(2_000)), &at(now));
        account.step(Event::NotOffered(1, "away".to_owned()), &at(now));
        pauses.push(account.not_before - now);
    }
    assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
    let mut paid = Account { failures: 9, payout: sent().payout, ..account };
    paid.step(Event::Paid(1, Sats::new(1_100), None), &at(0));
    assert_eq!((paid.failures, paid.not_before), (0, 0));
}

#[test]
fn a_payout_handed_over_ignores_a_new_rule_and_one_that_was_not_gives_way() {
    let mut account = sent();
    assert_eq!(account.step(Event::RuleChanged(Wish::default()), &at(20)).ended, None);
    assert!(account.payout.is_some());
    let mut account = Account::new("owner".to_owned());
    account.step(Event::Holds(Sats::new(2_000)), &at(0));
    let ended = account.step(Event::RuleChanged(Wish::default()), &at(1)).ended.unwrap();
    assert_eq!(ended.stage, Stage::Failed);
    let late = account.step(Event::Offered(1, offer("q", 1_000, 0)), &at(2));
    assert_eq!(late.action, Action::Wait, "an offer for a payout that gave way");
    assert!(account.payout.is_none());
}

/// How a melt quote of the small world stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Melt {
    Unpaid,
    Pending,
    Paid,
}

/// A wallet and the mint's melt quotes.
#[derive(Default)]
struct World {
    now: u64,
    wallet: u64,
    earned: u64,
    left: u64,
    quotes: BTreeMap<String, (u64, u64, Melt)>,
    numbers: u64,
    ended: Vec<Payout>,
}

impl World {
    /// Carries an action out as chance will have it; what is learnt.
    fn act(&mut self, action: Action, chance: u8) -> Option<Event> {
        match action {
            Action::Wait => None,
            Action::GoOn => Some(Event::Tick),
            Action::Collect if chance.is_multiple_of(5) => Some(Event::NotCollected("away".to_owned())),
            Action::Collect => Some(Event::Holds(Sats::new(self.wallet))),
            Action::Quote { n, rule, balance } => {
                if chance.is_multiple_of(4) {
                    return Some(Event::NotOffered(n, "away".to_owned()));
                }
                let amount = rule.payable(balance).get();
                let fee = amount * u64::from(chance) / 2_000;
                let quote = format!("q{}", self.quotes.len());
                self.quotes.insert(quote.clone(), (amount, fee, Melt::Unpaid));
                Some(Event::Offered(n, offer(&quote, amount, fee)))
            }
            Action::Pay { n, quote } => {
                let under_way = self.quotes.values().filter(|(.., melt)| *melt == Melt::Pending).count();
                assert_eq!(under_way, 0, "two payouts at once");
                let (amount, fee, melt) = self.quotes.get_mut(&quote).unwrap();
                assert_eq!(*melt, Melt::Unpaid, "{quote} was handed over twice");
                assert!(*amount + *fee <= self.wallet, "more than there is");
                *melt = if chance.is_multiple_of(3) { Melt::Unpaid } else { Melt::Pending };
                self.check(n, &quote, chance)
            }
            Action::Check { n, quote } => self.check(n, &quote, chance),
        }
    }

    fn check(&mut self, n: u64, quote: &str, chance: u8) -> Option<Event> {
        let (amount, fee, melt) = self.quotes.get_mut(quote).unwrap();
        let spent = *amount + *fee * u64::from(chance) / 255;
        match melt {
            Melt::Unpaid => Some(Event::Refused(n, "no".to_owned())),
            Melt::Pending if chance.is_multiple_of(2) => Some(Event::Pending(n)),
            Melt::Pending => {
                *melt = Melt::Paid;
                self.wallet -= spent;
                self.left += spent;
                // What was spent is kept for whoever asks again.
                *fee = spent - *amount;
                Some(Event::Paid(n, Sats::new(spent), None))
            }
            Melt::Paid => Some(Event::Paid(n, Sats::new(*amount + *fee), None)),
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_nothing_is_paid_twice_and_every_sat_is_accounted_for(
        happenings in proptest::collection::vec((0..8u8, any::<u8>()), 1..400),
    ) {
        let mut world = World::default();
        let mut account = Account::new("owner".to_owned());
        let mut action = Action::Wait;
        let mut late: Vec<Event> = Vec::new();
        for (what, chance) in happenings {
            world.now += u64::from(chance) * 10;
            let event = match what {
                0 => {
                    world.wallet += u64::from(chance) * 7;
                    world.earned += u64::from(chance) * 7;
                    Some(Event::Settled(Sats::new(u64::from(chance) * 7)))
                }
                1 => Some(Event::Tick),
                2 if chance < 40 => Some(Event::Asked),
                2 if chance < 60 => Some(Event::RuleChanged(Wish::default())),
                // An answer that was given before, once more.
                2 => late.get(usize::from(chance) % late.len().max(1)).cloned(),
                // The process ends: what was about to be done, and its answer, are lost.
                3 => {
                    let written = serde_json::to_vec(&account).unwrap();
                    account = serde_json::from_slice(&written).unwrap();
                    if chance.is_multiple_of(2) {
                        world.act(std::mem::replace(&mut action, Action::Wait), chance);
                    }
                    action = Action::Wait;
                    late.clear();
                    Some(Event::Tick)
                }
                _ => world.act(std::mem::replace(&mut action, Action::Wait), chance).or(Some(Event::Tick)),
            };
            let Some(event) = event else { continue };
            // A wallet's word is of the moment: it does not come late.
            if !matches!(event, Event::Holds(_) | Event::Settled(_)) {
                late.push(event.clone());
            }
            let is_tick = event == Event::Tick;
            let busy = action != Action::Wait;
            if is_tick && busy {
                // Whoever drives it ticks only when nothing is being done.
                continue;
            }
            let moment = Moment { now: world.now, next: world.numbers + 1, rule: Some(rule()) };
            let asked = account.asked;
            let step = account.step(event, &moment);
            if let Action::Quote { n, balance, .. } = &step.action {
                prop_assert!(balance.get() >= THRESHOLD || asked, "{balance} is below the threshold");
                world.numbers = world.numbers.max(*n);
            }
            prop_assert!(account.not_before <= world.now + LONGEST_PAUSE);
            if step.action != Action::Wait {
                action = step.action;
            }
            world.ended.extend(step.ended);
        }
        let confirmed: Vec<&Payout> = world.ended.iter().filter(|payout| payout.stage == Stage::Confirmed).collect();
        let paid: u64 = confirmed.iter().map(|payout| payout.amount.get() + payout.fee.unwrap().get()).sum();
        let unseen = account.payout.as_ref().and_then(|payout| payout.melt_quote.as_ref());
        let unseen = unseen.and_then(|quote| world.quotes.get(quote)).filter(|(.., melt)| *melt == Melt::Paid);
        let unseen = unseen.map_or(0, |(amount, fee, _)| amount + fee);
        prop_assert_eq!(paid + unseen, world.left, "records and wallet differ");
        prop_assert_eq!(world.wallet + world.left, world.earned);
        let mut quotes: Vec<_> = confirmed.iter().filter_map(|payout| payout.melt_quote.clone()).collect();
        quotes.sort();
        quotes.dedup();
        prop_assert_eq!(quotes.len(), confirmed.len(), "one quote, two payouts");
    }
}
