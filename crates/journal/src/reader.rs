//! Reading a journal, from another process, without ever holding the pool up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use poolbox_accounting::{Identity, JournalId, Network, Owner, QueueSeq, ShareSeq, Work};
use rusqlite::{Connection, OpenFlags, Row, params};

use crate::modes;
use crate::schema::{self, Found};
use crate::store::LOCK_PATIENCE;
use crate::{Cursor, JournalError, JournalTotals, NewShare, QueueEntry, QuoteMessage, ShareRecord};

/// Most owners remembered at once; beyond that all are forgotten and parsed again.
const MAX_REMEMBERED: usize = 10_000;

/// A read-only connection to a journal. Its calls block for as long as the disk takes; each is one
/// short transaction.
#[derive(Debug)]
pub struct QueueReader {
    connection: Connection,
    network: Network,
    identity: JournalId,
    /// Owners by their text: parsing a key or an address costs more than reading its entry.
    owners: RefCell<HashMap<String, Owner>>,
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
            Found::Older => Err(JournalError::NotUpgradedYet(path.into())),
            Found::Journal => {
                let identity = schema::identity(&connection)?;
                Ok(Self { connection, network, identity, owners: RefCell::default() })
            }
        }
    }

    /// The name under which a mint knows the journal.
    pub const fn identity(&self) -> JournalId {
        self.identity
    }

    /// Up to `limit` entries of the queue after the cursor, in order. The same cursor always gives
    /// the same entries; empty when the reader has caught up.
    ///
    /// # Errors
    /// The journal cannot be read, or holds something that no pool wrote.
    pub fn read(&self, after: QueueSeq, limit: usize) -> Result<Vec<QueueEntry>, JournalError> {
        let mut select = self.connection.prepare_cached(
            "SELECT queue.seq, queue.at, queue.share, owners.name, queue.work, shares.block_height, shares.hash,
                 queue.mode
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

    /// Up to `limit` entries after the cursor, as [`Self::read`], when the entry at the cursor is the
    /// one that was taken and none is missing behind it.
    ///
    /// # Errors
    /// [`JournalError::NotTheCredited`] for another journal or an older copy: its entries would be
    /// skipped in silence, or credited twice. Otherwise as [`Self::read`].
    pub fn read_on(&self, cursor: Cursor, limit: usize) -> Result<Vec<QueueEntry>, JournalError> {
        if cursor.seq == QueueSeq::START {
            return self.read(cursor.seq, limit);
        }
        let before = QueueSeq::new(cursor.seq.get() - 1);
        let mut entries = self.read(before, limit.saturating_add(1))?;
        if entries.first().is_none_or(|taken| taken.seq != cursor.seq || taken.at != cursor.at) {
            return Err(JournalError::NotTheCredited { journal: self.identity, entry: cursor.seq });
        }
        entries.remove(0);
        Ok(entries)
    }

    /// The last entry of the queue.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn last_entry(&self) -> Result<QueueSeq, JournalError> {
        let mut select = self.connection.prepare_cached("SELECT COALESCE(MAX(seq), 0) FROM queue")?;
        Ok(QueueSeq::new(select.query_row([], |row| row.get(0))?))
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
                 shares.block_height, shares.mode
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
                mode: modes::mode(row.get(7)?)?,
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
                let earns = modes::earns(row.get(7)?)?;
                QuoteMessage::Create { owner: self.owner(&owner)?, work, through: share, earns }
            }
            None => QuoteMessage::Update { share, height: row.get(5)?, block_hash: block_hash(row, 6)? },
        };
        Ok(QueueEntry { seq: QueueSeq::new(row.get(0)?), at: row.get(1)?, message })
    }

    fn owner(&self, name: &str) -> Result<Owner, JournalError> {
        let mut owners = self.owners.borrow_mut();
        if let Some(owner) = owners.get(name) {
            return Ok(owner.clone());
        }
        let owner = Owner::parse(name, self.network)
            .map_err(|error| JournalError::Damaged(format!("owner that cannot be read: {error}")))?;
        if owners.len() == MAX_REMEMBERED {
            owners.clear();
        }
        owners.insert(name.to_owned(), owner.clone());
        Ok(owner)
    }
}

fn block_hash(row: &Row<'_>, column: usize) -> Result<BlockHash, rusqlite::Error> {
    Ok(BlockHash::from_byte_array(row.get(column)?))
}
