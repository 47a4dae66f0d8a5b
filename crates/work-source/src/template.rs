//! A block template: everything a job needs from the node.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::transaction;
use bitcoin::{
    BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Txid,
    Witness,
};
use poolbox_accounting::Sats;

use crate::upstream::UpstreamJob;

/// Marks the output of the witness commitment: OP_RETURN, 36 bytes, BIP 141's header.
const WITNESS_COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// Names a template. Unique in this process, also across sources and their reconnections; a later one
/// is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(u64);

impl TemplateId {
    /// An id no template had before.
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A block on the current tip that lacks a coinbase and a nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What a [`Solution`](crate::Solution) refers to.
    pub id: TemplateId,
    /// Header version; miners may roll the bits of BIP 320.
    pub version: u32,
    /// The tip it builds on.
    pub prev_hash: BlockHash,
    /// Target of the network.
    pub bits: CompactTarget,
    /// The header time to start with, Unix seconds; an earlier one may be invalid.
    pub time: u32,
    /// Height of the block, from the coinbase (BIP 34).
    pub height: u32,
    /// What the coinbase must contain.
    pub coinbase: CoinbaseTemplate,
    /// Merkle branch of the coinbase, from the leaf up.
    pub merkle_path: Vec<TxMerkleNode>,
    /// The job of an upstream pool that it was read from; none of the box's own node. Then the coinbase is
    /// the upstream's, and what `coinbase` tells of it is for those who want to know.
    pub upstream: Option<Arc<UpstreamJob>>,
}

/// The parts of a coinbase that the template fixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinbaseTemplate {
    /// Transaction version.
    pub tx_version: u32,
    /// How the input script must begin (BIP 34's height). Up to 100 bytes in all.
    pub script_prefix: Vec<u8>,
    /// Sequence of the input.
    pub sequence: u32,
    /// What the payouts may share: subsidy and fees.
    pub value: Sats,
    /// Outputs that must follow the payouts, such as the witness commitment.
    pub outputs: Vec<TxOut>,
    /// Lock time of the transaction.
    pub lock_time: u32,
}

impl Template {
    /// Whether jobs of this template and of `other` are good at the same time: they build on the same tip,
    /// and the upstream pool, if they come from one, did not say in between that earlier jobs are over.
    pub fn is_beside(&self, other: &Self) -> bool {
        let era = |template: &Self| template.upstream.as_ref().map(|upstream| upstream.era);
        self.prev_hash == other.prev_hash && era(self) == era(other)
    }

    /// The header of the block with this coinbase.
    pub fn header(&self, coinbase: Txid, version: u32, time: u32, nonce: u32) -> Header {
        self.header_with_root(self.merkle_root(coinbase), version, time, nonce)
    }

    /// The header of the block with this merkle root.
    pub fn header_with_root(&self, root: TxMerkleNode, version: u32, time: u32, nonce: u32) -> Header {
        Header {
            version: Version::from_consensus(version.cast_signed()),
            prev_blockhash: self.prev_hash,
            merkle_root: root,
            time,
            bits: self.bits,
            nonce,
        }
    }

    /// The root of the block's transactions with this coinbase.
    pub fn merkle_root(&self, coinbase: Txid) -> TxMerkleNode {
        let root = self.merkle_path.iter().fold(coinbase.to_raw_hash(), |left, right| {
            let mut pair = sha256d::Hash::engine();
            pair.input(left.as_byte_array());
            pair.input(right.as_byte_array());
            sha256d::Hash::from_engine(pair)
        });
        TxMerkleNode::from_raw_hash(root)
    }
}

impl CoinbaseTemplate {
    /// The coinbase whose input script goes on with `script_suffix` (extranonces, a tag) and that
    /// pays `payouts`. Their sum must not exceed [`value`](Self::value), or the block is invalid.
    pub fn transaction(&self, script_suffix: &[u8], payouts: &[TxOut]) -> Transaction {
        let script = [self.script_prefix.as_slice(), script_suffix].concat();
        Transaction {
            version: transaction::Version(self.tx_version.cast_signed()),
            lock_time: LockTime::from_consensus(self.lock_time),
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: ScriptBuf::from_bytes(script),
                sequence: Sequence(self.sequence),
                witness: self.witness(),
            }],
            output: payouts.iter().chain(&self.outputs).cloned().collect(),
        }
    }

    /// The reserved value of BIP 141, all zero; only a block with a witness commitment may have it.
    fn witness(&self) -> Witness {
        let committed = self
            .outputs
            .iter()
            .any(|output| output.script_pubkey.as_bytes().starts_with(&WITNESS_COMMITMENT));
        if committed { Witness::from_slice(&[[0; 32]]) } else { Witness::new() }
    }
}
