//! Where accepted shares go: block solutions to the node and an upstream's shares to the upstream at once,
//! every share to the journal, and what the operator is told to the counters.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bitcoin::BlockHash;
use poolbox_accounting::{Difficulty, Identity, Mode, Network};
use poolbox_api::pool::Block;
use poolbox_journal::{Journal, NewShare};
use poolbox_stratum::{
    AcceptedShare, CoinbaseError, FoundBlock, Job, Keeping, Memory, News, PayoutPolicy, ShareSink, SinkError,
    WorkerChange, WorkerSeen,
};
use poolbox_work_source::blocks::{BlockKeeper, Found, Outcome};
use poolbox_work_source::upstream::Upstream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::found::FoundBlocks;
use crate::jobs::Halt;
use crate::lag::Lag;
use crate::latency::Latency;
use crate::notebook::{Notebook, Notes, WRITE_EVERY};
use crate::workers::{Listing, Moment, Runs, Workers};

/// The pool's share sink.
#[derive(Debug)]
pub struct Books {
    journal: Journal,
    outward: Outward,
    halt: Arc<Halt>,
    /// What shares earn.
    mode: Mode,
    started: Instant,
    notebook: Notebook,
    workers: Mutex<Workers>,
    blocks: Mutex<FoundBlocks>,
    /// How far disk and queue are behind.
    pub lag: Lag,
    /// How fast jobs reach the miners.
    pub latency: Latency,
}

/// Where what was found leaves the box.
#[derive(Debug)]
pub struct Outward {
    /// To the chain.
    pub keeper: BlockKeeper,
    /// To the upstream pool, in mode proxy.
    pub upstream: Option<Upstream>,
}

impl Books {
    /// Books that write to `journal` and hand on what leaves the box, with what is remembered of the workers
    /// in `data_dir`.
    pub fn open(
        data_dir: &Path,
        network: Network,
        policy: &PayoutPolicy,
        journal: Journal,
        outward: Outward,
        halt: Arc<Halt>,
    ) -> Arc<Self> {
        let notebook = Notebook::of(data_dir);
        let notes = notebook.read();
        let blocks = FoundBlocks::from_remembered(notes.blocks, &outward.keeper.pending());
        let left = outward.keeper.left();
        let books = Arc::new(Self {
            journal,
            outward,
            halt,
            mode: policy.mode(),
            started: Instant::now(),
            notebook,
            workers: Mutex::new(Workers::from_remembered(notes.workers, network)),
            blocks: Mutex::new(blocks),
            lag: Lag::default(),
            latency: Latency::new(),
        });
        left.into_iter().for_each(|(hash, outcome)| books.await_outcome(hash, outcome));
        books
    }

    /// What is known of the workers.
    pub fn listing(&self) -> Listing {
        let now = self.now();
        let listing = self.workers().listing(now);
        listing.in_order()
    }

    /// Blocks found, newest first.
    pub fn blocks(&self) -> Vec<Block> {
        let pending = self.outward.keeper.pending();
        self.found().listed(&pending)
    }

    /// For how long the oldest share waits that is not in the quote queue, in milliseconds.
    pub fn oldest_unqueued_ms(&self) -> Option<u64> {
        self.lag.oldest_unqueued_ms(self.journal.stats().totals.queued_through, self.now().ms)
    }

