//! The journal's file and its transactions, one call each. The only place that writes.
//!
//! Nothing about the journal's contents is kept in memory (but names): every transaction starts
//! from the totals on disk, so that a failed commit leaves nothing to repair.

use std::path::Path;
use std::time::Duration;

use bitcoin::hashes::Hash;
use poolbox_accounting::{JournalId, Mode, Network, ShareSeq, Work};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::modes;
use crate::names::Workers;
use crate::schema::{self, Found};
use crate::{JournalError, NewShare};

/// How long a transaction waits for another connection's lock before it fails.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Everything journalled, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalTotals {
    /// Shares journalled; the last one's sequence number.
    pub shares: u64,
    /// Their work.
    pub work: Work,
    /// The last share that is in the quote queue or has no place there.
    pub queued_through: ShareSeq,
}

impl JournalTotals {
    /// Whether shares wait for their place in the queue.
    pub fn has_unqueued(&self) -> bool {
        self.queued_through.get() < self.shares
    }

    pub(crate) fn read(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let mut select = connection.prepare_cached("SELECT shares, work, queued_through FROM journal")?;
        select.query_row([], |row| {
            Ok(Self {
                shares: row.get(0)?,
                work: Work::from_ehash(row.get(1)?),
                queued_through: ShareSeq::new(row.get(2)?),
            })
        })
    }

    fn write(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        let mut update =
            connection.prepare_cached("UPDATE journal SET shares = ?1, work = ?2, queued_through = ?3")?;
        update.execute(params![self.shares, self.work.ehash(), self.queued_through.get()])?;
        Ok(())
    }

    /// The totals with one share more. Every sum of shares is at most this one, so that no other
    /// sum can leave the range of a column.
    fn plus(self, share: &NewShare) -> Result<Self, JournalError> {
        let fits = |work: &Work| i64::try_from(work.ehash()).is_ok();
        let work = self.work.checked_add(share.work).filter(fits).ok_or(JournalError::TooMuchWork)?;
        Ok(Self { shares: self.shares + 1, work, ..self })
    }
}

/// The writing connection.
pub(crate) struct Store {
    connection: Connection,
    workers: Workers,
}

impl Store {
    /// Opens the journal at `path`, or creates one for `network`.
    pub fn open(path: &Path, network: Network) -> Result<Self, JournalError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(LOCK_PATIENCE)?;
        let found = schema::inspect(&connection, path, network)?;
        // FULL: a commit has returned only when the write-ahead log is synced.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        match found {
            Found::Empty => schema::create(&mut connection, network)?,
            Found::Older => schema::upgrade(&mut connection)?,
            Found::Journal => {}
        }
        Ok(Self { connection, workers: Workers::default() })
    }

    /// The name under which a mint knows the journal.
    pub fn identity(&self) -> Result<JournalId, JournalError> {
        schema::identity(&self.connection)
    }

    /// What the journal holds.
    pub fn totals(&self) -> Result<JournalTotals, JournalError> {
        Ok(JournalTotals::read(&self.connection)?)
    }

    /// Journals `shares` in one transaction; they are on disk when this returns, and take the last
    /// places of the totals returned. A share that solves a block of the mint's ends the queue's aggregate
    /// there. `now` is the time of the queue's entries, Unix seconds.
    pub fn append<'a>(
        &mut self,
        shares: impl Iterator<Item = &'a NewShare>,
        now: u64,
    ) -> Result<JournalTotals, JournalError> {
        let tx = begin(&mut self.connection)?;
        let appended = append(&tx, &mut self.workers, shares, now)
            .and_then(|totals| tx.commit().map(|()| totals).map_err(JournalError::from));
        if appended.is_err() {
            // Names made in the transaction went with it.
            self.workers.forget();
        }
        appended
    }

    /// Puts every share that is not in the queue yet into it, added up by owner.
    pub fn queue_pending(&mut self, now: u64) -> Result<JournalTotals, JournalError> {
        let tx = begin(&mut self.connection)?;
        let mut totals = JournalTotals::read(&tx)?;
        queue_all(&tx, &mut totals, now)?;
        totals.write(&tx)?;
        tx.commit()?;
        Ok(totals)
    }

    #[cfg(test)]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Immediate: the totals that are read stay true until the commit.
fn begin(connection: &mut Connection) -> Result<Transaction<'_>, rusqlite::Error> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn append<'a>(
    tx: &Transaction<'_>,
    workers: &mut Workers,
    shares: impl Iterator<Item = &'a NewShare>,
    now: u64,
) -> Result<JournalTotals, JournalError> {
    let mut totals = JournalTotals::read(tx)?;
    let mut insert = tx.prepare_cached("INSERT INTO shares VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for share in shares {
        totals = totals.plus(share)?;
        let worker = workers.id(tx, &share.identity)?;
        insert.execute(params![
            totals.shares,
            worker,
            share.work.ehash(),
            share.hash.as_byte_array(),
            share.at_ms,
            share.block_height,
            modes::number(share.mode)
        ])?;
        // A block found in another mode does not pay the mint, which need not hear of it.
        if share.block_height.is_some() && share.mode == Mode::Pool {
            queue_all(tx, &mut totals, now)?;
            let mut announce = tx.prepare_cached("INSERT INTO queue (at, share) VALUES (?1, ?2)")?;
            announce.execute(params![now, totals.shares])?;
        }
    }
    totals.write(tx)?;
    Ok(totals)
}

/// Queues what is not queued and earns something, one entry an owner and mode.
fn queue_all(tx: &Transaction<'_>, totals: &mut JournalTotals, now: u64) -> Result<(), rusqlite::Error> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO queue (at, owner, work, share, mode)
         SELECT ?1, workers.owner, SUM(sums.work), MAX(sums.last), sums.mode
         FROM (SELECT worker, mode, SUM(work) AS work, MAX(seq) AS last FROM shares
             WHERE seq > ?2 AND mode <> ?3 GROUP BY worker, mode) AS sums
             JOIN workers ON workers.id = sums.worker
         GROUP BY workers.owner, sums.mode ORDER BY MAX(sums.last)",
    )?;
    insert.execute(params![now, totals.queued_through.get(), modes::number(Mode::Solo)])?;
    totals.queued_through = ShareSeq::new(totals.shares);
    Ok(())
}
