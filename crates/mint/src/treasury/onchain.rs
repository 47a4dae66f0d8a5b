//! Sats in and out over the chain: cdk's payment processor for the method `onchain` (NUT-30), in
//! front of the treasury's wallet. Coins that cannot be spent yet count for nothing here, and a
//! halted mint pays nobody.

use std::collections::HashSet;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bitcoin::Address;
use bitcoin::address::NetworkUnchecked;
use cdk::nuts::{CurrencyUnit, MeltQuoteState};
use cdk_common::payment::{
    CreateIncomingPaymentResponse, Error as PaymentError, Event, IncomingPaymentOptions, MakePaymentResponse,
    MintPayment, OutgoingPaymentOptions, PaymentIdentifier, PaymentQuoteResponse, SettingsResponse,
    WaitPaymentResponse,
};
use cdk_common::{Amount, QuoteId};
use futures::{Stream, StreamExt};
use poolbox_accounting::{Network, Sats};

use super::Treasury;
use super::wallet::MIN_PAYMENT_SAT;
use crate::health::Health;

/// Blocks until a coinbase can be spent; a rule of Bitcoin.
const MATURITY: u32 = 100;
/// The output that a coinbase names as its input.
const NO_TRANSACTION: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Pays and receives sats on-chain.
pub struct Onchain {
    treasury: Arc<Treasury>,
    health: Arc<Health>,
    /// Melts of an earlier run that may never have reached the wallet.
    handing_over: Mutex<HashSet<QuoteId>>,
}

/// Why nothing is paid to an address; worded for the wallet's user.
#[derive(Debug, thiserror::Error)]
pub enum Unpayable {
    /// The mint has halted.
    #[error("the mint has halted ({0}); its operator has to look")]
    Halted(String),
    /// No address.
    #[error("\"{address}\" is no bitcoin address of the network {network}; check it")]
    Address {
        /// As sent.
        address: String,
        /// Of the mint.
        network: Network,
    },
    /// The fee would be out of proportion.
    #[error("{amount} is too little to be paid on-chain; the least is {MIN_PAYMENT_SAT} sat")]
    TooLittle {
        /// As asked for.
        amount: Sats,
    },
    /// The wallet does not hold so much.
    #[error(
        "the mint can pay at most {spendable} on-chain right now, less the fee; ask for less, or try again later"
    )]
    TooMuch {
        /// In the wallet.
        spendable: Sats,
    },
}

impl Onchain {
    /// The processor in front of `treasury`; `handing_over` are the melts that an earlier run was cut
    /// off at ([`super::handing_over`]).
    pub fn new(treasury: Arc<Treasury>, health: Arc<Health>, handing_over: HashSet<QuoteId>) -> Arc<Self> {
        Arc::new(Self { treasury, health, handing_over: Mutex::new(handing_over) })
    }

    fn handing_over(&self) -> MutexGuard<'_, HashSet<QuoteId>> {
        self.handing_over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Treasury {
    /// Whether `amount` could be paid to `address` now; cdk-bdk itself decides when it is paid.
    ///
    /// # Errors
    /// [`Unpayable`].
    pub async fn can_pay(&self, address: &str, amount: Sats) -> Result<(), Unpayable> {
        let network = self.opening.network;
        let parsed = Address::<NetworkUnchecked>::from_str(address).ok();
        if !parsed.is_some_and(|address| address.is_valid_for_network(network.to_bitcoin())) {
            let address = address.chars().filter(|sign| !sign.is_control()).take(100).collect();
            return Err(Unpayable::Address { address, network });
        }
        if amount.get() < MIN_PAYMENT_SAT {
            return Err(Unpayable::TooLittle { amount });
        }
        let spendable = self.balance().await.spendable;
        if amount >= spendable {
            return Err(Unpayable::TooMuch { spendable });
        }
        Ok(())
    }

    /// Leaves out payments by coinbases that are not mature. cdk-bdk takes a coinbase for a payment
    /// like any other, should a miner point one at a quote's address; its sats cannot be spent yet
    /// and may still vanish.
    async fn without_immature(&self, mut payments: Vec<WaitPaymentResponse>) -> Vec<WaitPaymentResponse> {
        let balance = self.wallet().await.wallet_balance().await;
        if payments.is_empty() || balance.immature_sat == 0 {
            return payments;
        }
        let mut immature = HashSet::new();
        let looked = self
            .each_transaction(|transaction| {
                let coinbase = transaction.inputs.iter().any(|input| input.txid == NO_TRANSACTION);
                let depth = transaction
                    .confirmation_height
                    .map_or(0, |at| (balance.synced_height + 1).saturating_sub(at));
                if coinbase && depth < MATURITY {
                    immature.insert(transaction.txid.clone());
                }
                depth < MATURITY
            })
            .await;
        if let Err(error) = looked {
            tracing::warn!(error = format!("{error:#}"), "payments on-chain wait: the wallet cannot be read");
            return Vec::new();
        }
        payments.retain(|payment| {
            let txid = payment.payment_id.split(':').next().unwrap_or_default();
            !immature.contains(txid)
        });
        payments
    }

    /// Confirmed payments to the quote named by `identifier`.
    pub(super) async fn received_for(
        &self,
        identifier: &PaymentIdentifier,
    ) -> Result<Vec<WaitPaymentResponse>, PaymentError> {
        let payments = self.wallet().await.check_incoming_payment_status(identifier).await?;
        Ok(self.without_immature(payments).await)
    }
}

#[async_trait]
impl MintPayment for Onchain {
    type Err = PaymentError;

