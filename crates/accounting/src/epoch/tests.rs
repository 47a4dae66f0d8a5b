//! Tests of the epoch machine: the stories of the design, then the rules by property.

use bitcoin::hashes::Hash;
use proptest::prelude::*;

use super::*;
use crate::{FeePpm, QueueSeq, Sats, ShareSeq};

const REWARD: u64 = 5_000_000_000;

fn hash(n: u64) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    BlockHash::from_byte_array(bytes)
}

fn rules() -> EpochRules {
    EpochRules {
        min_epoch_time_s: 20,
        final_confirmations: 2,
        maturity_confirmations: 5,
        announcement_grace_s: 10,
    }
}

fn block(height: u32, id: u64, time: u32, pays: bool) -> Block {
    Block { height, hash: hash(id), time, reward: Sats::new(if pays { REWARD } else { 0 }) }
}

/// A chain at height 0 with 100 ehash credited to the first epoch.
fn started() -> Epochs {
    let mut epochs = Epochs::new(rules(), 0);
    credit(&mut epochs, 10, 100);
    epochs
}

/// The journal of stories with one pool.
const OURS: JournalId = JournalId::new([1; 16]);
/// Another pool's.
const THEIRS: JournalId = JournalId::new([2; 16]);

/// Where every share is an entry.
fn mark(n: u64) -> Mark {
    Mark { entry: QueueSeq::new(n), share: ShareSeq::new(n) }
}

fn credit(epochs: &mut Epochs, through: u64, work: u64) -> EpochId {
    epochs.credit(OURS, mark(through), Work::from_ehash(work), 0).unwrap().0
}

/// The share of a journal that ended an epoch.
fn ended_at(epochs: &Epochs, n: u64, journal: JournalId) -> Option<ShareSeq> {
    let boundary = epochs.get(EpochId::new(n))?.boundary()?;
    Some(boundary.2.of(journal).share)
}

#[test]
fn an_announced_block_closes_the_epoch_at_its_share() {
    let mut epochs = started();
    assert_eq!(epochs.connect(block(1, 1, 1_000, true), 0).unwrap(), []);
    let events = epochs.announce(hash(1), OURS, mark(11));
    assert!(matches!(&events[1], EpochEvent::Closed(EpochId::FIRST, marks) if marks.of(OURS) == mark(11)));
    assert!(events.contains(&EpochEvent::Opened(EpochId::new(2))), "{events:?}");
    assert_eq!(credit(&mut epochs, 12, 1), EpochId::new(2));
    assert_eq!(epochs.live()[1].state(), EpochState::Provisional);
    let events = epochs.connect(block(2, 2, 1_001, false), 0).unwrap();
    assert_eq!(events, [EpochEvent::Released(EpochId::new(2))]);
    for height in 3..5 {
        assert_eq!(epochs.connect(block(height, height.into(), 1_002, false), 0).unwrap(), []);
    }
    assert_eq!(epochs.connect(block(5, 5, 1_003, false), 0).unwrap(), [EpochEvent::Settled(EpochId::FIRST)]);
    let settled = epochs.take_settled();
    let rate = settled[0].rate(FeePpm::default()).unwrap();
    assert_eq!(rate.redeem(Work::from_ehash(50)), Ok(Sats::new(REWARD / 2)));
}

#[test]
fn an_announcement_the_chain_does_not_know_changes_nothing() {
    let mut epochs = started();
    assert_eq!(epochs.announce(hash(9), OURS, mark(11)), []);
    assert_eq!(credit(&mut epochs, 12, 1), EpochId::FIRST);
}

#[test]
fn an_unannounced_block_closes_at_the_first_entry_after_the_grace() {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 500).unwrap();
    let within = epochs.credit(OURS, mark(12), Work::from_ehash(1), 510).unwrap();
    assert_eq!(within, (EpochId::FIRST, vec![]));
    let (id, events) = epochs.credit(OURS, mark(15), Work::from_ehash(1), 511).unwrap();
    assert_eq!(id, EpochId::new(2));
    assert!(matches!(&events[1], EpochEvent::Closed(EpochId::FIRST, _)), "{events:?}");
    assert_eq!(ended_at(&epochs, 1, OURS), Some(ShareSeq::new(12)));
    assert_eq!(epochs.announce(hash(1), OURS, mark(11)), [], "the late announcement is moot");
}

#[test]
fn unannounced_blocks_without_work_between_them_share_out_with_one_epoch() {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 500).unwrap();
    epochs.connect(block(2, 2, 2_000, true), 500).unwrap();
    let (id, _) = epochs.credit(OURS, mark(15), Work::from_ehash(1), 511).unwrap();
    assert_eq!(id, EpochId::new(2));
    assert_eq!(epochs.live()[0].reward(), Sats::new(2 * REWARD));
    assert_eq!(epochs.live()[0].boundary().map(|(height, ..)| height), Some(2));
}

