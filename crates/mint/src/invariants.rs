//! What must hold at every moment, checked while the mint runs. A breach means that books, wallet
//! and signatures disagree: the mint halts, and a person looks before more is signed.

use std::collections::HashMap;
use std::time::Duration;

use cdk::mint::Mint;
use cdk::nuts::CurrencyUnit;
use cdk_common::database::DynMintDatabase;
use poolbox_accounting::{EpochId, RoundId, Sats, Work};

use crate::ledger::{self, LedgerError, Place, Progress, Redeemed, Settled};
use crate::treasury::{Ecash, EcashError, Statement, StatementError, Treasury};
use crate::units::unit_of;

/// How often a reserve that looks short is counted again before it is called so, and how long the
/// pauses are: a payment on its way out can be missed for a moment.
const RECOUNTS: u32 = 5;
const RECOUNT_PAUSE: Duration = Duration::from_millis(700);

/// An invariant that does not hold, or could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum Breach {
    /// Sat ecash is not backed.
    #[error("{owed} of ecash is owed and the treasury holds only {reserve}")]
    Unbacked {
        /// Outstanding, with what was about to be paid.
        owed: Sats,
        /// Spendable in the treasury.
        reserve: Sats,
    },
    /// More sat ecash was signed than was paid for.
    #[error("{outstanding} of ecash is outstanding and only {paid} was paid for")]
    SatsFromNothing {
        /// Signed and not spent.
        outstanding: Sats,
        /// Minted of paid quotes, less what was melted.
        paid: Sats,
    },
    /// Quotes were paid for more work than was redeemed or shared out.
    #[error("quotes were paid {paid} for work, and only {booked} was redeemed or shared out")]
    QuotesFromNothing {
        /// Paid to sat quotes for ehash, and for rounds.
        paid: Sats,
        /// Booked as redeemed, or as shared out.
        booked: Sats,
    },
    /// More sat ecash came back than the books know to have been signed, as when ecash that was
    /// spent after a backup is spent again after its restore.
    #[error("{back} came back of the sat keyset {keyset} and only {signed} was signed with it")]
    MoreBackThanSigned {
        /// Id of the keyset.
        keyset: String,
        /// Spent.
        back: Sats,
        /// Signed.
        signed: Sats,
    },
    /// More ehash than work.
    #[error("epoch {epoch} holds {work} of work, and {ehash} is issued or about to be")]
    EhashFromNothing {
        /// The epoch.
        epoch: EpochId,
        /// Signed, paid to quotes, or redeemed.
        ehash: Work,
        /// Journalled.
        work: Work,
    },
    /// A round would pay more than its upstream payments.
    #[error("round {round} can pay {payable}, and {paid} is paid or about to be")]
    Overshared {
        /// The round.
        round: RoundId,
        /// Paid, with what was about to be.
        paid: Sats,
        /// What arrived less the fee.
        payable: Sats,
    },
    /// An epoch would pay more than its reward.
    #[error("epoch {epoch} can pay {payable}, and {paid} is paid or about to be")]
    Overpaid {
        /// The epoch.
        epoch: EpochId,
        /// Paid, with what was about to be.
        paid: Sats,
        /// Its reward less the fee.
        payable: Sats,
    },
}

