//! What an owner has, by epoch: in the mint's books and in the owner's wallet.

use std::collections::BTreeMap;

use anyhow::Context;
use cdk::mint::Mint;
use cdk::nuts::CurrencyUnit;
use poolbox_accounting::{EpochId, EpochState, Owner, Rate, Sats, Work};
use poolbox_api::mint::Waits;

use super::Open;
use crate::keys::Keys;
use crate::ledger::{self, Credit, Place, Progress, Settled};
use crate::quotes;
use crate::settlement::blocks_missing;

/// What one owner has in one epoch.
#[derive(Clone, Debug)]
pub struct Stake {
    /// The epoch.
    pub epoch: EpochId,
    /// The owner's record.
    pub credit: Credit,
    /// Ehash that was minted.
    pub minted: Work,
    /// What ehash is worth; none before the epoch is settled.
    pub rate: Option<Rate>,
    /// What its ehash waits for; none when it redeems.
    pub waits: Option<Waits>,
    /// Sats paid for its ehash and not minted yet.
    pub owed: Sats,
}

/// What one owner has.
#[derive(Clone, Debug)]
pub struct Holdings {
    /// Epoch by epoch, oldest first.
    pub stakes: Vec<Stake>,
    /// Ehash in the wallet, by epoch.
    pub ehash: BTreeMap<EpochId, Work>,
    /// Sats in the wallet.
    pub sats: Sats,
}

/// Reads an owner's stakes, oldest epoch first.
///
/// # Errors
/// When the books cannot be read.
pub async fn stakes(mint: &Mint, keys: &Keys, owner: &Owner, maturity: u32) -> anyhow::Result<Vec<Stake>> {
    let db = mint.localstore();
    let progress: Option<Progress> = ledger::read(&db, &Place::progress()).await?;
    let progress = progress.context("the mint has no record of progress")?;
    let newest = progress.epochs.live().last().map_or(EpochId::FIRST, |epoch| epoch.id);
    let mut stakes = Vec::new();
    for epoch in (1..=newest.get()).map(EpochId::new) {
        let Some(credit) = ledger::read::<Credit>(&db, &Place::credit(epoch, owner)).await? else { continue };
        let settled: Option<Settled> = ledger::read(&db, &Place::settled(epoch)).await?;
        let mut minted = Work::ZERO;
        for index in 0..credit.quotes {
            let quote = db.get_mint_quote(&quotes::id(keys, epoch, &credit.lock, index)).await?;
            let issued = quote.map_or(0, |quote| quote.amount_issued().value());
            minted = [minted, Work::from_ehash(issued)].into_iter().sum();
        }
        let sat_quote = db.get_mint_quote(&quotes::sat_id(keys, epoch, &credit.lock)).await?;
        let owed = sat_quote
            .map_or(0, |quote| quote.amount_paid().value().saturating_sub(quote.amount_issued().value()));
        let waits = if settled.is_some() { None } else { Some(waits(&progress, epoch, maturity)) };
        let rate = settled.and_then(|settled| settled.rate);
        stakes.push(Stake { epoch, credit, minted, rate, waits, owed: Sats::new(owed) });
    }
    Ok(stakes)
}

/// What the ehash of an epoch that is not settled waits for.
fn waits(progress: &Progress, epoch: EpochId, maturity: u32) -> Waits {
    let Some(live) = progress.epochs.get(epoch) else { return Waits::Booking };
    match live.state() {
        EpochState::Provisional => Waits::Confirmations,
        EpochState::Open => Waits::Block,
        EpochState::Closed | EpochState::Settled => {
            let height = live.last_payout_height();
            match height.map_or(0, |height| blocks_missing(height, progress.epochs.tip(), maturity)) {
                0 => Waits::Booking,
                blocks => Waits::Maturity { blocks },
            }
        }
    }
}

impl Open<'_> {
    /// What the owner has in each epoch, says the mint.
    pub(super) async fn stakes(&self) -> anyhow::Result<Vec<Stake>> {
        stakes(&self.purses.mint, &self.purses.keys, &self.owner, self.purses.maturity).await
    }

    /// What the owner has, in the books and in the wallet.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub async fn holdings(&self) -> anyhow::Result<Holdings> {
        let stakes = self.stakes().await?;
        let balances = self.purse.balances().await?;
        let sats = balances.get(&CurrencyUnit::Sat.to_string()).copied().unwrap_or_default();
        let ehash = balances
            .iter()
            .filter_map(|(unit, amount)| Some((EpochId::of_unit(unit).ok()?, Work::from_ehash(*amount))));
        Ok(Holdings { stakes, ehash: ehash.collect(), sats: Sats::new(sats) })
    }
}
