//! Tests of rounds: stories first, then the rules by property.

use bitcoin::Txid;
use bitcoin::hashes::Hash;
use proptest::prelude::*;

use super::*;
use crate::{QueueSeq, ShareSeq};

const JOURNAL: JournalId = JournalId::new([1; 16]);

fn payment(n: u8, sats: u64, is_final: bool) -> Payment {
    let id = PaymentId::Onchain { txid: Txid::from_byte_array([n; 32]), vout: 0 };
    Payment { id, sats: Sats::new(sats), at: u64::from(n), is_final }
}

fn mark(n: u64) -> Mark {
    Mark { entry: QueueSeq::new(n), share: ShareSeq::new(n) }
}

fn credit(rounds: &mut Rounds, n: u64, work: u64) -> u64 {
    rounds.credit(JOURNAL, mark(n), Work::from_ehash(work)).unwrap().get()
}

#[test]
fn a_payment_ends_the_round_and_is_shared_out_when_it_is_final() {
    let mut rounds = Rounds::default();
    assert_eq!(credit(&mut rounds, 3, 100), 1);
    let events = rounds.see(&[payment(1, 500, false)], 9, 0);
    assert_eq!(events, [RoundEvent::Paid(RoundId(1), payment(1, 500, false)), RoundEvent::Ended(RoundId(1))]);
    assert_eq!(credit(&mut rounds, 4, 7), 2, "later work is another round's");
    assert_eq!(rounds.share_out(FeePpm::default()), Ok(None), "it may vanish");
    assert_eq!(rounds.see(&[payment(1, 500, true)], 10, 0), []);
    let (id, rate) = rounds.share_out(FeePpm::default()).unwrap().unwrap();
    assert_eq!((id.get(), rate.redeem(Work::from_ehash(40))), (1, Ok(Sats::new(200))));
    let round = rounds.take(id).unwrap();
    assert_eq!(round.end.unwrap().marks.of(JOURNAL), mark(3));
    assert_eq!(rounds.live().len(), 1);
}

#[test]
fn a_payment_before_any_work_waits_for_some() {
    let mut rounds = Rounds::default();
    rounds.see(&[payment(1, 500, true)], 1, 0);
    assert_eq!((rounds.due(), rounds.open().get()), (None, 1));
    credit(&mut rounds, 1, 5);
    assert_eq!(rounds.due(), None);
    rounds.see(&[payment(1, 500, true), payment(2, 30, true)], 2, 0);
    assert_eq!(rounds.due().unwrap().reward(), Sats::new(530));
}

#[test]
fn a_round_whose_payment_vanished_is_paid_by_the_next() {
    let mut rounds = Rounds::default();
    credit(&mut rounds, 1, 5);
    rounds.see(&[payment(1, 500, false)], 1, 0);
    credit(&mut rounds, 2, 6);
    assert_eq!(rounds.see(&[], 2, 0), [RoundEvent::Lost(RoundId(1), payment(1, 500, false))]);
    rounds.see(&[payment(3, 49, true)], 3, 0);
    assert_eq!(rounds.due(), None, "a little more does not take its place");
    rounds.see(&[payment(3, 49, true), payment(2, 400, true)], 3, 0);
    let due = rounds.due().unwrap();
    assert_eq!((due.id.get(), due.reward()), (1, Sats::new(400)));
    assert_eq!(rounds.open().get(), 2, "the second round goes on");
}

#[test]
fn what_is_being_shared_out_does_not_change() {
    let mut rounds = Rounds::default();
    credit(&mut rounds, 1, 5);
    rounds.see(&[payment(1, 500, true)], 1, 0);
    let first = rounds.share_out(FeePpm::default()).unwrap();
    assert_eq!(rounds.see(&[], 2, 0), []);
    assert_eq!(rounds.share_out(FeePpm::new(1000).unwrap()).unwrap(), first);
    assert!(rounds.take(RoundId(2)).is_none(), "the open one stays");
}

