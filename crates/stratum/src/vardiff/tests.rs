use proptest::prelude::*;

use super::*;

const LIMITS: VardiffLimits = VardiffLimits { min: Difficulty::MIN, max: Difficulty::MAX };
const MINUTE_MS: u64 = 60_000;

fn power(log2: i8) -> Difficulty {
    Difficulty::from_log2(log2).unwrap()
}

fn new(start: i8) -> Vardiff {
    Vardiff::new(power(start), LIMITS, 0)
}

/// A share at the present difficulty every `every_ms`, and ticks in between.
fn pace(vardiff: &mut Vardiff, from_ms: u64, shares: u64, every_ms: u64) -> u64 {
    let mut now = from_ms;
    for _ in 0..shares {
        for tick in 1..every_ms / 1_000 {
            vardiff.on_tick(now + tick * 1_000);
        }
        now += every_ms;
        vardiff.on_share(vardiff.difficulty(), now);
    }
    now
}

fn silence(vardiff: &mut Vardiff, from_ms: u64, until_ms: u64) -> Vec<(u64, Difficulty)> {
    (from_ms..=until_ms)
        .step_by(1_000)
        .filter_map(|now| vardiff.on_tick(now).map(|difficulty| (now, difficulty)))
        .collect()
}

#[test]
fn it_fits_into_a_cache_line() {
    assert!(size_of::<Vardiff>() <= 64, "{} bytes", size_of::<Vardiff>());
}

#[test]
fn a_steady_pace_within_the_band_is_left_alone() {
    for every_ms in [2_800, 3_000, 4_000, 5_000, 5_700] {
        let mut vardiff = new(9);
        pace(&mut vardiff, 0, 10_000, every_ms);
        assert_eq!(vardiff.difficulty(), power(9), "a share every {every_ms} ms");
    }
}

#[test]
fn a_flood_is_raised_by_several_steps_after_a_few_shares() {
    let mut vardiff = new(-12);
    let raised = (1..=8).find_map(|share| vardiff.on_share(power(-12), share));
    assert_eq!(raised, Some(power(-4)));
    // What is still on its way was found at the old difficulty; enough of it raises further.
    let raised = (9..10_000).find_map(|share| vardiff.on_share(power(-12), share));
    assert!(raised > Some(power(-4)), "{raised:?}");
}

#[test]
fn late_shares_of_an_easier_job_do_not_raise_it_again() {
    let mut vardiff = new(0);
    // 256 times too fast: a share every 16 ms.
    let mut now = 0;
    while vardiff.difficulty() == power(0) {
        now += 16;
        vardiff.on_share(power(0), now);
    }
    let raised = vardiff.difficulty();
    assert!((power(6)..=power(8)).contains(&raised), "{raised}");
    for _ in 0..50 {
        now += 16;
        assert_eq!(vardiff.on_share(power(0), now), None);
    }
}

#[test]
fn late_shares_of_a_harder_job_do_not_raise_it() {
    let mut vardiff = new(9);
    let (now, lowered) = silence(&mut vardiff, 0, MINUTE_MS)[0];
    assert_eq!(lowered, power(6));
    for share in 0..100 {
        assert_eq!(vardiff.on_share(power(9), now + share), None);
    }
}

#[test]
fn a_burst_after_a_stalled_network_is_no_speed() {
    let mut vardiff = new(9);
    let mut now = pace(&mut vardiff, 0, 1_000, 4_000);
    for _ in 0..100 {
        assert_eq!(silence(&mut vardiff, now, now + 60_000), []);
        now += 60_000;
        for _ in 0..15 {
            assert_eq!(vardiff.on_share(power(9), now), None);
        }
    }
}

#[test]
fn silence_lowers_it_in_growing_steps_down_to_the_limit_and_no_further() {
    let mut vardiff = new(20);
    let falls: Vec<i8> =
        silence(&mut vardiff, 0, 10 * MINUTE_MS).into_iter().map(|(_, to)| to.log2()).collect();
    assert_eq!(falls, [17, 11, -1, -12]);
}

#[test]
fn silence_holds_at_the_floor_until_patience_ends() {
    let start = Start { difficulty: power(9), floor: Difficulty::ONE, known: false };
    let falls = silence(&mut Vardiff::begin(start, LIMITS, 0), 0, 10 * MINUTE_MS);
    let [.., (at_floor, Difficulty::ONE), (freed, _)] = falls[..] else { panic!("{falls:?}") };
    assert!((PATIENCE_MS..PATIENCE_MS + MINUTE_MS).contains(&(freed - at_floor)), "{falls:?}");
    // A machine that is known by name gets longer: it may be warming up.
    let start = Start { known: true, ..start };
    let mut known = Vardiff::begin(start, LIMITS, 0);
    silence(&mut known, 0, LONG_PATIENCE_MS);
    assert_eq!(known.difficulty(), Difficulty::ONE);
    silence(&mut known, LONG_PATIENCE_MS, LONG_PATIENCE_MS + 5 * MINUTE_MS);
    assert_eq!(known.difficulty(), Difficulty::MIN);
}

