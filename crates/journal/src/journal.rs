//! The pool's handle to its journal.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use poolbox_accounting::{JournalId, Network, ShareSeq};
use tokio::sync::{mpsc, oneshot, watch};

use crate::store::Store;
use crate::writer::{Request, Writer};
use crate::{JournalError, JournalTotals, NewShare};

/// Appends that may wait for the writer; past that, appending waits (back-pressure, not memory).
const MAX_WAITING: usize = 4096;
/// How often journalled shares are put into the quote queue.
const QUEUE_INTERVAL: Duration = Duration::from_secs(1);

/// The journal's figures, for the operator.
#[derive(Clone, Debug, Default)]
pub struct JournalStats {
    /// What it holds.
    pub totals: JournalTotals,
    /// Group commits since it was opened.
    pub commits: u64,
    /// Shares in the last group.
    pub last_group: u64,
    /// How long the last commit took.
    pub last_commit: Duration,
    /// Shares refused since it was opened because a commit failed.
    pub refused: u64,
    /// The last write failed; the next that succeeds clears this.
    pub failing: bool,
}

/// A handle to the share journal; clones share its one writer thread.
#[derive(Clone, Debug)]
pub struct Journal {
    requests: mpsc::Sender<Request>,
    stats: watch::Receiver<JournalStats>,
    identity: JournalId,
}

impl Journal {
    /// Opens the journal at `path` for writing, or creates it. What an earlier run journalled but
    /// did not queue is queued now.
    ///
    /// # Errors
    /// A journal of another network or a newer schema, a file that is no journal (it is left as it
    /// is), or one that cannot be opened.
    pub fn open(path: impl AsRef<Path>, network: Network) -> Result<Self, JournalError> {
        Self::open_queueing_every(QUEUE_INTERVAL, path, network)
    }

    /// As [`Self::open`], with an interval other than a second between aggregates of the queue.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_queueing_every(
        queue_interval: Duration,
        path: impl AsRef<Path>,
        network: Network,
    ) -> Result<Self, JournalError> {
        let store = Store::open(path.as_ref(), network)?;
        let (totals, identity) = (store.totals()?, store.identity()?);
        let cannot_start = |error| JournalError::Writer(Arc::new(error));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(cannot_start)?;
        let (requests, receiver) = mpsc::channel(MAX_WAITING);
        let (publish, stats) = watch::channel(JournalStats { totals, ..JournalStats::default() });
        let writer = Writer { store, requests: receiver, stats: publish, queue_interval, runtime };
        let thread = std::thread::Builder::new().name("journal".into());
        thread.spawn(|| writer.run()).map_err(cannot_start)?;
        Ok(Self { requests, stats, identity })
    }

    /// Journals shares, in order and all or none. Returns the place of the last when they are on disk;
    /// dropping the future does not take them back.
    ///
    /// # Errors
    /// The shares were not journalled and must not be acknowledged. The next may succeed.
    pub async fn append(&self, shares: Vec<NewShare>) -> Result<ShareSeq, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Append(shares, reply)).await.map_err(|_| JournalError::Closed)?;
        answer.await.map_err(|_| JournalError::Closed)?
    }

    /// The name under which a mint knows this journal.
    pub const fn identity(&self) -> JournalId {
        self.identity
    }

    /// The figures after the last commit.
    pub fn stats(&self) -> JournalStats {
        self.stats.borrow().clone()
    }

    /// Finishes what waits, puts every share into the quote queue and closes the file; returns
    /// when that is done. Every clone is closed with it.
    pub async fn close(self) {
        let (reply, done) = oneshot::channel();
        if self.requests.send(Request::Close(reply)).await.is_ok() {
            let _ = done.await;
        }
    }
}
