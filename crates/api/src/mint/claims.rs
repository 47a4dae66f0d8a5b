//! Claims: what an owner has, and Cashu tokens of it. For owners whose key the box holds; owners that
//! are public keys claim with their own wallet.
//!
//! | call | by | gives |
//! |---|---|---|
//! | `GET /owners?after=…&limit=…` | admin | [`OwnerPage`] |
//! | `GET /owners/{owner}` | admin | [`OwnerAccount`] |
//! | `POST /owners/{owner}/collect` | admin | [`Claimed`] without a token |
//! | `POST /owners/{owner}/claim` with [`ClaimRequest`] | admin | [`Claimed`] |
//! | `GET /owners/{owner}/tokens` | admin | list of [`Token`]s nobody has spent |
//! | `POST /owners/{owner}/tokens/{id}/take-back` | admin | [`TakenBack`] |
//! | `POST /owners/{owner}/claim-secret` | admin | [`ClaimSecret`]; earlier ones are void |
//! | `POST /claims` with [`SecretClaim`] | holder of the secret | [`Claimed`] |
//! | `POST /claims/account` with [`SecretHolder`] | holder of the secret | [`OwnerAccount`] |
//! | `POST /claims/tokens` with [`SecretHolder`] | holder of the secret | list of [`Token`]s nobody has spent |
//! | `POST /claims/take-back` with [`SecretTakeBack`] | holder of the secret | [`TakenBack`] |
//!
//! A wrong secret is answered with 403, too many with 429. Secrets belong into bodies, never into paths.
//! Tokens are money: whoever has the text of one that is not locked can spend it.

use std::fmt;

use poolbox_accounting::{EpochId, Sats, Work};
use serde::{Deserialize, Serialize};

/// Path under which `/{owner}` and the rest are.
pub const OWNERS: &str = "/owners";

/// Path of claims by secret.
pub const CLAIMS: &str = "/claims";
/// Path of what the holder of a secret has.
pub const CLAIMS_ACCOUNT: &str = "/claims/account";
/// Path of the tokens of the holder of a secret.
pub const CLAIMS_TOKENS: &str = "/claims/tokens";
/// Path to take one back.
pub const CLAIMS_TAKE_BACK: &str = "/claims/take-back";

/// The path of `what` of an owner, as `claim`; of the owner's account when it is empty.
pub fn owner_path(owner: &str, what: &str) -> String {
    let slash = if what.is_empty() { "" } else { "/" };
    format!("{OWNERS}/{owner}{slash}{what}")
}

/// Some owners, in a fixed order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnerPage {
    /// At most as many as were asked for.
    pub owners: Vec<OwnerTotals>,
    /// What to pass as `after` for the next page; none at the end.
    pub next: Option<String>,
}

/// What one owner earned, over all epochs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnerTotals {
    /// Canonical text of the owner.
    pub owner: String,
    /// Whether the box holds the key that the quotes are locked to.
    pub held_by_box: bool,
    /// Epochs with work of the owner.
    pub epochs: u32,
    /// The newest of them.
    pub newest: Option<EpochId>,
    /// Rounds of mode proxy with work of the owner.
    #[serde(default)]
    pub rounds: u32,
    /// Work credited in epochs.
    pub credited: Work,
    /// Work released to be minted, minted or not.
    pub released: Work,
}

/// What one owner has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnerAccount {
    /// Canonical text of the owner.
    pub owner: String,
    /// Whether the box holds the key that the quotes are locked to.
    pub held_by_box: bool,
    /// NUT-20 public key that the quotes are locked to, hex.
    pub pubkey: String,
    /// Quotes, oldest first.
    pub quotes: Vec<super::Quote>,
    /// Epochs with work of the owner, oldest first.
    pub epochs: Vec<OwnerEpoch>,
    /// Rounds of mode proxy with work of the owner, oldest first.
    #[serde(default)]
    pub rounds: Vec<super::OwnerRound>,
    /// Sats that can be claimed now, besides what [`OwnerEpoch::worth`] will add.
    pub sats: Sats,
    /// Which of the owner's claim secrets is good; none when none was made.
    pub claim_secret: Option<u32>,
}

