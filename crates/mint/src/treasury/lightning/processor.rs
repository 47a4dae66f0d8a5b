//! Sats in and out over Lightning: cdk's payment processor for the methods `bolt11` and `bolt12`, in
//! front of the node. A halted mint pays nobody.

use std::pin::Pin;

use async_trait::async_trait;
use cdk::nuts::{CurrencyUnit, MeltQuoteState};
use cdk_common::Amount;
use cdk_common::payment::{
    Bolt11Settings, Bolt12Settings, CreateIncomingPaymentResponse, Error as PaymentError, Event,
    IncomingPaymentOptions, MakePaymentResponse, MintPayment, OutgoingPaymentOptions, PaymentIdentifier,
    PaymentQuoteResponse, SettingsResponse, WaitPaymentResponse,
};
use cdk_ldk_node::CdkLdkNode;
use futures::Stream;
use poolbox_accounting::Sats;

use super::Lightning;
use crate::ledger::BOOKS;
use crate::treasury::{Method, PendingMelt};

/// Shelf of the payments that the node was asked for.
const ASKED: &str = "lightning-asked";

impl Lightning {
    async fn node(&self) -> Result<CdkLdkNode, PaymentError> {
        let node = self.open.read().await.as_ref().map(|open| open.node.clone());
        match node {
            Some(node) => Ok(node),
            None => Err(PaymentError::Custom(format!(
                "Lightning does not run: {}",
                self.trouble().await.unwrap_or_default()
            ))),
        }
    }

    /// Notes that the node is about to be asked for a payment; whether it never was before.
    async fn note_asked(&self, payment: &PaymentIdentifier) -> Result<bool, PaymentError> {
        let mut tx = self.opening.store.begin_transaction().await.map_err(unwritten)?;
        let first = tx.kv_read(BOOKS, ASKED, &payment.to_string()).await.map_err(unwritten)?.is_none();
        tx.kv_write(BOOKS, ASKED, &payment.to_string(), &[]).await.map_err(unwritten)?;
        tx.commit().await.map_err(unwritten)?;
        Ok(first)
    }

    /// Takes the note back: the node refused, and nothing was sent.
    async fn unnote_asked(&self, payment: &PaymentIdentifier) -> Result<(), PaymentError> {
        let mut tx = self.opening.store.begin_transaction().await.map_err(unwritten)?;
        tx.kv_remove(BOOKS, ASKED, &payment.to_string()).await.map_err(unwritten)?;
        tx.commit().await.map_err(unwritten)
    }

    /// Whether the node was never asked for a payment, or refused it: then it is not made, whatever cut
    /// the melt off. cdk-ldk-node only says that it does not know the payment, for ever.
    async fn never_asked(&self, payment: &PaymentIdentifier) -> Result<bool, PaymentError> {
        if !matches!(payment, PaymentIdentifier::PaymentHash(_) | PaymentIdentifier::QuoteId(_)) {
            return Ok(false);
        }
        let asked = self.opening.store.kv_read(BOOKS, ASKED, &payment.to_string()).await;
        Ok(asked.map_err(unwritten)?.is_none())
    }

    /// What a melt has cost that has arrived; nothing while it is under way, when it is still counted
    /// as the node's.
    pub(crate) async fn sent_for(&self, melt: &PendingMelt) -> Result<Sats, PaymentError> {
        let lookup = match (melt.method, &melt.payment_hash) {
            (Method::Bolt11, Some(hash)) => PaymentIdentifier::new("payment_hash", hash)?,
            _ => PaymentIdentifier::QuoteId(melt.id.clone()),
        };
        match self.node().await?.check_outgoing_payment(&lookup).await {
            Ok(payment) if payment.status == MeltQuoteState::Paid => {
                Ok(Sats::new(payment.total_spent.value().div_ceil(1000)))
            }
            // One that is not known was not sent.
            Ok(_) | Err(_) => Ok(Sats::ZERO),
        }
    }
}

