//! A job, and the headers to hash for it: which thread takes which, so that none is hashed twice.

use std::ops::Range;
use std::sync::Arc;

use crate::hash::{Header, Search, sha256d};
use crate::target::Target;

/// Nonces hashed before the version is rolled. As ASICs do, versions are rolled long before the
/// nonces run out; sixteen version bits then make an extranonce2 last 2^32 hashes.
const NONCES_PER_VERSION: u64 = 1 << 16;
/// All nonces, for jobs whose version may not be rolled.
const ALL_NONCES: u64 = 1 << 32;

/// What the pool wants hashed.
#[derive(Debug, PartialEq)]
pub struct Job {
    /// The pool's name for it.
    pub id: String,
    /// Header version.
    pub version: u32,
    /// Version bits that may be rolled.
    pub version_mask: u32,
    /// Hash of the block before, in header order.
    pub previous: [u8; 32],
    /// What the header commits to.
    pub root: Root,
    /// Header time, Unix seconds.
    pub time: u32,
    /// The block's target in compact form.
    pub bits: u32,
    /// What a share's hash must meet.
    pub target: Target,
    /// The difficulty of that target, for people.
    pub difficulty: f64,
}

/// Where the merkle root comes from.
#[derive(Debug, PartialEq)]
pub enum Root {
    /// From the pool.
    Given([u8; 32]),
    /// From a coinbase that the miner completes.
    Coinbase(Coinbase),
}

/// A coinbase with a gap for the miner's extranonce.
#[derive(Debug, PartialEq)]
pub struct Coinbase {
    /// Up to extranonce2: the pool's first part and extranonce1.
    pub prefix: Vec<u8>,
    /// Bytes of extranonce2.
    pub extranonce2_size: usize,
    /// After extranonce2.
    pub suffix: Vec<u8>,
    /// Siblings on the way from the coinbase to the merkle root.
    pub merkle_path: Vec<[u8; 32]>,
}

/// A share that was found.
#[derive(Clone, Debug)]
pub struct Solution {
    /// For this job.
    pub job: Arc<Job>,
    /// The rolled part of the coinbase.
    pub extranonce2: Vec<u8>,
    /// The whole version, rolled bits included.
    pub version: u32,
    /// The nonce.
    pub nonce: u32,
}

/// One header and the nonces to try with it.
pub struct Unit {
    /// Extranonce2 in its coinbase.
    pub extranonce2: Vec<u8>,
    /// Its version.
    pub version: u32,
    /// Which nonces.
    pub nonces: Range<u64>,
    /// The header, ready to hash.
    pub search: Search,
}

/// One thread's part of a job: every `threads`th extranonce2, each with every version. Where there
/// is no extranonce2, every `threads`th version; without versions either, a part of the nonces.
pub struct Units {
    job: Arc<Job>,
    thread: u64,
    threads: u64,
    extranonce2: Option<u64>,
    merkle_root: [u8; 32],
    roll: u64,
}

impl Job {
    /// The merkle root with this extranonce2 in the coinbase.
    pub fn merkle_root(&self, extranonce2: &[u8]) -> [u8; 32] {
        match &self.root {
            Root::Given(root) => *root,
            Root::Coinbase(Coinbase { prefix, suffix, merkle_path, .. }) => {
                let coinbase = sha256d(&[prefix, extranonce2, suffix].concat());
                merkle_path.iter().fold(coinbase, |root, sibling| sha256d(&[root, *sibling].concat()))
            }
        }
    }

    /// The header with this merkle root and version, without a nonce.
    pub const fn header(&self, merkle_root: [u8; 32], version: u32) -> Header {
        Header { version, previous: self.previous, merkle_root, time: self.time, bits: self.bits }
    }

    /// Bytes of extranonce2.
    pub const fn extranonce2_size(&self) -> usize {
        match &self.root {
            Root::Given(_) => 0,
            Root::Coinbase(coinbase) => coinbase.extranonce2_size,
        }
    }

    /// Extranonce2 as it stands in the coinbase; `None` past the last.
    pub fn extranonce2(&self, number: u64) -> Option<Vec<u8>> {
        let size = self.extranonce2_size();
        if size < 8 && number >> (8 * size) != 0 {
            return None;
        }
        let digits = number.to_be_bytes();
        let mut bytes = vec![0; size];
        for (to, digit) in bytes.iter_mut().rev().zip(digits.iter().rev()) {
            *to = *digit;
        }
        Some(bytes)
    }

    /// The `roll`th version that the mask allows.
    fn rolled_version(&self, roll: u64) -> u32 {
        let mut version = self.version & !self.version_mask;
        let rollable = (0..32).filter(|bit| self.version_mask >> bit & 1 == 1);
        for (place, bit) in rollable.enumerate() {
            version |= ((roll >> place & 1) as u32) << bit;
        }
        version
    }

    const fn versions(&self) -> u64 {
        1 << self.version_mask.count_ones()
    }
}

impl Units {
    /// The part of thread number `thread` (from 0) of `threads`.
    pub fn new(job: Arc<Job>, thread: u64, threads: u64) -> Self {
        let mut units = Self { job, thread, threads, extranonce2: None, merkle_root: [0; 32], roll: 0 };
        let first = if units.shares_versions() { 0 } else { thread };
        units.begin(Some(first));
        units
    }

    /// Whether threads divide versions, because there is but one extranonce2.
    fn shares_versions(&self) -> bool {
        self.job.extranonce2_size() == 0
    }

