//! What can go wrong with the quote queue, each with its remedy.

use std::path::PathBuf;
use std::sync::Arc;

use poolbox_accounting::{JournalId, QueueSeq};

use crate::JournalError;

/// Why the quote queue cannot be read or written now.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// The journal that holds the queue.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Redis is away or refused.
    #[error(
        "the quote queue in Redis at {address}: {source}; check that it runs, [redis] in the settings, and its log"
    )]
    Redis {
        /// Where it listens.
        address: String,
        /// What the client says.
        source: Arc<redis::RedisError>,
    },
    /// A file of the settings.
    #[error("{path}: {source}; {setting} in [redis] names it")]
    File {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: Arc<std::io::Error>,
    },
    /// Something in the stream that its pool did not write there, or not now.
    #[error(
        "the stream of journal {journal} is damaged ({reason}); nothing more of it is credited until its pool has sent it again"
    )]
    Damaged {
        /// Whose.
        journal: JournalId,
        /// What is wrong.
        reason: String,
    },
    /// The stream goes on where the journal does not.
    #[error(
        "entry {asked} is asked for and the journal {journal} holds {held}; restore the journal and the mint of one backup"
    )]
    NotInJournal {
        /// Of this pool.
        journal: JournalId,
        /// The entry that comes next in the stream.
        asked: QueueSeq,
        /// What there is, in words.
        held: String,
    },
    /// The mint does not take entries.
    #[error("the mint has {0} entries to take before more are sent; see its status")]
    NotTaken(u64),
    /// A mint's records are of a journal without identity.
    #[error(
        "the mint's records are of one journal, of an earlier release; start it once with `journal` instead of \
         [redis] beside the upgraded pool, so that they get its name"
    )]
    Unnamed,
    /// The thread that reads the journal is gone.
    #[error("the thread that reads the journal broke; restart the process")]
    Broken,
}

impl QueueError {
    /// Whether asking again cannot help: a person has to look before anything more is credited.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Journal(JournalError::NotTheCredited { .. }))
    }
}
