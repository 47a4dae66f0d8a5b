//! One payout's record, from intent to end. It is written before each step that it describes.

use poolbox_accounting::Sats;
use poolbox_api::mint::payouts as api;
use serde::{Deserialize, Serialize};

use super::rule::Target;

pub use poolbox_api::mint::payouts::Stage;

/// What the mint asks for a payment, before it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The melt quote (NUT-05).
    pub quote: String,
    /// What the target receives.
    pub amount: Sats,
    /// The most that the fee comes to; what is not used of it is returned.
    pub max_fee: Sats,
}

/// A payout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout {
    /// Its number: payouts count from 1.
    pub n: u64,
    /// Canonical text of the owner.
    pub owner: String,
    /// Whom it pays.
    pub target: Target,
    /// Where it is in its life.
    pub stage: Stage,
    /// What the target receives.
    pub amount: Sats,
    /// The most that the fee may come to.
    pub max_fee: Sats,
    /// What it cost.
    pub fee: Option<Sats>,
    /// The melt quote that pays it.
    pub melt_quote: Option<String>,
    /// Output of a transaction, or payment hash.
    pub proof: Option<String>,
    /// Tries so far.
    pub attempts: u32,
    /// Unix seconds, as all times here.
    pub planned_at: u64,
    /// When amount and fee became known.
    pub quoted_at: Option<u64>,
    /// When it was handed over.
    pub sent_at: Option<u64>,
    /// When it ended.
    pub ended_at: Option<u64>,
    /// What keeps it, or why it failed.
    pub trouble: Option<String>,
}

impl Payout {
    /// An intent.
    pub fn planned(n: u64, owner: String, target: Target, now: u64) -> Self {
        Self {
            n,
            owner,
            target,
            stage: Stage::Planned,
            amount: Sats::ZERO,
            max_fee: Sats::ZERO,
            fee: None,
            melt_quote: None,
            proof: None,
            attempts: 0,
            planned_at: now,
            quoted_at: None,
            sent_at: None,
            ended_at: None,
            trouble: None,
        }
    }

    pub(super) fn quoted(&mut self, offer: Offer, now: u64) {
        self.stage = Stage::Quoted;
        self.melt_quote = Some(offer.quote);
        self.amount = offer.amount;
        self.max_fee = offer.max_fee;
        self.quoted_at = Some(now);
        self.trouble = None;
    }

    pub(super) const fn sent(&mut self, now: u64) {
        self.stage = Stage::Sent;
        self.sent_at = Some(now);
    }

    pub(super) fn confirmed(&mut self, fee: Sats, proof: Option<String>, now: u64) {
        self.stage = Stage::Confirmed;
        self.fee = Some(fee);
        self.proof = proof;
        self.ended_at = Some(now);
        self.trouble = None;
    }

    pub(super) fn failed(&mut self, trouble: String, now: u64) {
        self.stage = Stage::Failed;
        self.ended_at = Some(now);
        self.trouble = Some(trouble);
    }
}

impl From<Payout> for api::Payout {
    fn from(payout: Payout) -> Self {
        Self {
            n: payout.n,
            owner: payout.owner,
            target: payout.target.text().to_owned(),
            kind: payout.target.kind(),
            stage: payout.stage,
            amount: payout.amount,
            max_fee: payout.max_fee,
            fee: payout.fee,
            melt_quote: payout.melt_quote,
            proof: payout.proof,
            attempts: payout.attempts,
            planned_at: payout.planned_at,
            quoted_at: payout.quoted_at,
            sent_at: payout.sent_at,
            ended_at: payout.ended_at,
            trouble: payout.trouble,
        }
    }
}
