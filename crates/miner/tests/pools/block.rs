//! The block that scripted pools let miners work on, and the proof of a share: every one is hashed
//! again with the bitcoin library.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{BlockHash, CompactTarget, Target, Transaction, TxMerkleNode, block, constants, merkle_tree};

/// The header's version, no bits rolled.
pub const VERSION: u32 = 0x2000_0000;
/// The block's target, which no share of a test meets.
pub const BITS: u32 = 0x1e03_77ae;

/// What a share says of its header.
pub struct Header {
    pub version: u32,
    /// The pool's part and the miner's.
    pub extranonces: Vec<u8>,
    pub time: u32,
    pub nonce: u32,
}

impl Header {
    /// The share's hash.
    pub fn hash(&self) -> BlockHash {
        self.hash_on(previous_hash(), merkle_root(&self.extranonces))
    }

    /// The share's hash after another block, with a merkle root that the pool gave.
    pub fn hash_on(&self, previous: BlockHash, root: sha256d::Hash) -> BlockHash {
        let header = block::Header {
            version: block::Version::from_consensus(self.version as i32),
            prev_blockhash: previous,
            merkle_root: TxMerkleNode::from_raw_hash(root),
            time: self.time,
            bits: CompactTarget::from_consensus(BITS),
            nonce: self.nonce,
        };
        header.block_hash()
    }
}

/// The merkle root over whole transactions, with these extranonces in the coinbase.
pub fn merkle_root(extranonces: &[u8]) -> sha256d::Hash {
    let (first, second) = coinbase_parts(extranonces.len());
    let coinbase: Transaction = deserialize(&[&first, extranonces, &second].concat()).unwrap();
    let [a, b, c] = other_transactions();
    let leaves = [coinbase.compute_txid().to_raw_hash(), a, b, c];
    merkle_tree::calculate_root(leaves.into_iter()).unwrap()
}

/// The target of a power-of-two difficulty not above 1, reckoned by the bitcoin library.
pub fn target(difficulty: f64) -> Target {
    let easier = (1.0 / difficulty).log2() as usize;
    let mut target = Target::MAX.to_be_bytes();
    // Each step shifts the difficulty-1 target up by one bit.
    for _ in 0..easier {
        let mut carry = 0;
        for byte in target.iter_mut().rev() {
            (*byte, carry) = (*byte << 1 | carry, *byte >> 7);
        }
    }
    Target::from_be_bytes(target)
}

/// Whether the hash is a share at a power-of-two difficulty not above 1.
pub fn meets(hash: BlockHash, difficulty: f64) -> bool {
    target(difficulty).is_met_by(hash)
}

pub fn previous_hash() -> BlockHash {
    constants::genesis_block(bitcoin::Network::Bitcoin).block_hash()
}

fn other_transactions() -> [sha256d::Hash; 3] {
    [b"a", b"b", b"c"].map(|name| sha256d::Hash::hash(name))
}

pub fn merkle_path() -> [sha256d::Hash; 2] {
    let [a, b, c] = other_transactions();
    [a, sha256d::Hash::hash(&[b.to_byte_array(), c.to_byte_array()].concat())]
}

/// The genesis coinbase with room for `extranonces` bytes at the end of its input script, split there.
pub fn coinbase_parts(extranonces: usize) -> (Vec<u8>, Vec<u8>) {
    const MARK: u8 = 0xee;
    let mut coinbase = constants::genesis_block(bitcoin::Network::Bitcoin).txdata.remove(0);
    coinbase.input[0].script_sig = [vec![3, 1, 2, 3], vec![MARK; extranonces]].concat().into();
    let bytes = serialize(&coinbase);
    let at = bytes.windows(extranonces).position(|window| window == vec![MARK; extranonces]).unwrap();
    (bytes[..at].to_vec(), bytes[at + extranonces..].to_vec())
}
