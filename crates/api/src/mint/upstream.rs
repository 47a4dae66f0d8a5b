//! Mode proxy: where upstream pools pay this mint, and the rounds that share it out.
//!
//! | call | gives |
//! |---|---|
//! | `GET /upstream` | [`UpstreamAccount`] |
//! | `POST /upstream/offer` | [`UpstreamAccount`] with an offer, made if there was none; Lightning must run |
//! | `GET /rounds` | the latest [`Round`]s, newest first |

use poolbox_accounting::{RoundId, Sats, Work};
use serde::{Deserialize, Serialize};

/// Path of [`UpstreamAccount`].
pub const UPSTREAM: &str = "/upstream";
/// Path where the standing offer is made.
pub const UPSTREAM_OFFER: &str = "/upstream/offer";
/// Path of the list of [`Round`]s.
pub const ROUNDS: &str = "/rounds";

/// Where upstream pools pay this mint. What arrives there belongs to those who worked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamAccount {
    /// An address of the treasury.
    pub address: String,
    /// A standing offer (BOLT 12); none before one was made.
    pub offer: Option<String>,
}

/// Where a round is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoundState {
    /// Work is credited to it.
    Open,
    /// A payment ended it, which is not final yet; or its payment left the chain and the next is waited for.
    Ended,
    /// Its owners are being paid.
    Sharing,
    /// All were paid.
    Shared,
}

/// One round: the shares that an upstream payment pays for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Its number.
    pub n: RoundId,
    /// Where it is in its life.
    pub state: RoundState,
    /// When it ended, Unix seconds.
    pub ended_at: Option<u64>,
    /// W: work credited in it so far.
    pub work: Work,
    /// R: what arrived for it so far.
    pub received: Sats,
    /// Paid to quotes so far.
    pub paid: Sats,
    /// Owners with work in it.
    pub owners: u32,
    /// What arrived.
    pub payments: Vec<UpstreamPayment>,
}

/// A payment of an upstream pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamPayment {
    /// `onchain-<txid>-<output>` or `lightning-<payment hash>`.
    pub id: String,
    /// How much.
    pub sats: Sats,
    /// When it arrived, Unix seconds.
    pub at: u64,
    /// Whether it cannot vanish any more and can be spent.
    pub is_final: bool,
}

/// What one owner has in one round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRound {
    /// Its number.
    pub round: RoundId,
    /// Work credited.
    pub work: Work,
    /// Id of the sat quote (NUT-04) that is paid for it.
    pub quote: String,
    /// What was paid to it; none before the round is shared out.
    pub paid: Option<Sats>,
    /// Of it, what was minted.
    pub issued: Sats,
}
