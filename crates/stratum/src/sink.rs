//! Where accepted shares go: the seam between the protocol and whoever keeps them.

use std::sync::Arc;

use poolbox_accounting::{Difficulty, Identity, ShareSeq, Work};

use crate::Extranonce;
use crate::job::Job;
use crate::share::{RejectReason, Solved};

/// A share that met the target its job was sent with.
#[derive(Clone, Debug)]
pub struct AcceptedShare {
    /// Whose it is.
    pub identity: Identity,
    /// What it is worth: the work of the target its job was sent with.
    pub work: Work,
    /// Header and hash.
    pub solved: Solved,
    /// The job it was found for.
    pub job: Arc<Job>,
    /// What completes the job's coinbase.
    pub extranonce: Extranonce,
}

/// A share that was refused, for the counters.
#[derive(Clone, Debug)]
pub struct RejectedShare {
    /// Whose it would have been; none when the user name was never authorised.
    pub identity: Option<Identity>,
    /// Why.
    pub reason: RejectReason,
}

/// What happened to a worker's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerChange {
    /// It sent its first share, or had a job for longer than a health probe stays.
    Joined,
    /// Its difficulty changed.
    Retargeted,
    /// It ended.
    Left,
}

/// News of a worker.
#[derive(Clone, Debug)]
pub struct WorkerSeen {
    /// Who.
    pub identity: Identity,
    /// What the miner calls itself.
    pub user_agent: String,
    /// What it works at now.
    pub difficulty: Difficulty,
    /// What happened.
    pub change: WorkerChange,
}

/// The share could not be kept; the miner is told that it does not count.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the share could not be kept: {0}")]
pub struct SinkError(pub String);

/// Keeps accepted shares. Implemented by the pool.
pub trait ShareSink: Send + Sync + 'static {
    /// Keeps a share. Returns once it is on disk: only then is the miner told.
    fn accept(&self, share: AcceptedShare) -> impl Future<Output = Result<ShareSeq, SinkError>> + Send;
    /// Counts a refused share.
    fn reject(&self, share: RejectedShare);
    /// Notes news of a worker.
    fn worker(&self, seen: WorkerSeen);
}