    async fn get_settings(&self) -> Result<SettingsResponse, PaymentError> {
        self.treasury.wallet().await.get_settings().await
    }

    async fn create_incoming_payment_request(
        &self,
        options: IncomingPaymentOptions,
    ) -> Result<CreateIncomingPaymentResponse, PaymentError> {
        self.treasury.wallet().await.create_incoming_payment_request(options).await
    }

    async fn get_payment_quote(
        &self,
        unit: &CurrencyUnit,
        options: OutgoingPaymentOptions,
    ) -> Result<PaymentQuoteResponse, PaymentError> {
        if let Some(reason) = self.health.halted() {
            return Err(PaymentError::Custom(Unpayable::Halted(reason).to_string()));
        }
        self.treasury.wallet().await.get_payment_quote(unit, options).await
    }

    async fn make_payment(
        &self,
        unit: &CurrencyUnit,
        options: OutgoingPaymentOptions,
    ) -> Result<MakePaymentResponse, PaymentError> {
        let OutgoingPaymentOptions::Onchain(payment) = &options else {
            return Err(PaymentError::UnsupportedPaymentOption);
        };
        let lookup = PaymentIdentifier::QuoteId(payment.quote_id.clone());
        if let Some(reason) = self.health.halted() {
            tracing::warn!(quote = %payment.quote_id, reason, "nothing is paid: the mint has halted");
            // What was sent before the halt stays sent; else the ecash is given back.
            let so_far = self.check_outgoing_payment(&lookup).await?;
            return Ok(match so_far.status {
                MeltQuoteState::Paid | MeltQuoteState::Pending => so_far,
                _ => MakePaymentResponse {
                    payment_lookup_id: lookup,
                    payment_proof: None,
                    status: MeltQuoteState::Failed,
                    total_spent: Amount::new(0, unit.clone()),
                },
            });
        }
        // From here on the wallet's notes tell again.
        self.handing_over().remove(&payment.quote_id);
        self.treasury.wallet().await.make_payment(unit, options).await
    }

    async fn wait_payment_event(&self) -> Result<Pin<Box<dyn Stream<Item = Event> + Send>>, PaymentError> {
        // It ends when the wallet is opened anew; cdk then asks for the next one.
        let events = self.treasury.wallet().await.wait_payment_event().await?;
        let treasury = Arc::clone(&self.treasury);
        Ok(Box::pin(events.filter_map(move |event| {
            let treasury = Arc::clone(&treasury);
            async move {
                match event {
                    Event::PaymentReceived(payment) => {
                        treasury.without_immature(vec![payment]).await.pop().map(Event::PaymentReceived)
                    }
                    event => Some(event),
                }
            }
        })))
    }

    fn is_payment_event_stream_active(&self) -> bool {
        false
    }

    fn cancel_payment_event_stream(&self) {
        // Its tasks end with the treasury.
    }

    async fn check_incoming_payment_status(
        &self,
        identifier: &PaymentIdentifier,
    ) -> Result<Vec<WaitPaymentResponse>, PaymentError> {
        self.treasury.received_for(identifier).await
    }

    async fn check_outgoing_payment(
        &self,
        identifier: &PaymentIdentifier,
    ) -> Result<MakePaymentResponse, PaymentError> {
        let mut payment = self.treasury.wallet().await.check_outgoing_payment(identifier).await?;
        if let (MeltQuoteState::Unknown, PaymentIdentifier::QuoteId(quote)) = (payment.status, identifier)
            && self.handing_over().contains(quote)
        {
            tracing::warn!(%quote, "a melt was cut off before the wallet knew of it: its ecash is given back");
            payment.status = MeltQuoteState::Failed;
        }
        Ok(payment)
    }
}
