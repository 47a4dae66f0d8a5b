//! The trail: headers of the blocks that were followed, so that a node which forgot some of them
//! (a power cut before its disk had them) can be told again. Everybody who follows the same node
//! and remembers such a block, the treasury's wallet included, then finds the way back by itself.

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use cdk_common::database::{DynMintDatabase, DynMintTransaction};

use crate::ledger::{self, LedgerError, Place};

/// Blocks whose headers are kept; a node that lost more has lost its data.
pub const TRAIL_BLOCKS: u32 = 2016;
/// Headers of replaced blocks that are kept, the newest.
const SIDE_BLOCKS: usize = 100;

/// The trail in the mint's books.
#[derive(Clone)]
pub struct Trail {
    db: DynMintDatabase,
}

impl Trail {
    /// The trail in `db`.
    pub const fn new(db: DynMintDatabase) -> Self {
        Self { db }
    }

    /// The header of the block `hash` at `height`, if it was followed lately.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn header(&self, height: u32, hash: BlockHash) -> Result<Option<Header>, LedgerError> {
        let header: Option<String> = ledger::read(&self.db, &place(height)).await?;
        Ok(header.and_then(|hex| decode(&hex)).filter(|header| header.block_hash() == hash))
    }

    /// Headers of blocks that were followed and left, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn side_headers(&self) -> Result<Vec<Header>, LedgerError> {
        let side: Option<Vec<String>> = ledger::read(&self.db, &Place::side_headers()).await?;
        Ok(side.unwrap_or_default().iter().filter_map(|hex| decode(hex)).collect())
    }

    /// Notes blocks that were left and blocks that were followed.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn note(&self, left: &[Header], followed: &[(u32, Header)]) -> Result<(), LedgerError> {
        if left.is_empty() && followed.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin_transaction().await?;
        match write(&mut tx, left, followed).await {
            Ok(()) => Ok(tx.commit().await?),
            Err(error) => {
                tx.rollback().await?;
                Err(error)
            }
        }
    }
}

async fn write(
    tx: &mut DynMintTransaction,
    left: &[Header],
    followed: &[(u32, Header)],
) -> Result<(), LedgerError> {
    for (height, header) in followed {
        ledger::write(tx, &place(*height), &serialize_hex(header)).await?;
    }
    if left.is_empty() {
        return Ok(());
    }
    let side: Option<Vec<String>> = ledger::read_in(tx, &Place::side_headers()).await?;
    let mut side = side.unwrap_or_default();
    for hex in left.iter().map(serialize_hex) {
        side.retain(|known| *known != hex);
        side.push(hex);
    }
    side.drain(..side.len().saturating_sub(SIDE_BLOCKS));
    ledger::write(tx, &Place::side_headers(), &side).await
}

/// A place is used again after [`TRAIL_BLOCKS`].
fn place(height: u32) -> Place {
    Place::trail(height % TRAIL_BLOCKS)
}

fn decode(hex: &str) -> Option<Header> {
    deserialize_hex(hex).ok()
}
