//! Satoshis.

use std::fmt;
use std::iter::Sum;

use serde::{Deserialize, Serialize};

/// An amount of bitcoin in satoshis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sats(u64);

impl Sats {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// `sats` satoshis.
    pub const fn new(sats: u64) -> Self {
        Self(sats)
    }

    /// The number of satoshis.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum, or `None` past 2^64 − 1.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or zero when `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Sats {
    /// Adds up; stays at the maximum instead of wrapping (more than all bitcoin by far).
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, |sum, amount| Self(sum.0.saturating_add(amount.0)))
    }
}

impl fmt::Display for Sats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sat", self.0)
    }
}
