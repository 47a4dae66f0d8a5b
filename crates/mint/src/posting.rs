//! Posting to the books: what a step of chain or queue brought, written in one transaction with the
//! position it was read at. Every quote that is paid for work is paid here.

use std::collections::BTreeMap;

use anyhow::Context;
use cdk::mint::{Mint, MintQuote};
use cdk_common::database::DynMintTransaction;
use poolbox_accounting::{EpochEvent, EpochId, Owner, RoundEvent, RoundId, Work};

use crate::history;
use crate::invariants::Breach;
use crate::keys::Keys;
use crate::ledger::{self, Credit, LedgerError, Place, Progress, Settled};
use crate::quotes;
use crate::sharing;
use crate::units::open_unit;

/// What one step brings.
pub struct Step {
    /// Where chain and queue were read to, and the epochs after it.
    pub progress: Progress,
    /// What happened to the epochs, in order.
    pub events: Vec<EpochEvent>,
    /// Work of each owner in each epoch.
    pub credits: BTreeMap<(EpochId, Owner), Work>,
    /// Work of each owner in each round of mode proxy.
    pub parts: BTreeMap<(RoundId, Owner), Work>,
    /// What happened to the rounds, in order.
    pub rounds: Vec<RoundEvent>,
}

impl Step {
    /// A step to `progress` that brings nothing yet.
    pub const fn of(progress: Progress) -> Self {
        Self {
            progress,
            events: Vec::new(),
            credits: BTreeMap::new(),
            parts: BTreeMap::new(),
            rounds: Vec::new(),
        }
    }
}

/// Credits that change, each read once and written once, in a fixed order.
type Changed = BTreeMap<(EpochId, Place), Credit>;

