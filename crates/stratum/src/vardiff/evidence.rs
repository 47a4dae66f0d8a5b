//! Evidence that a share rate is too high or too low: shares counted over time, and sequential
//! likelihood-ratio tests on them. Integers only.
//!
//! Shares of a steady miner come at random (a Poisson process), so that a rate seen over a few
//! shares says little. Each [`Suspicion`] asks how much likelier the shares seen are at its own rate
//! than at the edge of what is fine; by Wald's inequality a miner at that edge is suspected wrongly
//! with a probability of at most e^-`proof` from any one beginning.

/// One share every four seconds: 15 a minute.
const IDEAL_MS: u64 = 4_000;
/// 20 shares a minute: below, nobody is suspected to be too fast. The first suspicion becomes likely
/// above 22.4 a minute.
const FAST_MS: u64 = 3_000;
/// 11¼ shares a minute: above, nobody is suspected to be too slow. The first suspicion becomes
/// likely below 10.1 a minute. A step down from 22.4 ends above that, so nobody swings to and fro.
const SLOW_MS: u64 = 5_333;
/// Shares that may come at once after a pause without being taken for speed: a network that stalls
/// delivers in bursts.
const BURST: u64 = 16;
/// Fewest shares that prove a speed.
const FEWEST: u64 = 8;
/// Most steps that one verdict is trusted with, when shares were seen.
const MOST_STEPS: u8 = 8;
/// What is counted are fractions of a share: those of easier jobs weigh less.
const ONE_SHARE: u64 = 256;
/// Of ratios and logarithms below.
const SCALE: u64 = 10_000;

/// A rate that would be wrong, and how sure one must be of it.
struct Suspicion {
    /// How far its rate is from the edge, as a part of the edge's rate; in 1/[`SCALE`].
    distance: u64,
    /// The natural logarithm of the ratio of both rates, without its sign; in 1/[`SCALE`].
    logarithm: u64,
    /// Needed evidence, in nats: small mistakes are hard to tell from chance and do no harm.
    proof: u64,
}

/// 1¼, 1½, 2, 4 and 16 times the rate at the edge.
const TOO_FAST: [Suspicion; 5] = [
    Suspicion { distance: 2_500, logarithm: 2_231, proof: 28 },
    Suspicion { distance: 5_000, logarithm: 4_055, proof: 18 },
    Suspicion { distance: 10_000, logarithm: 6_931, proof: 16 },
    Suspicion { distance: 30_000, logarithm: 13_863, proof: 14 },
    Suspicion { distance: 150_000, logarithm: 27_726, proof: 14 },
];

/// The same parts of it.
const TOO_SLOW: [Suspicion; 5] = [
    Suspicion { distance: 2_000, logarithm: 2_231, proof: 28 },
    Suspicion { distance: 3_333, logarithm: 4_055, proof: 18 },
    Suspicion { distance: 5_000, logarithm: 6_931, proof: 16 },
    Suspicion { distance: 7_500, logarithm: 13_863, proof: 15 },
    Suspicion { distance: 9_375, logarithm: 27_726, proof: 15 },
];

/// Shares counted since a moment, in units of the present difficulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    since_ms: u64,
    /// In 1/[`ONE_SHARE`].
    shares: u32,
}

impl Window {
    pub const fn new(now_ms: u64) -> Self {
        Self { since_ms: now_ms, shares: 0 }
    }

    /// Adds a share of a job `steps` harder (easier, when negative) than the present difficulty: it
    /// stands for so much more (less) work.
    pub fn add(&mut self, steps: i16) {
        self.shares = self.shares.saturating_add(weight(steps));
    }

    /// The difficulty became `steps` harder (easier, when negative); the work seen remains the same.
    pub fn rescale(&mut self, steps: i16) {
        let shares = u64::from(self.shares);
        let shares = match u32::try_from(steps) {
            Ok(harder) => shares.checked_shr(harder).unwrap_or(0),
            Err(_) => shares << u32::from(steps.unsigned_abs()).min(31),
        };
        self.shares = u32::try_from(shares).unwrap_or(u32::MAX);
    }

