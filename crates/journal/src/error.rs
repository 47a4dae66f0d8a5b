//! What can go wrong with a journal, each with its remedy.

use std::path::PathBuf;
use std::sync::Arc;

use poolbox_accounting::{JournalId, Network, QueueSeq};
use rusqlite::ErrorCode;

/// Why a journal could not be opened, written or read. Cloned to every share of a failed commit.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// A reader came before the pool made the journal.
    #[error("there is no share journal at {0} yet; the pool creates it at its first start")]
    NotCreatedYet(PathBuf),
    /// A reader came before the pool of this release upgraded the journal.
    #[error("the share journal {0} is of an earlier release; the pool of this one upgrades it at its start")]
    NotUpgradedYet(PathBuf),
    /// The file holds something else.
    #[error("{0} is not a share journal; name another file in the settings, or move this one away")]
    NotAJournal(PathBuf),
    /// The shares in it were found on another network.
    #[error(
        "the share journal {path} belongs to {found}, not to {expected}; use another data directory for \
         {expected}, or set the network to {found}"
    )]
    WrongNetwork {
        /// The journal.
        path: PathBuf,
        /// Its network, as written in it.
        found: String,
        /// The network of the settings.
        expected: Network,
    },
    /// Written by a later release.
    #[error(
        "the share journal {path} has schema version {found}, this Poolbox knows up to {known}; start the \
         newer Poolbox that wrote it"
    )]
    NewerSchema {
        /// The journal.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The last entry that was taken from it is not in it, or is another one.
    #[error(
        "the journal {journal} is not the one credited so far (entry {entry} differs); it is an older copy: \
         restore the right one"
    )]
    NotTheCredited {
        /// Its identity.
        journal: JournalId,
        /// The last entry that was taken.
        entry: QueueSeq,
    },
    /// A row that no pool wrote.
    #[error("the share journal is damaged ({0}); restore it from a backup")]
    Damaged(String),
    /// SQLite or the disk refused; nothing of the request was kept.
    #[error("the share journal {}: {source}", remedy(.source))]
    Storage {
        /// What SQLite said.
        source: Arc<rusqlite::Error>,
    },
    /// The thread that writes, or its clock, could not be started.
    #[error("the share journal cannot start its writer: {0}")]
    Writer(Arc<std::io::Error>),
    /// The journal would hold more work than a signed 64-bit number counts.
    #[error("the share journal cannot hold more than 2^63 - 1 ehash of work")]
    TooMuchWork,
    /// [`crate::Journal::close`] was called; nothing more is journalled.
    #[error("the share journal is closed")]
    Closed,
}

impl From<rusqlite::Error> for JournalError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Storage { source: Arc::new(source) }
    }
}

/// What to do about a storage error, as the middle of its sentence.
fn remedy(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "has no room to grow; free space on its disk",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "is locked by another program; end that program"
        }
        Some(ErrorCode::CannotOpen) => "cannot be opened; check its path and permissions",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "may not be written; check its permissions and its directory's"
        }
        Some(ErrorCode::SystemIoFailure) => "cannot be read or written; check its disk",
        Some(ErrorCode::DatabaseCorrupt) => "is damaged; restore it from a backup",
        _ => "could not be used",
    }
}
