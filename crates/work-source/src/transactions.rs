//! The transactions of a template: with them a found block can be submitted anywhere, also when the
//! node that gave the template has forgotten it.

use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::consensus::encode::Error;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{Block, Transaction};

/// The transactions of one template in the order of the block, without the coinbase. Cheap to clone;
/// templates that have a transaction in common share its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transactions(pub(crate) Arc<[Arc<[u8]>]>);

/// Why no block comes of a header, a coinbase and transactions.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The coinbase or a transaction cannot be read.
    #[error("a transaction of the block cannot be read: {0}")]
    Transaction(#[from] Error),
    /// The transactions are not those that the header commits to.
    #[error("the transactions are not those of the block's template")]
    OtherTransactions,
}

impl Transactions {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the block consists of its coinbase alone.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The complete block, serialised, that `header` and the serialised `coinbase` stand for. Hashes
    /// every transaction: some 20 ms for a full block.
    ///
    /// # Errors
    /// [`BlockError`] when the parts do not belong together.
    pub fn block(&self, header: Header, coinbase: &[u8]) -> Result<Vec<u8>, BlockError> {
        let transactions = std::iter::once(coinbase).chain(self.0.iter().map(AsRef::as_ref));
        let txdata = transactions.map(deserialize).collect::<Result<Vec<Transaction>, _>>()?;
        let block = Block { header, txdata };
        if block.check_merkle_root() && block.check_witness_commitment() {
            Ok(serialize(&block))
        } else {
            Err(BlockError::OtherTransactions)
        }
    }
}
