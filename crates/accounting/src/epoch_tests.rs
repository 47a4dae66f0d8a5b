//! Tests of the epoch machine: the stories of the design, then the rules by property.

use bitcoin::hashes::Hash;
use proptest::prelude::*;

use super::*;

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

fn credit(epochs: &mut Epochs, through: u64, work: u64) -> EpochId {
    epochs.credit(ShareSeq::new(through), Work::from_ehash(work), 0).unwrap().0
}

#[test]
fn an_announced_block_closes_the_epoch_at_its_share() {
    let mut epochs = started();
    assert_eq!(epochs.connect(block(1, 1, 1_000, true), 0).unwrap(), []);
    let events = epochs.announce(hash(1), ShareSeq::new(11));
    let closed = EpochEvent::Closed(EpochId::FIRST, ShareSeq::new(11));
    assert!(events.contains(&closed) && events.contains(&EpochEvent::Opened(EpochId::new(2))), "{events:?}");
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
    assert_eq!(epochs.announce(hash(9), ShareSeq::new(11)), []);
    assert_eq!(credit(&mut epochs, 12, 1), EpochId::FIRST);
}

#[test]
fn an_unannounced_block_closes_at_the_first_entry_after_the_grace() {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 500).unwrap();
    let within = epochs.credit(ShareSeq::new(12), Work::from_ehash(1), 510).unwrap();
    assert_eq!(within, (EpochId::FIRST, vec![]));
    let (id, events) = epochs.credit(ShareSeq::new(15), Work::from_ehash(1), 511).unwrap();
    assert_eq!(id, EpochId::new(2));
    assert!(events.contains(&EpochEvent::Closed(EpochId::FIRST, ShareSeq::new(12))), "{events:?}");
    assert_eq!(epochs.announce(hash(1), ShareSeq::new(11)), [], "the late announcement is moot");
}

#[test]
fn a_payout_within_the_minimum_time_adds_to_the_open_epoch() {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 0).unwrap();
    epochs.announce(hash(1), ShareSeq::new(11));
    credit(&mut epochs, 12, 1);
    let young = block(2, 2, 1_019, true);
    let events = epochs.connect(young, 0).unwrap();
    assert!(matches!(events[0], EpochEvent::PayoutAdded(id, _) if id == EpochId::new(2)), "{events:?}");
    epochs.connect(block(3, 3, 1_020, true), 0).unwrap();
    epochs.announce(hash(3), ShareSeq::new(13));
    assert_eq!(epochs.live()[1].reward(), Sats::new(2 * REWARD));
    assert_eq!(epochs.live()[1].state(), EpochState::Closed);
}

#[test]
fn an_orphaned_block_dissolves_its_epoch() {
    let mut epochs = started();
    epochs.connect(block(1, 1, 1_000, true), 0).unwrap();
    epochs.announce(hash(1), ShareSeq::new(11));
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
    epochs.announce(hash(1), ShareSeq::new(11));
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
    epochs.announce(hash(1), ShareSeq::new(11));
    epochs.connect(block(2, 2, 1_001, false), 0).unwrap();
    epochs.disconnect(2, hash(2)).unwrap();
    epochs.disconnect(1, hash(1)).unwrap();
    epochs.connect(block(1, 100, 1_000, false), 0).unwrap();
    assert_eq!(epochs.live().len(), 2);
    assert_eq!(epochs.live()[0].reward(), Sats::ZERO);
    epochs.connect(block(2, 200, 1_050, true), 0).unwrap();
    assert_eq!(epochs.live()[0].reward(), Sats::new(REWARD));
    assert_eq!(epochs.announce(hash(200), ShareSeq::new(20)), [], "it closes nothing else");
}

#[test]
fn blocks_out_of_order_are_refused() {
    let mut epochs = started();
    assert_eq!(epochs.connect(block(2, 1, 0, true), 0), Err(EpochError::Gap { height: 2, tip: 0 }));
    assert_eq!(epochs.disconnect(1, hash(1)), Err(EpochError::Gap { height: 1, tip: 0 }));
}

#[test]
fn units_are_named_by_number() {
    assert_eq!(EpochId::of_unit("ehash-7"), Ok(EpochId::new(7)));
    for wrong in ["ehash", "ehash-", "ehash-07", "ehash-+7", "sat", "ehash-7 "] {
        assert!(EpochId::of_unit(wrong).is_err(), "{wrong}");
    }
}

/// One step of a random history.
#[derive(Clone, Copy, Debug)]
enum Step {
    Credit(u64),
    Mine { pays: bool, announced: bool, after_s: u32 },
    Reorganise { depth: usize, pays: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..1_000).prop_map(Step::Credit),
        4 => (any::<bool>(), any::<bool>(), 0u32..60)
            .prop_map(|(pays, announced, after_s)| Step::Mine { pays, announced, after_s }),
        1 => (1usize..4, any::<bool>()).prop_map(|(depth, pays)| Step::Reorganise { depth, pays }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever happens: credited work is in exactly one epoch, every payout of ours on the chain is
    /// in exactly one place, one epoch is open, and a released epoch never dissolves.
    #[test]
    fn no_work_and_no_payout_is_lost_or_counted_twice(steps in prop::collection::vec(step(), 1..80)) {
        let mut epochs = Epochs::new(rules(), 0);
        let mut chain: Vec<Block> = Vec::new();
        let (mut ids, mut share, mut credited, mut now, mut time) = (0u64, 0u64, 0u64, 0u64, 1_000u32);
        let (mut settled_work, mut settled): (u64, Vec<Epoch>) = (0, Vec::new());
        for step in steps {
            now += 3;
            let mut events = Vec::new();
            match step {
                Step::Credit(work) => {
                    share += 1;
                    credited += work;
                    events = epochs.credit(ShareSeq::new(share), Work::from_ehash(work), now).unwrap().1;
                }
                Step::Mine { pays, announced, after_s } => {
                    ids += 1;
                    time += after_s;
                    let next = block(chain.len() as u32 + 1, ids, time, pays);
                    chain.push(next);
                    events.extend(epochs.connect(next, now).unwrap());
                    if announced {
                        events.extend(epochs.announce(next.hash, ShareSeq::new(share)));
                    }
                }
                Step::Reorganise { depth, pays } => {
                    // As deep as maturity would take money that was paid out: not this machine's to mend.
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
            }
            for event in &events {
                if let EpochEvent::Dissolved { epoch, .. } = event {
                    let released = settled.iter().any(|s| s.id == *epoch);
                    prop_assert!(!released, "a settled epoch dissolved");
                }
            }
            for gone in epochs.take_settled() {
                settled_work += gone.work.ehash();
                settled.push(gone);
            }
            let live_work: u64 = epochs.live().iter().map(|epoch| epoch.work.ehash()).sum();
            prop_assert_eq!(live_work + settled_work, credited);

            let mut held: Vec<BlockHash> = epochs.unannounced.iter().map(|waiting| waiting.payout.hash).collect();
            held.extend(epochs.live().iter().chain(&settled).flat_map(|e| e.payouts.iter().map(|p| p.hash)));
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
            epochs.announce(hash(height.into()), ShareSeq::new(place as u64));
            let text = serde_json::to_string(&epochs).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Epochs>(&text).unwrap(), &epochs);
        }
    }
}