    pub const fn is_empty(&self) -> bool {
        self.shares == 0
    }

    /// Whether there are enough to prove a speed by.
    pub fn proves(&self) -> bool {
        u64::from(self.shares) >= FEWEST * ONE_SHARE
    }

    pub fn holds(&self, shares: u32) -> bool {
        u64::from(self.shares) >= u64::from(shares) * ONE_SHARE
    }

    /// Never zero; ends at 49 days, so that products stay within 64 bits.
    pub fn elapsed_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.since_ms).clamp(1, u64::from(u32::MAX))
    }

    /// Whether so many shares prove that the rate is too high. Forgets what cannot contribute to it,
    /// but for a [`BURST`]'s worth of time.
    pub fn proves_speed(&mut self, now_ms: u64) -> bool {
        let (seen, expected) = self.scaled(now_ms, FAST_MS);
        if seen + BURST * ONE_SHARE * FAST_MS <= expected {
            *self = Self::new(now_ms.saturating_sub(BURST * FAST_MS));
            return false;
        }
        let proves = |suspicion: &Suspicion| {
            seen * suspicion.logarithm
                >= expected * suspicion.distance + suspicion.proof * SCALE * ONE_SHARE * FAST_MS
        };
        self.proves() && seen > expected && TOO_FAST.iter().any(proves)
    }

    /// Whether so few shares prove that the rate is too low; with nothing known of the miner, half
    /// the proof will do. Forgets what cannot contribute to it.
    pub fn proves_slowness(&mut self, now_ms: u64, stranger: bool) -> bool {
        let (seen, expected) = self.scaled(now_ms, SLOW_MS);
        if seen >= expected {
            *self = Self::new(now_ms);
            return false;
        }
        TOO_SLOW.iter().any(|suspicion| {
            let proof = if stranger { suspicion.proof / 2 } else { suspicion.proof };
            expected * suspicion.distance >= seen * suspicion.logarithm + proof * SCALE * ONE_SHARE * SLOW_MS
        })
    }

    /// Whether the plain average is above so many hundredths of the ideal rate.
    pub fn is_above(&self, percent: u64, now_ms: u64) -> bool {
        let (seen, expected) = self.scaled(now_ms, IDEAL_MS);
        seen * 100 > expected * percent
    }

    /// Whether it is less than half of what is fine.
    pub fn is_starved(&self, now_ms: u64) -> bool {
        let (seen, expected) = self.scaled(now_ms, SLOW_MS);
        seen * 2 < expected
    }

    /// Steps up that bring the average to at most √2 times the ideal rate.
    pub fn steps_up(&self, now_ms: u64) -> u8 {
        let (seen, expected) = self.scaled(now_ms, IDEAL_MS);
        let enough = |steps: &u8| seen * 1_000 <= (expected * 1_414) << *steps;
        (1..MOST_STEPS).find(enough).unwrap_or(MOST_STEPS)
    }

    /// Steps down that bring the average to at least 1/√2 of the ideal rate.
    pub fn steps_down(&self, now_ms: u64) -> u8 {
        let (seen, expected) = self.scaled(now_ms, IDEAL_MS);
        let enough = |steps: &u8| (seen * 1_414) << *steps >= expected * 1_000;
        (1..MOST_STEPS).find(enough).unwrap_or(MOST_STEPS)
    }

    /// Shares seen and shares expected at one every `every_ms`, both in the same unit.
    fn scaled(&self, now_ms: u64, every_ms: u64) -> (u64, u64) {
        (u64::from(self.shares) * every_ms, self.elapsed_ms(now_ms) * ONE_SHARE)
    }
}

/// The work of a share `steps` harder than the present difficulty. One that is much harder is an
/// accident of the change of jobs: its weight is bounded.
fn weight(steps: i16) -> u32 {
    const HEAVIEST: u32 = 6;
    match u32::try_from(steps) {
        Ok(harder) => (ONE_SHARE as u32) << harder.min(HEAVIEST),
        Err(_) => (ONE_SHARE as u32).checked_shr(steps.unsigned_abs().into()).unwrap_or(0),
    }
}
