//! The thread that owns the file: one group of shares a commit.
//!
//! It waits for a first share, takes all that wait behind it, commits them together and only then
//! acknowledges them. While a commit waits for the disk the next group gathers, so that groups grow
//! by themselves with the disk's latency; there is no timer and no tuning.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use poolbox_accounting::ShareSeq;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout_at;

use crate::store::Store;
use crate::{JournalError, JournalStats, JournalTotals, NewShare};

/// A commit takes no further append once it has so many shares: about 3 ms of SQLite's time.
const MAX_GROUP: usize = 4096;

/// What the handles ask for.
pub(crate) enum Request {
    /// Journal these shares and say where the last one is.
    Append(Vec<NewShare>, Reply),
    /// Finish what waits, queue everything and end; answered when the file is closed.
    Close(oneshot::Sender<()>),
}

type Reply = oneshot::Sender<Result<ShareSeq, JournalError>>;

pub(crate) struct Writer {
    pub store: Store,
    pub requests: mpsc::Receiver<Request>,
    pub stats: watch::Sender<JournalStats>,
    /// How often journalled shares are put into the quote queue.
    pub queue_interval: Duration,
    /// Only to wait for requests with a deadline; all work is done between the waits.
    pub runtime: Runtime,
}

impl Writer {
    /// Works until closed, or until every handle is gone.
    pub fn run(mut self) {
        let mut requests = Vec::new();
        // Shares from before a crash are queued at once.
        let mut queue_due = self.stats.borrow().totals.has_unqueued().then(Instant::now);
        let mut closing = None;
        while closing.is_none() && self.wait(&mut requests, queue_due) {
            let mut group = Vec::with_capacity(requests.len());
            let mut size = 0;
            for request in requests.drain(..) {
                match request {
                    Request::Append(shares, reply) => {
                        size += shares.len();
                        group.push((shares, reply));
                    }
                    Request::Close(reply) => closing = Some(reply),
                }
                if size >= MAX_GROUP {
                    self.commit(std::mem::take(&mut group));
                    size = 0;
                }
            }
            if !group.is_empty() {
                self.commit(group);
            }
            queue_due = self.queue(queue_due);
        }
        if self.stats.borrow().totals.has_unqueued() {
            self.queue_now();
        }
        drop(self.store);
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    /// Fills `requests` with all that wait, or leaves it empty when the queue is due first. False
    /// when no handle is left.
    fn wait(&mut self, requests: &mut Vec<Request>, queue_due: Option<Instant>) -> bool {
        let received = self.requests.recv_many(requests, MAX_GROUP);
        match queue_due {
            None => self.runtime.block_on(received) > 0,
            Some(due) => {
                let bounded = async { timeout_at(due.into(), received).await };
                self.runtime.block_on(bounded).is_err() || !requests.is_empty()
            }
        }
    }

    /// One commit, then everybody's answer.
    fn commit(&mut self, group: Vec<(Vec<NewShare>, Reply)>) {
        let started = Instant::now();
        let committed = self.store.append(group.iter().flat_map(|(shares, _)| shares), unix_now());
        let size = group.iter().map(|(shares, _)| shares.len() as u64).sum::<u64>();
        match committed {
            Ok(totals) => {
                self.succeeded(totals);
                self.stats.send_modify(|stats| {
                    stats.commits += 1;
                    stats.last_group = size;
                    stats.last_commit = started.elapsed();
                });
                // A caller that went away meanwhile has its share journalled all the same.
                let mut last = totals.shares - size;
                for (shares, reply) in group {
                    last += shares.len() as u64;
                    let _ = reply.send(Ok(ShareSeq::new(last)));
                }
            }
            Err(error) => {
                self.failed(&error, size);
                for (_, reply) in group {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Queues when it is time to; returns when it is time again.
    fn queue(&mut self, due: Option<Instant>) -> Option<Instant> {
        let now = Instant::now();
        if due.is_some_and(|due| due <= now) {
            self.queue_now();
        } else if due.is_some() {
            return due;
        }
        self.stats.borrow().totals.has_unqueued().then(|| now + self.queue_interval)
    }

    fn queue_now(&mut self) {
        match self.store.queue_pending(unix_now()) {
            Ok(totals) => self.succeeded(totals),
            Err(error) => self.failed(&error, 0),
        }
    }

    fn succeeded(&self, totals: JournalTotals) {
        if self.stats.borrow().failing {
            tracing::info!(shares = totals.shares, "the share journal is written again");
        }
        self.stats.send_modify(|stats| {
            stats.totals = totals;
            stats.failing = false;
        });
    }

    /// Said once, not with every share, until it works again.
    fn failed(&self, error: &JournalError, refused: u64) {
        if !self.stats.borrow().failing {
            tracing::error!(%error, "shares are not accepted: the journal cannot be written");
        }
        self.stats.send_modify(|stats| {
            stats.failing = true;
            stats.refused += refused;
        });
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
