//! What came of the load.

use std::collections::BTreeMap;

use crate::load::histogram::Histogram;

/// Everything that is counted.
#[derive(Default)]
pub struct Tally {
    /// Shares sent.
    pub submitted: u64,
    /// Shares accepted.
    pub acknowledged: u64,
    /// Shares refused though their block was the newest, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Shares refused because their block was not the newest any more.
    pub stale: u64,
    /// Acknowledgements whose count of shares was not ours.
    pub miscounted: u64,
    /// From writing a share to its acknowledgement.
    pub times: Histogram,
    /// Blocks that miners heard of.
    pub blocks: Vec<Block>,
}

/// A block that miners heard of.
pub struct Block {
    /// Its hash.
    pub hash: [u8; 32],
    /// When each miner heard of it, in nanoseconds; earliest first.
    pub heard: Vec<u64>,
}

impl Tally {
    /// A share was accepted, this long after it was written.
    pub fn accepted(&mut self, nanoseconds: u64) {
        self.acknowledged += 1;
        self.times.add(nanoseconds);
    }

    /// A share was refused.
    pub fn refused(&mut self, reason: &str, outdated: bool) {
        if outdated || reason.to_ascii_lowercase().contains("stale") {
            self.stale += 1;
        } else if let Some(count) = self.rejected.get_mut(reason) {
            *count += 1;
        } else {
            self.rejected.insert(reason.to_owned(), 1);
        }
    }

    /// A miner heard of this block.
    pub fn heard_of(&mut self, hash: [u8; 32], at: u64) {
        match self.blocks.iter_mut().rfind(|block| block.hash == hash) {
            Some(block) => block.heard.push(at),
            None => self.blocks.push(Block { hash, heard: vec![at] }),
        }
    }
}
