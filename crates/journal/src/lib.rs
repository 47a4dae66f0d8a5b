//! The share journal, one SQLite file written by its pool alone, and the quote queue in it.
//!
//! [`Journal`] is the pool's side: an append is answered when the share is on disk. The mint takes
//! the queue through a [`QuoteQueue`]: from the file itself ([`LocalQueue`]), or, where pools and mint
//! are on different machines, from Redis ([`StreamQueue`]), where each pool's [`Courier`] brings it.
//! What a share is worth and who is paid for it was decided before (`poolbox-accounting`).

mod error;
mod journal;
mod local;
mod modes;
mod names;
mod queue;
mod queue_error;
mod reader;
mod schema;
mod share;
mod store;
#[cfg(test)]
mod store_tests;
mod stream;
mod writer;

pub use error::JournalError;
pub use journal::{Journal, JournalStats};
pub use local::LocalQueue;
pub use poolbox_accounting::QueueSeq;
pub use queue::{Arrival, Arrivals, Cursor, Cursors, QueueEntry, QuoteMessage, QuoteQueue};
pub use queue_error::QueueError;
pub use reader::QueueReader;
pub use share::{NewShare, ShareRecord};
pub use store::JournalTotals;
pub use stream::{Courier, Delivery, RedisSettings, StreamQueue};
