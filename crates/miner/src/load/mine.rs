//! Shares of one job, found ahead of time.

use std::sync::Arc;

use crate::hash::Search;
use crate::target::Target;
use crate::work::Job;

/// Nonces tried at once: enough to be cheap, few enough to be thrown away at the next job.
const CHUNK: u64 = 256;
/// All nonces.
const ALL: u64 = 1 << 32;

/// A share of the mine's job.
#[derive(Clone, Copy, Debug)]
pub struct Share<'a> {
    /// The miner's part of the extranonce.
    pub extranonce2: &'a [u8],
    /// The header's time.
    pub time: u32,
    /// The header's version.
    pub version: u32,
    /// The nonce.
    pub nonce: u32,
}

/// A job and its shares that were found but not sent yet.
pub struct Mine {
    job: Arc<Job>,
    /// Hashes that meet this are left alone: they would be blocks.
    not: Target,
    search: Search,
    extranonce2: Vec<u8>,
    /// Counts headers: extranonces, or seconds where there are none.
    header: u64,
    time: u32,
    next_nonce: u64,
    found: Vec<u32>,
}

impl Mine {
    /// A mine of this job's shares. Some pools send the same work again under another number, so a
    /// job begins with the `header` after those that the jobs before it used on the same block.
    pub fn new(job: Arc<Job>, header: u64) -> Self {
        let block = Target::of_bits(job.bits);
        // On regtest every other hash is a block; shares that are none need a target that is
        // easier by something. Elsewhere blocks are rare enough to be sent as they come.
        let spare = job.target.top().saturating_sub(block.top()) >= job.target.top() / 4;
        let not = if spare { block } else { Target::UNREACHABLE };
        let search = Search::new(&job.header([0; 32], job.version));
        let (extranonce2, time) = (Vec::new(), job.time);
        let found = Vec::with_capacity(CHUNK as usize);
        let mut mine = Self { job, not, search, extranonce2, header, time, next_nonce: ALL, found };
        mine.next_header();
        mine
    }

    /// The first header that it did not use.
    pub const fn next(&self) -> u64 {
        self.header
    }

    /// Finds shares until so many are in stock.
    pub fn stock(&mut self, shares: usize) {
        while self.found.len() < shares {
            if self.next_nonce == ALL {
                self.next_header();
            }
            let to = ALL.min(self.next_nonce + CHUNK);
            self.search.collect(self.next_nonce..to, &self.job.target, &self.not, &mut self.found);
            self.next_nonce = to;
        }
    }

    /// A share that was never taken before.
    pub fn take(&mut self) -> Share<'_> {
        self.stock(1);
        let nonce = self.found.pop().unwrap_or_default();
        Share { extranonce2: &self.extranonce2, time: self.time, version: self.job.version, nonce }
    }

    /// Begins with another extranonce, or another second where there is none.
    fn next_header(&mut self) {
        let number = self.header;
        self.header += 1;
        self.next_nonce = 0;
        match self.job.extranonce2(number).filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => self.extranonce2 = bytes,
            None => self.time = self.job.time.saturating_add(number as u32),
        }
        let root = self.job.merkle_root(&self.extranonce2);
        let mut header = self.job.header(root, self.job.version);
        header.time = self.time;
        self.search = Search::new(&header);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bitcoin::hashes::Hash;
    use bitcoin::{BlockHash, CompactTarget, TxMerkleNode, block};

    use super::*;
    use crate::work::{Coinbase, Root};

    fn job(root: Root, target: Target) -> Arc<Job> {
        Arc::new(Job {
            id: "1".into(),
            version: 0x2000_0000,
            version_mask: 0,
            previous: [7; 32],
            root,
            time: 1_700_000_000,
            bits: 0x207f_ffff,
            target,
            difficulty: target.difficulty(),
        })
    }

    /// Hashes by the bitcoin library.
    fn hash(job: &Job, share: Share<'_>) -> BlockHash {
        let header = block::Header {
            version: block::Version::from_consensus(share.version as i32),
            prev_blockhash: BlockHash::from_byte_array(job.previous),
            merkle_root: TxMerkleNode::from_byte_array(job.merkle_root(share.extranonce2)),
            time: share.time,
            bits: CompactTarget::from_consensus(job.bits),
            nonce: share.nonce,
        };
        header.block_hash()
    }

    #[test]
    fn regtest_shares_are_no_blocks_meet_the_target_and_are_all_different() {
        let coinbase =
            Coinbase { prefix: vec![1], extranonce2_size: 4, suffix: vec![2], merkle_path: Vec::new() };
        for root in [Root::Given([9; 32]), Root::Coinbase(coinbase)] {
            let job = job(root, Target::of_difficulty(1e-300).unwrap());
            let mut mine = Mine::new(Arc::clone(&job), 0);
            let mut seen = HashSet::new();
            for round in 0..3000 {
                // The last nonces of a header, and the first of the next.
                if round == 1000 {
                    mine.found.clear();
                    mine.next_nonce = ALL - 300;
                }
                let hash = hash(&job, mine.take());
                assert!(hash.to_byte_array()[31] >= 0x80, "{hash} is a block");
                assert!(seen.insert(hash), "{hash} was taken twice");
            }
            assert_eq!(mine.header, 2);
        }
    }

    #[test]
    fn the_same_work_under_another_number_gives_other_shares() {
        let job = job(Root::Given([9; 32]), Target::of_difficulty(1e-300).unwrap());
        let mut first = Mine::new(Arc::clone(&job), 0);
        let mut seen: HashSet<BlockHash> = (0..500).map(|_| hash(&job, first.take())).collect();
        let mut second = Mine::new(Arc::clone(&job), first.next());
        assert!((0..500).all(|_| seen.insert(hash(&job, second.take()))));
    }

    #[test]
    fn where_every_share_is_a_block_they_are_taken_too() {
        let target = Target::of_difficulty(1.0 / 4096.0 / 4096.0).unwrap();
        let job = job(Root::Given([9; 32]), target);
        let mut mine = Mine::new(Arc::clone(&job), 0);
        for _ in 0..20 {
            let hash = hash(&job, mine.take());
            assert!(target.is_met_by(hash.as_byte_array()));
        }
    }
}
