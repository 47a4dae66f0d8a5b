//! A group of shares as the counters take it: consecutive shares of one worker are one entry.

use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use poolbox_accounting::{Identity, Work};
use poolbox_stratum::AcceptedShare;

/// Consecutive shares of one worker.
#[derive(Clone, Debug)]
pub struct Run {
    /// Whose they are.
    pub identity: Arc<Identity>,
    /// How many.
    pub shares: u64,
    /// Their work.
    pub work: Work,
    /// The hardest hash among them.
    pub best: BlockHash,
}

/// The runs of a group, in order. The first has its place without an allocation: the shares of a connection
/// are of one worker, mostly.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    first: Option<Run>,
    more: Vec<Run>,
}

impl Runs {
    /// The runs of a group. Nothing is looked up, and one identity is cloned for each.
    pub fn of(group: &[AcceptedShare]) -> Self {
        let same = |one: &AcceptedShare, next: &AcceptedShare| Arc::ptr_eq(&one.identity, &next.identity);
        group.chunk_by(same).filter_map(Run::of).collect()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.first.iter().chain(&self.more)
    }
}

impl FromIterator<Run> for Runs {
    fn from_iter<I: IntoIterator<Item = Run>>(runs: I) -> Self {
        let mut runs = runs.into_iter();
        Self { first: runs.next(), more: runs.collect() }
    }
}

impl Run {
    /// The run of shares of one worker.
    fn of(shares: &[AcceptedShare]) -> Option<Self> {
        let first = shares.first()?;
        let best = shares.iter().map(|share| share.hash).reduce(harder)?;
        Some(Self {
            identity: Arc::clone(&first.identity),
            shares: shares.len() as u64,
            work: shares.iter().map(|share| share.work).sum(),
            best,
        })
    }
}

/// The hash that is the lower number.
pub fn harder(one: BlockHash, other: BlockHash) -> BlockHash {
    if number(&other) < number(&one) { other } else { one }
}

/// A hash as the number it is, little-endian in memory: its high and its low half.
fn number(hash: &BlockHash) -> (u128, u128) {
    let (low, high) = hash.as_byte_array().split_at(16);
    let half = |bytes: &[u8]| bytes.try_into().map_or(u128::MAX, u128::from_le_bytes);
    (half(high), half(low))
}

#[cfg(test)]
mod tests {
    use poolbox_accounting::Network;

    use super::*;

    fn share(identity: &Arc<Identity>, ehash: u64, last_byte: u8) -> AcceptedShare {
        let mut hash = [7; 32];
        hash[31] = last_byte;
        let hash = BlockHash::from_byte_array(hash);
        AcceptedShare {
            identity: Arc::clone(identity),
            work: Work::from_ehash(ehash),
            hash,
            block: None,
            upstream: None,
        }
    }

    #[test]
    fn shares_of_one_worker_in_a_row_are_one_entry_with_the_hardest_hash() {
        let [one, two] = ["garage.one", "garage.two"]
            .map(|user| Arc::new(Identity::parse(user, Network::Devnet).unwrap()));
        let group = [share(&one, 3, 9), share(&one, 4, 2), share(&two, 5, 4), share(&one, 6, 8)];
        let runs = Runs::of(&group);
        let runs: Vec<_> = runs.iter().collect();
        let told: Vec<_> =
            runs.iter().map(|run| (&*run.identity.worker, run.shares, run.work.ehash())).collect();
        assert_eq!(told, [("one", 2, 7), ("two", 1, 5), ("one", 1, 6)]);
        assert_eq!(runs[0].best, group[1].hash);
        assert_eq!(Runs::of(&[]).iter().count(), 0);
    }

    #[test]
    fn the_last_byte_in_memory_decides_first() {
        let [mut low, mut high] = [[0xff; 32], [0; 32]];
        (low[31], high[31]) = (0, 1);
        let [low, high] = [low, high].map(BlockHash::from_byte_array);
        assert_eq!((harder(low, high), harder(high, low), harder(low, low)), (low, low, low));
    }
}