    /// Writes down what is to be remembered, now and then until `stop`.
    pub async fn keep_notes(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(WRITE_EVERY)).await.is_some() {
            self.write_notes().await;
            self.lag.queued(self.journal.stats().totals.queued_through);
        }
    }

    /// Writes down what is to be remembered, if there is news.
    pub async fn write_notes(&self) {
        let news = [self.workers().news_to_remember(), self.found().news_to_remember()];
        if news == [false, false] {
            return;
        }
        let (listing, blocks, notebook) = (self.listing(), self.found().remembered(), self.notebook.clone());
        let write = move || notebook.write(&Notes { workers: listing.remembered(), blocks });
        let written = tokio::task::spawn_blocking(write).await;
        if let Ok(Err(error)) = written {
            self.workers().not_remembered();
            self.found().not_remembered();
            let error = format!("{error:#}");
            tracing::warn!(
                error,
                "what is known of workers and blocks cannot be written down; a restart would forget it"
            );
        }
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> MutexGuard<'_, FoundBlocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment { ms, unix: unix_ms() / 1000 }
    }

    /// Sends a solved block out and notes what became of it.
    fn send_block(self: &Arc<Self>, share: &AcceptedShare, found: FoundBlock) {
        let (hash, height) = (share.hash, found.job.template.height);
        let finder = format!("{}.{}", share.identity.owner, share.identity.worker);
        tracing::info!(height, %hash, finder, "block found");
        self.found().add(height, hash.to_string(), finder, unix_ms() / 1000);
        let template = Arc::clone(&found.job.template);
        let outcome =
            self.outward.keeper.found(Found { template, header: found.header, coinbase: found.coinbase });
        self.await_outcome(hash, outcome);
    }

    /// Notes what becomes of a block, once it is known.
    fn await_outcome(self: &Arc<Self>, hash: BlockHash, outcome: oneshot::Receiver<Outcome>) {
        let books = Arc::clone(self);
        tokio::spawn(async move {
            // The keeper says in the log what it does about the block; it is gone only when the pool stops.
            if let Ok(outcome) = outcome.await {
                books.found().settle(&hash.to_string(), outcome);
            }
        });
    }

    fn seen(&self, seen: &WorkerSeen) {
        let WorkerSeen { identity, protocol, user_agent, difficulty, change, .. } = seen;
        let (owner, worker) = (&identity.owner, &identity.worker);
        match change {
            WorkerChange::Joined => {
                tracing::info!(%owner, worker, ?protocol, %user_agent, %difficulty, "worker joined");
            }
            WorkerChange::Retargeted => tracing::debug!(%owner, worker, %difficulty, "difficulty changed"),
            WorkerChange::Left => tracing::info!(%owner, worker, "worker left"),
        }
        let now = self.now();
        self.workers().seen(seen, now);
    }
}

impl Memory for Books {
    fn difficulty(&self, identity: &Identity, user_agent: &str) -> Option<Difficulty> {
        self.workers().fit(identity, user_agent)
    }
}

/// The sink is shared, and a block outlives the call that brought it.
#[derive(Debug)]
pub struct Sink(pub Arc<Books>);

impl ShareSink for Sink {
    fn keep(&self, shares: Vec<AcceptedShare>) -> Keeping {
        let books = Arc::clone(&self.0);
        let runs = Runs::of(&shares);
        let at_ms = unix_ms();
        let shares = shares.into_iter().map(|mut share| {
            if let (Some(share), Some(upstream)) = (share.upstream.take(), &books.outward.upstream) {
                upstream.submit(*share);
            }
            let block = share.block.take();
            let block_height = block.as_ref().map(|found| found.job.template.height);
            if let Some(found) = block {
                books.send_block(&share, *found);
            }
            let AcceptedShare { identity, work, hash, .. } = share;
            NewShare { identity, work, hash, at_ms, block_height, mode: books.mode }
        });
        let shares: Vec<NewShare> = shares.collect();
        Box::pin(async move {
            let waiting = books.lag.waiting(shares.len() as u64);
            let last = books.journal.append(shares).await.map_err(|error| {
                // The journal says in the log that it cannot write, once.
                tracing::debug!(%error, "shares could not be journalled");
                SinkError(error.to_string())
            })?;
            drop(waiting);
            let now = books.now();
            books.lag.journalled(last, now.ms);
            books.workers().accepted(&runs, now);
            Ok(())
        })
    }

    fn note(&self, news: News) {
        match news {
            News::Rejected(share) => {
                let reason = share.reason.name();
                match &share.identity {
                    Some(identity) => {
                        tracing::debug!(owner = %identity.owner, worker = identity.worker, reason, "share rejected");
                    }
                    None => tracing::debug!(reason, "share of an unknown worker rejected"),
                }
                self.0.workers().rejected(&share);
            }
            News::Worker(seen) => self.0.seen(&seen),
        }
    }

    fn job_written(&self, job: &Job) {
        self.0.latency.written(job);
    }

    fn halt(&self, reason: &CoinbaseError) {
        self.0.halt.tell(&reason.to_string());
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
