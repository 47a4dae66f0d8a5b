//! Variable difficulty: a pure state machine that steers a miner towards a steady share rate.
//!
//! All times are milliseconds of a clock that only moves forward. Steps are powers of two.

use poolbox_accounting::Difficulty;

/// One share every four seconds: 15 a minute.
const IDEAL_SHARE_MS: u64 = 4_000;
/// A verdict is due after so many shares …
const ENOUGH_SHARES: u64 = 16;
/// … or after so long.
const LONG_ENOUGH_MS: u64 = 60_000;
/// With no share at all, the difficulty falls this often, by [`SILENCE_STEPS`].
const SILENCE_MS: u64 = 20_000;
const SILENCE_STEPS: u32 = 3;

/// Between which difficulties a miner may be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VardiffLimits {
    /// The easiest.
    pub min: Difficulty,
    /// The hardest.
    pub max: Difficulty,
}

impl VardiffLimits {
    /// The nearest difficulty within the limits.
    pub fn clamp(self, difficulty: Difficulty) -> Difficulty {
        difficulty.clamp(self.min, self.max.max(self.min))
    }
}

/// One miner's difficulty over time.
#[derive(Clone, Debug)]
pub struct Vardiff {
    limits: VardiffLimits,
    difficulty: Difficulty,
    since_ms: u64,
    shares: u64,
}

impl Vardiff {
    /// Starts at `start`, brought within `limits`.
    pub fn new(start: Difficulty, limits: VardiffLimits, now_ms: u64) -> Self {
        Self { limits, difficulty: limits.clamp(start), since_ms: now_ms, shares: 0 }
    }

    /// What the miner should work at.
    pub const fn difficulty(&self) -> Difficulty {
        self.difficulty
    }

    /// Sets the hardest difficulty from now on.
    pub fn set_max(&mut self, max: Difficulty) {
        self.limits.max = max;
        self.difficulty = self.limits.clamp(self.difficulty);
    }

    /// Starts over at a difficulty that the miner asked for.
    pub fn restart(&mut self, wanted: Difficulty, now_ms: u64) {
        *self = Self::new(wanted, self.limits, now_ms);
    }

    /// A share arrived that was sent out at `difficulty`. Shares of another difficulty than the
    /// present one say nothing about it. Returns the new difficulty when it changes.
    pub fn on_share(&mut self, difficulty: Difficulty, now_ms: u64) -> Option<Difficulty> {
        if difficulty == self.difficulty {
            self.shares += 1;
        }
        self.on_tick(now_ms)
    }

    /// Time passed. Returns the new difficulty when it changes.
    pub fn on_tick(&mut self, now_ms: u64) -> Option<Difficulty> {
        let elapsed = now_ms.saturating_sub(self.since_ms);
        let next = if self.shares == 0 {
            if elapsed < SILENCE_MS {
                return None;
            }
            (0..SILENCE_STEPS).fold(self.difficulty, |difficulty, _| difficulty.easier())
        } else if self.shares < ENOUGH_SHARES && elapsed < LONG_ENOUGH_MS {
            return None;
        } else {
            self.steer(elapsed)
        };
        self.since_ms = now_ms;
        self.shares = 0;
        let next = self.limits.clamp(next);
        (next != self.difficulty).then(|| {
            self.difficulty = next;
            next
        })
    }

    /// Doubles while twice as many shares came as wanted, halves while half as many did.
    fn steer(&self, elapsed_ms: u64) -> Difficulty {
        let (mut difficulty, mut took) = (self.difficulty, elapsed_ms.max(1));
        let wanted = self.shares * IDEAL_SHARE_MS;
        while took.saturating_mul(2) <= wanted && difficulty < Difficulty::MAX {
            difficulty = difficulty.harder();
            took = took.saturating_mul(2);
        }
        while took >= wanted.saturating_mul(2) && difficulty > Difficulty::MIN {
            difficulty = difficulty.easier();
            took /= 2;
        }
        difficulty
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: VardiffLimits = VardiffLimits { min: Difficulty::MIN, max: Difficulty::MAX };

    /// An even-paced miner of `hashrate` (hashes a second): difficulty after `minutes`.
    fn settle(hashrate: f64, start: Difficulty, minutes: u64) -> Difficulty {
        let mut vardiff = Vardiff::new(start, LIMITS, 0);
        let (mut now, mut hashes) = (0u64, 0.0);
        while now < minutes * 60_000 {
            let difficulty = vardiff.difficulty();
            let share = difficulty.work().ehash() as f64 * 1_048_576.0;
            let share_ms = ((share - hashes).max(0.0) / hashrate * 1_000.0).ceil() as u64;
            let step = share_ms.clamp(1, 5_000);
            now += step;
            hashes += hashrate * step as f64 / 1_000.0;
            if hashes >= share {
                hashes = 0.0;
                vardiff.on_share(difficulty, now);
            } else {
                vardiff.on_tick(now);
            }
        }
        vardiff.difficulty()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_home_miner_settles_near_fifteen_shares_a_minute(
            log2_hashrate in 19.0f64..48.0, start in -12i8..=20,
        ) {
            let hashrate = log2_hashrate.exp2();
            let difficulty = settle(hashrate, Difficulty::from_log2(start).unwrap(), 10);
            let per_minute = hashrate * 60.0 / (difficulty.work().ehash() as f64 * 1_048_576.0);
            prop_assert!((7.0..=31.0).contains(&per_minute), "{per_minute} shares a minute at {difficulty}");
        }
    }

    #[test]
    fn shares_of_an_earlier_difficulty_do_not_count() {
        let mut vardiff = Vardiff::new(Difficulty::ONE, LIMITS, 0);
        for now in 0..100 {
            assert_eq!(vardiff.on_share(Difficulty::MIN, now), None);
        }
    }

    #[test]
    fn silence_lowers_the_difficulty_to_the_limit_and_no_further() {
        let limits = VardiffLimits { min: Difficulty::ONE, max: Difficulty::MAX };
        let mut vardiff = Vardiff::new(Difficulty::ONE.harder(), limits, 0);
        assert_eq!(vardiff.on_tick(SILENCE_MS), Some(Difficulty::ONE));
        assert_eq!(vardiff.on_tick(10 * SILENCE_MS), None);
    }
}
