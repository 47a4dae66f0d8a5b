//! What must hold at every moment, checked while the mint runs. A breach means that books, wallet
//! and signatures disagree: the mint halts, and a person looks before more is signed.

use std::collections::HashMap;

use cdk::mint::Mint;
use cdk::nuts::CurrencyUnit;
use cdk_common::database::DynMintDatabase;
use poolbox_accounting::{EpochId, Sats, Work};

use crate::ledger::{self, LedgerError, Place, Progress, Redeemed, Settled};
use crate::treasury::{Balance, Treasury};
use crate::units::{epoch_of, unit_of};

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
    /// More sat ecash was signed than ever was paid for.
    #[error("{outstanding} of ecash is outstanding and only {paid} was paid for")]
    SatsFromNothing {
        /// Signed and not spent.
        outstanding: Sats,
        /// Paid for ehash so far.
        paid: Sats,
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
    /// The treasury has not seen again what it already held, as after a restore: nothing can be
    /// said about the reserve yet.
    #[error("the treasury is still reading the chain")]
    TreasuryBehind,
    /// The books cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// cdk's figures cannot be read.
    #[error(transparent)]
    Mint(#[from] cdk::Error),
}

/// Checks sats, and the ehash of `epochs`.
///
/// # Errors
/// [`CheckError::Breach`] names the invariant.
pub async fn check(mint: &Mint, treasury: &Treasury, epochs: &[EpochId]) -> Result<(), CheckError> {
    // What is bounded is read before its bound: bounds only grow, so a change in between is no breach.
    let db = mint.localstore();
    let ecash = outstanding(mint).await?;
    let outstanding = Sats::new(ecash.get(&CurrencyUnit::Sat).copied().unwrap_or_default());
    let paid = paid_in_all(&db).await?.sats;
    if outstanding > paid {
        return Err(Breach::SatsFromNothing { outstanding, paid }.into());
    }
    for &epoch in epochs {
        let issued = ecash.get(&unit_of(epoch)).copied().unwrap_or_default();
        check_epoch(&db, epoch, Work::from_ehash(issued)).await?;
    }
    let Balance { spendable: reserve, height, .. } = treasury.balance().await;
    if height < last_settled(&db).await? {
        return Err(CheckError::TreasuryBehind);
    }
    if paid > reserve {
        return Err(Breach::Unbacked { owed: paid, reserve }.into());
    }
    Ok(())
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

/// The height of the newest payout that was settled, which the treasury has seen.
async fn last_settled(db: &DynMintDatabase) -> Result<u32, LedgerError> {
    let progress: Option<Progress> = ledger::read(db, &Place::progress()).await?;
    let oldest_live =
        progress.and_then(|progress| progress.epochs.live().first().map(|epoch| epoch.id.get()));
    let Some(n) = oldest_live.and_then(|n| n.checked_sub(1)) else { return Ok(0) };
    let settled: Option<Settled> = ledger::read(db, &Place::settled(EpochId::new(n))).await?;
    Ok(settled.and_then(|settled| settled.epoch.last_payout_height()).unwrap_or_default())
}

/// Everything redeemed so far. Sat ecash cannot leave the mint yet, so its sats are all still owed.
///
/// # Errors
/// [`LedgerError`].
pub async fn paid_in_all(db: &DynMintDatabase) -> Result<Redeemed, LedgerError> {
    Ok(ledger::read(db, &Place::redeemed_in_all()).await?.unwrap_or_default())
}

/// Work journalled in an epoch.
async fn work_of(db: &DynMintDatabase, epoch: EpochId) -> Result<Work, LedgerError> {
    if let Some(settled) = ledger::read::<Settled>(db, &Place::settled(epoch)).await? {
        return Ok(settled.epoch.work);
    }
    let progress: Option<Progress> = ledger::read(db, &Place::progress()).await?;
    Ok(progress.and_then(|progress| progress.epochs.get(epoch).map(|live| live.work)).unwrap_or_default())
}

/// The epochs that the mint has keysets of.
pub fn known_epochs(mint: &Mint) -> Vec<EpochId> {
    mint.keysets().keysets.iter().filter_map(|keyset| epoch_of(&keyset.unit).ok()).collect()
}
