//! Where accepted shares go: block solutions to the node at once, every share to the journal, and what
//! the operator is told to the counters.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use poolbox_accounting::{Difficulty, Identity, Network};
use poolbox_api::pool::Block;
use poolbox_journal::{Journal, NewShare};
use poolbox_stratum::{
    AcceptedShare, CoinbaseError, FoundBlock, Job, Keeping, Memory, News, ShareSink, SinkError, WorkerChange,
    WorkerSeen,
};
use poolbox_work_source::blocks::{BlockKeeper, Found, Outcome};
use tokio_util::sync::CancellationToken;

use crate::jobs::Halt;
use crate::lag::Lag;
use crate::latency::Latency;
use crate::notebook::{Notebook, WRITE_EVERY};
use crate::workers::{Listing, Moment, Runs, Workers};

/// Blocks that are listed.
const MAX_BLOCKS: usize = 100;

/// The pool's share sink.
#[derive(Debug)]
pub struct Books {
    journal: Journal,
    keeper: BlockKeeper,
    halt: Arc<Halt>,
    started: Instant,
    notebook: Notebook,
    workers: Mutex<Workers>,
    blocks: Mutex<VecDeque<Block>>,
    /// How far disk and queue are behind.
    pub lag: Lag,
    /// How fast jobs reach the miners.
    pub latency: Latency,
}

impl Books {
    /// Books that write to `journal` and hand blocks to `keeper`, with what is remembered of the workers
    /// in `data_dir`.
    pub fn open(
        data_dir: &Path,
        network: Network,
        journal: Journal,
        keeper: BlockKeeper,
        halt: Arc<Halt>,
    ) -> Self {
        let notebook = Notebook::of(data_dir);
        let workers = Workers::from_remembered(notebook.read(), network);
        Self {
            journal,
            keeper,
            halt,
            started: Instant::now(),
            notebook,
            workers: Mutex::new(workers),
            blocks: Mutex::default(),
            lag: Lag::default(),
            latency: Latency::new(),
        }
    }

    /// What is known of the workers.
    pub fn listing(&self) -> Listing {
        let now = self.now();
        self.workers().listing(now)
    }

    /// Blocks found, newest first; those of before a restart only while they are not in the chain.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = self.found().iter().cloned().collect();
        for pending in self.keeper.pending() {
            let hash = pending.hash.to_string();
            match blocks.iter_mut().find(|block| block.hash == hash) {
                Some(block) => block.trouble = pending.trouble,
                None => blocks.push(Block {
                    height: pending.height,
                    hash,
                    finder: None,
                    found_at: pending.found_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
                    confirmed: false,
                    lost: None,
                    trouble: pending.trouble,
                }),
            }
        }
        blocks
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
        let remembered = {
            let mut workers = self.workers();
            workers.news_to_remember().then(|| workers.remembered())
        };
        let Some(remembered) = remembered else { return };
        let notebook = self.notebook.clone();
        let written = tokio::task::spawn_blocking(move || notebook.write(&remembered)).await;
        if let Ok(Err(error)) = written {
            self.workers().not_remembered();
            tracing::warn!(%error, "what is known of the workers cannot be written down; a restart would forget it");
        }
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> MutexGuard<'_, VecDeque<Block>> {
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
        let block = Block {
            height,
            hash: hash.to_string(),
            finder: Some(finder),
            found_at: unix_ms() / 1000,
            confirmed: false,
            lost: None,
            trouble: None,
        };
        {
            let mut blocks = self.found();
            blocks.push_front(block);
            blocks.truncate(MAX_BLOCKS);
        }
        let template = Arc::clone(&found.job.template);
        let fate = self.keeper.found(Found { template, header: found.header, coinbase: found.coinbase });
        let books = Arc::clone(self);
        tokio::spawn(async move {
            // The keeper says in the log what it does about the block; gone is it only when the pool stops.
            let Ok(outcome) = fate.await else { return };
            if let Some(block) = books.found().iter_mut().find(|block| block.hash == hash.to_string()) {
                match outcome {
                    Outcome::OnChain => block.confirmed = true,
                    Outcome::Lost { reason } => block.lost = Some(reason),
                }
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
            let block = share.block.take();
            let block_height = block.as_ref().map(|found| found.job.template.height);
            if let Some(found) = block {
                books.send_block(&share, *found);
            }
            let AcceptedShare { identity, work, hash, .. } = share;
            NewShare { identity, work, hash, at_ms, block_height }
        });
        let shares: Vec<NewShare> = shares.collect();
        Box::pin(async move {
            let waiting = books.lag.waiting(shares.len() as u64);
            let last = books.journal.append(shares).await.map_err(|error| {
                tracing::error!(%error, "shares could not be journalled");
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
        self.0.halt.tell(reason);
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