    fn begin(&mut self, extranonce2: Option<u64>) {
        let bytes = extranonce2.and_then(|number| self.job.extranonce2(number));
        self.extranonce2 = extranonce2.filter(|_| bytes.is_some());
        self.merkle_root = bytes.map(|bytes| self.job.merkle_root(&bytes)).unwrap_or_default();
        let divided = self.shares_versions() && self.job.version_mask != 0;
        self.roll = if divided { self.thread } else { 0 };
    }

    fn nonces(&self) -> Range<u64> {
        match (self.shares_versions(), self.job.version_mask) {
            (false, 0) | (true, 1..) => 0..ALL_NONCES,
            (false, _) => 0..NONCES_PER_VERSION,
            (true, 0) => {
                let part = |thread| ALL_NONCES * thread / self.threads;
                part(self.thread)..part(self.thread + 1)
            }
        }
    }
}

impl Iterator for Units {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        if self.roll >= self.job.versions() {
            let next = self.extranonce2?.checked_add(self.threads);
            self.begin(next.filter(|_| !self.shares_versions()));
        }
        let extranonce2 = self.job.extranonce2(self.extranonce2?)?;
        let version = self.job.rolled_version(self.roll);
        self.roll += if self.shares_versions() { self.threads } else { 1 };
        let search = Search::new(&self.job.header(self.merkle_root, version));
        Some(Unit { extranonce2, version, nonces: self.nonces(), search })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bitcoin::hashes::{Hash, sha256d as bitcoin_sha256d};
    use bitcoin::merkle_tree::calculate_root;

    use super::*;

    fn job(version_mask: u32, extranonce2_size: usize) -> Arc<Job> {
        Arc::new(Job {
            id: "1".into(),
            version: 0x2000_0000,
            version_mask,
            previous: [7; 32],
            root: Root::Coinbase(Coinbase {
                prefix: b"prefix and extranonce1".to_vec(),
                extranonce2_size,
                suffix: b"suffix".to_vec(),
                merkle_path: Vec::new(),
            }),
            time: 1_700_000_000,
            bits: 0x1e03_77ae,
            target: Target::of_difficulty(1.0).unwrap(),
            difficulty: 1.0,
        })
    }

    /// Merkle root over whole lists of transactions, computed by the bitcoin library.
    #[test]
    fn the_merkle_path_leads_to_the_root_of_all_transactions() {
        let coinbase = bitcoin_sha256d::Hash::hash(b"prefix and extranonce1\x00\x00\x01\x02suffix");
        let hash = |n: u8| bitcoin_sha256d::Hash::hash(&[n]);
        let pair = |a: bitcoin_sha256d::Hash, b: bitcoin_sha256d::Hash| {
            bitcoin_sha256d::Hash::hash(&[a.to_byte_array(), b.to_byte_array()].concat())
        };
        // Four transactions besides the coinbase: the path is the second, the pair behind it, and
        // the fifth, which has no partner, twice paired with itself.
        let alone = pair(pair(hash(4), hash(4)), pair(hash(4), hash(4)));
        let path = [hash(1), pair(hash(2), hash(3)), alone].map(|sibling| sibling.to_byte_array());
        let root = calculate_root([coinbase, hash(1), hash(2), hash(3), hash(4)].into_iter()).unwrap();

        let mut job = Arc::into_inner(job(0, 4)).unwrap();
        let Root::Coinbase(parts) = &mut job.root else { panic!("no coinbase") };
        parts.merkle_path = path.to_vec();
        assert_eq!(job.merkle_root(&[0, 0, 1, 2]), root.to_byte_array());
    }

    #[test]
    fn no_header_is_given_to_two_threads_or_twice() {
        let mut seen = HashSet::new();
        for thread in 0..3 {
            for unit in Units::new(job(0x0000_6000, 1), thread, 3) {
                assert!(seen.insert((unit.extranonce2, unit.version)));
            }
        }
        // One byte of extranonce2, two version bits: everything there is.
        assert_eq!(seen.len(), 256 * 4);
    }

    #[test]
    fn only_the_masked_bits_are_rolled() {
        let versions: Vec<u32> =
            Units::new(job(0x1fff_e000, 8), 0, 1).take(3).map(|unit| unit.version).collect();
        assert_eq!(versions, [0x2000_0000, 0x2000_2000, 0x2000_4000]);
        let fixed = Units::new(job(0, 8), 1, 2)
            .take(2)
            .map(|unit| (unit.version, unit.extranonce2[7], unit.nonces.end));
        assert_eq!(fixed.collect::<Vec<_>>(), [(0x2000_0000, 1, ALL_NONCES), (0x2000_0000, 3, ALL_NONCES)]);
    }

    #[test]
    fn without_an_extranonce2_the_threads_share_the_versions() {
        let versions = |thread| Units::new(job(0x0000_6000, 0), thread, 3).map(|unit| unit.version & 0x6000);
        let all: Vec<Vec<u32>> = (0..3).map(|thread| versions(thread).collect()).collect();
        assert_eq!(all, [vec![0, 0x6000], vec![0x2000], vec![0x4000]]);
    }

    #[test]
    fn where_nothing_can_be_rolled_the_threads_share_the_nonces() {
        let nonces = |thread| Units::new(job(0, 0), thread, 3).map(|unit| unit.nonces).collect::<Vec<_>>();
        let parts = [nonces(0), nonces(1), nonces(2)].concat();
        assert_eq!(parts.len(), 3);
        assert_eq!((parts[0].start, parts[2].end), (0, ALL_NONCES));
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
    }
}
