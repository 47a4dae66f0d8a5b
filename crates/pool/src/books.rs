//! Where accepted shares go: block solutions to the node at once, every share to the journal, and
//! the counters that the status page shows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use poolbox_accounting::{Difficulty, Identity, Work};
use poolbox_api::pool::{Block, Protocol, Worker};
use poolbox_journal::{Journal, NewShare};
use poolbox_stratum::{
    AcceptedShare, CoinbaseError, FoundBlock, Job, Keeping, Memory, News, RejectedShare, ShareSink,
    SinkError, WorkerChange, WorkerSeen,
};
use poolbox_work_source::{Solution, SubmitOutcome, WorkSource};

use crate::jobs::Halt;

/// Workers that are counted; past that, those not connected are forgotten first.
const MAX_WORKERS: usize = 10_000;
/// Blocks that are listed.
const MAX_BLOCKS: usize = 100;

/// The pool's share sink.
#[derive(Debug)]
pub struct Books {
    journal: Journal,
    source: Arc<WorkSource>,
    halt: Arc<Halt>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    workers: BTreeMap<Arc<Identity>, Count>,
    blocks: VecDeque<Block>,
}

#[derive(Debug, Default)]
struct Count {
    connections: u32,
    protocol: Option<Protocol>,
    user_agent: String,
    difficulty_log2: i8,
    measured: Option<Difficulty>,
    accepted: u64,
    rejected: BTreeMap<&'static str, u64>,
    work: Work,
    last_share_at: Option<u64>,
}

impl Books {
    /// Books that write to `journal` and hand blocks to `source`.
    pub fn new(journal: Journal, source: Arc<WorkSource>, halt: Arc<Halt>) -> Self {
        Self { journal, source, halt, counts: Mutex::default() }
    }

    /// Every worker, ordered by owner and name.
    pub fn workers(&self) -> Vec<Worker> {
        let worker = |(identity, count): (&Arc<Identity>, &Count)| Worker {
            owner: identity.owner.to_string(),
            name: identity.worker.clone(),
            protocol: count.protocol.unwrap_or(Protocol::Sv1),
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
    fn send_block(self: &Arc<Self>, share: &AcceptedShare, found: FoundBlock) {
        let (hash, height) = (share.hash, found.job.template.height);
        let finder = format!("{}.{}", share.identity.owner, share.identity.worker);
        tracing::info!(height, %hash, finder, "block found");
        let block =
            Block { height, hash: hash.to_string(), finder, found_at: unix_ms() / 1000, confirmed: false };
        {
            let blocks = &mut self.counts().blocks;
            blocks.push_front(block);
            blocks.truncate(MAX_BLOCKS);
        }
        let solution = Solution {
            template_id: found.job.template.id,
            version: found.header.version.to_consensus().cast_unsigned(),
            time: found.header.time,
            nonce: found.header.nonce,
            coinbase: found.coinbase,
        };
        let books = Arc::clone(self);
        tokio::spawn(async move {
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

    fn kept(&self, shares: &[NewShare]) {
        let mut counts = self.counts();
        for share in shares {
            let count = counts.workers.entry(Arc::clone(&share.identity)).or_default();
            count.accepted += 1;
            count.work = [count.work, share.work].into_iter().sum();
            count.last_share_at = Some(share.at_ms / 1000);
        }
    }

    fn rejected(&self, share: RejectedShare) {
        let reason = share.reason.name();
        let Some(identity) = share.identity else {
            return tracing::debug!(reason, "share of an unknown worker rejected");
        };
        tracing::debug!(owner = %identity.owner, worker = identity.worker, reason, "share rejected");
        *self.counts().workers.entry(identity).or_default().rejected.entry(reason).or_default() += 1;
    }

    fn seen(&self, seen: WorkerSeen) {
        let WorkerSeen { identity, protocol, user_agent, difficulty, measured, change } = seen;
        let (owner, worker) = (&identity.owner, &identity.worker);
        match change {
            WorkerChange::Joined => {
                tracing::info!(%owner, worker, ?protocol, %user_agent, %difficulty, "worker joined");
            }
            WorkerChange::Retargeted => tracing::debug!(%owner, worker, %difficulty, "difficulty changed"),
            WorkerChange::Left => tracing::info!(%owner, worker, "worker left"),
        }
        let mut counts = self.counts();
        if counts.workers.len() >= MAX_WORKERS && !counts.workers.contains_key(&identity) {
            counts.workers.retain(|_, count| count.connections > 0);
        }
        let count = counts.workers.entry(identity).or_default();
        count.protocol = Some(match protocol {
            poolbox_stratum::Protocol::Sv1 => Protocol::Sv1,
            poolbox_stratum::Protocol::Sv2 => Protocol::Sv2,
        });
        count.user_agent = user_agent.as_ref().to_owned();
        count.difficulty_log2 = difficulty.log2();
        count.measured = measured.or(count.measured);
        match change {
            WorkerChange::Joined => count.connections += 1,
            WorkerChange::Left => count.connections = count.connections.saturating_sub(1),
            WorkerChange::Retargeted => {}
        }
    }
}

impl Memory for Books {
    fn difficulty(&self, identity: &Identity, user_agent: &str) -> Option<Difficulty> {
        let counts = self.counts();
        let count = counts.workers.get(identity)?;
        count.measured.filter(|_| count.user_agent == user_agent)
    }
}

/// The sink is shared, and a block outlives the call that brought it.
#[derive(Debug)]
pub struct Sink(pub Arc<Books>);

impl ShareSink for Sink {
    fn keep(&self, shares: Vec<AcceptedShare>) -> Keeping {
        let books = Arc::clone(&self.0);
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
            let journalled = books.journal.append(shares.clone()).await;
            journalled.map_err(|error| {
                tracing::error!(%error, "shares could not be journalled");
                SinkError(error.to_string())
            })?;
            books.kept(&shares);
            Ok(())
        })
    }

    fn note(&self, news: News) {
        match news {
            News::Rejected(share) => self.0.rejected(share),
            News::Worker(seen) => self.0.seen(seen),
        }
    }

    fn job_written(&self, _: &Job) {}

    fn halt(&self, reason: &CoinbaseError) {
        self.0.halt.tell(reason);
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