fn unwritten(error: cdk_common::database::Error) -> PaymentError {
    PaymentError::Backend(Box::new(error))
}

/// What the payment is asked about by.
fn lookup(options: &OutgoingPaymentOptions) -> Result<PaymentIdentifier, PaymentError> {
    match options {
        OutgoingPaymentOptions::Bolt11(payment) => {
            let hash: &[u8; 32] = payment.bolt11.payment_hash().as_ref();
            Ok(PaymentIdentifier::PaymentHash(*hash))
        }
        OutgoingPaymentOptions::Bolt12(payment) => Ok(PaymentIdentifier::QuoteId(payment.quote_id.clone())),
        _ => Err(PaymentError::UnsupportedPaymentOption),
    }
}

fn outcome(payment: PaymentIdentifier, unit: &CurrencyUnit, status: MeltQuoteState) -> MakePaymentResponse {
    MakePaymentResponse {
        payment_lookup_id: payment,
        payment_proof: None,
        status,
        total_spent: Amount::new(0, unit.clone()),
    }
}

#[async_trait]
impl MintPayment for Lightning {
    type Err = PaymentError;

    async fn get_settings(&self) -> Result<SettingsResponse, PaymentError> {
        Ok(SettingsResponse {
            unit: "msat".to_owned(),
            bolt11: Some(Bolt11Settings { mpp: false, amountless: true, invoice_description: true }),
            bolt12: Some(Bolt12Settings { amountless: true, invoice_description: true }),
            onchain: None,
            custom: std::collections::HashMap::new(),
        })
    }

    async fn create_incoming_payment_request(
        &self,
        options: IncomingPaymentOptions,
    ) -> Result<CreateIncomingPaymentResponse, PaymentError> {
        self.node().await?.create_incoming_payment_request(options).await
    }

    async fn get_payment_quote(
        &self,
        unit: &CurrencyUnit,
        options: OutgoingPaymentOptions,
    ) -> Result<PaymentQuoteResponse, PaymentError> {
        self.node().await?.get_payment_quote(unit, options).await
    }

    async fn make_payment(
        &self,
        unit: &CurrencyUnit,
        options: OutgoingPaymentOptions,
    ) -> Result<MakePaymentResponse, PaymentError> {
        let payment = lookup(&options)?;
        // cdk asks once for each melt: what is not sent here is not sent at all.
        if let Some(reason) = self.health.halted() {
            tracing::warn!(reason, "nothing is paid over Lightning: the mint has halted");
            return Ok(outcome(payment, unit, MeltQuoteState::Failed));
        }
        let Ok(node) = self.node().await else {
            return Ok(outcome(payment, unit, MeltQuoteState::Failed));
        };
        let first = self.note_asked(&payment).await?;
        let made = node.make_payment(unit, options).await?;
        // As when the node stops at this moment. Of an earlier attempt nobody knows what became.
        if first && matches!(made.status, MeltQuoteState::Failed | MeltQuoteState::Unpaid) {
            self.unnote_asked(&payment).await?;
        }
        Ok(made)
    }

    async fn wait_payment_event(&self) -> Result<Pin<Box<dyn Stream<Item = Event> + Send>>, PaymentError> {
        // What arrives is found by looking.
        Ok(Box::pin(futures::stream::pending()))
    }

    fn is_payment_event_stream_active(&self) -> bool {
        false
    }

    fn cancel_payment_event_stream(&self) {}

    async fn check_incoming_payment_status(
        &self,
        identifier: &PaymentIdentifier,
    ) -> Result<Vec<WaitPaymentResponse>, PaymentError> {
        self.node().await?.check_incoming_payment_status(identifier).await
    }

    async fn check_outgoing_payment(
        &self,
        identifier: &PaymentIdentifier,
    ) -> Result<MakePaymentResponse, PaymentError> {
        if self.never_asked(identifier).await? {
            return Ok(outcome(identifier.clone(), &CurrencyUnit::Msat, MeltQuoteState::Unpaid));
        }
        self.node().await?.check_outgoing_payment(identifier).await
    }
}
