//! The quote queue's messages: all that passes from the pool to the mint.

use std::fmt;

use bitcoin::BlockHash;
use poolbox_accounting::{Owner, ShareSeq, Work};

/// Place of an entry in the quote queue: 1 for the first, without gaps. A reader's cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueSeq(u64);

impl QueueSeq {
    /// The place before the first entry.
    pub const START: Self = Self(0);

    /// The entry numbered `seq`.
    pub const fn new(seq: u64) -> Self {
        Self(seq)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for QueueSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One entry of the quote queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// Its place.
    pub seq: QueueSeq,
    /// When it was queued, Unix seconds.
    pub at: u64,
    /// What the mint is told.
    pub message: QuoteMessage,
}

/// What the pool tells the mint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuoteMessage {
    /// Shares were accepted: grow this owner's quote. The shares are all of the owner's that were
    /// not queued before, up to `through`; they never lie on both sides of an [`Self::Update`].
    Create {
        /// Who is credited.
        owner: Owner,
        /// The sum of the shares' work.
        work: Work,
        /// The last of the shares.
        through: ShareSeq,
    },
    /// A share solved a block. Everything up to and including it was queued before this entry.
    Update {
        /// The share.
        share: ShareSeq,
        /// Height of the block.
        height: u32,
        /// Hash of the block.
        block_hash: BlockHash,
    },
}
