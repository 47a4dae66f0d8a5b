//! Where accepted shares go: block solutions to the node at once, every share to the journal, and
//! the counters that the status page shows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use poolbox_accounting::{Identity, ShareSeq, Work};
use poolbox_api::pool::{Block, Protocol, Worker};
use poolbox_journal::{Journal, NewShare};
use poolbox_stratum::{AcceptedShare, RejectedShare, ShareSink, SinkError, WorkerChange, WorkerSeen};
use poolbox_work_source::{Solution, SubmitOutcome, WorkSource};

/// Workers that are counted; past that, those not connected are forgotten first.
const MAX_WORKERS: usize = 10_000;
/// Blocks that are listed.
const MAX_BLOCKS: usize = 100;

/// The pool's share sink.
#[derive(Debug)]
pub struct Books {
    journal: Journal,
    source: Arc<WorkSource>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    workers: BTreeMap<Identity, Count>,
    blocks: VecDeque<Block>,
}

#[derive(Debug, Default)]
struct Count {
    connections: u32,
    user_agent: String,
    difficulty_log2: i8,
    accepted: u64,
    rejected: BTreeMap<&'static str, u64>,
    work: Work,
    last_share_at: Option<u64>,
}

impl Books {
    /// Books that write to `journal` and hand blocks to `source`.
    pub fn new(journal: Journal, source: Arc<WorkSource>) -> Self {
        Self { journal, source, counts: Mutex::default() }
    }

    /// Every worker, ordered by owner and name.
    pub fn workers(&self) -> Vec<Worker> {
        let worker = |(identity, count): (&Identity, &Count)| Worker {
            owner: identity.owner.to_string(),
            name: identity.worker.clone(),
            protocol: Protocol::Sv1,
            user_agent: count.user_agent.clone(),
            connected: count.connections > 0,
            difficulty_log2: count.difficulty_log2,
            accepted: count.accepted,
            rejected: count.rejected.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect(),
            work_ehash: count.work,
            last_share_at: count.last_share_at,
        };
        self.counts().workers.iter().map(worker).collect()
    }

    /// Blocks found, newest first.
    pub fn blocks(&self) -> Vec<Block> {
        self.counts().blocks.iter().cloned().collect()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a solved block to the node and reports what became of it.
    fn send_block(self: &Arc<Self>, share: &AcceptedShare) {
        let (hash, height) = (share.solved.hash, share.job.template.height);
        let finder = format!("{}.{}", share.identity.owner, share.identity.worker);
        tracing::info!(height, %hash, finder, "block found");
        let block =
            Block { height, hash: hash.to_string(), finder, found_at: unix_ms() / 1000, confirmed: false };
        {
            let blocks = &mut self.counts().blocks;
            blocks.push_front(block);
            blocks.truncate(MAX_BLOCKS);
        }
        let solution = share.job.coinbase.for_block(&share.extranonce.bytes()).map(|coinbase| Solution {
            template_id: share.job.template.id,
            version: share.solved.header.version.to_consensus().cast_unsigned(),
            time: share.solved.header.time,
            nonce: share.solved.header.nonce,
            coinbase,
        });
        let books = Arc::clone(self);
        tokio::spawn(async move {
            let solution = match solution {
                Ok(solution) => solution,
                Err(error) => {
                    return tracing::error!(height, %hash, %error, "the block has no valid coinbase");
                }
            };
            match books.source.submit(solution).await {
                Ok(SubmitOutcome::Accepted(_)) => {
                    tracing::info!(height, %hash, "block is the tip of the chain");
                    if let Some(block) =
                        books.counts().blocks.iter_mut().find(|block| block.hash == hash.to_string())
                    {
                        block.confirmed = true;
                    }
                }
                Ok(SubmitOutcome::Unconfirmed(_)) => {
                    tracing::warn!(height, %hash, "block was sent, but the tip did not move to it");
                }
                Err(error) => tracing::error!(height, %hash, %error, "block could not be sent to the node"),
            }
        });
    }
}

/// The sink is shared, and a block outlives the call that brought it.
#[derive(Debug)]
pub struct Sink(pub Arc<Books>);

impl ShareSink for Sink {
    async fn accept(&self, share: AcceptedShare) -> Result<ShareSeq, SinkError> {
        let Self(books) = self;
        if share.solved.block {
            books.send_block(&share);
        }
        let at_ms = unix_ms();
        let entry = NewShare {
            owner: share.identity.owner.clone(),
            worker: share.identity.worker.clone(),
            work: share.work,
            hash: share.solved.hash,
            at_ms,
            block_height: share.solved.block.then_some(share.job.template.height),
        };
        let seq = books.journal.append(entry).await.map_err(|error| {
            tracing::error!(%error, "a share could not be journalled");
            SinkError(error.to_string())
        })?;
        let mut counts = books.counts();
        let count = counts.workers.entry(share.identity).or_default();
        count.accepted += 1;
        count.work = [count.work, share.work].into_iter().sum();
        count.last_share_at = Some(at_ms / 1000);
        Ok(seq)
    }

    fn reject(&self, share: RejectedShare) {
        let reason = share.reason.name();
        let Some(identity) = share.identity else {
            return tracing::debug!(reason, "share of an unknown worker rejected");
        };
        tracing::debug!(owner = %identity.owner, worker = identity.worker, reason, "share rejected");
        let mut counts = self.0.counts();
        *counts.workers.entry(identity).or_default().rejected.entry(reason).or_default() += 1;
    }

    fn worker(&self, seen: WorkerSeen) {
        let WorkerSeen { identity, user_agent, difficulty, change } = seen;
        let (owner, worker) = (&identity.owner, &identity.worker);
        match change {
            WorkerChange::Joined => tracing::info!(%owner, worker, user_agent, %difficulty, "worker joined"),
            WorkerChange::Retargeted => tracing::debug!(%owner, worker, %difficulty, "difficulty changed"),
            WorkerChange::Left => tracing::info!(%owner, worker, "worker left"),
        }
        let mut counts = self.0.counts();
        if counts.workers.len() >= MAX_WORKERS && !counts.workers.contains_key(&identity) {
            counts.workers.retain(|_, count| count.connections > 0);
        }
        let count = counts.workers.entry(identity).or_default();
        count.user_agent = user_agent;
        count.difficulty_log2 = difficulty.log2();
        match change {
            WorkerChange::Joined => count.connections += 1,
            WorkerChange::Left => count.connections = count.connections.saturating_sub(1),
            WorkerChange::Retargeted => {}
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