#[test]
fn a_payout_before_any_work_is_for_those_who_work_next() {
    let mut epochs = Epochs::new(rules(), 0);
    epochs.connect(block(1, 1, 1_000, true), 500).unwrap();
    let (id, events) = epochs.credit(OURS, mark(1), Work::from_ehash(1), 511).unwrap();
    assert_eq!((id, events.len()), (EpochId::FIRST, 1), "{events:?}");
    assert_eq!(epochs.live()[0].reward(), Sats::new(REWARD));
}

#[test]
fn a_payout_within_the_minimum_time_adds_to_the_open_epoch() {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 0).unwrap();
    epochs.announce(hash(1), OURS, mark(11));
    credit(&mut epochs, 12, 1);
    let young = block(2, 2, 1_019, true);
    let events = epochs.connect(young, 0).unwrap();
    assert!(matches!(events[0], EpochEvent::PayoutAdded(id, _) if id == EpochId::new(2)), "{events:?}");
    epochs.connect(block(3, 3, 1_020, true), 0).unwrap();
    epochs.announce(hash(3), OURS, mark(13));
    assert_eq!(epochs.live()[1].reward(), Sats::new(2 * REWARD));
    assert_eq!(epochs.live()[1].state(), EpochState::Closed);
}

#[test]
fn an_orphaned_block_dissolves_its_epoch() {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 0).unwrap();
    epochs.announce(hash(1), OURS, mark(11));
    credit(&mut epochs, 12, 7);
    epochs.disconnect(1, hash(1)).unwrap();
    let events = epochs.connect(block(1, 100, 1_000, false), 0).unwrap();
    assert_eq!(events, [EpochEvent::Dissolved { epoch: EpochId::new(2), into: EpochId::FIRST }]);
    assert_eq!(epochs.live().len(), 1);
    assert_eq!((epochs.live()[0].work, epochs.live()[0].reward()), (Work::from_ehash(107), Sats::ZERO));
    assert_eq!(epochs.live()[0].state(), EpochState::Open);
}

#[test]
fn another_block_of_ours_at_the_same_height_swaps_the_hash_and_restarts_the_clock() {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 0).unwrap();
    epochs.announce(hash(1), OURS, mark(11));
    epochs.disconnect(1, hash(1)).unwrap();
    let events = epochs.connect(block(1, 100, 1_002, true), 0).unwrap();
    assert!(matches!(events[..], [EpochEvent::BoundarySwapped(EpochId::FIRST, _)]), "{events:?}");
    assert_eq!(epochs.live()[0].boundary().map(|b| b.1), Some(hash(100)));
    assert_eq!(epochs.live()[0].reward(), Sats::new(REWARD));
    assert_eq!(epochs.live()[1].state(), EpochState::Provisional);
    let events = epochs.connect(block(2, 2, 1_003, false), 0).unwrap();
    assert_eq!(events, [EpochEvent::Released(EpochId::new(2))]);
}

#[test]
fn a_final_epoch_that_lost_its_block_is_paid_by_the_next_one() {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 0).unwrap();
    epochs.announce(hash(1), OURS, mark(11));
    epochs.connect(block(2, 2, 1_001, false), 0).unwrap();
    epochs.disconnect(2, hash(2)).unwrap();
    epochs.disconnect(1, hash(1)).unwrap();
    epochs.connect(block(1, 100, 1_000, false), 0).unwrap();
    assert_eq!(epochs.live().len(), 2);
    assert_eq!(epochs.live()[0].reward(), Sats::ZERO);
    epochs.connect(block(2, 200, 1_050, true), 0).unwrap();
    assert_eq!(epochs.live()[0].reward(), Sats::new(REWARD));
    assert_eq!(epochs.announce(hash(200), OURS, mark(20)), [], "it closes nothing else");
}

/// Epoch 1 settled by block 1, on a chain of five blocks.
fn settled() -> Epochs {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 0).unwrap();
    epochs.announce(hash(1), OURS, mark(11));
    for height in 2..6 {
        epochs.connect(block(height, height.into(), 1_001, false), 0).unwrap();
    }
    assert_eq!(epochs.live()[0].state(), EpochState::Settled);
    epochs
}

fn disconnect_to(epochs: &mut Epochs, height: u32) -> Vec<EpochEvent> {
    let gone = (height + 1..=epochs.tip()).rev();
    gone.flat_map(|height| epochs.disconnect(height, hash(height.into())).unwrap()).collect()
}

