//! Booking what arrives over Lightning. cdk-ldk-node announces a payment once, to whoever listens at
//! that moment, and again after a restart: here the node's own list is compared with the books, by
//! the payments' ids, and each is dealt with once. A payment that belongs to no quote is noted.

use anyhow::Context;
use cdk::mint::{Mint, MintQuote};
use cdk::nuts::CurrencyUnit;
use cdk_common::Amount;
use cdk_common::payment::{PaymentIdentifier, WaitPaymentResponse};
use ldk_node::payment::{PaymentDetails, PaymentDirection, PaymentKind, PaymentStatus};

use super::Lightning;
use crate::crediting::unix_time;
use crate::ledger::{self, Place, Unquoted};

impl Lightning {
    /// Books every payment that arrived and is not in the books yet.
    pub(super) async fn book_payments(&self, mint: &Mint) -> anyhow::Result<()> {
        let node = self.open.read().await.as_ref().map(|open| open.node.node());
        let Some(node) = node else { return Ok(()) };
        let mut booked = self.booked.lock().await;
        let arrived = node.list_payments_with_filter(|payment| {
            payment.direction == PaymentDirection::Inbound
                && payment.status == PaymentStatus::Succeeded
                && !booked.contains(&payment.id)
        });
        for details in arrived {
            if let Some(payment) = payment(&details) {
                book(mint, payment).await?;
            }
            booked.insert(details.id);
        }
        Ok(())
    }
}

/// What the mint has to know of a payment; none for deposits to the node's on-chain wallet.
fn payment(details: &PaymentDetails) -> Option<WaitPaymentResponse> {
    let (payment_identifier, hash) = match &details.kind {
        PaymentKind::Bolt11 { hash, .. } => (PaymentIdentifier::PaymentHash(hash.0), hash),
        PaymentKind::Bolt12Offer { hash: Some(hash), offer_id, .. } => {
            (PaymentIdentifier::OfferId(offer_id.to_string()), hash)
        }
        _ => return None,
    };
    let msat = details.amount_msat.filter(|msat| *msat > 0)?;
    Some(WaitPaymentResponse {
        payment_identifier,
        payment_amount: Amount::new(msat, CurrencyUnit::Msat),
        // As cdk-ldk-node names it, so that cdk knows it whichever way it comes.
        payment_id: hash.to_string(),
    })
}

async fn book(mint: &Mint, payment: WaitPaymentResponse) -> anyhow::Result<()> {
    let db = mint.localstore();
    let (id, msat) = (payment.payment_id.clone(), payment.payment_amount.value());
    let request = payment.payment_identifier.clone();
    let holds =
        |quote: &Option<MintQuote>| quote.as_ref().is_some_and(|quote| quote.payment_ids().contains(&&id));
    let mut quote = db.get_mint_quote_by_request_lookup_id(&request).await?;
    if quote.is_some() && !holds(&quote) && msat >= 1000 {
        mint.pay_mint_quote_for_request_id(payment).await?;
        quote = db.get_mint_quote_by_request_lookup_id(&request).await?;
    }
    // An invoice that was settled within the mint and paid from outside as well is no quote's either.
    if holds(&quote) || ledger::read::<Unquoted>(&db, &Place::unquoted(&id)).await?.is_some() {
        return Ok(());
    }
    let note =
        Unquoted { payment_hash: id.clone(), request: request.to_string(), msat, seen_at: unix_time() };
    let mut tx = db.begin_transaction().await?;
    ledger::write(&mut tx, &Place::unquoted(&id), &note).await?;
    tx.commit().await.context("note a payment without a quote")?;
    tracing::info!(
        payment_hash = id,
        request = note.request,
        msat,
        "paid over Lightning without a quote: noted"
    );
    Ok(())
}
