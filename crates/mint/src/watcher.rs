//! Following the chain block by block, forwards and over reorganisations, from a position that is
//! stored with its effects. Reads the node, moves the epochs; writes nothing.

use anyhow::{Context, ensure};
use bitcoin::{BlockHash, ScriptBuf, Transaction};
use poolbox_accounting::{Block, EpochEvent, EpochRules, Epochs, Sats};

use crate::ledger::Progress;
use crate::node::Node;

/// Most steps before what they brought is written.
const STEPS_AT_ONCE: usize = 50;

/// The chain as one mint sees it.
pub struct Watcher {
    node: Node,
    /// What coinbases pay when a block is ours.
    script: ScriptBuf,
}

impl Watcher {
    /// A watcher for coinbases that pay `script`.
    pub const fn new(node: Node, script: ScriptBuf) -> Self {
        Self { node, script }
    }

    /// Progress of a mint that begins at `height`.
    ///
    /// # Errors
    /// When the node does not answer or its chain is shorter.
    pub async fn begin(&self, height: u32, rules: EpochRules) -> anyhow::Result<Progress> {
        let block = self.node.hash_at(height).await?;
        let epochs = Epochs::new(rules, height);
        Ok(Progress { block, epochs, cursors: Default::default(), credited: Default::default() })
    }

    /// Takes up to fifty steps towards the node's tip. Returns what they brought, and whether the
    /// tip is reached.
    ///
    /// # Errors
    /// When the node does not answer; what was followed before is in `progress`.
    pub async fn follow(
        &self,
        progress: &mut Progress,
        events: &mut Vec<EpochEvent>,
        now: u64,
    ) -> anyhow::Result<bool> {
        for _ in 0..STEPS_AT_ONCE {
            let standing = self.node.standing(progress.block).await?;
            if standing.confirmations < 0 {
                let previous = standing.previous.context("the first block of the chain was replaced")?;
                events.extend(progress.epochs.disconnect(standing.height, progress.block)?);
                progress.block = previous;
            } else if let Some(next) = standing.next {
                let block = self.read(progress.block, next, standing.height + 1).await?;
                events.extend(progress.epochs.connect(block, now)?);
                progress.block = next;
            } else {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn read(&self, parent: BlockHash, hash: BlockHash, height: u32) -> anyhow::Result<Block> {
        let block = self.node.block(hash).await?;
        ensure!(block.header.prev_blockhash == parent, "the chain changed while block {hash} was read");
        let coinbase = block.txdata.first().with_context(|| format!("block {hash} has no coinbase"))?;
        Ok(Block { height, hash, time: block.header.time, reward: self.reward(coinbase) })
    }

    fn reward(&self, coinbase: &Transaction) -> Sats {
        let ours = coinbase.output.iter().filter(|output| output.script_pubkey == self.script);
        ours.map(|output| Sats::new(output.value.to_sat())).sum()
    }
}
