//! The journal's tables, and telling a journal of ours from any other file.

use std::path::Path;

use poolbox_accounting::Network;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};

use crate::JournalError;

/// Marks the file as ours in SQLite's header ("Pbjl").
const APPLICATION_ID: i64 = 0x5062_6a6c;
/// Version of the tables below; an older file is migrated at open, a newer one refused.
const SCHEMA_VERSION: i64 = 1;

/// `journal` holds one row of running totals, so that no start and no report has to add up every
/// share. A queue entry with an owner is a `Create`, one without is an `Update` about its share.
const TABLES: &str = "
CREATE TABLE journal (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    network TEXT NOT NULL,
    shares INTEGER NOT NULL,
    work INTEGER NOT NULL,
    queued_through INTEGER NOT NULL
) STRICT;
CREATE TABLE owners (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE workers (
    id INTEGER PRIMARY KEY,
    owner INTEGER NOT NULL REFERENCES owners (id),
    name TEXT NOT NULL,
    UNIQUE (owner, name)
) STRICT;
CREATE TABLE shares (
    seq INTEGER PRIMARY KEY,
    worker INTEGER NOT NULL REFERENCES workers (id),
    work INTEGER NOT NULL,
    hash BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    block_height INTEGER
) STRICT;
CREATE TABLE queue (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    owner INTEGER REFERENCES owners (id),
    work INTEGER,
    share INTEGER NOT NULL REFERENCES shares (seq),
    CHECK ((owner IS NULL) = (work IS NULL))
) STRICT;
";

/// What a file turned out to be.
pub(crate) enum Found {
    /// Nothing, or a file whose creation was interrupted.
    Empty,
    /// A journal that can be used.
    Journal,
}

/// Looks at an opened file without changing it.
///
/// # Errors
/// Anything that must not be used: another program's file, another network, a newer schema.
pub(crate) fn inspect(connection: &Connection, path: &Path, network: Network) -> Result<Found, JournalError> {
    let id = pragma(connection, "application_id").map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => JournalError::NotAJournal(path.into()),
        _ => error.into(),
    })?;
    if id == 0 && is_empty(connection)? {
        return Ok(Found::Empty);
    }
    if id != APPLICATION_ID {
        return Err(JournalError::NotAJournal(path.into()));
    }
    let version = pragma(connection, "user_version")?;
    if version > SCHEMA_VERSION {
        return Err(JournalError::NewerSchema { path: path.into(), found: version, known: SCHEMA_VERSION });
    }
    let found: Option<String> =
        connection.query_row("SELECT network FROM journal", [], |row| row.get(0)).optional()?;
    let found = found.ok_or_else(|| JournalError::Damaged("it names no network".into()))?;
    if found != network.name() {
        return Err(JournalError::WrongNetwork { path: path.into(), found, expected: network });
    }
    Ok(Found::Journal)
}

/// Makes the tables of a journal of `network` in an empty file.
pub(crate) fn create(connection: &mut Connection, network: Network) -> Result<(), JournalError> {
    let tx = Transaction::new(connection, TransactionBehavior::Immediate)?;
    tx.execute_batch(TABLES)?;
    tx.execute("INSERT INTO journal VALUES (1, ?1, 0, 0, 0)", [network.name()])?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(tx.commit()?)
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn is_empty(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}
