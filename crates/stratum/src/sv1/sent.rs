//! The jobs one miner was sent, and the shares it found in them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bitcoin::BlockHash;
use poolbox_accounting::Difficulty;

use crate::job::Job;

/// Jobs that shares are accepted for.
const MAX_JOBS: usize = 128;
/// How long after a new block shares of the old one still count: they were found before the miner
/// could know. Longer than any home network takes, shorter than a miner would dawdle for.
const LATE_MS: u64 = 1_000;

/// A job as it was sent.
#[derive(Clone, Debug)]
pub(super) struct SentJob {
    pub job: Arc<Job>,
    /// A share is judged and credited by this, whatever the difficulty became since.
    pub difficulty: Difficulty,
    /// Its block is past, but only just.
    pub late: bool,
}

#[derive(Debug)]
struct Entry {
    id: String,
    job: Arc<Job>,
    difficulty: Difficulty,
    retired_ms: Option<u64>,
}

/// Every job that shares are accepted for, oldest first.
#[derive(Debug, Default)]
pub(super) struct SentJobs {
    entries: VecDeque<Entry>,
    /// Accepted headers by the block they build on: the same header is the same share under any job id.
    shares: HashMap<BlockHash, HashSet<BlockHash>>,
}

impl SentJobs {
    pub fn newest(&self) -> Option<&Job> {
        self.entries.back().map(|entry| &*entry.job)
    }

    pub fn add(&mut self, id: String, job: Arc<Job>, difficulty: Difficulty) {
        self.entries.retain(|entry| entry.id != id);
        self.entries.push_back(Entry { id, job, difficulty, retired_ms: None });
        if self.entries.len() > MAX_JOBS {
            self.entries.pop_front();
        }
        self.forget_past_blocks();
    }

    /// A new block came: what was sent so far is late from now on, and then stale.
    pub fn retire_all(&mut self, now_ms: u64) {
        self.entries.retain(|entry| entry.retired_ms.is_none_or(|retired| now_ms <= retired + LATE_MS));
        for entry in &mut self.entries {
            entry.retired_ms.get_or_insert(now_ms);
        }
        self.forget_past_blocks();
    }

    pub fn get(&self, id: &str, now_ms: u64) -> Option<SentJob> {
        let entry = self.entries.iter().rev().find(|entry| entry.id == id)?;
        let late = match entry.retired_ms {
            Some(retired) if now_ms > retired + LATE_MS => return None,
            retired => retired.is_some(),
        };
        Some(SentJob { job: Arc::clone(&entry.job), difficulty: entry.difficulty, late })
    }

    /// Notes an accepted header; `false` when it was noted before.
    pub fn note_share(&mut self, job: &Job, hash: BlockHash) -> bool {
        self.shares.entry(job.template.prev_hash).or_default().insert(hash)
    }

    /// The share could not be kept: it may be sent again.
    pub fn forget_share(&mut self, hash: BlockHash) {
        self.shares.values_mut().for_each(|shares| {
            shares.remove(&hash);
        });
    }

    fn forget_past_blocks(&mut self) {
        let Self { entries, shares } = self;
        shares.retain(|prev_hash, _| entries.iter().any(|entry| entry.job.template.prev_hash == *prev_hash));
    }
}
