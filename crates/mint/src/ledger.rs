//! The mint's own books in the key-value store of cdk's database, so that they change in the very
//! transaction that pays quotes. What is recorded and under which key; no rules.

use bitcoin::BlockHash;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use cdk_common::database::{DynMintDatabase, DynMintTransaction};
use poolbox_accounting::{Epoch, EpochId, Epochs, JournalId, Owner, QueueSeq, Rate, Sats, Work};
use poolbox_journal::{Cursor, Cursors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Namespace of everything here.
pub(crate) const BOOKS: &str = "poolbox";
/// Shelf of the accounts.
const ACCOUNTS: &str = "accounts";
/// Shelf of payments without a quote.
const UNQUOTED: &str = "unquoted";

/// How far chain and queues were followed, and what came of it: one record, written whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredProgress")]
pub struct Progress {
    /// The last block that was followed; its height is the epochs' tip.
    pub block: BlockHash,
    /// The epochs that are not settled.
    pub epochs: Epochs,
    /// How far each pool's queue was taken.
    pub cursors: Cursors,
    /// Work credited so far, over all epochs.
    pub credited: Work,
}

/// As it is on disk: with the one cursor, too, that mints had which knew one journal.
#[derive(Deserialize)]
struct StoredProgress {
    block: BlockHash,
    epochs: Epochs,
    #[serde(default)]
    cursors: Cursors,
    #[serde(default)]
    cursor: QueueSeq,
    #[serde(default)]
    cursor_at: u64,
    credited: Work,
}

impl From<StoredProgress> for Progress {
    fn from(stored: StoredProgress) -> Self {
        let StoredProgress { block, epochs, mut cursors, cursor: seq, cursor_at: at, credited } = stored;
        if seq > QueueSeq::START {
            cursors.insert(JournalId::UNNAMED, Cursor { seq, at });
        }
        Self { block, epochs, cursors, credited }
    }
}

impl Progress {
    /// How far the queue of this journal was taken. A record of the one journal that had no identity
    /// is this one's from now on.
    pub fn cursor_of(&mut self, journal: JournalId) -> &mut Cursor {
        if let Some(unnamed) = self.cursors.remove(&JournalId::UNNAMED) {
            self.cursors.insert(journal, unnamed);
            self.epochs.name_journal(journal);
        }
        self.cursors.entry(journal).or_default()
    }
}

/// What one owner earned in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// Canonical text of the owner.
    pub owner: String,
    /// The key that the quotes are locked to.
    pub lock: PublicKey,
    /// Work credited.
    pub credited: Work,
    /// Work paid to the quotes.
    pub paid: Work,
    /// Quotes so far; the last one is growing.
    pub quotes: u32,
    /// Payments to the last quote.
    pub payments: u32,
}

/// A settled epoch; nothing in it changes any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The epoch as it ended.
    pub epoch: Epoch,
    /// What its ehash is worth; none when it holds no work.
    pub rate: Option<Rate>,
}

/// What was paid out of an epoch, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeemed {
    /// Ehash taken back.
    pub ehash: Work,
    /// Sats paid for it.
    pub sats: Sats,
}

/// A Lightning payment that arrived and belongs to no quote: nobody's ecash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unquoted {
    /// Its hash, hex.
    pub payment_hash: String,
    /// Id of the offer, or hash of the invoice, that was paid.
    pub request: String,
    /// Millisatoshis.
    pub msat: u64,
    /// When it was noted, Unix seconds.
    pub seen_at: u64,
}

/// Place of a record: a namespace below the books, and a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    shelf: String,
    key: String,
}