#[test]
fn what_comes_early_or_brings_little_ends_no_round_and_is_not_lost() {
    let mut rounds = Rounds::default();
    let seen = [payment(1, 1000, true), payment(2, 99, true), payment(3, 1, true), payment(4, 400, true)];
    credit(&mut rounds, 1, 5);
    rounds.see(&seen[..1], 1_000_000, 3600);
    credit(&mut rounds, 2, 7);
    assert_eq!(rounds.see(&seen[..2], 1_010_000, 3600), [RoundEvent::Paid(RoundId(2), payment(2, 99, true))]);
    // Together with it, it is a tenth of the usual.
    rounds.see(&seen[..3], 1_010_000, 3600);
    assert_eq!((rounds.open().get(), rounds.live()[1].reward().get()), (3, 100));
    credit(&mut rounds, 3, 1);
    rounds.see(&seen, 1_013_599, 3600);
    assert_eq!((rounds.open().get(), rounds.live()[2].reward().get()), (3, 400), "a second too early");
}

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Credit(u64),
    /// A payment of so many sats arrives.
    Arrive(u64),
    /// The n-th of those that are there becomes final, or goes.
    Finish(usize),
    Vanish(usize),
    Share,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..1 << 40).prop_map(Step::Credit),
        3 => (0u64..1 << 40).prop_map(Step::Arrive),
        3 => (0usize..8).prop_map(Step::Finish),
        1 => (0usize..8).prop_map(Step::Vanish),
        2 => Just(Step::Share),
    ]
}

proptest! {
    #[test]
    fn work_and_payments_are_each_in_one_round_and_no_round_pays_what_can_vanish(
        steps in prop::collection::vec(step(), 1..80), fee in 0u32..=1_000_000, min_time_s in 0u64..4,
    ) {
        let mut rounds = Rounds::default();
        let (mut there, mut taken) = (Vec::<Payment>::new(), Vec::<Round>::new());
        let (mut work, mut arrived, mut gone) = (0, 0u8, 0u64);
        for (n, step) in (1u64..).zip(steps) {
            match step {
                Step::Credit(more) => {
                    credit(&mut rounds, n, more);
                    work += more;
                }
                Step::Arrive(sats) => {
                    arrived += 1;
                    there.push(payment(arrived, sats, false));
                }
                Step::Finish(which) => {
                    if let Some(payment) = there.get_mut(which) {
                        payment.is_final = true;
                    }
                }
                // Final is for good.
                Step::Vanish(which) => {
                    if there.get(which).is_some_and(|payment| !payment.is_final) {
                        gone += there.remove(which).sats.get();
                    }
                }
                Step::Share => {
                    if let Some((id, rate)) = rounds.share_out(FeePpm::new(fee).unwrap()).unwrap() {
                        let round = rounds.take(id).unwrap();
                        prop_assert!(round.payments.iter().all(|payment| payment.is_final));
                        prop_assert_eq!(rate.reward(), round.reward());
                        prop_assert_eq!(rate.work(), round.work);
                        prop_assert!(round.work > Work::ZERO && round.end.is_some());
                        there.retain(|payment| round.payments.iter().all(|paid| paid.id != payment.id));
                        taken.push(round);
                    }
                }
            }
            rounds.see(&there, n, min_time_s);

            let all: Vec<&Round> = taken.iter().chain(rounds.live()).collect();
            let mut ids: Vec<PaymentId> =
                all.iter().flat_map(|round| &round.payments).map(|payment| payment.id).collect();
            let count = ids.len();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), count, "a payment is in two rounds");
            prop_assert_eq!(all.iter().map(|round| round.work.ehash()).sum::<u64>(), work);
            let (last, ended) = rounds.live().split_last().unwrap();
            prop_assert!(last.end.is_none() && ended.iter().all(|round| round.end.is_some()));
            prop_assert!(rounds.live().is_sorted_by(|one, next| one.id < next.id));
        }
        let held: u64 = taken.iter().chain(rounds.live()).map(|round| round.reward().get()).sum();
        let sent: u64 = taken.iter().flat_map(|round| &round.payments).chain(&there).map(|paid| paid.sats.get()).sum();
        prop_assert_eq!(held, sent, "and {} sat vanished", gone);
        let text = serde_json::to_string(&rounds).unwrap();
        prop_assert_eq!(serde_json::from_str::<Rounds>(&text).unwrap(), rounds);
    }
}