#[test]
fn a_mature_epoch_that_is_not_booked_matures_again_after_a_reorganisation() {
    let mut epochs = settled();
    disconnect_to(&mut epochs, 4);
    assert_eq!(epochs.live()[0].state(), EpochState::Closed);
    assert_eq!(epochs.take_settled(), []);
    let events = epochs.connect(block(5, 50, 1_001, false), 0).unwrap();
    assert_eq!(events, [EpochEvent::Settled(EpochId::FIRST)]);
}

#[test]
fn a_mature_reward_that_the_chain_lost_is_not_settled() {
    let mut epochs = settled();
    disconnect_to(&mut epochs, 0);
    for height in 1..7 {
        epochs.connect(block(height, u64::from(height) + 60, 1_001, false), 0).unwrap();
    }
    assert_eq!(epochs.take_settled(), []);
    assert_eq!((epochs.live()[0].state(), epochs.live()[0].reward()), (EpochState::Closed, Sats::ZERO));
}

#[test]
fn a_settled_payout_that_comes_back_is_not_shared_out_twice() {
    let mut epochs = settled();
    assert_eq!(epochs.take_settled().len(), 1);
    assert!(matches!(disconnect_to(&mut epochs, 0)[..], [EpochEvent::PayoutLost(EpochId::FIRST, _)]));
    assert_eq!(epochs.missing().count(), 1);
    let events = epochs.connect(block(1, 1, 1_000, true), 0).unwrap();
    assert!(matches!(events[..], [EpochEvent::PayoutAdded(EpochId::FIRST, _)]), "{events:?}");
    assert_eq!(epochs.missing().count(), 0);
    credit(&mut epochs, 30, 1);
    assert_eq!(epochs.live().len(), 1);
    assert_eq!(epochs.live()[0].reward(), Sats::ZERO);
}

#[test]
fn a_settled_payout_that_is_lost_for_good_is_made_good_by_the_next() {
    let mut epochs = settled();
    epochs.take_settled();
    disconnect_to(&mut epochs, 0);
    epochs.connect(block(1, 101, 1_000, false), 0).unwrap();
    epochs.connect(block(2, 102, 1_100, true), 0).unwrap();
    assert_eq!(epochs.missing().count(), 0);
    assert_eq!(epochs.announce(hash(102), OURS, mark(40)), [], "it closes nothing");
    assert_eq!(epochs.live()[0].reward(), Sats::ZERO);
}

#[test]
fn a_record_without_settled_payouts_is_read() {
    let mut value = serde_json::to_value(started()).unwrap();
    assert!(value.as_object_mut().unwrap().remove("shared_out").is_some());
    assert_eq!(serde_json::from_value::<Epochs>(value).unwrap(), started());
}

#[test]
fn blocks_out_of_order_are_refused() {
    let mut epochs = started();
    assert_eq!(epochs.connect(block(2, 1, 0, true), 0), Err(EpochError::Gap { height: 2, tip: 0 }));
    assert_eq!(epochs.disconnect(1, hash(1)), Err(EpochError::Gap { height: 1, tip: 0 }));
}

#[test]
fn a_boundary_is_exact_for_the_announcing_pool_and_what_was_credited_for_the_others() {
    let mut epochs = started();
    let theirs =
        |epochs: &mut Epochs, n, work| epochs.credit(THEIRS, mark(n), Work::from_ehash(work), 0).unwrap().0;
    theirs(&mut epochs, 70, 30);
    epochs.connect(block(1, 1, 1_000, true), 0).unwrap();
    // The announcement waits for nothing of theirs: what comes later is the next epoch's.
    epochs.announce(hash(1), OURS, mark(11));
    assert_eq!(theirs(&mut epochs, 71, 4), EpochId::new(2));
    assert_eq!(credit(&mut epochs, 12, 2), EpochId::new(2));
    assert_eq!(ended_at(&epochs, 1, OURS), Some(ShareSeq::new(11)));
    assert_eq!(ended_at(&epochs, 1, THEIRS), Some(ShareSeq::new(70)));
    let works: Vec<u64> = epochs.live().iter().map(|epoch| epoch.work.ehash()).collect();
    assert_eq!(works, [130, 6]);

    // Their block, at a share of theirs.
    epochs.connect(block(2, 2, 1_030, true), 0).unwrap();
    epochs.announce(hash(2), THEIRS, mark(90));
    assert_eq!(ended_at(&epochs, 2, OURS), Some(ShareSeq::new(12)));
    assert_eq!(ended_at(&epochs, 2, THEIRS), Some(ShareSeq::new(90)));
}

