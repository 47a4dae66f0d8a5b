//! Mint quotes (NUT-04) as the mint itself makes them: named by a secret derivation, locked to the
//! owner's key (NUT-20), growing by payments. Called within the writer's transaction.

use bitcoin::secp256k1;
use cdk::mint::{Mint, MintQuote};
use cdk::nuts::{CurrencyUnit, PublicKey};
use cdk_common::database::DynMintTransaction;
use cdk_common::database::mint::Acquired;
use cdk_common::payment::{PaymentIdentifier, WaitPaymentResponse};
use cdk_common::{Amount, QuoteId};
use poolbox_accounting::{EpochId, Owner, RoundId, Sats, Work};

use crate::keys::Keys;
use crate::ledger::{Credit, Part};
use crate::units::{method, unit_of};

/// Payments after which a further quote begins: every use of a quote reads all of them.
const PAYMENTS_PER_QUOTE: u32 = 1000;
/// Our quotes do not expire: a date that no wallet takes for past.
const NEVER: u64 = 253_402_300_799;

/// The id of an owner's `index`-th quote in an epoch.
pub fn id(keys: &Keys, epoch: EpochId, lock: &secp256k1::PublicKey, index: u32) -> QuoteId {
    let name = keys.quote_name(&epoch.unit(), lock, index);
    QuoteId::UUID(uuid::Builder::from_custom_bytes(name).into_uuid())
}

/// The id of the quote that an owner's ehash of an epoch is redeemed into by the box.
pub fn sat_id(keys: &Keys, epoch: EpochId, lock: &secp256k1::PublicKey) -> QuoteId {
    let name = keys.quote_name(&format!("sat-for-{}", epoch.unit()), lock, 0);
    QuoteId::UUID(uuid::Builder::from_custom_bytes(name).into_uuid())
}

/// The id of an owner's quote in a round of mode proxy, in sat.
pub fn part_id(keys: &Keys, round: RoundId, lock: &secp256k1::PublicKey) -> QuoteId {
    let name = keys.quote_name(&format!("sat-of-round-{round}"), lock, 0);
    QuoteId::UUID(uuid::Builder::from_custom_bytes(name).into_uuid())
}

/// A new part for `owner`, with nothing in it, and its quote, unpaid.
///
/// # Errors
/// As [`Keys::lock_of`], or when the database refuses.
pub async fn new_part(
    tx: &mut DynMintTransaction,
    keys: &Keys,
    round: RoundId,
    owner: &Owner,
    now: u64,
) -> anyhow::Result<Part> {
    let lock = keys.lock_of(owner)?;
    tx.add_mint_quote(empty(part_id(keys, round, &lock), CurrencyUnit::Sat, &lock, now)?).await?;
    Ok(Part { owner: owner.to_string(), lock, work: Work::ZERO, paid: None })
}

/// Pays a part's quote. A second payment to it would have the same name, and is refused.
///
/// # Errors
/// When the quote is gone or paid, or the database refuses.
pub async fn pay_part(
    tx: &mut DynMintTransaction,
    mint: &Mint,
    keys: &Keys,
    round: RoundId,
    part: &Part,
    sats: Sats,
) -> anyhow::Result<MintQuote> {
    let id = part_id(keys, round, &part.lock);
    let quote = tx.get_mint_quote(&id).await?;
    let mut quote = quote.ok_or_else(|| anyhow::anyhow!("the quote {id} of round {round} is gone"))?;
    let payment = WaitPaymentResponse {
        payment_identifier: quote.request_lookup_id.clone(),
        payment_amount: Amount::new(sats.get(), CurrencyUnit::Sat),
        payment_id: format!("round:{round}:{}", part.lock),
    };
    if !mint.pay_mint_quote(tx, &mut quote, payment).await? {
        anyhow::bail!("quote {id} is paid for round {round} already");
    }
    Ok(quote.inner())
}

/// A new credit for `owner`, with nothing in it.
///
/// # Errors
/// As [`Keys::lock_of`].
pub fn new_credit(keys: &Keys, owner: &Owner) -> anyhow::Result<Credit> {
    let lock = keys.lock_of(owner)?;
    let none = Work::ZERO;
    Ok(Credit { owner: owner.to_string(), lock, credited: none, paid: none, quotes: 1, payments: 0 })
}

/// The quote that grows, made if it is not there yet.
///
/// # Errors
/// When the database refuses.
pub async fn growing(
    tx: &mut DynMintTransaction,
    keys: &Keys,
    epoch: EpochId,
    credit: &Credit,
    now: u64,
) -> anyhow::Result<Acquired<MintQuote>> {
    let id = id(keys, epoch, &credit.lock, credit.quotes.saturating_sub(1));
    if let Some(quote) = tx.get_mint_quote(&id).await? {
        return Ok(quote);
    }
    Ok(tx.add_mint_quote(empty(id, unit_of(epoch), &credit.lock, now)?).await?)
}

/// Makes the quote of [`sat_id`].
///
/// # Errors
/// When the database refuses, as when there is one.
pub async fn make_sat(
    tx: &mut DynMintTransaction,
    keys: &Keys,
    epoch: EpochId,
    lock: &secp256k1::PublicKey,
    now: u64,
) -> anyhow::Result<()> {
    let quote = empty(sat_id(keys, epoch, lock), CurrencyUnit::Sat, lock, now)?;
    tx.add_mint_quote(quote).await?;
    Ok(())
}

fn empty(
    id: QuoteId,
    unit: CurrencyUnit,
    lock: &secp256k1::PublicKey,
    now: u64,
) -> anyhow::Result<MintQuote> {
    let nothing = Amount::new(0, unit.clone());
    Ok(MintQuote::new(
        Some(id.clone()),
        format!("{}:{id}", crate::units::METHOD),
        unit,
        None,
        NEVER,
        PaymentIdentifier::QuoteId(id),
        Some(PublicKey::from_slice(&lock.serialize())?),
        nothing.clone(),
        nothing,
        method(),
        now,
        now,
        Vec::new(),
        Vec::new(),
        Some(serde_json::json!({})),
    ))
}

/// Pays all that is credited and not paid yet to the owner's growing quote; returns the quote when
/// it was paid. The payment is named after the sum it completes, so that it exists once at most.
///
/// # Errors
/// When the database refuses.
pub async fn pay(
    tx: &mut DynMintTransaction,
    mint: &Mint,
    keys: &Keys,
    epoch: EpochId,
    credit: &mut Credit,
    now: u64,
) -> anyhow::Result<Option<(Acquired<MintQuote>, Work)>> {
    let due = match credit.credited.checked_sub(credit.paid) {
        Some(due) if due > Work::ZERO => due,
        _ => return Ok(None),
    };
    if credit.payments >= PAYMENTS_PER_QUOTE {
        credit.quotes += 1;
        credit.payments = 0;
    }
    let mut quote = growing(tx, keys, epoch, credit, now).await?;
    let payment = WaitPaymentResponse {
        payment_identifier: quote.request_lookup_id.clone(),
        payment_amount: Amount::new(due.ehash(), quote.unit.clone()),
        payment_id: format!("credit:{}:{}:{}", epoch.unit(), credit.lock, credit.credited.ehash()),
    };
    if !mint.pay_mint_quote(tx, &mut quote, payment).await? {
        anyhow::bail!("quote {} already holds the payment that completes {}", quote.id, credit.credited);
    }
    credit.paid = credit.credited;
    credit.payments += 1;
    Ok(Some((quote, due)))
}
