//! Double SHA-256 of block headers over many nonces, from a midstate.

use std::ops::Range;
use std::slice::from_ref;

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

use crate::target::Target;

/// SHA-256's initial state (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// Place of the nonce in the second block of a header.
const NONCE: Range<usize> = 12..16;
/// Nonces hashed side by side. SHA's rounds wait for one another; another header's do not, and the
/// processor fills the gaps with them (a third more hashes than one by one).
const LANES: usize = 4;

/// A block header but for its nonce. Hashes are in header order: least significant byte first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version, with the rolled bits in it.
    pub version: u32,
    /// Hash of the block before.
    pub previous: [u8; 32],
    /// Merkle root.
    pub merkle_root: [u8; 32],
    /// Unix seconds.
    pub time: u32,
    /// The block's target in compact form.
    pub bits: u32,
}

/// A header ready to be hashed with many nonces.
pub struct Search {
    /// State after the header's first 64 bytes, which no nonce changes.
    midstate: [u32; 8],
    /// The header's last 16 bytes, padded.
    tails: [[u8; 64]; LANES],
    /// The first hash, padded for the second.
    digests: [[u8; 64]; LANES],
}

impl Search {
    /// Prepares a header.
    pub fn new(header: &Header) -> Self {
        let mut head = [0; 64];
        head[..4].copy_from_slice(&header.version.to_le_bytes());
        head[4..36].copy_from_slice(&header.previous);
        head[36..].copy_from_slice(&header.merkle_root[..28]);
        let mut midstate = INITIAL;
        compress256(&mut midstate, from_ref(&head));

        let mut tail = padding(16, 80);
        tail[..4].copy_from_slice(&header.merkle_root[28..]);
        tail[4..8].copy_from_slice(&header.time.to_le_bytes());
        tail[8..12].copy_from_slice(&header.bits.to_le_bytes());
        Self { midstate, tails: [tail; LANES], digests: [padding(32, 32); LANES] }
    }

    /// The first of `nonces` (all below 2^32) whose hash meets `target`.
    pub fn find(&mut self, nonces: Range<u64>, target: &Target) -> Option<u32> {
        let top = target.top();
        for first in nonces.clone().step_by(LANES) {
            for (nonce, state) in (first..nonces.end).zip(self.hash(first as u32)) {
                if state[7].swap_bytes() <= top && target.is_met_by(&bytes(&state)) {
                    return Some(nonce as u32);
                }
            }
        }
        None
    }

    /// Appends to `found` those of `nonces` (all below 2^32) whose hash meets `target` but not the
    /// harder target `not`.
    pub fn collect(&mut self, nonces: Range<u64>, target: &Target, not: &Target, found: &mut Vec<u32>) {
        let tops = not.top()..=target.top();
        for first in nonces.clone().step_by(LANES) {
            for (nonce, state) in (first..nonces.end).zip(self.hash(first as u32)) {
                if tops.contains(&state[7].swap_bytes()) {
                    let hash = bytes(&state);
                    if target.is_met_by(&hash) && !not.is_met_by(&hash) {
                        found.push(nonce as u32);
                    }
                }
            }
        }
    }

    /// SHA-256's states after the second hash, of the nonces from `first` on.
    fn hash(&mut self, first: u32) -> [[u32; 8]; LANES] {
        let mut states = [self.midstate; LANES];
        for ((nonce, tail), state) in (0..).zip(&mut self.tails).zip(&mut states) {
            tail[NONCE].copy_from_slice(&first.wrapping_add(nonce).to_le_bytes());
            compress256(state, from_ref(tail));
        }
        for (digest, state) in self.digests.iter_mut().zip(&states) {
            digest[..32].copy_from_slice(&bytes(state));
        }
        let mut states = [INITIAL; LANES];
        for (digest, state) in self.digests.iter().zip(&mut states) {
            compress256(state, from_ref(digest));
        }
        states
    }
}

