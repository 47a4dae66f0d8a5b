//! A share as it is journalled.

use std::sync::Arc;

use bitcoin::BlockHash;
use poolbox_accounting::{Identity, Mode, ShareSeq, Work};

/// An accepted share on its way into the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewShare {
    /// Who the work belongs to, and their machine.
    pub identity: Arc<Identity>,
    /// What the share is worth: the work of its job's target.
    pub work: Work,
    /// Hash of the header that was found.
    pub hash: BlockHash,
    /// When it was accepted, Unix milliseconds.
    pub at_ms: u64,
    /// The height of the block that this share solves; `None` for every ordinary share.
    pub block_height: Option<u32>,
    /// For whom it was made, which decides what it earns. In mode solo a block pays its miner: the share is
    /// kept for the record, and the quote queue passes over it.
    pub mode: Mode,
}

/// A share in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRecord {
    /// Its place.
    pub seq: ShareSeq,
    /// The share.
    pub share: NewShare,
}