#[test]
fn one_block_that_two_pools_announce_closes_one_epoch() {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 0).unwrap();
    epochs.announce(hash(1), THEIRS, mark(3));
    assert_eq!(epochs.announce(hash(1), OURS, mark(11)), []);
    assert_eq!(epochs.live().len(), 2);
}

#[test]
fn records_of_one_journal_are_read_and_named() {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 0).unwrap();
    epochs.announce(hash(1), OURS, mark(11));
    let before = serde_json::to_string(&epochs).unwrap();
    let marks = format!(r#"{{"{OURS}":{{"entry":11,"share":11}}}}"#);
    let now = [format!(r#""marks":{marks}"#), format!(r#""credited":{marks}"#)];
    assert!(now.iter().all(|now| before.contains(now)), "{before}");
    let old = before.replace(&now[0], r#""share":11"#).replace(&now[1], r#""credited":11"#);

    let mut read: Epochs = serde_json::from_str(&old).unwrap();
    assert_eq!(ended_at(&read, 1, JournalId::UNNAMED), Some(ShareSeq::new(11)));
    read.name_journal(OURS);
    assert_eq!(ended_at(&read, 1, OURS), Some(ShareSeq::new(11)));
    assert_eq!(read.credited().of(OURS), Mark { entry: QueueSeq::START, share: ShareSeq::new(11) });
}

#[test]
fn more_work_than_can_be_counted_changes_nothing() {
    let mut epochs = started();
    let before = epochs.clone();
    let refused = epochs.credit(OURS, mark(12), Work::from_ehash(u64::MAX), 0);
    assert_eq!(refused, Err(EpochError::TooMuchWork(EpochId::FIRST)));
    assert_eq!(epochs, before);
}

#[test]
fn units_are_named_by_number() {
    assert_eq!(EpochId::of_unit("ehash-7"), Ok(EpochId::new(7)));
    for wrong in ["ehash", "ehash-", "ehash-07", "ehash-+7", "sat", "ehash-7 "] {
        assert!(EpochId::of_unit(wrong).is_err(), "{wrong}");
    }
}

/// One step of a random history with [`POOLS`] pools.
#[derive(Clone, Copy, Debug)]
enum Step {
    Credit {
        pool: usize,
        work: u64,
    },
    Mine {
        pays: bool,
        announced_by: Option<usize>,
        after_s: u32,
    },
    Reorganise {
        depth: usize,
        pays: bool,
    },
    /// The node goes back, and comes forward again by the same blocks.
    Return {
        depth: usize,
    },
    /// The treasury has seen what is mature.
    Book,
}

const POOLS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..POOLS, 1u64..1_000).prop_map(|(pool, work)| Step::Credit { pool, work }),
        4 => (any::<bool>(), prop::option::of(0..POOLS), 0u32..60)
            .prop_map(|(pays, announced_by, after_s)| Step::Mine { pays, announced_by, after_s }),
        // Finality is at 2, maturity at 5.
        1 => (1usize..9, any::<bool>()).prop_map(|(depth, pays)| Step::Reorganise { depth, pays }),
        1 => (1usize..9).prop_map(|depth| Step::Return { depth }),
        1 => Just(Step::Book),
    ]
}

fn journal(pool: usize) -> JournalId {
    JournalId::new([pool as u8 + 1; 16])
}

