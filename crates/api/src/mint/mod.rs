//! The mint's local API: `GET /status`, `GET /epochs`, `GET /owners/{owner}`, `POST /claim-key`.

use std::fmt;

use poolbox_accounting::{EpochId, EpochState, Network, Sats, ShareSeq, Work};
use serde::{Deserialize, Serialize};

/// Path of [`Status`].
pub const STATUS: &str = "/status";
/// Path of the list of [`Epoch`]s, newest first.
pub const EPOCHS: &str = "/epochs";
/// Path under which `/{owner}` gives [`OwnerQuotes`].
pub const OWNERS: &str = "/owners";
/// Path that takes a [`ClaimKeyRequest`] and gives a [`ClaimKey`].
pub const CLAIM_KEY: &str = "/claim-key";

/// Everything the mint knows about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Network of the node.
    pub network: Network,
    /// Version of the program.
    pub version: String,
    /// When it started, Unix seconds.
    pub started_at: u64,
    /// Base URL of the Cashu API that lists sat keysets only.
    pub url: String,
    /// Base URL of the Cashu API that lists every unit.
    pub ehash_url: String,
    /// Why the mint refuses to sign; none while all invariants hold.
    pub halted: Option<String>,
    /// How far the chain was followed.
    pub chain: Chain,
    /// How far the quote queue was read.
    pub queue: Queue,
    /// The open epoch.
    pub epoch: EpochId,
    /// Totals over all epochs.
    pub ehash: Ehash,
    /// The reserve and what is owed.
    pub sats: SatTotals,
}

/// The chain as the mint followed it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chain {
    /// Height of the tip.
    pub height: u32,
    /// Hash of the tip.
    pub hash: String,
    /// Whether the node answered the latest call.
    pub connected: bool,
}

/// The quote queue as the mint read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Queue {
    /// Sequence number of the last entry that took effect.
    pub cursor: u64,
    /// Entries written and not read yet.
    pub waiting: u64,
}

/// Ehash over all epochs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ehash {
    /// Work credited to quotes.
    pub credited: Work,
    /// Ehash ecash signed.
    pub issued: Work,
    /// Ehash ecash redeemed.
    pub redeemed: Work,
}

/// Sats of the whole mint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SatTotals {
    /// Spendable in the treasury.
    pub reserve: Sats,
    /// In coinbases that cannot be spent yet.
    pub immature: Sats,
    /// Sat ecash signed and not spent, and sat quotes paid and not minted.
    pub outstanding: Sats,
    /// Paid for ehash so far.
    pub redeemed: Sats,
}

/// One epoch's record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Epoch {
    /// Its number.
    pub n: EpochId,
    /// Its ecash unit.
    pub unit: String,
    /// Where it is in its life.
    pub state: EpochState,
    /// Height of the block that ended it.
    pub height: Option<u32>,
    /// Hash of the block that ended it.
    pub block_hash: Option<String>,
    /// The last share in it.
    pub last_share: Option<ShareSeq>,
    /// R: what its payouts brought so far.
    pub reward: Sats,
    /// W: work credited in it so far.
    pub work: Work,
    /// Ehash signed.
    pub issued: Work,
    /// Ehash redeemed.
    pub redeemed: Work,
    /// Sats paid for it.
    pub paid: Sats,
    /// Blocks until its reward can be spent; zero when settled, none while no payout closed it.
    pub blocks_to_maturity: Option<u32>,
}

/// What one owner earned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnerQuotes {
    /// Canonical text of the owner.
    pub owner: String,
    /// Whether the box holds the key that the quotes are locked to.
    pub held_by_box: bool,
    /// NUT-20 public key that the quotes are locked to, hex.
    pub pubkey: String,
    /// Quotes, oldest first.
    pub quotes: Vec<Quote>,
}

/// One NUT-04 mint quote.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Quote {
    /// Its id at the Cashu API.
    pub id: String,
    /// Its epoch.
    pub epoch: EpochId,
    /// Its unit.
    pub unit: String,
    /// Work credited, released or not.
    pub credited: Work,
    /// Work that may be minted: the quote's `amount_paid`.
    pub paid: Work,
    /// Work already minted: the quote's `amount_issued`.
    pub issued: Work,
}

/// Asks for the key of an owner's quotes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClaimKeyRequest {
    /// Owner part of a user name.
    pub owner: String,
}

/// The secret key that an owner's quotes are locked to (NUT-20). Whoever has it can mint them.
#[derive(Clone, Serialize, Deserialize)]
pub struct ClaimKey {
    /// 32 bytes, hex.
    pub secret_key: String,
}

impl fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimKey(…)")
    }
}
