//! What is kept of an epoch: its work, the payouts that it shares out, and where it ends.

use bitcoin::BlockHash;
use serde::{Deserialize, Serialize};

use super::EpochId;
use crate::{FeePpm, Marks, Rate, Sats, SettlementError, Work};

/// A block of the active chain, as the watcher saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// Header time, Unix seconds.
    pub time: u32,
    /// What its coinbase pays the mint's wallet; zero for everybody else's block.
    pub reward: Sats,
}

/// Money that arrived with one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout {
    /// Height of the block.
    pub height: u32,
    /// Hash of the block.
    pub hash: BlockHash,
    /// Header time, Unix seconds.
    pub time: u32,
    /// What it paid.
    pub reward: Sats,
}

/// Where an epoch ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Boundary {
    pub(super) height: u32,
    pub(super) hash: BlockHash,
    pub(super) time: u32,
    /// The last share and entry of the epoch in each journal.
    #[serde(alias = "share")]
    pub(super) marks: Marks,
    /// Its block left the chain and none has taken its height yet.
    pub(super) orphaned: bool,
}

/// Where an epoch is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EpochState {
    /// Opened by a payout that may still be orphaned: quotes grow, unpaid.
    Provisional,
    /// Its ehash is minted as work comes in.
    Open,
    /// Ended; its reward is maturing.
    Closed,
    /// Its reward is spendable: ehash redeems for sats.
    Settled,
}

/// One epoch's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its number.
    pub id: EpochId,
    /// Work credited in it.
    pub work: Work,
    /// The payouts that it shares out, in chain order.
    pub payouts: Vec<Payout>,
    /// The payout that opened it is final (the first epoch's needs none).
    pub(super) released: bool,
    /// Header time of the block that opened it; 0 for the first.
    pub(super) opened_time: u32,
    pub(super) boundary: Option<Boundary>,
    pub(super) settled: bool,
}

impl Epoch {
    pub(super) fn opened(id: EpochId, opened_time: u32) -> Self {
        Self {
            id,
            work: Work::ZERO,
            payouts: Vec::new(),
            released: id == EpochId::FIRST,
            opened_time,
            boundary: None,
            settled: false,
        }
    }

    /// Where it is in its life.
    pub const fn state(&self) -> EpochState {
        if self.settled {
            EpochState::Settled
        } else if self.boundary.is_some() {
            EpochState::Closed
        } else if self.released {
            EpochState::Open
        } else {
            EpochState::Provisional
        }
    }

    /// Whether its quotes may be paid: the block that opened it is final.
    pub const fn released(&self) -> bool {
        self.released
    }

    /// Closed for good by a block that then left the chain, with nothing to share out.
    pub(super) fn lost_its_reward(&self) -> bool {
        self.payouts.is_empty() && self.boundary.as_ref().is_some_and(|boundary| !boundary.orphaned)
    }

    /// Whether it has payouts and all are `maturity` blocks deep in a chain with its tip at `tip`.
    pub(super) fn is_mature(&self, tip: u32, maturity: u32) -> bool {
        let mature = |payout: &Payout| (tip + 1).saturating_sub(payout.height) >= maturity;
        !self.payouts.is_empty() && self.payouts.iter().all(mature)
    }

    /// R: the sum of its payouts.
    pub fn reward(&self) -> Sats {
        self.payouts.iter().map(|payout| payout.reward).sum()
    }

    /// The block that ended it, and its last share and entry in each journal.
    pub fn boundary(&self) -> Option<(u32, BlockHash, &Marks)> {
        self.boundary.as_ref().map(|boundary| (boundary.height, boundary.hash, &boundary.marks))
    }

    /// The height of its newest payout, whose maturity settles it.
    pub fn last_payout_height(&self) -> Option<u32> {
        self.payouts.iter().map(|payout| payout.height).max()
    }

    /// What a holder's ehash is worth.
    ///
    /// # Errors
    /// [`SettlementError::NoWork`] when nothing was credited.
    pub fn rate(&self, fee: FeePpm) -> Result<Rate, SettlementError> {
        Rate::new(self.reward(), self.work, fee)
    }
}
