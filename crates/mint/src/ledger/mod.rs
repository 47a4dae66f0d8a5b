//! The mint's own books in the key-value store of cdk's database, so that they change in the very
//! transaction that pays quotes. What is recorded and under which key; no rules.

mod place;
mod records;

use std::collections::HashSet;

use cdk_common::database::{DynMintDatabase, DynMintTransaction};
use poolbox_accounting::{EpochId, Owner, Payment, RoundId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use place::{ACCOUNTS, SHARED_PAYMENTS, UNQUOTED};

pub use place::Place;
pub use records::{
    Credit, Part, Progress, Redeemed, Settled, SharedOut, Unquoted, UpstreamAccount, UpstreamOffer,
};

/// Namespace of everything here.
pub(crate) const BOOKS: &str = "poolbox";

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
    let shelf = place::credits(epoch);
    Ok(on(&shelf, tx.kv_list(BOOKS, &shelf).await?))
}

/// The same outside of a transaction.
///
/// # Errors
/// [`LedgerError`].
pub async fn credits_in(db: &DynMintDatabase, epoch: EpochId) -> Result<Vec<Place>, LedgerError> {
    let shelf = place::credits(epoch);
    Ok(on(&shelf, db.kv_list(BOOKS, &shelf).await?))
}

/// Places of all parts of a round.
///
/// # Errors
/// [`LedgerError`].
pub async fn parts_of(tx: &mut DynMintTransaction, round: RoundId) -> Result<Vec<Place>, LedgerError> {
    let shelf = place::parts(round);
    Ok(on(&shelf, tx.kv_list(BOOKS, &shelf).await?))
}

/// The same outside of a transaction.
///
/// # Errors
/// [`LedgerError`].
pub async fn parts_in(db: &DynMintDatabase, round: RoundId) -> Result<Vec<Place>, LedgerError> {
    let shelf = place::parts(round);
    Ok(on(&shelf, db.kv_list(BOOKS, &shelf).await?))
}

/// Of these payments those that no round has shared out.
///
/// # Errors
/// [`LedgerError`].
pub async fn not_shared_out(
    db: &DynMintDatabase,
    mut payments: Vec<Payment>,
) -> Result<Vec<Payment>, LedgerError> {
    let shared: HashSet<String> = db.kv_list(BOOKS, SHARED_PAYMENTS).await?.into_iter().collect();
    payments.retain(|payment| !shared.contains(&payment.id.to_string()));
    Ok(payments)
}

/// Places of all tokens of an owner that may not be spent.
///
/// # Errors
/// [`LedgerError`].
pub async fn slips_of(db: &DynMintDatabase, owner: &Owner) -> Result<Vec<Place>, LedgerError> {
    let shelf = place::slips(owner);
    Ok(on(&shelf, db.kv_list(BOOKS, &shelf).await?))
}

/// Places of all accounts.
///
/// # Errors
/// [`LedgerError`].
pub async fn accounts(db: &DynMintDatabase) -> Result<Vec<Place>, LedgerError> {
    Ok(on(ACCOUNTS, db.kv_list(BOOKS, ACCOUNTS).await?))
}

fn on(shelf: &str, keys: Vec<String>) -> Vec<Place> {
    keys.into_iter().map(|key| Place::new(shelf, key)).collect()
}

/// How many transitions of an epoch are recorded.
///
/// # Errors
/// [`LedgerError`].
pub async fn transitions_in(tx: &mut DynMintTransaction, epoch: EpochId) -> Result<usize, LedgerError> {
    Ok(tx.kv_list(BOOKS, &place::history(epoch)).await?.len())
}
