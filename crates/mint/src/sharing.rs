//! Rounds of mode proxy in the books: work that is credited, and payments of upstream pools that are
//! shared out in sats. Written in transactions together with the progress, as all postings are.

use anyhow::Context;
use cdk::mint::{Mint, MintQuote};
use cdk_common::database::DynMintTransaction;
use poolbox_accounting::{Owner, Rate, RoundEvent, RoundId, Sats, Work};

use crate::invariants::Breach;
use crate::keys::Keys;
use crate::ledger::{self, Part, Place, Progress, SharedOut};
use crate::quotes;

/// Quotes paid in one transaction: while it runs, wallets wait.
const AT_ONCE: usize = 4000;

/// Credits work to an owner's part in a round. The quote is there from the first share on, unpaid.
///
/// # Errors
/// When the database refuses.
pub async fn credit(
    tx: &mut DynMintTransaction,
    keys: &Keys,
    round: RoundId,
    owner: &Owner,
    work: Work,
    now: u64,
) -> anyhow::Result<()> {
    let place = Place::part(round, owner);
    let mut part = match ledger::read_in::<Part>(tx, &place).await? {
        Some(part) => part,
        None => quotes::new_part(tx, keys, round, owner, now).await?,
    };
    part.work = part.work.checked_add(work).context("more work than can be counted")?;
    Ok(ledger::write(tx, &place, &part).await?)
}

/// What is left to pay of a round.
///
/// # Errors
/// When the database refuses.
pub async fn left_of(mint: &Mint, round: RoundId, rate: Rate) -> anyhow::Result<Sats> {
    let paid: Option<Sats> = ledger::read(&mint.localstore(), &Place::shared(round)).await?;
    Ok(rate.payable().saturating_sub(paid.unwrap_or_default()))
}

/// Pays the next owners of a round that is being shared out; with the last of them it leaves `progress`.
/// Returns the quotes that were paid.
///
/// # Errors
/// A [`Breach`] when more would be paid than arrived; otherwise when the database refuses.
pub async fn pay(
    mint: &Mint,
    keys: &Keys,
    progress: &mut Progress,
    round: RoundId,
    rate: Rate,
    now: u64,
) -> anyhow::Result<Vec<MintQuote>> {
    let db = mint.localstore();
    let mut tx = db.begin_transaction().await?;
    match write(&mut tx, mint, keys, progress, round, rate, now).await {
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

async fn write(
    tx: &mut DynMintTransaction,
    mint: &Mint,
    keys: &Keys,
    progress: &mut Progress,
    round: RoundId,
    rate: Rate,
    now: u64,
) -> anyhow::Result<Vec<MintQuote>> {
    let (mut quotes, mut due, mut seen) = (Vec::new(), Sats::ZERO, 0);
    let places = ledger::parts_of(tx, round).await?;
    let all = places.len();
    for place in places {
        if quotes.len() == AT_ONCE {
            break;
        }
        seen += 1;
        let Some(mut part) = ledger::read_in::<Part>(tx, &place).await? else { continue };
        if part.paid.is_some() {
            continue;
        }
        let sats = rate.redeem(part.work)?;
        if sats > Sats::ZERO {
            quotes.push(quotes::pay_part(tx, mint, keys, round, &part, sats).await?);
            due = due.checked_add(sats).context("more sats than can be counted")?;
        }
        part.paid = Some(sats);
        ledger::write(tx, &place, &part).await?;
    }
    let paid = grown(tx, &Place::shared(round), due).await?;
    grown(tx, &Place::shared_in_all(), due).await?;
    let payable = rate.payable();
    if paid > payable {
        return Err(Breach::Overshared { round, paid, payable }.into());
    }
    if seen == all {
        let round = progress.rounds.take(round).with_context(|| format!("round {round} is gone"))?;
        for payment in &round.payments {
            ledger::write(tx, &Place::shared_payment(&payment.id), &round.id).await?;
        }
        tracing::info!(
            round = %round.id,
            owners = all,
            work_ehash = round.work.ehash(),
            received_sat = round.reward().get(),
            paid_sat = paid.get(),
            "round shared out: its quotes are paid in sats"
        );
        let id = round.id;
        ledger::write(tx, &Place::shared_out(id), &SharedOut { round, paid, at: now }).await?;
    }
    ledger::write(tx, &Place::progress(), progress).await?;
    Ok(quotes)
}

async fn grown(tx: &mut DynMintTransaction, place: &Place, more: Sats) -> anyhow::Result<Sats> {
    let so_far: Sats = ledger::read_in(tx, place).await?.unwrap_or_default();
    let sum = so_far.checked_add(more).context("more sats than can be counted")?;
    ledger::write(tx, place, &sum).await?;
    Ok(sum)
}

/// Logs one line for each change of a round.
pub fn tell(events: &[RoundEvent]) {
    for event in events {
        match event {
            RoundEvent::Paid(round, payment) => {
                let (payment, sats) = (&payment.id, payment.sats.get());
                tracing::info!(%round, %payment, sats, "upstream payment received");
            }
            RoundEvent::Lost(round, payment) => {
                tracing::warn!(%round, payment = %payment.id, "an upstream payment left the chain");
            }
            RoundEvent::Ended(round) => tracing::info!(%round, "round ended"),
        }
    }
}