/// Posts a step, all of it or nothing, and returns the quotes that were paid.
///
/// # Errors
/// A [`Breach`] when more would be paid than was journalled; otherwise when the database refuses.
pub async fn post(mint: &Mint, keys: &Keys, step: &Step, now: u64) -> anyhow::Result<Vec<MintQuote>> {
    for event in &step.events {
        if let EpochEvent::Opened(epoch) = event {
            open_unit(mint, *epoch).await?;
        }
    }
    let db = mint.localstore();
    let mut tx = db.begin_transaction().await?;
    match write(&mut tx, mint, keys, step, now).await {
        Ok(paid) => {
            tx.commit().await?;
            Ok(paid)
        }
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}

/// Moves settled epochs from the progress to records of their own.
///
/// # Errors
/// When the database refuses.
pub async fn settle(mint: &Mint, progress: &Progress, settled: &[Settled], now: u64) -> anyhow::Result<()> {
    let db = mint.localstore();
    let mut tx = db.begin_transaction().await?;
    match write_settled(&mut tx, progress, settled, now).await {
        Ok(()) => Ok(tx.commit().await?),
        Err(error) => {
            tx.rollback().await?;
            Err(error.into())
        }
    }
}

async fn write_settled(
    tx: &mut DynMintTransaction,
    progress: &Progress,
    settled: &[Settled],
    now: u64,
) -> Result<(), LedgerError> {
    for record in settled {
        ledger::write(tx, &Place::settled(record.epoch.id), record).await?;
        history::record_settled(tx, record, progress.epochs.tip(), now).await?;
    }
    ledger::write(tx, &Place::progress(), progress).await
}

async fn write(
    tx: &mut DynMintTransaction,
    mint: &Mint,
    keys: &Keys,
    step: &Step,
    now: u64,
) -> anyhow::Result<Vec<MintQuote>> {
    let mut changed = Changed::new();
    for ((epoch, owner), work) in &step.credits {
        let place = Place::credit(*epoch, owner);
        let credit = match ledger::read_in(tx, &place).await? {
            Some(credit) => credit,
            None => {
                let credit = quotes::new_credit(keys, owner)?;
                // The quote is there from the first share on, though unpaid while provisional.
                quotes::growing(tx, keys, *epoch, &credit, now).await?;
                credit
            }
        };
        changed.insert((*epoch, place), grown(credit, *work)?);
    }
    for event in &step.events {
        match event {
            EpochEvent::Released(epoch) => {
                for place in ledger::credits_of(tx, *epoch).await? {
                    if !changed.contains_key(&(*epoch, place.clone()))
                        && let Some(credit) = ledger::read_in(tx, &place).await?
                    {
                        changed.insert((*epoch, place), credit);
                    }
                }
            }
            EpochEvent::Dissolved { epoch, into } => {
                move_credits(tx, keys, &mut changed, *epoch, *into, now).await?;
            }
            _ => {}
        }
    }
    let mut paid = Vec::new();
    let mut ehash = BTreeMap::<EpochId, Work>::new();
    for ((epoch, place), credit) in &mut changed {
        if step.progress.epochs.get(*epoch).is_some_and(|live| live.released())
            && let Some((quote, due)) = quotes::pay(tx, mint, keys, *epoch, credit, now).await?
        {
            let sum = ehash.entry(*epoch).or_default();
            *sum = sum.checked_add(due).context("more work than can be counted")?;
            paid.push(quote.inner());
        }
        ledger::write(tx, place, credit).await?;
    }
    for (epoch, due) in ehash {
        let place = Place::paid(epoch);
        let so_far: Work = ledger::read_in(tx, &place).await?.unwrap_or_default();
        let ehash = so_far.checked_add(due).context("more work than can be counted")?;
        let work = step.progress.epochs.get(epoch).map_or(Work::ZERO, |live| live.work);
        if ehash > work {
            return Err(Breach::EhashFromNothing { epoch, ehash, work }.into());
        }
        ledger::write(tx, &place, &ehash).await?;
    }
    for ((round, owner), work) in &step.parts {
        sharing::credit(tx, keys, *round, owner, *work, now).await?;
    }
    history::record(tx, &step.events, step.progress.epochs.tip(), now).await?;
    ledger::write(tx, &Place::progress(), &step.progress).await?;
    Ok(paid)
}

/// Credits of an epoch that never happened go to the epoch that is open again. Its own quotes were
/// never paid and stay empty.
async fn move_credits(
    tx: &mut DynMintTransaction,
    keys: &Keys,
    changed: &mut Changed,
    from: EpochId,
    into: EpochId,
    now: u64,
) -> anyhow::Result<()> {
    // What this step itself credited to the epoch that is gone.
    let kept = std::mem::take(changed);
    let (own, kept): (Changed, Changed) = kept.into_iter().partition(|((epoch, _), _)| *epoch == from);
    *changed = kept;
    for ((_, place), credit) in own {
        ledger::write(tx, &place, &credit).await?;
    }
    for place in ledger::credits_of(tx, from).await? {
        let Some(gone) = ledger::read_in::<Credit>(tx, &place).await? else { continue };
        if gone.paid > Work::ZERO {
            return Err(Breach::EhashFromNothing { epoch: from, ehash: gone.paid, work: Work::ZERO }.into());
        }
        let key = (into, place.moved_to(into));
        let credit = match changed.remove(&key) {
            Some(credit) => Some(credit),
            None => ledger::read_in(tx, &key.1).await?,
        };
        let credit = match credit {
            Some(credit) => credit,
            None => {
                let credit = Credit { quotes: 1, payments: 0, credited: Work::ZERO, ..gone.clone() };
                quotes::growing(tx, keys, into, &credit, now).await?;
                credit
            }
        };
        changed.insert(key, grown(credit, gone.credited)?);
        ledger::remove(tx, &place).await?;
    }
    Ok(())
}

fn grown(credit: Credit, work: Work) -> anyhow::Result<Credit> {
    let credited = credit.credited.checked_add(work).context("more work than can be counted")?;
    Ok(Credit { credited, ..credit })
}

/// Logs one line for each change of an epoch.
pub fn tell(events: &[EpochEvent]) {
    for event in events {
        match event {
            EpochEvent::PayoutAdded(epoch, payout) => {
                let (height, block, sats) = (payout.height, payout.hash, payout.reward.get());
                tracing::info!(%epoch, height, %block, sats, "payout received");
            }
            EpochEvent::Closed(epoch, through) => tracing::info!(%epoch, %through, "epoch closed"),
            EpochEvent::Opened(epoch) => tracing::info!(%epoch, unit = epoch.unit(), "epoch opened"),
            EpochEvent::Released(epoch) => tracing::info!(%epoch, "epoch released: its ehash can be minted"),
            EpochEvent::Dissolved { epoch, into } => {
                tracing::warn!(%epoch, %into, "epoch dissolved: the block that opened it was orphaned");
            }
            EpochEvent::BoundarySwapped(epoch, payout) => {
                tracing::info!(%epoch, height = payout.height, block = %payout.hash, "epoch's block replaced");
            }
            EpochEvent::PayoutLost(epoch, payout) => {
                tracing::warn!(%epoch, height = payout.height, block = %payout.hash, "payout orphaned");
            }
            EpochEvent::Settled(epoch) => tracing::info!(%epoch, "epoch's reward is mature"),
        }
    }
}
