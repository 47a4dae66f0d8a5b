//! Why ehash is not redeemed, each in one sentence for the wallet's user.

use cdk::nuts::CurrencyUnit;
use poolbox_accounting::{EpochId, SettlementError, Work};

use crate::invariants::CheckError;
use crate::ledger::LedgerError;
use crate::treasury::StatementError;

/// Why ehash is not redeemed; worded for the wallet's user.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The unit is no epoch's.
    #[error("{0} cannot be redeemed here; only the units ehash-<n> can")]
    NotEhash(CurrencyUnit),
    /// The epoch's block has not been found.
    #[error(
        "epoch {0} is not settled: it is still open; its ehash can be redeemed 100 blocks after a payout closes it"
    )]
    StillOpen(EpochId),
    /// The reward cannot be spent yet.
    #[error("epoch {epoch} is not settled: its reward matures in {blocks} blocks; redeem it then")]
    Immature {
        /// The epoch.
        epoch: EpochId,
        /// Blocks that are missing.
        blocks: u32,
    },
    /// Mature by the chain; the wallet or a newer block is awaited.
    #[error("epoch {0} is not settled: its reward is mature and about to be booked; try again in a moment")]
    Booking(EpochId),
    /// No amount in the request.
    #[error("the melt names no amount; put the ehash to redeem into its field amount")]
    NoAmount,
    /// No work, or more than there is.
    #[error("epoch {0}: {1}")]
    Amount(EpochId, SettlementError),
    /// Less than one sat.
    #[error("{amount} of epoch {epoch} is worth less than one sat; redeem more at once")]
    Dust {
        /// The epoch.
        epoch: EpochId,
        /// What was offered.
        amount: Work,
    },
    /// The request names no sat quote of this mint.
    #[error(
        "\"{0}\" is no mint quote of this mint in sat with the method ehash; make one first and name its id"
    )]
    UnknownQuote(String),
    /// The quote is too old.
    #[error("the melt quote has expired; ask for a new one")]
    Expired,
    /// The reserve is not known right now.
    #[error("the mint's wallet is still reading the chain; try again in a minute")]
    TreasuryBehind,
    /// Part of the reserve cannot be seen right now.
    #[error("the mint's Lightning node does not run, and part of the reserve is there; try again later")]
    LightningDown,
    /// The reserve cannot be counted right now.
    #[error("the reserve cannot be counted right now ({0}); try again in a minute")]
    Uncounted(#[from] StatementError),
    /// Its process ends.
    #[error("the mint is stopping; try again when it is back")]
    Stopping,
    /// The mint has halted.
    #[error("the mint has halted ({0}); its operator has to look")]
    Halted(String),
    /// The books cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// cdk refused.
    #[error(transparent)]
    Mint(#[from] cdk::Error),
}

impl From<cdk_common::database::Error> for Refusal {
    fn from(error: cdk_common::database::Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<CheckError> for Refusal {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Breach(breach) => Self::Halted(breach.to_string()),
            CheckError::TreasuryBehind => Self::TreasuryBehind,
            CheckError::LightningDown => Self::LightningDown,
            CheckError::Ledger(error) => Self::Ledger(error),
            CheckError::Mint(error) => Self::Mint(error),
            CheckError::Treasury(error) => Self::Uncounted(error),
        }
    }
}