/// The database refused, or holds a record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database refused.
    #[error("the mint's database: {0}")]
    Database(#[from] cdk_common::database::Error),
    /// A record of another version, or damaged.
    #[error("record {key} in the mint's database cannot be read ({source})")]
    Record {
        /// Its key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl Place {
    fn new(shelf: impl Into<String>, key: impl Into<String>) -> Self {
        Self { shelf: shelf.into(), key: key.into() }
    }

    /// Its key: of a credit, the same in every epoch.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Of [`Progress`].
    pub fn progress() -> Self {
        Self::new("state", "progress")
    }

    /// Of the block height at which a new mint and its treasury start.
    pub fn birthday() -> Self {
        Self::new("state", "birthday")
    }

    /// Of an owner's [`Credit`] in an epoch.
    pub fn credit(epoch: EpochId, owner: &Owner) -> Self {
        Self::new(credits(epoch), owner_key(owner))
    }

    /// Of the same owner's credit in another epoch.
    #[must_use]
    pub fn moved_to(&self, epoch: EpochId) -> Self {
        Self::new(credits(epoch), self.key.clone())
    }

    /// Of the [`Work`] paid to all quotes of an epoch.
    pub fn paid(epoch: EpochId) -> Self {
        Self::new("paid", epoch.to_string())
    }

    /// Of a [`Settled`] epoch.
    pub fn settled(epoch: EpochId) -> Self {
        Self::new("settled", epoch.to_string())
    }

    /// Of an epoch's transition, numbered from 0.
    pub fn transition(epoch: EpochId, number: usize) -> Self {
        Self::new(history(epoch), format!("{number:08}"))
    }

    /// Of the header of a block that was followed.
    pub fn trail(number: u32) -> Self {
        Self::new("trail", number.to_string())
    }

    /// Of when the mint last began anew in its process, Unix seconds.
    pub fn renewal() -> Self {
        Self::new("state", "renewal")
    }

    /// Of headers of blocks that were followed and left.
    pub fn side_headers() -> Self {
        Self::new("state", "side-headers")
    }

    /// Of what was [`Redeemed`] from an epoch.
    pub fn redeemed(epoch: EpochId) -> Self {
        Self::new("redeemed", epoch.to_string())
    }

    /// Of how many claim secrets were made for an owner.
    pub fn claim_secret(owner: &Owner) -> Self {
        Self::new("claim-secrets", owner_key(owner))
    }

    /// Of a token made from an owner's wallet that may not be spent.
    pub fn slip(owner: &Owner, id: uuid::Uuid) -> Self {
        Self::new(slips(owner), id.to_string())
    }

    /// Of an [`Unquoted`] payment.
    pub fn unquoted(payment_hash: &str) -> Self {
        Self::new(UNQUOTED, payment_hash)
    }

    /// Of what was [`Redeemed`] from all epochs.
    pub fn redeemed_in_all() -> Self {
        Self::new("redeemed", "all")
    }

    /// Of the account of an owner who is paid by a standing rule.
    pub fn account(owner: &Owner) -> Self {
        Self::new(ACCOUNTS, owner_key(owner))
    }

    /// Of the `n`-th payout.
    pub fn payout(n: u64) -> Self {
        Self::new("payouts", n.to_string())
    }

    /// Of how far payouts are counted and epochs were read for them.
    pub fn payouts() -> Self {
        Self::new("state", "payouts")
    }
}

/// Names allow few characters and 120 of them; owners may be longer.
fn owner_key(owner: &Owner) -> String {
    sha256::Hash::hash(owner.to_string().as_bytes()).to_string()
}

fn credits(epoch: EpochId) -> String {
    format!("credits-{epoch}")
}

fn slips(owner: &Owner) -> String {
    format!("slips-{}", owner_key(owner))
}

fn history(epoch: EpochId) -> String {
    format!("history-{epoch}")
}

fn decode<T: DeserializeOwned>(place: &Place, bytes: Option<Vec<u8>>) -> Result<Option<T>, LedgerError> {
    let decoded = bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose();
    decoded.map_err(|source| LedgerError::Record { key: format!("{}/{}", place.shelf, place.key), source })
}

/// Reads a record.
///
/// # Errors
/// [`LedgerError`].
pub async fn read<T: DeserializeOwned>(
    db: &DynMintDatabase,
    place: &Place,
) -> Result<Option<T>, LedgerError> {
    decode(place, db.kv_read(BOOKS, &place.shelf, &place.key).await?)
}

/// Reads a record within a transaction.
///
/// # Errors
/// [`LedgerError`].
pub async fn read_in<T: DeserializeOwned>(
    tx: &mut DynMintTransaction,
    place: &Place,
) -> Result<Option<T>, LedgerError> {
    decode(place, tx.kv_read(BOOKS, &place.shelf, &place.key).await?)
}

/// Writes a record.
///
/// # Errors
/// [`LedgerError`].
pub async fn write<T: Serialize + Sync>(
    tx: &mut DynMintTransaction,
    place: &Place,
    record: &T,
) -> Result<(), LedgerError> {
    let encoded = serde_json::to_vec(record)
        .map_err(|source| LedgerError::Record { key: format!("{}/{}", place.shelf, place.key), source })?;
    Ok(tx.kv_write(BOOKS, &place.shelf, &place.key, &encoded).await?)
}

/// Removes a record.
///
/// # Errors
/// [`LedgerError`].
pub async fn remove(tx: &mut DynMintTransaction, place: &Place) -> Result<(), LedgerError> {
    Ok(tx.kv_remove(BOOKS, &place.shelf, &place.key).await?)
}

/// All payments without a quote, oldest first.
///
/// # Errors
/// [`LedgerError`].
pub async fn unquoted(db: &DynMintDatabase) -> Result<Vec<Unquoted>, LedgerError> {
    let mut notes = Vec::new();
    for key in db.kv_list(BOOKS, UNQUOTED).await? {
        notes.extend(read::<Unquoted>(db, &Place::unquoted(&key)).await?);
    }
    notes.sort_by_key(|note| note.seen_at);
    Ok(notes)
}

/// Places of all credits of an epoch.
///
/// # Errors
/// [`LedgerError`].
pub async fn credits_of(tx: &mut DynMintTransaction, epoch: EpochId) -> Result<Vec<Place>, LedgerError> {
    let shelf = credits(epoch);
    let keys = tx.kv_list(BOOKS, &shelf).await?;
    Ok(keys.into_iter().map(|key| Place::new(shelf.clone(), key)).collect())
}

/// Places of all tokens of an owner that may not be spent.
///
/// # Errors
/// [`LedgerError`].
pub async fn slips_of(db: &DynMintDatabase, owner: &Owner) -> Result<Vec<Place>, LedgerError> {
    let shelf = slips(owner);
    let keys = db.kv_list(BOOKS, &shelf).await?;
    Ok(keys.into_iter().map(|key| Place::new(shelf.clone(), key)).collect())
}

/// Places of all credits of an epoch, outside of a transaction.
///
/// # Errors
/// [`LedgerError`].
pub async fn credits_in(db: &DynMintDatabase, epoch: EpochId) -> Result<Vec<Place>, LedgerError> {
    let shelf = credits(epoch);
    let keys = db.kv_list(BOOKS, &shelf).await?;
    Ok(keys.into_iter().map(|key| Place::new(shelf.clone(), key)).collect())
}

/// Places of all accounts.
///
/// # Errors
/// [`LedgerError`].
pub async fn accounts(db: &DynMintDatabase) -> Result<Vec<Place>, LedgerError> {
    let keys = db.kv_list(BOOKS, ACCOUNTS).await?;
    Ok(keys.into_iter().map(|key| Place::new(ACCOUNTS, key)).collect())
}

/// How many transitions of an epoch are recorded.
///
/// # Errors
/// [`LedgerError`].
pub async fn transitions_in(tx: &mut DynMintTransaction, epoch: EpochId) -> Result<usize, LedgerError> {
    Ok(tx.kv_list(BOOKS, &history(epoch)).await?.len())
}

#[cfg(test)]
mod tests {
    use poolbox_accounting::EpochRules;

    use super::*;

    #[test]
    fn progress_of_a_mint_that_knew_one_journal_is_read_and_named() {
        let epochs = Epochs::new(EpochRules::default(), 7);
        let now = Progress {
            block: BlockHash::all_zeros(),
            epochs,
            cursors: Cursors::new(),
            credited: Work::from_ehash(90),
        };
        let text = serde_json::to_string(&now).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), now);
        // As the first release wrote it.
        let old = text.replace(r#""cursors":{}"#, r#""cursor":41,"cursor_at":1700000000"#);
        let old = old.replace(r#""credited":{}"#, r#""credited":40"#);
        assert_ne!(old, text);

        let mut read: Progress = serde_json::from_str(&old).unwrap();
        let journal = JournalId::new([7; 16]);
        let cursor = *read.cursor_of(journal);
        assert_eq!(cursor, Cursor { seq: QueueSeq::new(41), at: 1_700_000_000 });
        assert_eq!(read.cursors, Cursors::from([(journal, cursor)]));
        assert_eq!(read.epochs.credited().of(journal).share.get(), 40);
        assert_eq!(*read.cursor_of(JournalId::new([8; 16])), Cursor::default(), "another pool begins anew");
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), read);
    }
}
