//! The number of an epoch, and the ecash unit named after it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Number of an epoch, from 1. Its ecash unit is `ehash-<n>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EpochId(u64);

/// A unit that is no epoch's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not the unit of an epoch; those are written ehash-1, ehash-2, …")]
pub struct UnknownUnit(pub String);

impl EpochId {
    /// The first epoch of a box.
    pub const FIRST: Self = Self(1);

    /// Epoch number `n`.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The ecash unit of this epoch, `ehash-<n>`.
    pub fn unit(self) -> String {
        format!("ehash-{}", self.0)
    }

    /// The epoch whose ecash unit this is.
    ///
    /// # Errors
    /// [`UnknownUnit`] for any other text.
    pub fn of_unit(unit: &str) -> Result<Self, UnknownUnit> {
        let number = unit.strip_prefix("ehash-").and_then(|digits| u64::from_str(digits).ok());
        number.map(Self).filter(|id| id.unit() == unit).ok_or_else(|| UnknownUnit(unit.to_owned()))
    }

    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
