//! The mint's local API: `GET /status`, `GET /epochs`, `GET /epochs/{n}/history`, what owners have and
//! claim.

mod audit;
mod claims;
mod history;
mod holdings;
mod lightning;
pub mod payouts;
mod restored;
mod seed;
mod upstream;

use poolbox_accounting::{EpochId, EpochState, JournalId, Marks, Network, QueueSeq, Sats, Work};
use serde::{Deserialize, Serialize};

pub use audit::{
    AUDIT, AUDIT_EPOCHS, AUDIT_MELTS, AUDIT_ROUNDS, AuditBooks, AuditCredit, AuditEpoch, AuditMark,
    AuditMelt, AuditPart, AuditPayout, AuditRate, AuditRound, AuditRounds, AuditSats, Redemptions,
};
pub use claims::{
    CLAIMS, CLAIMS_ACCOUNT, CLAIMS_TAKE_BACK, CLAIMS_TOKENS, ClaimRequest, ClaimSecret, Claimed, OWNERS,
    OwnerAccount, OwnerEpoch, OwnerPage, OwnerTotals, SecretClaim, SecretHolder, SecretTakeBack, TakenBack,
    Token, Waiting, Waits, owner_path,
};
pub use history::{Change, Transition};
pub use lightning::{
    CloseChannel, ConnectPeer, LIGHTNING, LIGHTNING_ADDRESS, LIGHTNING_CHANNELS, LIGHTNING_CLOSE,
    LIGHTNING_OFFERS, LIGHTNING_PEERS, LIGHTNING_UNQUOTED, LightningAddress, LightningChannel, LightningNode,
    LightningPeer, LightningState, MakeOffer, Offer, OpenChannel, Unquoted,
};
pub use restored::{RESTORED, RESTORED_ACCEPT, Restored};
pub use seed::{SEED, SEED_CONFIRM, SEED_SHOW, Seed, SeedConfirmation, SeedWord, SeedWords};
pub use upstream::{
    OwnerRound, ROUNDS, Round, RoundState, UPSTREAM, UPSTREAM_OFFER, UpstreamAccount, UpstreamPayment,
};

/// Path of [`Status`].
pub const STATUS: &str = "/status";
/// Path of the list of [`Epoch`]s, newest first; below it, `/{n}/history` gives an epoch's
/// [`Transition`]s.
pub const EPOCHS: &str = "/epochs";

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
    /// From what backup the mint was restored, if it was; not accepted yet means that it signs nothing.
    #[serde(default)]
    pub restored: Option<Restored>,
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
    /// Whether Lightning works.
    #[serde(default)]
    pub lightning: LightningState,
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
    /// Entries that took effect, over all pools.
    pub cursor: u64,
    /// Entries read and not yet in effect; while it catches up, at least so many.
    pub waiting: u64,
    /// What crediting waits for; none while all is well.
    #[serde(default)]
    pub trouble: Option<String>,
    /// How far each pool's journal was taken.
    #[serde(default)]
    pub journals: Vec<TakenJournal>,
}

/// How far a pool's journal was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TakenJournal {
    /// Its identity.
    pub journal: JournalId,
    /// The last entry of its queue that took effect.
    pub cursor: QueueSeq,
    /// When that entry was queued, Unix seconds.
    pub queued_at: u64,
}

/// Ehash over all epochs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ehash {
    /// Work credited to quotes.
    pub credited: Work,
    /// Ehash ecash signed.
    pub issued: Work,
    /// Ehash ecash redeemed.
    pub redeemed: Work,
}

/// Sats of the whole mint: what backs the ecash, what is owed, and what came and went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SatTotals {
    /// All that backs the ecash: `onchain`, `lightning` and `in_flight`.
    pub reserve: Sats,
    /// Spendable in the treasury's wallet, with the change of its own payments.
    pub onchain: Sats,
    /// Ours at the Lightning node, on-chain and in channels, less what is bound; 0 while it is down.
    pub lightning: Sats,
    /// Ours, but bound in Lightning channels while they are open. Backs nothing.
    pub channel_reserve: Sats,
    /// Sent by melts that are not settled yet, with their fees: the ecash that pays for it is still
    /// in `outstanding`.
    pub in_flight: Sats,
    /// In coinbases that cannot be spent yet. Backs nothing so far.
    pub immature: Sats,
    /// All that is owed: sat ecash signed and not spent, and sat quotes paid and not minted.
    pub outstanding: Sats,
    /// Of what is owed, in quotes paid and not minted.
    pub promised: Sats,
    /// Of what is owed, taken by melts under way, with the fees at most.
    pub pending_out: Sats,
    /// What the ehash of settled epochs can still be redeemed for, and upstream payments that are not shared
    /// out yet.
    pub claims: Sats,
    /// The reserve less what is owed and claimed: the pool's fee, rounding, and what the operator
    /// put in. Costs of the mint itself come out of this.
    pub surplus: Sats,
    /// Paid for ehash so far.
    pub redeemed: Sats,
    /// Shared out by rounds of mode proxy so far.
    #[serde(default)]
    pub shared: Sats,
    /// Paid in from outside so far.
    pub received: Sats,
    /// Melted so far, without the fees.
    pub melted: Sats,
    /// Fees of melts so far; each was paid by the wallet that melted.
    pub fees_paid: Sats,
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
    /// The last share and queue entry in it of each pool's journal.
    #[serde(default)]
    pub through: Option<Marks>,
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
