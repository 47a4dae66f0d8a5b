//! The place of a share in the journal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Sequence number of an accepted share in its journal: 1 for the first, without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShareSeq(u64);

impl ShareSeq {
    /// The place before the first share.
    pub const START: Self = Self(0);

    /// The share numbered `seq`.
    pub const fn new(seq: u64) -> Self {
        Self(seq)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ShareSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
