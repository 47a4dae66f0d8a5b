//! Work: what a share is worth, counted in ehash.

use std::fmt;
use std::iter::Sum;

use bitcoin::Target;
use serde::{Deserialize, Serialize};

/// Expected hashes in one ehash, as a power of two.
const EHASH_LOG2_HASHES: usize = 20;

/// Work in **ehash**: 1 ehash stands for 2^20 expected hashes. Exact, never a luck-weighted value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Work(u64);

/// Why a target has no work that can be credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// The target is met by so many hashes that a share stands for less than one ehash.
    #[error("the share target is easier than one ehash (2^20 hashes); raise the difficulty to 2^-12 or more")]
    BelowOneEhash,
    /// The target is harder than any `u64` of ehash can count.
    #[error("the share target is harder than 2^84 expected hashes, which no share can be credited with")]
    TooHard,
}

impl Work {
    /// No work.
    pub const ZERO: Self = Self(0);

    /// Work of `ehash` ehash.
    pub const fn from_ehash(ehash: u64) -> Self {
        Self(ehash)
    }

    /// The number of ehash.
    pub const fn ehash(self) -> u64 {
        self.0
    }

    /// The work of a share found under `target`: `floor(2^256 / (target + 1) / 2^20)`.
    ///
    /// # Errors
    /// [`WorkError`] when the result is zero or does not fit 64 bits.
    pub fn of_target(target: Target) -> Result<Self, WorkError> {
        // `Target::to_work` is floor(2^256 / (target + 1)), as Bitcoin Core's GetBlockProof.
        // A target of zero would overflow it, and no hash meets that target anyway.
        if target == Target::ZERO {
            return Err(WorkError::TooHard);
        }
        let hashes = target.to_work().to_be_bytes();
        let (high, low) = hashes.split_at(16);
        if high.iter().any(|&byte| byte != 0) {
            return Err(WorkError::TooHard);
        }
        let low = low.iter().fold(0u128, |number, &byte| (number << 8) | u128::from(byte));
        match u64::try_from(low >> EHASH_LOG2_HASHES) {
            Ok(0) => Err(WorkError::BelowOneEhash),
            Ok(ehash) => Ok(Self(ehash)),
            Err(_) => Err(WorkError::TooHard),
        }
    }

    /// The sum, or `None` past 2^64 − 1 ehash.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` when `other` is larger.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }
}

impl Sum for Work {
    /// Adds up work; stays at the maximum instead of wrapping (2^84 hashes: out of reach).
    fn sum<I: Iterator<Item = Self>>(works: I) -> Self {
        works.fold(Self::ZERO, |sum, work| Self(sum.0.saturating_add(work.0)))
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ehash", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Difficulty;

    fn target(be: [u8; 32]) -> Target {
        Target::from_be_bytes(be)
    }

    #[test]
    fn difficulty_one_is_4096_ehash() {
        assert_eq!(Work::of_target(Target::MAX), Ok(Work::from_ehash(4096)));
    }

    #[test]
    fn the_smallest_advertised_difficulty_is_one_ehash() {
        assert_eq!(Work::of_target(Difficulty::MIN.target()), Ok(Work::from_ehash(1)));
    }

    #[test]
    fn extreme_targets_are_refused_not_wrapped() {
        assert_eq!(Work::of_target(target([0xff; 32])), Err(WorkError::BelowOneEhash));
        assert_eq!(Work::of_target(Target::ZERO), Err(WorkError::TooHard));
        let mut one = [0; 32];
        one[31] = 1;
        assert_eq!(Work::of_target(target(one)), Err(WorkError::TooHard));
    }

    proptest! {
        /// floor(2^256/(t+1)/2^20) recomputed for every t = 2^k − 1, where it is exactly 2^(236−k).
        #[test]
        fn a_power_of_two_target_gives_exactly_its_power(k in 173usize..=236) {
            let mut be = [0u8; 32];
            for bit in 0..k {
                be[31 - bit / 8] |= 1 << (bit % 8);
            }
            prop_assert_eq!(Work::of_target(target(be)), Ok(Work::from_ehash(1u64 << (236 - k))));
        }

        #[test]
        fn a_harder_target_is_never_worth_less(a in any::<[u8; 32]>(), b in any::<[u8; 32]>()) {
            let (hard, easy) = if a < b { (a, b) } else { (b, a) };
            if let (Ok(hard), Ok(easy)) = (Work::of_target(target(hard)), Work::of_target(target(easy))) {
                prop_assert!(hard >= easy);
            }
        }
    }
}
