//! The mint's books as an auditor reads them: what was credited, paid, signed and redeemed in each
//! epoch, to be compared with the journals and the chain.

use std::collections::BTreeMap;

use poolbox_accounting::{EpochId, EpochState, RoundId, Sats, Work};
use serde::{Deserialize, Serialize};

/// Path of [`AuditBooks`].
pub const AUDIT: &str = "/audit";
/// Path under which `/{n}` gives [`AuditEpoch`].
pub const AUDIT_EPOCHS: &str = "/audit/epochs";

/// Path of [`AuditRounds`].
pub const AUDIT_ROUNDS: &str = "/audit/rounds";

/// Path of the list of [`AuditMelt`]s.
pub const AUDIT_MELTS: &str = "/audit/melts";

/// A melt of sat ecash that was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditMelt {
    /// Its quote.
    pub quote: String,
    /// What arrived.
    pub amount: Sats,
}

/// What the books say over all epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditBooks {
    /// The open epoch, the last one.
    pub newest: EpochId,
    /// Work credited.
    pub credited: Work,
    /// What ehash was redeemed for.
    pub redeemed: Redemptions,
    /// Sat ecash.
    pub sats: AuditSats,
}

/// Sat ecash over all keysets, of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditSats {
    /// Ever signed.
    pub signed: Sats,
    /// Ever taken back, spent or swapped.
    pub returned: Sats,
    /// Minted of paid quotes.
    pub minted: Sats,
    /// Melted, with the fees.
    pub melted: Sats,
    /// Paid to quotes for ehash and for rounds of mode proxy.
    pub for_work: Sats,
    /// Of it, what rounds shared out.
    pub shared: Sats,
}

/// One epoch in the books. Credits, payments and cursors are of one moment; what wallets change
/// meanwhile (signatures, melts) may be of a later one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditEpoch {
    /// Its number.
    pub n: EpochId,
    /// Where it is in its life.
    pub state: EpochState,
    /// Whether its quotes may be paid.
    pub released: bool,
    /// The last share and queue entry of the epoch in each journal, by the journal's identity; empty
    /// while it is open.
    pub marks: BTreeMap<String, AuditMark>,
    /// How far each journal's queue was taken, as of the credits below.
    pub cursors: BTreeMap<String, u64>,
    /// What the books say over all epochs, as of the credits below.
    pub books: AuditBooks,
    /// The blocks that it shares out.
    pub payouts: Vec<AuditPayout>,
    /// R, W and what is shared out, as they were fixed; none before it settled, or without work.
    pub rate: Option<AuditRate>,
    /// W: work credited so far.
    pub work: Work,
    /// Work paid to quotes, as the books add it up.
    pub paid: Work,
    /// Ehash signed less ehash swapped: what was ever minted, by the keyset's totals.
    pub signed: Work,
    /// The same by the quotes.
    pub minted: Work,
    /// What was redeemed, as the books add it up.
    pub redeemed: Redemptions,
    /// The same by the melts that were paid.
    pub melted: Redemptions,
    /// Everybody's share in it, by owner.
    pub credits: Vec<AuditCredit>,
}

/// The end of an epoch in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditMark {
    /// The last share.
    pub share: u64,
    /// The last queue entry.
    pub entry: u64,
}

/// A block that pays an epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditPayout {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub block_hash: String,
    /// What it pays the mint, by the books.
    pub reward: Sats,
    /// What it pays the mint, by the node; none when the node cannot tell, as for a block it pruned.
    pub on_chain: Option<Sats>,
    /// Whether it is on the active chain; none when the node does not know.
    pub active: Option<bool>,
}

/// What an epoch shares out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRate {
    /// R.
    pub reward: Sats,
    /// W.
    pub work: Work,
    /// R less the fee.
    pub payable: Sats,
}

/// Ehash, and the sats that were paid for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemptions {
    /// Taken back.
    pub ehash: Work,
    /// Paid.
    pub sats: Sats,
}

/// What one owner earned in an epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditCredit {
    /// Canonical text of the owner.
    pub owner: String,
    /// Work credited.
    pub credited: Work,
    /// Work paid to quotes, by the books.
    pub paid: Work,
    /// The same by the quotes, less what was paid since the moment of the books.
    pub quoted: Work,
    /// Ehash minted from the quotes.
    pub minted: Work,
}

/// Every round of mode proxy in the books, of one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AuditRounds {
    /// How far each journal's queue was taken.
    pub cursors: BTreeMap<String, u64>,
    /// Oldest first; the last is open.
    pub rounds: Vec<AuditRound>,
    /// Paid to the quotes of all rounds.
    pub shared: Sats,
}

/// One round in the books.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditRound {
    /// Its number.
    pub n: RoundId,
    /// The last share and queue entry of the round in each journal; empty while it is open.
    pub marks: BTreeMap<String, AuditMark>,
    /// What it shares out, as it was fixed; none before sharing out began.
    pub rate: Option<AuditRate>,
    /// W: work credited so far.
    pub work: Work,
    /// R: what arrived so far.
    pub received: Sats,
    /// Paid to quotes, as the books add it up.
    pub paid: Sats,
    /// Whether all owners were paid.
    pub shared: bool,
    /// Everybody's share in it, by owner.
    pub parts: Vec<AuditPart>,
}

/// What one owner earned in a round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditPart {
    /// Canonical text of the owner.
    pub owner: String,
    /// Work credited.
    pub work: Work,
    /// Sats paid to the quote, by the books.
    pub paid: Sats,
    /// The same by the quote.
    pub quoted: Sats,
}
