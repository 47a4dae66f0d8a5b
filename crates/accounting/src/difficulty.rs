//! Difficulty as advertised to miners: powers of two only, so that no firmware can round them.
//! Targets and work are looked up in tables made at compile time: every share asks for them.

use std::fmt;

use bitcoin::Target;
use serde::{Deserialize, Serialize};

use crate::Work;

/// A share difficulty of exactly 2^`log2`, relative to Bitcoin's difficulty-1 target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i8", into = "i8")]
pub struct Difficulty {
    log2: i8,
}

/// The share rate that a start is chosen for: one share every four seconds, 15 a minute.
const SHARE_EVERY_S: f64 = 4.0;
/// Hashes behind a share of difficulty 1.
const HASHES_AT_ONE: f64 = 4_294_967_296.0;

/// From [`Difficulty::FREE`] up to [`Difficulty::MAX`], by exponent.
const EXPONENTS: usize = (Difficulty::MAX.log2 - Difficulty::FREE.log2) as usize + 1;
static TARGETS: [[u8; 32]; EXPONENTS] = targets();
static WORKS: [Work; EXPONENTS] = works();

/// A difficulty outside the advertised range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("difficulty 2^{0} is outside 2^-12 to 2^48")]
pub struct DifficultyError(pub i8);

impl Difficulty {
    /// 2^-12: one ehash a share, what the smallest miners need.
    pub const MIN: Self = Self { log2: -12 };
    /// 1: a share every 2^32 hashes.
    pub const ONE: Self = Self { log2: 0 };
    /// 2^48: beyond any single machine.
    pub const MAX: Self = Self { log2: 48 };
    /// 2^-32, for load tests on regtest only and never advertised to a real miner: all but one hash
    /// in 65,536 is a share, and it is worth nothing ([`Work::ZERO`]). Outside [`Self::MIN`] to
    /// [`Self::MAX`]: no request, no step and no stored text leads to it.
    pub const FREE: Self = Self { log2: -32 };

    /// The difficulty 2^`log2`.
    ///
    /// # Errors
    /// [`DifficultyError`] outside 2^-12 to 2^48.
    pub const fn from_log2(log2: i8) -> Result<Self, DifficultyError> {
        if log2 < Self::MIN.log2 || log2 > Self::MAX.log2 {
            Err(DifficultyError(log2))
        } else {
            Ok(Self { log2 })
        }
    }

    /// The exponent: this difficulty is 2^`log2`.
    pub const fn log2(self) -> i8 {
        self.log2
    }

    /// The largest advertised difficulty at or below a requested one; the bounds where it lies
    /// outside them. `None` for anything that is not a positive number.
    pub fn at_most(requested: f64) -> Option<Self> {
        if requested.is_nan() || requested <= 0.0 {
            return None;
        }
        let fits = |difficulty: &Self| difficulty.as_f64() <= requested;
        Some(Self::all().rev().find(fits).unwrap_or(Self::MIN))
    }

    /// The difficulty at which a machine finds about 15 shares a minute, the nearest power of two
    /// by ratio. Nonsense ends at the bounds: nothing, negative and NaN at [`Self::MIN`], too much
    /// and infinity at [`Self::MAX`].
    pub fn for_hashrate(hashes_per_second: f64) -> Self {
        let ideal = hashes_per_second * SHARE_EVERY_S / HASHES_AT_ONE;
        // One at most a factor √2 above the ideal one.
        Self::at_most(ideal * std::f64::consts::SQRT_2).unwrap_or(Self::MIN)
    }

    /// The hardest difficulty that every hash at or below `target` still meets: a share must never
    /// be harder to find than a block. [`Self::MIN`] where even that is harder.
    pub fn not_above(target: Target) -> Self {
        Self::all().rev().find(|difficulty| difficulty.target() >= target).unwrap_or(Self::MIN)
    }

    /// Twice as hard, or itself at the top.
    #[must_use]
    pub fn harder(self) -> Self {
        self.harder_by(1)
    }

    /// Half as hard, or itself at the bottom.
    #[must_use]
    pub fn easier(self) -> Self {
        self.easier_by(1)
    }

    /// Twice as hard `steps` times, ending at the top.
    #[must_use]
    pub fn harder_by(self, steps: u8) -> Self {
        let log2 = i16::from(self.log2) + i16::from(steps);
        Self { log2: log2.clamp(Self::MIN.log2.into(), Self::MAX.log2.into()) as i8 }
    }

    /// Half as hard `steps` times, ending at the bottom.
    #[must_use]
    pub fn easier_by(self, steps: u8) -> Self {
        let log2 = i16::from(self.log2) - i16::from(steps);
        Self { log2: log2.max(Self::MIN.log2.min(self.log2).into()) as i8 }
    }

    /// The number sent in `mining.set_difficulty`: exact, since every power of two here is.
    pub fn as_f64(self) -> f64 {
        f64::from(self.log2).exp2()
    }

    /// The largest hash that is a share: difficulty-1 target divided by this difficulty.
    #[inline]
    pub fn target(self) -> Target {
        Target::from_be_bytes(TARGETS[self.index()])
    }

    /// What one share at this difficulty is worth.
    #[inline]
    pub fn work(self) -> Work {
        WORKS[self.index()]
    }

    const fn index(self) -> usize {
        (self.log2 - Self::FREE.log2) as usize
    }

    fn all() -> impl DoubleEndedIterator<Item = Self> {
        (Self::MIN.log2..=Self::MAX.log2).map(|log2| Self { log2 })
    }
}

