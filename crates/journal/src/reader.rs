//! The mint's side of the journal: reading, from another process, without ever holding the pool up.

use std::path::Path;
use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use poolbox_accounting::{Identity, Network, Owner, ShareSeq, Work};
use rusqlite::{Connection, OpenFlags, Row, params};

use crate::schema::{self, Found};
use crate::store::LOCK_PATIENCE;
use crate::{JournalError, JournalTotals, NewShare, QueueEntry, QueueSeq, QuoteMessage, ShareRecord};

/// A read-only connection to a journal. Its calls block for as long as the disk takes; each is one
/// short transaction.
#[derive(Debug)]
pub struct QueueReader {
    connection: Connection,
    network: Network,
}

impl QueueReader {
    /// Opens the journal at `path`, which a pool on `network` writes.
    ///
    /// # Errors
    /// [`JournalError::NotCreatedYet`] before the pool's first start: wait and try again. Otherwise
    /// as [`crate::Journal::open`].
    pub fn open(path: impl AsRef<Path>, network: Network) -> Result<Self, JournalError> {
        let path = path.as_ref();
        if !path.exists() {
            return Err(JournalError::NotCreatedYet(path.into()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(LOCK_PATIENCE)?;
        match schema::inspect(&connection, path, network)? {
            Found::Empty => Err(JournalError::NotCreatedYet(path.into())),
            Found::Journal => Ok(Self { connection, network }),
        }
    }

    /// Up to `limit` entries of the queue after the cursor, in order. The same cursor always gives
    /// the same entries; empty when the reader has caught up.
    ///
    /// # Errors
    /// The journal cannot be read, or holds something that no pool wrote.
    pub fn read(&self, after: QueueSeq, limit: usize) -> Result<Vec<QueueEntry>, JournalError> {
        let mut select = self.connection.prepare_cached(
            "SELECT queue.seq, queue.at, queue.share, owners.name, queue.work, shares.block_height, shares.hash
             FROM queue JOIN shares ON shares.seq = queue.share LEFT JOIN owners ON owners.id = queue.owner
             WHERE queue.seq > ?1 ORDER BY queue.seq LIMIT ?2",
        )?;
        let mut rows = select.query(params![after.get(), limit])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(self.entry(row)?);
        }
        Ok(entries)
    }

    /// Everything journalled so far, added up.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn totals(&self) -> Result<JournalTotals, JournalError> {
        Ok(JournalTotals::read(&self.connection)?)
    }

    /// Up to `limit` shares after one of them, in order: for audits and exports.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn shares(&self, after: ShareSeq, limit: usize) -> Result<Vec<ShareRecord>, JournalError> {
        let mut select = self.connection.prepare_cached(
            "SELECT shares.seq, owners.name, workers.name, shares.work, shares.hash, shares.at_ms,
                 shares.block_height
             FROM shares JOIN workers ON workers.id = shares.worker JOIN owners ON owners.id = workers.owner
             WHERE shares.seq > ?1 ORDER BY shares.seq LIMIT ?2",
        )?;
        let mut rows = select.query(params![after.get(), limit])?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            let share = NewShare {
                identity: Arc::new(Identity {
                    owner: self.owner(&row.get::<_, String>(1)?)?,
                    worker: row.get(2)?,
                }),
                work: Work::from_ehash(row.get(3)?),
                hash: block_hash(row, 4)?,
                at_ms: row.get(5)?,
                block_height: row.get(6)?,
            };
            records.push(ShareRecord { seq: ShareSeq::new(row.get(0)?), share });
        }
        Ok(records)
    }

    fn entry(&self, row: &Row<'_>) -> Result<QueueEntry, JournalError> {
        let share = ShareSeq::new(row.get(2)?);
        let message = match row.get::<_, Option<String>>(3)? {
            Some(owner) => {
                let work = Work::from_ehash(row.get(4)?);
                QuoteMessage::Create { owner: self.owner(&owner)?, work, through: share }
            }
            None => QuoteMessage::Update { share, height: row.get(5)?, block_hash: block_hash(row, 6)? },
        };
        Ok(QueueEntry { seq: QueueSeq::new(row.get(0)?), at: row.get(1)?, message })
    }

    fn owner(&self, name: &str) -> Result<Owner, JournalError> {
        Owner::parse(name, self.network)
            .map_err(|error| JournalError::Damaged(format!("owner that cannot be read: {error}")))
    }
}

fn block_hash(row: &Row<'_>, column: usize) -> Result<BlockHash, rusqlite::Error> {
    Ok(BlockHash::from_byte_array(row.get(column)?))
}