/// Double SHA-256 of anything.
pub fn sha256d(data: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(data)).into()
}

fn bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    bytes
}

/// A last block that holds `used` bytes of a message of `length` bytes: a one bit, zeros, the
/// message's length in bits.
fn padding(used: usize, length: u64) -> [u8; 64] {
    let mut block = [0; 64];
    block[used] = 0x80;
    block[56..].copy_from_slice(&(length * 8).to_be_bytes());
    block
}

#[cfg(test)]
mod tests {
    use bitcoin::constants::genesis_block;
    use bitcoin::hashes::Hash;
    use bitcoin::{CompactTarget, Network, block};

    use super::*;

    fn header_of(header: &block::Header) -> Header {
        Header {
            version: header.version.to_consensus() as u32,
            previous: header.prev_blockhash.to_byte_array(),
            merkle_root: header.merkle_root.to_byte_array(),
            time: header.time,
            bits: header.bits.to_consensus(),
        }
    }

    #[test]
    fn the_genesis_block_is_found_and_nothing_else_nearby() {
        for network in [Network::Bitcoin, Network::Signet, Network::Testnet4] {
            let genesis = genesis_block(network).header;
            let mut search = Search::new(&header_of(&genesis));
            let nonce = u64::from(genesis.nonce);
            let difficulty = genesis.target().difficulty_float();
            let target = Target::of_difficulty(difficulty).unwrap();
            assert_eq!(search.find(nonce - 1000..nonce + 1000, &target), Some(genesis.nonce), "{network}");
            assert_eq!(search.find(nonce + 1..nonce + 1000, &target), None, "{network}");
        }
    }

    #[test]
    fn every_nonce_of_a_range_is_tried_and_none_outside() {
        let mut search = Search::new(&header_of(&genesis_block(Network::Bitcoin).header));
        // Met by every hash, so that the first nonce is always found.
        let everything = Target::of_difficulty(1e-300).unwrap();
        for from in 0..10 {
            assert_eq!(search.find(from..from, &everything), None);
            assert_eq!(search.find(from..from + 1, &everything), Some(from as u32));
        }
        // The genesis nonce at each place of a range whose length no lane divides.
        let (nonce, target) = (2_083_236_893u64, Target::of_difficulty(1.0).unwrap());
        for place in 0..7 {
            let from = nonce - place;
            assert_eq!(search.find(from..from + 7, &target), Some(nonce as u32));
            assert_eq!(search.find(from..nonce, &target), None);
        }
    }

    #[test]
    fn all_shares_of_a_range_are_collected_but_no_blocks() {
        let mut header = genesis_block(Network::Regtest).header;
        let mut search = Search::new(&header_of(&header));
        let (easiest, block) = (Target::of_difficulty(1e-300).unwrap(), Target::of_bits(0x207f_ffff));
        let (mut shares, mut hashes) = (Vec::new(), Vec::new());
        search.collect(5..207, &easiest, &block, &mut shares);
        search.collect(5..207, &block, &Target::UNREACHABLE, &mut hashes);
        for nonce in 5..207 {
            header.nonce = nonce;
            let is_block = header.target().is_met_by(header.block_hash());
            assert_eq!((shares.contains(&nonce), hashes.contains(&nonce)), (!is_block, is_block));
        }
        assert_eq!(shares.len() + hashes.len(), 202);
    }

    #[test]
    fn every_hash_is_the_one_that_the_network_computes() {
        let mut header = genesis_block(Network::Bitcoin).header;
        header.bits = CompactTarget::from_consensus(0x1d00_ffff);
        let mut search = Search::new(&header_of(&header));
        for first in [0, 1, 0x1234_5678, u32::MAX] {
            for (lane, state) in (0..).zip(search.hash(first)) {
                header.nonce = first.wrapping_add(lane);
                assert_eq!(bytes(&state), header.block_hash().to_byte_array());
            }
        }
    }
}