/// What one owner has in one epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnerEpoch {
    /// Its number.
    pub epoch: EpochId,
    /// Its ecash unit.
    pub unit: String,
    /// Work credited.
    pub credited: Work,
    /// Ehash that can be claimed as such now.
    pub claimable: Work,
    /// Why its ehash is not redeemed; none when it can be, or was.
    pub waits: Option<Waits>,
    /// What `claimable` redeems for; none before the epoch is settled.
    pub worth: Option<Sats>,
}

/// What ehash waits for before it redeems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "kebab-case")]
pub enum Waits {
    /// Its epoch began with a block that could still be orphaned.
    Confirmations,
    /// Its epoch is open: a block of this pool ends it.
    Block,
    /// The reward cannot be spent yet.
    Maturity {
        /// Blocks that are missing.
        blocks: u32,
    },
    /// The reward can be spent; the mint is about to book it.
    Booking,
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmations => f.write_str("waits until the block before it is final"),
            Self::Block => f.write_str("waits for a block of this pool"),
            Self::Maturity { blocks: 1 } => f.write_str("can be redeemed in 1 block"),
            Self::Maturity { blocks } => write!(f, "can be redeemed in {blocks} blocks"),
            Self::Booking => f.write_str("can be redeemed in a moment"),
        }
    }
}

/// Asks for a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// A token of this epoch's ehash; of sats unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<EpochId>,
    /// How much, in sats or ehash; all there is unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<u64>,
    /// Public key (66 hex digits) that alone can spend the token (NUT-11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
}

/// What claiming brought.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claimed {
    /// Who claimed.
    pub owner: String,
    /// Ehash minted by this call.
    pub minted: Work,
    /// Ehash redeemed by this call.
    pub redeemed: Work,
    /// Sats that came in by this call.
    pub sats: Sats,
    /// Ehash that has to wait, oldest epoch first.
    pub waiting: Vec<Waiting>,
    /// The first thing that did not work; it is tried again with the next claim.
    pub trouble: Option<String>,
    /// The token; none when there is nothing to put into one, or none was asked for.
    pub token: Option<Token>,
}

/// Ehash that cannot be redeemed yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// Of which epoch.
    pub epoch: EpochId,
    /// How much.
    pub ehash: Work,
    /// For what.
    pub waits: Waits,
}

/// A Cashu token that nobody has spent. Debug output does not show the money in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its name here.
    pub id: String,
    /// Its unit, `sat` or an epoch's.
    pub unit: String,
    /// What it is worth, in its unit.
    pub amount: u64,
    /// Public key that alone can spend it, hex; none when whoever has the text can.
    pub lock: Option<String>,
    /// When it was made, Unix seconds.
    pub made_at: u64,
    /// The token (`cashuB…`).
    pub text: String,
    /// Parts of an animated QR code (NUT-16), to be shown one after the other again and again. Empty
    /// when the text fits into one code.
    pub fragments: Vec<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, {} {}, …)", self.id, self.amount, self.unit)
    }
}

/// A token that is worth nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    /// Its name.
    pub id: String,
    /// Its unit.
    pub unit: String,
    /// What the owner has again.
    pub amount: u64,
}

/// A claim secret, shown once: the box does not store it. Debug output does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimSecret {
    /// Whose.
    pub owner: String,
    /// How many were made for this owner; only the last one is good.
    pub number: u32,
    /// Five groups of four letters and digits.
    pub secret: String,
}

impl fmt::Debug for ClaimSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimSecret({}, {}, …)", self.owner, self.number)
    }
}

/// Who claims by secret. Debug output does not show it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretHolder {
    /// Owner part of the miners' user name.
    pub owner: String,
    /// The secret, with or without the dashes, in any letter case.
    pub secret: String,
}

impl fmt::Debug for SecretHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretHolder({:?}, …)", self.owner)
    }
}

/// A claim by secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretClaim {
    /// As in [`SecretHolder`].
    pub owner: String,
    /// As in [`SecretHolder`].
    pub secret: String,
    /// What is claimed.
    #[serde(default)]
    pub claim: ClaimRequest,
}

impl fmt::Debug for SecretClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretClaim({:?}, …)", self.owner)
    }
}

/// Takes a token back by secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretTakeBack {
    /// As in [`SecretHolder`].
    pub owner: String,
    /// As in [`SecretHolder`].
    pub secret: String,
    /// [`Token::id`].
    pub token: String,
}

impl fmt::Debug for SecretTakeBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretTakeBack({:?}, …)", self.owner)
    }
}
