//! Difficulty as advertised to miners: powers of two only, so that no firmware can round them.

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

    /// The hardest difficulty that every hash at or below `target` still meets: a share must never
    /// be harder to find than a block. [`Self::MIN`] where even that is harder.
    pub fn not_above(target: Target) -> Self {
        Self::all().rev().find(|difficulty| difficulty.target() >= target).unwrap_or(Self::MIN)
    }

    /// Twice as hard, or itself at the top.
    #[must_use]
    pub fn harder(self) -> Self {
        Self { log2: self.log2 + 1 }.min(Self::MAX)
    }

    /// Half as hard, or itself at the bottom.
    #[must_use]
    pub fn easier(self) -> Self {
        Self { log2: self.log2 - 1 }.max(Self::MIN)
    }

    /// The number sent in `mining.set_difficulty`: exact, since every power of two here is.
    pub fn as_f64(self) -> f64 {
        f64::from(self.log2).exp2()
    }

    /// The largest hash that is a share: difficulty-1 target divided by this difficulty.
    pub fn target(self) -> Target {
        let one = Target::MAX.to_be_bytes();
        Target::from_be_bytes(shift_right(one, i32::from(self.log2)))
    }

    /// What one share at this difficulty is worth.
    pub fn work(self) -> Work {
        // Every target between MIN and MAX has work that fits; the property test walks them all.
        Work::of_target(self.target()).unwrap_or(Work::ZERO)
    }

    fn all() -> impl DoubleEndedIterator<Item = Self> {
        (Self::MIN.log2..=Self::MAX.log2).map(|log2| Self { log2 })
    }
}

/// `number / 2^bits` for a 256-bit big-endian number; negative `bits` multiply.
fn shift_right(number: [u8; 32], bits: i32) -> [u8; 32] {
    let mut shifted = [0u8; 32];
    for to in 0..256i32 {
        let from = to + bits;
        if (0..256).contains(&from) && number[31 - from as usize / 8] >> (from % 8) & 1 == 1 {
            shifted[31 - to as usize / 8] |= 1 << (to % 8);
        }
    }
    shifted
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

    #[test]
    fn every_difficulty_has_its_exact_target_and_work() {
        for difficulty in Difficulty::all() {
            // 0xffff × 2^208 / 2^log2, so the work is 2^(12+log2) × 65536/65535, rounded down.
            let nominal = 1u128 << (i32::from(difficulty.log2()) + 12);
            let exact = nominal * 65_536 / 65_535;
            assert_eq!(u128::from(difficulty.work().ehash()), exact, "difficulty {difficulty}");
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
    }
}