#[test]
fn a_measured_miner_that_pauses_for_an_hour_falls_by_eight_steps_at_most() {
    let mut vardiff = new(16);
    let now = pace(&mut vardiff, 0, 100, 4_000);
    silence(&mut vardiff, now, now + 60 * MINUTE_MS);
    assert_eq!(vardiff.difficulty(), power(8));
    assert_eq!(vardiff.measured(), Some(power(16)), "still what is worth remembering");
    silence(&mut vardiff, now, now + 24 * 60 * MINUTE_MS);
    assert_eq!(vardiff.difficulty(), Difficulty::MIN, "but nobody is starved");
}

#[test]
fn shares_prove_a_slow_miner_below_the_floor() {
    let start = Start { difficulty: Difficulty::ONE, floor: Difficulty::ONE, known: false };
    let mut vardiff = Vardiff::begin(start, LIMITS, 0);
    pace(&mut vardiff, 0, 40, 12_000);
    assert!((power(-2)..=power(-1)).contains(&vardiff.difficulty()), "{}", vardiff.difficulty());
}

#[test]
fn it_is_worth_remembering_once_measured() {
    let mut vardiff = new(9);
    let now = pace(&mut vardiff, 0, 20, 4_000);
    assert_eq!(vardiff.measured(), None);
    pace(&mut vardiff, now, 20, 4_000);
    assert_eq!(vardiff.measured(), Some(power(9)));
}

#[test]
fn a_wish_is_a_start_and_its_repetition_nothing() {
    let mut vardiff = new(9);
    vardiff.restart(power(3), 1_000);
    assert_eq!(vardiff.difficulty(), power(3));
    for share in 0..8 {
        vardiff.on_share(power(3), 1_001 + share);
    }
    let raised = vardiff.difficulty();
    assert!(raised > power(3));
    vardiff.restart(power(3), 2_000);
    assert_eq!(vardiff.difficulty(), raised);
    // Measured shares rule over any later wish.
    pace(&mut vardiff, 2_000, 40, 4_000);
    let measured = vardiff.difficulty();
    vardiff.restart(power(20), 200_000);
    assert_eq!(vardiff.difficulty(), measured);
}

#[test]
fn a_wish_below_the_floor_lowers_it() {
    let start = Start { difficulty: power(9), floor: Difficulty::ONE, known: false };
    let mut vardiff = Vardiff::begin(start, LIMITS, 0);
    vardiff.restart(power(-9), 0);
    assert_eq!(vardiff.difficulty(), power(-9));
}

#[test]
fn a_block_is_always_a_share() {
    let mut vardiff = new(9);
    pace(&mut vardiff, 0, 20, 4_000);
    vardiff.set_max(power(-3));
    assert_eq!(vardiff.difficulty(), power(-3));
    vardiff.set_min(power(2));
    assert_eq!(vardiff.difficulty(), power(-3), "whatever a device demands");
    for share in 0..1_000 {
        assert_eq!(vardiff.on_share(power(-3), 80_000 + share), None);
    }
}

#[test]
fn free_shares_remain_free() {
    let free = Difficulty::FREE;
    let mut vardiff = Vardiff::new(free, VardiffLimits { min: free, max: free }, 0);
    for now in 0..100_000 {
        assert_eq!(vardiff.on_share(free, now / 100), None);
    }
    assert_eq!(silence(&mut vardiff, 1_000, 100 * MINUTE_MS), []);
}

proptest! {
    #[test]
    fn whatever_happens_it_stays_within_its_limits(
        start in -12i8..=48, min in -12i8..=48, max in -12i8..=48,
        events in proptest::collection::vec((0u64..100_000, any::<bool>(), -12i8..=48), 0..200),
    ) {
        let limits = VardiffLimits { min: power(min), max: power(max) };
        let mut vardiff = Vardiff::new(power(start), limits, 0);
        let mut now = 0u64;
        for (wait, share, job) in events {
            now = now.saturating_add(wait << (wait % 40));
            let before = vardiff.difficulty();
            let changed = if share { vardiff.on_share(power(job), now) } else { vardiff.on_tick(now) };
            prop_assert_eq!(changed.unwrap_or(before), vardiff.difficulty());
            prop_assert_ne!(changed, Some(before));
            prop_assert_eq!(limits.clamp(vardiff.difficulty()), vardiff.difficulty());
        }
    }
}
