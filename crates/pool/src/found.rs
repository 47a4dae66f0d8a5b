//! The blocks that were found, and what became of them.

use std::time::UNIX_EPOCH;

use poolbox_api::pool::Block;
use poolbox_work_source::blocks::{Outcome, Pending};

/// Blocks that are listed.
const MAX_BLOCKS: usize = 100;
/// Of a block that was neither settled nor pending when the pool started.
const UNTOLD: &str = "the pool ended before it was told what became of this block";

/// The latest blocks.
#[derive(Clone, Debug, Default)]
pub struct FoundBlocks {
    /// Newest first.
    listed: Vec<Block>,
    changed: bool,
}

impl FoundBlocks {
    /// The blocks as they are remembered, and those that are still on their way into the chain.
    pub fn from_remembered(remembered: Vec<Block>, pending: &[Pending]) -> Self {
        let mut found = Self { listed: remembered, changed: false };
        for pending in pending {
            let hash = pending.hash.to_string();
            if !found.listed.iter().any(|block| block.hash == hash) {
                let found_at = pending.found_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                found.listed.push(sent(pending.height, hash, None, found_at));
            }
        }
        found.listed.sort_by_key(|block| std::cmp::Reverse(block.found_at));
        found.listed.truncate(MAX_BLOCKS);
        found
    }

    /// A block was found and sent out.
    pub fn add(&mut self, height: u32, hash: String, finder: String, found_at: u64) {
        self.listed.insert(0, sent(height, hash, Some(finder), found_at));
        self.listed.truncate(MAX_BLOCKS);
        self.changed = true;
    }

    /// It is known what became of a block.
    pub fn settle(&mut self, hash: &str, outcome: Outcome) {
        if let Some(block) = self.listed.iter_mut().find(|block| block.hash == hash) {
            match outcome {
                Outcome::OnChain => block.confirmed = true,
                Outcome::Lost { reason } => block.lost = Some(reason),
            }
            self.changed = true;
        }
    }

    /// All of them, newest first, with what is known of those that are on their way.
    pub fn listed(&self, pending: &[Pending]) -> Vec<Block> {
        let mut listed = self.listed.clone();
        for block in listed.iter_mut().filter(|block| !block.confirmed && block.lost.is_none()) {
            let pending = pending.iter().find(|pending| pending.hash.to_string() == block.hash);
            block.trouble =
                pending.map_or_else(|| Some(UNTOLD.to_owned()), |pending| pending.trouble.clone());
        }
        listed
    }

    /// Whether there is something to remember that was not there when this was asked last.
    pub fn news_to_remember(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The news could not be written down.
    pub fn not_remembered(&mut self) {
        self.changed = true;
    }

    /// What is to be remembered.
    pub fn remembered(&self) -> Vec<Block> {
        self.listed.clone()
    }
}

fn sent(height: u32, hash: String, finder: Option<String>, found_at: u64) -> Block {
    Block { height, hash, finder, found_at, confirmed: false, lost: None, trouble: None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bitcoin::BlockHash;
    use bitcoin::hashes::Hash;

    use super::*;

    fn hash(byte: u8) -> BlockHash {
        BlockHash::from_byte_array([byte; 32])
    }

    fn pending(byte: u8, at: u64, trouble: Option<&str>) -> Pending {
        Pending {
            hash: hash(byte),
            height: byte.into(),
            found_at: UNIX_EPOCH + Duration::from_secs(at),
            complete: true,
            trouble: trouble.map(str::to_owned),
        }
    }

    fn told(found: &FoundBlocks, pending: &[Pending]) -> Vec<(u32, bool, Option<String>, Option<String>)> {
        let blocks = found.listed(pending).into_iter();
        blocks.map(|block| (block.height, block.confirmed, block.lost, block.trouble)).collect()
    }

    #[test]
    fn a_block_is_sent_then_in_the_chain_or_lost() {
        let mut found = FoundBlocks::default();
        for byte in 1..=3 {
            found.add(byte.into(), hash(byte).to_string(), "garage.one".into(), byte.into());
        }
        assert!(found.news_to_remember() && !found.news_to_remember());
        found.settle(&hash(1).to_string(), Outcome::OnChain);
        found.settle(&hash(2).to_string(), Outcome::Lost { reason: "late".into() });
        assert!(found.news_to_remember());
        let waits = [pending(3, 3, Some("the node is away"))];
        let expected = vec![
            (3, false, None, Some("the node is away".to_owned())),
            (2, false, Some("late".to_owned()), None),
            (1, true, None, None),
        ];
        assert_eq!(told(&found, &waits), expected);
        (0..200).for_each(|n| found.add(n, n.to_string(), "garage.one".into(), n.into()));
        assert_eq!(found.listed(&[]).len(), MAX_BLOCKS);
    }

    #[test]
    fn a_restart_keeps_the_blocks_and_learns_of_those_on_their_way() {
        let mut found = FoundBlocks::default();
        for byte in [1, 2, 4] {
            found.add(byte.into(), hash(byte).to_string(), "garage.one".into(), byte.into());
        }
        found.settle(&hash(1).to_string(), Outcome::OnChain);
        // Block 3 was found after the last note, block 4 settled after it.
        let waits = [pending(2, 2, None), pending(3, 3, None)];
        let mut again = FoundBlocks::from_remembered(found.remembered(), &waits);
        let untold = Some(UNTOLD.to_owned());
        let expected = vec![
            (4, false, None, untold),
            (3, false, None, None),
            (2, false, None, None),
            (1, true, None, None),
        ];
        assert_eq!(told(&again, &waits), expected);
        again.settle(&hash(3).to_string(), Outcome::OnChain);
        let blocks = again.listed(&[]);
        assert_eq!((blocks[1].confirmed, blocks[1].finder.clone()), (true, None));
        assert_eq!(blocks[3].finder.as_deref(), Some("garage.one"));
    }
}
