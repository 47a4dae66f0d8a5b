//! Where accepted shares go: the seam between the protocols and whoever keeps them.

use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::block::Header;
use futures::future::BoxFuture;
use poolbox_accounting::{Difficulty, Identity, Work};
use poolbox_work_source::upstream::UpstreamShare;

use crate::coinbase::{Coinbase, CoinbaseError};
use crate::job::Job;
use crate::sent::SentJob;
use crate::share::{RejectReason, Solved};

/// A share that met the target its job was sent with.
#[derive(Clone, Debug)]
pub struct AcceptedShare {
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// What it is worth: the work of the target its job was sent with.
    pub work: Work,
    /// The hash of its header.
    pub hash: BlockHash,
    /// The block, when the share solves one.
    pub block: Option<Box<FoundBlock>>,
    /// What the upstream pool is to be sent, when the share is one there too.
    pub upstream: Option<Box<UpstreamShare>>,
}

impl AcceptedShare {
    /// The share of a solved header with these extranonces.
    pub(crate) fn new(
        identity: &Arc<Identity>,
        sent: &SentJob,
        solved: &Solved,
        late: bool,
        (server, miner): (&[u8], &[u8]),
    ) -> Self {
        let mut share = Self {
            identity: Arc::clone(identity),
            work: sent.difficulty.work(),
            hash: solved.hash,
            block: None,
            upstream: None,
        };
        // On a tip that is past it is work, but of no use beyond the box any more.
        if solved.outgoing && !late {
            match &sent.job.template.upstream {
                None => share.block = FoundBlock::new(&sent.job, solved, &sent.coinbase, server, miner),
                Some(job) => {
                    share.upstream = Some(Box::new(UpstreamShare {
                        job: Arc::clone(job),
                        extranonce2: sent.coinbase.upstream_extranonce2(server, miner),
                        time: solved.header.time,
                        nonce: solved.header.nonce,
                        version: solved.header.version.to_consensus().cast_unsigned(),
                    }));
                }
            }
        }
        share
    }
}

/// A share that also meets the network's target.
#[derive(Clone, Debug)]
pub struct FoundBlock {
    /// The job it was found for.
    pub job: Arc<Job>,
    /// Its header.
    pub header: Header,
    /// Its coinbase, serialised with its witness.
    pub coinbase: Vec<u8>,
}

impl FoundBlock {
    /// The block of a solved header; none, which the log tells, should its coinbase not be one.
    pub(crate) fn new(
        job: &Arc<Job>,
        solved: &Solved,
        coinbase: &Coinbase,
        server: &[u8],
        miner: &[u8],
    ) -> Option<Box<Self>> {
        match coinbase.for_block(server, miner) {
            Ok(coinbase) => Some(Box::new(Self { job: Arc::clone(job), header: solved.header, coinbase })),
            Err(error) => {
                tracing::error!(hash = %solved.hash, %error, "the block has no valid coinbase");
                None
            }
        }
    }
}

/// A share that was refused, for the counters.
#[derive(Clone, Debug)]
pub struct RejectedShare {
    /// Whose it would have been; none when the user name was never authorised.
    pub identity: Option<Arc<Identity>>,
    /// Why.
    pub reason: RejectReason,
}

/// How a miner speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Stratum V1.
    Sv1,
    /// Stratum V2.
    Sv2,
}

/// What happened to a worker's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerChange {
    /// It sent its first share, or had a job for longer than a health probe stays.
    Joined,
    /// Its difficulty changed, or one was found to fit its speed.
    Retargeted,
    /// It ended.
    Left,
}

/// News of a worker.
#[derive(Clone, Debug)]
pub struct WorkerSeen {
    /// Who.
    pub identity: Arc<Identity>,
    /// How it speaks.
    pub protocol: Protocol,
    /// What the miner calls itself.
    pub user_agent: Arc<str>,
    /// What it works at now.
    pub difficulty: Difficulty,
    /// What was found to fit its speed; none before enough of its shares were seen.
    pub measured: Option<Difficulty>,
    /// What happened.
    pub change: WorkerChange,
}

/// What a session has to tell besides shares.
#[derive(Clone, Debug)]
pub enum News {
    /// A share was refused.
    Rejected(RejectedShare),
    /// Something happened to a worker.
    Worker(WorkerSeen),
}

/// The shares could not be kept; the miner is told that they do not count.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the share could not be kept: {0}")]
pub struct SinkError(pub String);

/// Shares on their way to the disk.
pub type Keeping = BoxFuture<'static, Result<(), SinkError>>;

/// Keeps accepted shares. Implemented by the pool.
pub trait ShareSink: Send + Sync + 'static {
    /// Keeps shares, all or none, in this order. The future resolves once they are on disk: only then is
    /// the miner told. A block is on its way to the node, and an upstream's share to the
    /// upstream, when this returns.
    fn keep(&self, shares: Vec<AcceptedShare>) -> Keeping;

    /// Takes note of what happened.
    fn note(&self, news: News);

    /// A new block's or a better job was written to a miner.
    fn job_written(&self, job: &Job);

    /// Stops all mining: a job would have paid the wrong party.
    fn halt(&self, reason: &CoinbaseError);
}
