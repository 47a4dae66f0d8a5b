//! Following the chain block by block, forwards and over reorganisations, from a position that is
//! stored with its effects. Reads the node, moves the epochs; writes nothing but its [`Trail`].

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail, ensure};
use bitcoin::block::Header;
use bitcoin::{BlockHash, ScriptBuf, Transaction};
use poolbox_accounting::{Block, EpochEvent, EpochRules, Epochs, Sats};

use crate::ledger::Progress;
use crate::node::{Node, Standing};
use crate::trail::{TRAIL_BLOCKS, Trail};

/// Most steps before what they brought is written.
const STEPS_AT_ONCE: usize = 50;
/// Headers that a mint without a trail takes from the node.
const FIRST_TRAIL: u32 = 144;

/// The chain as one mint sees it.
pub struct Watcher {
    node: Node,
    /// What coinbases pay when a block is ours.
    script: ScriptBuf,
    trail: Trail,
    /// Whether the node was told of the blocks that it may have forgotten, since it last answered.
    reminded: AtomicBool,
}

impl Watcher {
    /// A watcher for coinbases that pay `script`.
    pub const fn new(node: Node, script: ScriptBuf, trail: Trail) -> Self {
        Self { node, script, trail, reminded: AtomicBool::new(false) }
    }

    /// Progress of a mint that begins at `height`.
    ///
    /// # Errors
    /// When the node does not answer or its chain is shorter.
    pub async fn begin(&self, height: u32, rules: EpochRules) -> anyhow::Result<Progress> {
        let block = self.node.hash_at(height).await?;
        let epochs = Epochs::new(rules, height);
        let credited = Default::default();
        Ok(Progress { block, epochs, cursors: Default::default(), credited, rounds: Default::default() })
    }

    /// Takes up to fifty steps towards the node's tip. Returns what they brought, and whether the
    /// tip is reached.
    ///
    /// # Errors
    /// When the node does not answer or has not reached this position; what was followed before is
    /// in `progress`.
    pub async fn follow(
        &self,
        progress: &mut Progress,
        events: &mut Vec<EpochEvent>,
        now: u64,
    ) -> anyhow::Result<bool> {
        let (mut left, mut followed) = (Vec::new(), Vec::new());
        let mut answer = self.walk(progress, events, now, (&mut left, &mut followed)).await;
        if answer.is_err() {
            self.reminded.store(false, Ordering::Relaxed);
        }
        // Ahead of what it brings: a header too many does no harm.
        if let Err(error) = self.trail.note(&left, &followed).await {
            answer = answer.and(Err(error.into()));
        }
        answer
    }

    async fn walk(
        &self,
        progress: &mut Progress,
        events: &mut Vec<EpochEvent>,
        now: u64,
        (left, followed): (&mut Vec<Header>, &mut Vec<(u32, Header)>),
    ) -> anyhow::Result<bool> {
        if !self.reminded.load(Ordering::Relaxed) {
            self.remind(progress).await?;
        }
        // Whether another block is known to be in the place of those that are left.
        let mut replaced = false;
        for _ in 0..STEPS_AT_ONCE {
            let standing = self.standing(progress).await?;
            if standing.confirmations < 0 {
                let previous = standing.previous.context("the first block of the chain was replaced")?;
                if !replaced {
                    self.find_replacement(&standing).await?;
                    replaced = true;
                }
                left.extend(self.trail.header(standing.height, progress.block).await?);
                events.extend(progress.epochs.disconnect(standing.height, progress.block)?);
                progress.block = previous;
            } else if let Some(next) = standing.next {
                replaced = false;
                let (header, block) = self.read(progress.block, next, standing.height + 1).await?;
                events.extend(progress.epochs.connect(block, now)?);
                followed.push((block.height, header));
                progress.block = next;
            } else {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where the block followed last stands; a node that forgot it is told again.
    async fn standing(&self, progress: &Progress) -> anyhow::Result<Standing> {
        if let Some(standing) = self.node.standing(progress.block).await? {
            return Ok(standing);
        }
        let (mut height, mut hash) = (progress.epochs.tip(), progress.block);
        let mut forgotten = Vec::new();
        let known = loop {
            let Some(header) = self.trail.header(height, hash).await? else { break false };
            forgotten.push(header);
            hash = header.prev_blockhash;
            if self.node.standing(hash).await?.is_some() {
                break true;
            }
            let Some(below) = height.checked_sub(1) else { break false };
            height = below;
        };
        if !known {
            let (height, block) = (progress.epochs.tip(), progress.block);
            bail!(
                "the node does not know block {block} at height {height} nor the {} before it; let it read the chain, \
                 and see that it is on the right one",
                forgotten.len().saturating_sub(1)
            );
        }
        let blocks = forgotten.len();
        for header in forgotten.into_iter().rev() {
            self.node.submit_header(header).await?;
        }
        tracing::warn!(blocks, from = height, "the node had forgotten blocks; it was told their headers");
        let standing = self.node.standing(progress.block).await?;
        standing.context("the node does not keep the headers it was told")
    }

    /// Goes back to where the chain forks. A node that only went back (a restored disk, an
    /// invalidated block) has nothing to offer instead: it is waited for.
    async fn find_replacement(&self, left: &Standing) -> anyhow::Result<()> {
        let mut previous = left.previous;
        for _ in 0..TRAIL_BLOCKS {
            let Some(hash) = previous else { break };
            let Some(standing) = self.node.standing(hash).await? else { break };
            if standing.confirmations >= 0 {
                ensure!(
                    standing.next.is_some(),
                    "the node's chain ends below height {}, which it had reached before; \
                     it is waited for until it is there again",
                    left.height
                );
                return Ok(());
            }
            previous = standing.previous;
        }
        bail!("the node's chain forks too far below height {}; let it read the chain", left.height)
    }

    /// Tells a node that was away of blocks that were left: it may have forgotten them, and the
    /// treasury may still stand on one. Begins the trail of a mint that has none.
    async fn remind(&self, progress: &Progress) -> anyhow::Result<()> {
        // Whether it answers at all.
        self.node.height().await?;
        for header in self.trail.side_headers().await? {
            if let Err(error) = self.node.submit_header(header).await {
                let block = header.block_hash();
                tracing::debug!(%block, error = format!("{error:#}"), "a replaced block is of no interest to the node");
            }
        }
        let tip = progress.epochs.tip();
        if self.trail.header(tip, progress.block).await?.is_none()
            && self.node.standing(progress.block).await?.is_some()
        {
            let mut headers = Vec::new();
            let mut hash = progress.block;
            for height in (tip.saturating_sub(FIRST_TRAIL)..=tip).rev() {
                let header = self.node.header(hash).await?;
                headers.push((height, header));
                hash = header.prev_blockhash;
            }
            self.trail.note(&[], &headers).await?;
        }
        self.reminded.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn read(&self, parent: BlockHash, hash: BlockHash, height: u32) -> anyhow::Result<(Header, Block)> {
        let block = self.node.block(hash).await?;
        let header = block.header;
        ensure!(header.prev_blockhash == parent, "the chain changed while block {hash} was read");
        let coinbase = block.txdata.first().with_context(|| format!("block {hash} has no coinbase"))?;
        Ok((header, Block { height, hash, time: header.time, reward: self.reward(coinbase) }))
    }

    fn reward(&self, coinbase: &Transaction) -> Sats {
        let ours = coinbase.output.iter().filter(|output| output.script_pubkey == self.script);
        ours.map(|output| Sats::new(output.value.to_sat())).sum()
    }
}
