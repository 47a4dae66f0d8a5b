//! The jobs one channel was sent, and the shares it found in them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, TxMerkleNode};
use poolbox_accounting::Difficulty;

use crate::coinbase::Coinbase;
use crate::job::Job;
use crate::share::{RejectReason, Solved};

/// Jobs that shares are accepted for: with a new template at most every five seconds, those of the last
/// two and a half minutes.
const MAX_JOBS: usize = 32;
/// How long after a new block shares of the old one still count: they were found before the miner
/// could know. Longer than any home network takes, shorter than a miner would dawdle for.
const LATE_MS: u64 = 1_000;

/// A job as it was sent.
#[derive(Clone, Debug)]
pub struct SentJob {
    /// What it is called on this channel.
    pub id: u32,
    /// The job.
    pub job: Arc<Job>,
    /// Its coinbase, which pays this channel's payout.
    pub coinbase: Arc<Coinbase>,
    /// A share is judged and credited by this, whatever the difficulty became since.
    pub difficulty: Difficulty,
    /// The root of all its headers, where the miner rolls no extranonce (Sv2 standard channels).
    pub root: Option<TxMerkleNode>,
    /// When a new block made it late.
    retired_ms: Option<u64>,
}

impl SentJob {
    /// A job that is sent now.
    pub const fn new(id: u32, job: Arc<Job>, coinbase: Arc<Coinbase>, difficulty: Difficulty) -> Self {
        Self { id, job, coinbase, difficulty, root: None, retired_ms: None }
    }
}

/// Every job that shares are accepted for, oldest first.
#[derive(Debug, Default)]
pub struct SentJobs {
    jobs: VecDeque<SentJob>,
    /// Ids of the jobs that were dropped lately are below this, as far as ids grow.
    past: Option<u32>,
    /// Accepted headers by the block they build on: the same header is the same share under any job id.
    shares: Vec<(BlockHash, HashSet<u128>)>,
}

impl SentJobs {
    /// The job that was sent last.
    pub fn newest(&self) -> Option<&SentJob> {
        self.jobs.back()
    }

    /// Notes a job as sent.
    pub fn add(&mut self, sent: SentJob) {
        self.jobs.retain(|earlier| earlier.id != sent.id);
        if self.jobs.len() >= MAX_JOBS {
            self.past = self.jobs.pop_front().map(|oldest| oldest.id);
        }
        self.jobs.push_back(sent);
        self.forget_past_blocks();
    }

    /// A new block came: what was sent so far is late from now on, and then stale.
    pub fn retire_all(&mut self, now_ms: u64) {
        while let Some(oldest) = self.jobs.front()
            && oldest.retired_ms.is_some_and(|retired| now_ms > retired + LATE_MS)
        {
            self.past = self.jobs.pop_front().map(|oldest| oldest.id);
        }
        for sent in &mut self.jobs {
            sent.retired_ms.get_or_insert(now_ms);
        }
        self.forget_past_blocks();
    }

    /// The job of a share, and whether its block is past, but only just.
    ///
    /// # Errors
    /// [`RejectReason::Stale`], or [`RejectReason::UnknownJob`] for an id that was never sent.
    pub fn find(&self, id: u32, now_ms: u64) -> Result<(&SentJob, bool), RejectReason> {
        let Some(sent) = self.jobs.iter().rev().find(|sent| sent.id == id) else {
            let was_sent = self.past.is_some_and(|past| id <= past);
            return Err(if was_sent { RejectReason::Stale } else { RejectReason::UnknownJob });
        };
        match sent.retired_ms {
            Some(retired) if now_ms > retired + LATE_MS => Err(RejectReason::Stale),
            retired => Ok((sent, retired.is_some())),
        }
    }

    /// Notes an accepted header; `false` when it was noted before.
    pub fn note_share(&mut self, prev_hash: BlockHash, solved: &Solved) -> bool {
        let known = self.shares.iter_mut().find(|(tip, _)| *tip == prev_hash);
        let shares = match known {
            Some((_, shares)) => shares,
            None => &mut self.shares.push_mut((prev_hash, HashSet::new())).1,
        };
        shares.insert(fingerprint(solved.hash))
    }

    /// The share could not be kept: it may be sent again.
    pub fn forget_share(&mut self, hash: BlockHash) {
        self.shares.iter_mut().for_each(|(_, shares)| {
            shares.remove(&fingerprint(hash));
        });
    }

    fn forget_past_blocks(&mut self) {
        let Self { jobs, shares, .. } = self;
        shares.retain(|(tip, _)| jobs.iter().any(|sent| sent.job.template.prev_hash == *tip));
    }
}

/// The half of a hash that proof of work leaves random: no two headers ever share it.
fn fingerprint(hash: BlockHash) -> u128 {
    let bytes = hash.to_byte_array();
    bytes.iter().take(16).fold(0, |number, &byte| (number << 8) | u128::from(byte))
}
