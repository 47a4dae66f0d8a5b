//! The server's part of the extranonces: no two channels ever have the same.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::coinbase::SERVER_EXTRANONCE_BYTES;

/// Hands out extranonces; 2^32 others come before one returns.
#[derive(Debug)]
pub struct Extranonces(AtomicU32);

impl Extranonces {
    /// Begins at a random number: after a restart within one block a miner must not get its old
    /// extranonce, and with it the headers that were credited before.
    pub fn new() -> Self {
        // The standard library's hasher is keyed by the system's random source.
        let random = RandomState::new().build_hasher().finish();
        Self(AtomicU32::new((random >> 32) as u32))
    }

    /// One that no channel has.
    pub fn next(&self) -> [u8; SERVER_EXTRANONCE_BYTES] {
        self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }
}

impl Default for Extranonces {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_restart_does_not_hand_out_the_same_extranonces_again() {
        let starts: HashSet<_> = (0..8).map(|_| Extranonces::new().next()).collect();
        assert!(starts.len() > 6, "{starts:?}");
    }
}
