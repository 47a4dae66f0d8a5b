//! Standing payouts: `GET /payouts`, `GET|PUT|DELETE /owners/{owner}/payout`,
//! `POST /owners/{owner}/payout/now`.

use poolbox_accounting::Sats;
use serde::{Deserialize, Serialize};

/// Path of a [`Page`] of all payouts, newest first; takes `?before=N&limit=N`.
pub const PAYOUTS: &str = "/payouts";
/// Most payouts in one [`Page`].
pub const MAX_PAGE: u32 = 200;

/// Path of an owner's [`OwnerPayout`]; takes a [`RuleRequest`] with `PUT`.
pub fn of_owner(owner: &str) -> String {
    format!("{}/{owner}/payout", super::OWNERS)
}

/// Path that pays an owner as soon as possible, whatever the threshold; gives [`OwnerPayout`].
pub fn now(owner: &str) -> String {
    format!("{}/{owner}/payout/now", super::OWNERS)
}

/// How sats reach an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A transaction to a bitcoin address.
    Onchain,
    /// An invoice that the host of a Lightning address gives (LUD-16).
    Lightning,
    /// An invoice for a BOLT12 offer.
    Bolt12,
}

/// Sets how an owner is paid. What is left out keeps the box's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleRequest {
    /// A bitcoin address, a Lightning address or a BOLT12 offer. For an owner that is one itself,
    /// leave it out.
    #[serde(default)]
    pub target: Option<String>,
    /// The balance from which on the owner is paid, in sats.
    #[serde(default)]
    pub threshold: Option<Sats>,
    /// A payout waits while it would cost more than this part of it, in parts per million.
    #[serde(default)]
    pub max_fee_ppm: Option<u32>,
}

/// How an owner is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Address, Lightning address or offer.
    pub target: String,
    /// Which of them.
    pub kind: Kind,
    /// The balance from which on the owner is paid, in sats.
    pub threshold: Sats,
    /// The highest fee, in parts per million of the payout.
    pub max_fee_ppm: u32,
}

/// An owner's payouts and what the next one waits for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnerPayout {
    /// Canonical text of the owner.
    pub owner: String,
    /// None for a household name that has none, and for a public key.
    pub rule: Option<Rule>,
    /// What the next payout would be made from, in sats: ecash in the box's wallet, and what settled
    /// epochs owe. To within a few sats before it is collected.
    pub balance: Sats,
    /// One sentence for a person.
    pub waits_for: String,
    /// When a failed payout is tried again, Unix seconds.
    pub retry_at: Option<u64>,
    /// The payout under way.
    pub under_way: Option<Payout>,
    /// The latest ones that ended, newest first.
    pub last: Vec<Payout>,
}

/// A page of payouts, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page {
    /// The payouts.
    pub payouts: Vec<Payout>,
    /// `before` of the next page; none on the last one.
    pub next: Option<u64>,
}

/// Where a payout is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Intended; amount and fee are not known yet.
    Planned,
    /// Amount and fee are known.
    Quoted,
    /// Handed over for payment: only its melt quote tells how it ends.
    Sent,
    /// Paid. On-chain: the transaction is in a block.
    Confirmed,
    /// Ended without payment; the balance is the owner's as before.
    Failed,
}

/// One payout's record. Times are Unix seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Payout {
    /// Its number.
    pub n: u64,
    /// Canonical text of the owner.
    pub owner: String,
    /// Whom it pays: address, Lightning address or offer.
    pub target: String,
    /// How.
    pub kind: Kind,
    /// Where it is in its life.
    pub stage: Stage,
    /// What the owner receives.
    pub amount: Sats,
    /// The most that the fee may come to; what is not used of it stays the owner's.
    pub max_fee: Sats,
    /// What it cost; known once it is confirmed.
    pub fee: Option<Sats>,
    /// The melt quote (NUT-05) that pays it.
    pub melt_quote: Option<String>,
    /// The transaction's output as `txid:n`, or the payment hash.
    pub proof: Option<String>,
    /// Tries at this payout so far.
    pub attempts: u32,
    /// When it was intended.
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