/// What each journal's entries after `from` and up to `to` credit; an announcement credits nothing.
fn work_between(entries: &[Vec<u64>; POOLS], from: &Marks, to: &Marks) -> u64 {
    let of_pool = |(pool, works): (usize, &Vec<u64>)| {
        let end = |marks: &Marks| marks.of(journal(pool)).entry.get() as usize;
        works[end(from)..end(to)].iter().sum::<u64>()
    };
    entries.iter().enumerate().map(of_pool).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever happens: each entry of each pool is in exactly one epoch, the one that the boundaries
    /// tell; every payout of ours on the chain is in exactly one place, one epoch is open, and a
    /// released epoch never dissolves.
    #[test]
    fn no_work_and_no_payout_is_lost_or_counted_twice(steps in prop::collection::vec(step(), 1..80)) {
        let mut epochs = Epochs::new(rules(), 0);
        let mut chain: Vec<Block> = Vec::new();
        let mut entries: [Vec<u64>; POOLS] = Default::default();
        let (mut ids, mut now, mut time) = (0u64, 0u64, 1_000u32);
        let (mut settled, mut released): (Vec<Epoch>, Vec<EpochId>) = (vec![], vec![]);
        for step in steps {
            now += 3;
            let mut events = Vec::new();
            match step {
                Step::Credit { pool, work } => {
                    entries[pool].push(work);
                    let mark = mark(entries[pool].len() as u64);
                    events = epochs.credit(journal(pool), mark, Work::from_ehash(work), now).unwrap().1;
                }
                Step::Mine { pays, announced_by, after_s } => {
                    ids += 1;
                    time += after_s;
                    let next = block(chain.len() as u32 + 1, ids, time, pays);
                    chain.push(next);
                    events.extend(epochs.connect(next, now).unwrap());
                    if let Some(pool) = announced_by {
                        entries[pool].push(0);
                        let mark = mark(entries[pool].len() as u64);
                        let told = epochs.announce(next.hash, journal(pool), mark);
                        for event in &told {
                            if let EpochEvent::Closed(_, marks) = event {
                                prop_assert_eq!(marks.of(journal(pool)), mark, "not exact for the announcer");
                            }
                        }
                        events.extend(told);
                    }
                }
                Step::Reorganise { depth, pays } => {
                    let depth = depth.min(chain.len());
                    for _ in 0..depth {
                        let gone = chain.pop().unwrap();
                        events.extend(epochs.disconnect(gone.height, gone.hash).unwrap());
                    }
                    for _ in 0..=depth {
                        ids += 1;
                        let next = block(chain.len() as u32 + 1, ids, time, pays);
                        chain.push(next);
                        events.extend(epochs.connect(next, now).unwrap());
                    }
                }
                Step::Return { depth } => {
                    let again = chain.len() - depth.min(chain.len());
                    for gone in chain[again..].iter().rev() {
                        events.extend(epochs.disconnect(gone.height, gone.hash).unwrap());
                    }
                    for back in &chain[again..] {
                        events.extend(epochs.connect(*back, now).unwrap());
                    }
                }
                Step::Book => {
                    for gone in epochs.take_settled() {
                        prop_assert!(gone.reward() > Sats::ZERO, "settled without a reward");
                        settled.push(gone);
                    }
                }
            }
            for event in &events {
                if let EpochEvent::Dissolved { epoch, .. } = event {
                    prop_assert!(!released.contains(epoch), "a released epoch dissolved");
                }
                if let EpochEvent::Released(epoch) = event {
                    released.push(*epoch);
                }
            }
            let mut from = Marks::default();
            // One that lost its reward settles after later ones.
            let mut all: Vec<&Epoch> = settled.iter().chain(epochs.live()).collect();
            all.sort_by_key(|epoch| epoch.id);
            for epoch in all {
                let to = epoch.boundary().map_or_else(|| epochs.credited().clone(), |(.., marks)| marks.clone());
                prop_assert_eq!(epoch.work.ehash(), work_between(&entries, &from, &to), "epoch {}", epoch.id);
                from = to;
            }
            for (pool, works) in entries.iter().enumerate() {
                prop_assert_eq!(from.of(journal(pool)).entry.get(), works.len() as u64);
            }

            let mut held: Vec<BlockHash> = epochs.unannounced.iter().map(|waiting| waiting.payout.hash).collect();
            held.extend(epochs.live().iter().flat_map(|epoch| epoch.payouts.iter().map(|payout| payout.hash)));
            held.extend(epochs.shared_out.iter().filter(|shared| !shared.lost).map(|shared| shared.payout.hash));
            prop_assert_eq!(epochs.shared_out.len(), settled.iter().map(|epoch| epoch.payouts.len()).sum::<usize>());
            let mut ours: Vec<BlockHash> =
                chain.iter().filter(|block| block.reward > Sats::ZERO).map(|block| block.hash).collect();
            held.sort();
            ours.sort();
            prop_assert_eq!(held, ours);

            let (last, earlier) = epochs.live().split_last().unwrap();
            prop_assert!(last.boundary.is_none());
            prop_assert!(earlier.iter().all(|epoch| epoch.boundary.is_some()));
            let numbers: Vec<u64> = epochs.live().iter().map(|epoch| epoch.id.get()).collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", numbers);
        }
    }

    /// The record that is written to disk is the whole state.
    #[test]
    fn the_state_survives_a_restart(works in prop::collection::vec(1u64..1_000, 1..10)) {
        let mut epochs = Epochs::new(rules(), 0);
        for (place, work) in works.iter().enumerate() {
            credit(&mut epochs, place as u64, *work);
            let height = place as u32 + 1;
            epochs.connect(block(height, height.into(), height * 25, true), 0).unwrap();
            epochs.announce(hash(height.into()), OURS, mark(place as u64));
            let text = serde_json::to_string(&epochs).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Epochs>(&text).unwrap(), &epochs);
        }
    }
}