/// The difficulty-1 target is 0xffff × 2^208: sixteen set bits, which each step moves by one.
const fn targets() -> [[u8; 32]; EXPONENTS] {
    let mut targets = [[0; 32]; EXPONENTS];
    let mut index = 0;
    while index < EXPONENTS {
        let lowest = (208 - Difficulty::FREE.log2 as isize) as usize - index;
        let mut bit = lowest;
        while bit < lowest + 16 {
            targets[index][31 - bit / 8] |= 1 << (bit % 8);
            bit += 1;
        }
        index += 1;
    }
    targets
}

/// `floor(2^256 / (target + 1) / 2^20)`, which is 2^(12 + log2) × 65536/65535, rounded down.
const fn works() -> [Work; EXPONENTS] {
    let mut works = [Work::ZERO; EXPONENTS];
    let mut index = Difficulty::MIN.index();
    while index < EXPONENTS {
        let nominal = 1u128 << (index - Difficulty::MIN.index());
        works[index] = Work::from_ehash((nominal * 65_536 / 65_535) as u64);
        index += 1;
    }
    works
}

impl TryFrom<i8> for Difficulty {
    type Error = DifficultyError;

    fn try_from(log2: i8) -> Result<Self, DifficultyError> {
        Self::from_log2(log2)
    }
}

impl From<Difficulty> for i8 {
    fn from(difficulty: Difficulty) -> Self {
        difficulty.log2
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkError;

    /// `target / 2^bits`, bit by bit; negative `bits` multiply.
    fn shifted(target: Target, bits: i32) -> Target {
        let (number, mut shifted) = (target.to_be_bytes(), [0u8; 32]);
        for to in 0..256i32 {
            let from = to + bits;
            if (0..256).contains(&from) && number[31 - from as usize / 8] >> (from % 8) & 1 == 1 {
                shifted[31 - to as usize / 8] |= 1 << (to % 8);
            }
        }
        Target::from_be_bytes(shifted)
    }

    #[test]
    fn every_difficulty_has_its_exact_target_and_work() {
        for difficulty in Difficulty::all() {
            let target = shifted(Target::MAX, difficulty.log2().into());
            assert_eq!(difficulty.target(), target, "difficulty {difficulty}");
            assert_eq!(Ok(difficulty.work()), Work::of_target(target), "difficulty {difficulty}");
        }
    }

    #[test]
    fn a_free_share_is_worth_nothing_and_nothing_leads_to_it() {
        let free = Difficulty::FREE;
        assert_eq!(free.target().to_be_bytes()[..3], [0xff, 0xff, 0]);
        assert_eq!(Work::of_target(free.target()), Err(WorkError::BelowOneEhash));
        assert_eq!(free.work(), Work::ZERO);
        assert_eq!(free.easier(), free);
        assert_eq!(free.harder(), Difficulty::MIN);
        assert_eq!(Difficulty::from_log2(free.log2()), Err(DifficultyError(-32)));
        assert_eq!(Difficulty::at_most(free.as_f64()), Some(Difficulty::MIN));
        assert!(serde_json::from_str::<Difficulty>("-32").is_err());
        assert!(Difficulty::all().all(|difficulty| difficulty > free));
    }

    #[test]
    fn a_start_by_hash_rate_gives_about_fifteen_shares_a_minute() {
        for log2 in 20..=60 {
            for fraction in [1.0, 1.19, 1.41, 1.68] {
                let hashrate = f64::from(log2).exp2() * fraction;
                let difficulty = Difficulty::for_hashrate(hashrate);
                let per_minute = 60.0 * hashrate / (difficulty.as_f64() * HASHES_AT_ONE);
                assert!((10.6..=21.3).contains(&per_minute), "{per_minute} a minute from {hashrate}");
            }
        }
        // A Bitaxe always claims 1 TH/s.
        assert_eq!(Difficulty::for_hashrate(1e12).log2(), 10);
        for nothing in [0.0, -1.0, 1e-300, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Difficulty::for_hashrate(nothing), Difficulty::MIN, "{nothing}");
        }
        for plenty in [1e30, f64::MAX, f64::INFINITY] {
            assert_eq!(Difficulty::for_hashrate(plenty), Difficulty::MAX, "{plenty}");
        }
    }

    #[test]
    fn a_request_is_rounded_down_to_a_power_of_two() {
        assert_eq!(Difficulty::at_most(1000.0).map(Difficulty::log2), Some(9));
        assert_eq!(Difficulty::at_most(0.00015), Some(Difficulty::MIN));
        assert_eq!(Difficulty::at_most(1e30), Some(Difficulty::MAX));
        for nonsense in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Difficulty::at_most(nonsense), None);
        }
    }

    #[test]
    fn a_share_is_never_harder_than_a_block() {
        assert_eq!(Difficulty::not_above(Target::MAX), Difficulty::ONE);
        // Devnet's first blocks: difficulty 0.001127.
        let devnet = Target::from_compact(bitcoin::CompactTarget::from_consensus(0x1e03_77ae));
        assert_eq!(Difficulty::not_above(devnet).log2(), -10);
        assert_eq!(Difficulty::not_above(Target::ZERO), Difficulty::MAX);
        assert_eq!(Difficulty::not_above(Target::MAX_ATTAINABLE_REGTEST), Difficulty::MIN);
    }

    #[test]
    fn steps_stop_at_the_bounds() {
        assert_eq!(Difficulty::MIN.easier(), Difficulty::MIN);
        assert_eq!(Difficulty::MAX.harder(), Difficulty::MAX);
        assert_eq!(Difficulty::ONE.harder().easier(), Difficulty::ONE);
        assert_eq!(Difficulty::MAX.easier_by(u8::MAX), Difficulty::MIN);
        assert_eq!(Difficulty::MIN.harder_by(u8::MAX), Difficulty::MAX);
    }
}
