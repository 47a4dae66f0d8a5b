//! The share journal and the quote queue: one SQLite file, written by the pool alone.
//!
//! [`Journal`] is the pool's side: an append is answered when the share is on disk. [`QueueReader`]
//! is the mint's side, in another process: it reads the queue by cursor and never blocks the pool.
//! What a share is worth and who is paid for it was decided before (`poolbox-accounting`).

mod error;
mod journal;
mod names;
mod queue;
mod reader;
mod schema;
mod share;
mod store;
#[cfg(test)]
mod store_tests;
mod writer;

pub use error::JournalError;
pub use journal::{Journal, JournalStats};
pub use queue::{QueueEntry, QueueSeq, QuoteMessage};
pub use reader::QueueReader;
pub use share::{NewShare, ShareRecord};
pub use store::JournalTotals;
