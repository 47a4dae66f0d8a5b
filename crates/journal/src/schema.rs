//! The journal's tables, and telling a journal of ours from any other file.

use std::path::Path;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use poolbox_accounting::{JournalId, Network};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};

use crate::JournalError;

/// Marks the file as ours in SQLite's header ("Pbjl").
const APPLICATION_ID: i64 = 0x5062_6a6c;
/// Version of the tables below; an older file is migrated at open, a newer one refused.
const SCHEMA_VERSION: i64 = 4;

/// `journal` holds one row of running totals, so that no start and no report has to add up every
/// share. A queue entry with an owner is a `Create`, one without is an `Update` about its share. Shares
/// made in mode solo are in no entry. Modes are the numbers of [`crate::modes`].
const TABLES: &str = "
CREATE TABLE journal (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    network TEXT NOT NULL,
    shares INTEGER NOT NULL,
    work INTEGER NOT NULL,
    queued_through INTEGER NOT NULL,
    identity TEXT NOT NULL
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
    block_height INTEGER,
    mode INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE queue (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    owner INTEGER REFERENCES owners (id),
    work INTEGER,
    share INTEGER NOT NULL REFERENCES shares (seq),
    mode INTEGER NOT NULL DEFAULT 0,
    CHECK ((owner IS NULL) = (work IS NULL))
) STRICT;
";

/// What a file turned out to be.
pub(crate) enum Found {
    /// Nothing, or a file whose creation was interrupted.
    Empty,
    /// A journal of an earlier release, which the pool upgrades: see [`upgrade`].
    Older,
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
    Ok(if version < SCHEMA_VERSION { Found::Older } else { Found::Journal })
}

/// Makes the tables of a journal of `network` in an empty file.
pub(crate) fn create(connection: &mut Connection, network: Network) -> Result<(), JournalError> {
    let tx = Transaction::new(connection, TransactionBehavior::Immediate)?;
    tx.execute_batch(TABLES)?;
    let identity = JournalId::new(tx.query_row("SELECT randomblob(16)", [], |row| row.get(0))?);
    tx.execute("INSERT INTO journal VALUES (1, ?1, 0, 0, 0, ?2)", [network.name(), &identity.to_string()])?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(tx.commit()?)
}

/// Brings an older journal to the present version, all of it or nothing.
pub(crate) fn upgrade(connection: &mut Connection) -> Result<(), JournalError> {
    let tx = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let from = pragma(&tx, "user_version")?;
    if from < 2 {
        name(&tx)?;
    }
    // Until version 3 shares made in mode solo were queued as all others, and credited: that stays.
    if from < 3 {
        tx.execute_batch("ALTER TABLE shares ADD COLUMN solo INTEGER NOT NULL DEFAULT 0")?;
    }
    // Version 3 knew two modes, which have their numbers since.
    tx.execute_batch(
        "ALTER TABLE shares RENAME COLUMN solo TO mode;
         ALTER TABLE queue ADD COLUMN mode INTEGER NOT NULL DEFAULT 0",
    )?;
    tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    let identity = identity(&tx)?;
    tx.commit()?;
    tracing::info!(from, to = SCHEMA_VERSION, %identity, "the share journal was upgraded");
    Ok(())
}

/// Version 1 had no identity. Every copy of such a journal gets the same one, so that a mint never takes
/// an old copy for another pool's journal and credits it again.
fn name(tx: &Transaction<'_>) -> Result<(), JournalError> {
    let identity = identity_of_first_share(tx)?;
    tx.execute_batch("ALTER TABLE journal ADD COLUMN identity TEXT NOT NULL DEFAULT ''")?;
    tx.execute("UPDATE journal SET identity = ?1", [identity.to_string()])?;
    Ok(())
}

/// Of a journal without shares there is nothing that could be credited again: it gets a random one.
fn identity_of_first_share(tx: &Transaction<'_>) -> Result<JournalId, JournalError> {
    let mut select = tx.prepare("SELECT hash, at_ms FROM shares WHERE seq = 1")?;
    let first = select.query_row([], |row| Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, i64>(1)?)));
    let Some((hash, at_ms)) = first.optional()? else {
        return Ok(JournalId::new(tx.query_row("SELECT randomblob(16)", [], |row| row.get(0))?));
    };
    let mut engine = sha256::Hash::engine();
    engine.input(b"poolbox journal");
    engine.input(&hash);
    engine.input(&at_ms.to_be_bytes());
    let digest = sha256::Hash::from_engine(engine).to_byte_array();
    let mut identity = [0; 16];
    identity.copy_from_slice(&digest[..16]);
    Ok(JournalId::new(identity))
}

/// The name under which a mint knows the journal.
pub(crate) fn identity(connection: &Connection) -> Result<JournalId, JournalError> {
    let text: String = connection.query_row("SELECT identity FROM journal", [], |row| row.get(0))?;
    text.parse().map_err(|error| JournalError::Damaged(format!("{error}")))
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn is_empty(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}