/// A check that could not be made, or that failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// An invariant does not hold.
    #[error(transparent)]
    Breach(#[from] Breach),
    /// The reserve looks short, and the treasury has not read the whole chain yet, as after a restore:
    /// nothing can be said about it.
    #[error("the treasury is still reading the chain")]
    TreasuryBehind,
    /// Part of the reserve is with a Lightning node that does not run: nothing can be said about it.
    #[error("the Lightning node does not run, and what it holds is part of the reserve")]
    LightningDown,
    /// The books cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// cdk's figures cannot be read.
    #[error(transparent)]
    Mint(#[from] cdk::Error),
    /// What is owed and held cannot be read.
    #[error(transparent)]
    Treasury(#[from] StatementError),
}

impl From<EcashError> for CheckError {
    fn from(error: EcashError) -> Self {
        Self::Treasury(error.into())
    }
}

/// Checks sats, and the ehash of `epochs`.
///
/// # Errors
/// [`CheckError::Breach`] names the invariant.
pub async fn check(mint: &Mint, treasury: &Treasury, epochs: &[EpochId]) -> Result<(), CheckError> {
    check_books(mint, treasury, epochs).await?;
    check_reserve(mint, treasury, Sats::ZERO).await
}

/// Checks that nothing was signed that was not paid for.
///
/// # Errors
/// [`CheckError::Breach`] names the invariant.
pub async fn check_books(mint: &Mint, treasury: &Treasury, epochs: &[EpochId]) -> Result<(), CheckError> {
    // What is bounded is read before its bound: bounds only grow, so a change in between is no breach.
    let db = mint.localstore();
    let ecash = outstanding(mint).await?;
    let sats: Ecash = treasury.ecash().read().await?;
    let booked = [paid_in_all(&db).await?.sats, shared_in_all(&db).await?].into_iter().sum();
    let (outstanding, paid) = (sats.unspent(), sats.accounted());
    if outstanding > paid {
        return Err(Breach::SatsFromNothing { outstanding, paid }.into());
    }
    let paid = sats.received.for_work;
    if paid > booked {
        return Err(Breach::QuotesFromNothing { paid, booked }.into());
    }
    crate::restored::check_returns(mint).await?;
    for &epoch in epochs {
        let issued = ecash.get(&unit_of(epoch)).copied().unwrap_or_default();
        check_epoch(&db, epoch, Work::from_ehash(issued)).await?;
    }
    Ok(())
}

/// Checks that what is owed is backed, also when `more` were owed.
///
/// # Errors
/// [`Breach::Unbacked`] when it is not, and stays so.
pub async fn check_reserve(mint: &Mint, treasury: &Treasury, more: Sats) -> Result<(), CheckError> {
    let mut recounts = 0;
    loop {
        let statement: Statement = treasury.statement().await?;
        let owed = [statement.outstanding(), more].into_iter().sum();
        let reserve = statement.reserve();
        if owed <= reserve {
            return Ok(());
        }
        if statement.lightning.is_none() {
            return Err(CheckError::LightningDown);
        }
        // What it holds may be in blocks that it has not read yet, as after a restore.
        if statement.wallet.height < followed(&mint.localstore()).await? {
            return Err(CheckError::TreasuryBehind);
        }
        if recounts == RECOUNTS {
            return Err(Breach::Unbacked { owed, reserve }.into());
        }
        recounts += 1;
        tokio::time::sleep(RECOUNT_PAUSE).await;
    }
}

async fn check_epoch(db: &DynMintDatabase, epoch: EpochId, issued: Work) -> Result<(), CheckError> {
    let quoted: Work = ledger::read(db, &Place::paid(epoch)).await?.unwrap_or_default();
    let redeemed: Redeemed = ledger::read(db, &Place::redeemed(epoch)).await?.unwrap_or_default();
    let work = work_of(db, epoch).await?;
    for ehash in [issued, quoted, redeemed.ehash] {
        if ehash > work {
            return Err(Breach::EhashFromNothing { epoch, ehash, work }.into());
        }
    }
    let settled: Option<Settled> = ledger::read(db, &Place::settled(epoch)).await?;
    let payable = settled.and_then(|settled| settled.rate).map_or(Sats::ZERO, |rate| rate.payable());
    if redeemed.sats > payable {
        return Err(Breach::Overpaid { epoch, paid: redeemed.sats, payable }.into());
    }
    Ok(())
}

/// Ecash that is signed and not spent, by unit.
///
/// # Errors
/// When cdk's database cannot be read.
pub async fn outstanding(mint: &Mint) -> Result<HashMap<CurrencyUnit, u64>, cdk::Error> {
    let issued = mint.total_issued().await?;
    let redeemed = mint.total_redeemed().await?;
    let mut outstanding = HashMap::new();
    for keyset in mint.keysets().keysets {
        let issued = issued.get(&keyset.id).map_or(0, |amount| amount.to_u64());
        let redeemed = redeemed.get(&keyset.id).map_or(0, |amount| amount.to_u64());
        let of_unit: &mut u64 = outstanding.entry(keyset.unit).or_default();
        *of_unit = of_unit.saturating_add(issued.saturating_sub(redeemed));
    }
    Ok(outstanding)
}

/// The height that the chain was followed to.
async fn followed(db: &DynMintDatabase) -> Result<u32, LedgerError> {
    let progress: Option<Progress> = ledger::read(db, &Place::progress()).await?;
    Ok(progress.map_or(0, |progress| progress.epochs.tip()))
}

/// Everything redeemed so far.
///
/// # Errors
/// [`LedgerError`].
pub async fn paid_in_all(db: &DynMintDatabase) -> Result<Redeemed, LedgerError> {
    Ok(ledger::read(db, &Place::redeemed_in_all()).await?.unwrap_or_default())
}

/// Everything shared out by rounds so far.
///
/// # Errors
/// [`LedgerError`].
pub async fn shared_in_all(db: &DynMintDatabase) -> Result<Sats, LedgerError> {
    Ok(ledger::read(db, &Place::shared_in_all()).await?.unwrap_or_default())
}

/// Work journalled in an epoch.
async fn work_of(db: &DynMintDatabase, epoch: EpochId) -> Result<Work, LedgerError> {
    if let Some(settled) = ledger::read::<Settled>(db, &Place::settled(epoch)).await? {
        return Ok(settled.epoch.work);
    }
    let progress: Option<Progress> = ledger::read(db, &Place::progress()).await?;
    Ok(progress.and_then(|progress| progress.epochs.get(epoch).map(|live| live.work)).unwrap_or_default())
}
