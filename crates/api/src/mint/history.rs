//! What an epoch went through, for whoever wants to check it against the chain.

use poolbox_accounting::{EpochId, Marks, Sats, Work};
use serde::{Deserialize, Serialize};

/// One entry of an epoch's history, which only grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When the mint noted it, Unix seconds.
    pub at: u64,
    /// Height that the chain was followed to.
    pub tip: u32,
    /// What happened.
    #[serde(flatten)]
    pub change: Change,
}

/// What happened to an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// It began; provisional. The number of an epoch that dissolved is used again.
    Opened,
    /// The block that opened it is final: its ehash can be minted.
    Released,
    /// A block's reward became part of its own.
    PayoutAdded {
        /// Height of the block.
        height: u32,
        /// Hash of the block.
        block_hash: String,
        /// What it pays.
        reward: Sats,
    },
    /// A block left the chain, and its reward this epoch.
    PayoutLost {
        /// Height of the block.
        height: u32,
        /// Hash of the block.
        block_hash: String,
        /// What it would have paid.
        reward: Sats,
    },
    /// It ended.
    Closed {
        /// With the shares up to here, of each journal.
        marks: Marks,
    },
    /// Another block of ours took the place of the one that ended it.
    BoundarySwapped {
        /// Height of both.
        height: u32,
        /// Hash of the new one.
        block_hash: String,
        /// What it pays.
        reward: Sats,
    },
    /// The block that opened it is gone: its work went to an earlier epoch.
    Dissolved {
        /// The epoch that took it.
        into: EpochId,
    },
    /// It took the work of a later epoch that dissolved, and is open again.
    Reopened {
        /// The epoch that dissolved.
        by: EpochId,
    },
    /// Its reward is mature by the chain.
    Matured,
    /// Its reward is spendable by the treasury too: its ehash redeems for sats.
    Settled {
        /// W.
        work: Work,
        /// What all its ehash is worth: R less the fee.
        payable: Sats,
    },
}
