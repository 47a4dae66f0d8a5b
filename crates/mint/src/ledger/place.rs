//! Where each record is.

use bitcoin::hashes::{Hash, sha256};
use poolbox_accounting::{EpochId, Owner, PaymentId, RoundId};

/// Shelf of the accounts.
pub(super) const ACCOUNTS: &str = "accounts";
/// Shelf of the upstream payments that were shared out.
pub(super) const SHARED_PAYMENTS: &str = "shared-payments";
/// Shelf of payments without a quote.
pub(super) const UNQUOTED: &str = "unquoted";

/// Place of a record: a namespace below the books, and a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(super) shelf: String,
    pub(super) key: String,
}
impl Place {
    pub(super) fn new(shelf: impl Into<String>, key: impl Into<String>) -> Self {
        Self { shelf: shelf.into(), key: key.into() }
    }

    /// Its key: of a credit, the same in every epoch.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Of [`Progress`](super::Progress).
    pub fn progress() -> Self {
        Self::new("state", "progress")
    }

    /// Of the block height at which a new mint and its treasury start.
    pub fn birthday() -> Self {
        Self::new("state", "birthday")
    }

    /// Of an owner's [`Credit`](super::Credit) in an epoch.
    pub fn credit(epoch: EpochId, owner: &Owner) -> Self {
        Self::new(credits(epoch), owner_key(owner))
    }

    /// Of the same owner's credit in another epoch.
    #[must_use]
    pub fn moved_to(&self, epoch: EpochId) -> Self {
        Self::new(credits(epoch), self.key.clone())
    }

    /// Of the [`Work`](poolbox_accounting::Work) paid to all quotes of an epoch.
    pub fn paid(epoch: EpochId) -> Self {
        Self::new("paid", epoch.to_string())
    }

    /// Of an owner's [`Part`](super::Part) in a round.
    pub fn part(round: RoundId, owner: &Owner) -> Self {
        Self::new(parts(round), owner_key(owner))
    }

    /// Of a round that is [`SharedOut`](super::SharedOut).
    pub fn shared_out(round: RoundId) -> Self {
        Self::new("rounds", round.to_string())
    }

    /// Of the [`Sats`](poolbox_accounting::Sats) paid to all quotes of a round.
    pub fn shared(round: RoundId) -> Self {
        Self::new("shared", round.to_string())
    }

    /// Of the [`Sats`](poolbox_accounting::Sats) paid to the quotes of all rounds.
    pub fn shared_in_all() -> Self {
        Self::new("shared", "all")
    }

    /// Of the round that shared out a payment.
    pub fn shared_payment(payment: &PaymentId) -> Self {
        Self::new(SHARED_PAYMENTS, payment.to_string())
    }

    /// Of the [`UpstreamAccount`](super::UpstreamAccount).
    pub fn upstream() -> Self {
        Self::new("state", "upstream")
    }

    /// Of a [`Settled`](super::Settled) epoch.
    pub fn settled(epoch: EpochId) -> Self {
        Self::new("settled", epoch.to_string())
    }

    /// Of an epoch's transition, numbered from 0.
    pub fn transition(epoch: EpochId, number: usize) -> Self {
        Self::new(history(epoch), format!("{number:08}"))
    }

    /// Of the header of a block that was followed.
    pub fn trail(number: u32) -> Self {
        Self::new("trail", number.to_string())
    }

    /// Of when the mint last began anew in its process, Unix seconds.
    pub fn renewal() -> Self {
        Self::new("state", "renewal")
    }

    /// Of headers of blocks that were followed and left.
    pub fn side_headers() -> Self {
        Self::new("state", "side-headers")
    }

    /// Of what was [`Redeemed`](super::Redeemed) from an epoch.
    pub fn redeemed(epoch: EpochId) -> Self {
        Self::new("redeemed", epoch.to_string())
    }

    /// Of how many claim secrets were made for an owner.
    pub fn claim_secret(owner: &Owner) -> Self {
        Self::new("claim-secrets", owner_key(owner))
    }

    /// Of a token made from an owner's wallet that may not be spent.
    pub fn slip(owner: &Owner, id: uuid::Uuid) -> Self {
        Self::new(slips(owner), id.to_string())
    }

    /// Of an [`Unquoted`](super::Unquoted) payment.
    pub fn unquoted(payment_hash: &str) -> Self {
        Self::new(UNQUOTED, payment_hash)
    }

    /// Of what was [`Redeemed`](super::Redeemed) from all epochs.
    pub fn redeemed_in_all() -> Self {
        Self::new("redeemed", "all")
    }

    /// Of the account of an owner who is paid by a standing rule.
    pub fn account(owner: &Owner) -> Self {
        Self::new(ACCOUNTS, owner_key(owner))
    }

    /// Of the `n`-th payout.
    pub fn payout(n: u64) -> Self {
        Self::new("payouts", n.to_string())
    }

    /// Of how far payouts are counted and epochs were read for them.
    pub fn payouts() -> Self {
        Self::new("state", "payouts")
    }
}

/// Names allow few characters and 120 of them; owners may be longer.
fn owner_key(owner: &Owner) -> String {
    sha256::Hash::hash(owner.to_string().as_bytes()).to_string()
}

pub(super) fn credits(epoch: EpochId) -> String {
    format!("credits-{epoch}")
}

pub(super) fn parts(round: RoundId) -> String {
    format!("parts-{round}")
}

pub(super) fn slips(owner: &Owner) -> String {
    format!("slips-{}", owner_key(owner))
}

pub(super) fn history(epoch: EpochId) -> String {
    format!("history-{epoch}")
}
