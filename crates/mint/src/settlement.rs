//! Turning ehash into sats: a melt of a settled epoch's ehash into a sat mint quote of this mint
//! (NUT-05 with the method `ehash`). cdk asks this processor what it is worth and to pay.

use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use cdk::mint::{MeltQuote, Mint, MintQuote};
use cdk::nuts::{CurrencyUnit, MeltQuoteState};
use cdk_common::database::DynMintTransaction;
use cdk_common::payment::{
    CreateIncomingPaymentResponse, CustomOutgoingPaymentOptions, Error as PaymentError, Event,
    IncomingPaymentOptions, MakePaymentResponse, MintPayment, OutgoingPaymentOptions, PaymentIdentifier,
    PaymentQuoteResponse, SettingsResponse, WaitPaymentResponse,
};
use cdk_common::{Amount, QuoteId};
use futures::Stream;
use poolbox_accounting::{EpochId, EpochState, Rate, Sats, SettlementError, Work};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::crediting::unix_time;
use crate::health::Health;
use crate::invariants::{self, Breach, CheckError};
use crate::ledger::{self, LedgerError, Place, Progress, Redeemed, Settled};
use crate::refusal::Refusal;
use crate::treasury::Treasury;
use crate::units::{METHOD, epoch_of, method};

/// Pays melts of ehash.
pub struct Settlement {
    mint: OnceLock<Weak<Mint>>,
    treasury: Arc<Treasury>,
    health: Arc<Health>,
    maturity: u32,
    redeeming: Mutex<()>,
}

/// What a melt was offered; frozen with its quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Ehash taken.
    #[serde(rename = "ehash_amount")]
    pub ehash: Work,
    /// Sats given.
    #[serde(rename = "sat_amount")]
    pub sats: Sats,
}

/// What a wallet may name the amount in, besides the request's own field.
#[derive(Deserialize)]
struct WantedAmount {
    #[serde(alias = "ehash_amount")]
    amount: Option<u64>,
}

impl Settlement {
    /// A processor for the mint that [`Self::attach`] names later.
    pub fn new(treasury: Arc<Treasury>, health: Arc<Health>, maturity: u32) -> Arc<Self> {
        Arc::new(Self { mint: OnceLock::new(), treasury, health, maturity, redeeming: Mutex::default() })
    }

    /// Names the mint; before it starts.
    pub fn attach(&self, mint: &Arc<Mint>) {
        // A second mint for one processor does not exist.
        let _ = self.mint.set(Arc::downgrade(mint));
    }

    /// The treasury that stands behind what is paid here.
    pub const fn treasury(&self) -> &Arc<Treasury> {
        &self.treasury
    }

    fn mint(&self) -> Result<Arc<Mint>, Refusal> {
        self.mint.get().and_then(Weak::upgrade).ok_or_else(|| Refusal::Stopping)
    }

    /// What `amount` of `unit` is worth, to be paid to the sat quote named `request`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn offer(
        &self,
        unit: &CurrencyUnit,
        amount: Option<u64>,
        extra: Option<&str>,
        request: &str,
    ) -> Result<Offer, Refusal> {
        if let Some(reason) = self.health.halted() {
            return Err(Refusal::Halted(reason));
        }
        let epoch = epoch_of(unit).map_err(|_| Refusal::NotEhash(unit.clone()))?;
        let wanted = extra.and_then(|extra| serde_json::from_str::<WantedAmount>(extra).ok());
        let amount = amount.or_else(|| wanted?.amount).filter(|&amount| amount > 0);
        let rate = self.rate(epoch).await?;
        let ehash = Work::from_ehash(amount.ok_or(Refusal::NoAmount)?);
        let sats = rate.redeem(ehash).map_err(|error| Refusal::Amount(epoch, error))?;
        if sats == Sats::ZERO {
            return Err(Refusal::Dust { epoch, amount: ehash });
        }
        self.sat_quote(request).await?;
        Ok(Offer { ehash, sats })
    }

    /// Whether the offer of a melt quote that is not paid still stands. cdk offers and forgets.
    ///
    /// # Errors
    /// [`Refusal::Expired`], or when the books cannot be read.
    pub async fn still_stands(&self, melt: &str) -> Result<(), Refusal> {
        let Ok(id) = QuoteId::from_str(melt) else { return Ok(()) };
        let quote = self.mint()?.localstore().get_melt_quote(&id).await?;
        let over = |quote: &MeltQuote| quote.state != MeltQuoteState::Paid && quote.expiry < unix_time();
        if quote.is_some_and(|quote| over(&quote)) { Err(Refusal::Expired) } else { Ok(()) }
    }

    /// The rate of a settled epoch.
    async fn rate(&self, epoch: EpochId) -> Result<Rate, Refusal> {
        let db = self.mint()?.localstore();
        if let Some(settled) = ledger::read::<Settled>(&db, &Place::settled(epoch)).await? {
            return settled.rate.ok_or(Refusal::Amount(epoch, SettlementError::NoWork));
        }
        let progress: Option<Progress> = ledger::read(&db, &Place::progress()).await?;
        let live = progress.as_ref().and_then(|progress| Some((progress, progress.epochs.get(epoch)?)));
        let Some((progress, live)) = live else {
            return Err(Refusal::StillOpen(epoch));
        };
        if matches!(live.state(), EpochState::Open | EpochState::Provisional) {
            return Err(Refusal::StillOpen(epoch));
        }
        match live
            .last_payout_height()
            .map(|height| blocks_missing(height, progress.epochs.tip(), self.maturity))
        {
            Some(blocks) if blocks > 0 => Err(Refusal::Immature { epoch, blocks }),
            _ => Err(Refusal::Booking(epoch)),
        }
    }

    async fn sat_quote(&self, request: &str) -> Result<MintQuote, Refusal> {
        let unknown = || Refusal::UnknownQuote(request.chars().take(64).collect());
        let id = QuoteId::from_str(request).map_err(|_| unknown())?;
        let quote = self.mint()?.localstore().get_mint_quote(&id).await?;
        quote
            .filter(|quote| quote.unit == CurrencyUnit::Sat && quote.payment_method == method())
            .ok_or_else(unknown)
    }

    /// Pays the sat quote, books the redemption and checks every bound, in one transaction.
    async fn redeem(
        &self,
        unit: &CurrencyUnit,
        melt: &CustomOutgoingPaymentOptions,
    ) -> Result<Offer, Refusal> {
        self.still_stands(&melt.quote_id.to_string()).await?;
        let frozen = melt.extra_json.as_deref().and_then(|extra| serde_json::from_str::<Offer>(extra).ok());
        let frozen = frozen.ok_or(Refusal::NoAmount)?;
        let offer = self.offer(unit, Some(frozen.ehash.ehash()), None, &melt.request).await?;
        if offer != frozen {
            return Err(Refusal::Halted(format!(
                "epoch rates changed: {frozen:?} was offered, now {offer:?}"
            )));
        }
        let mint = self.mint()?;
        let epoch = epoch_of(unit).map_err(|_| Refusal::NotEhash(unit.clone()))?;
        let rate = self.rate(epoch).await?;
        // One after the other, so that each counts what the others were promised.
        let _alone = self.redeeming.lock().await;
        let quote = self.sat_quote(&melt.request).await?;
        if quote.payment_ids().contains(&&payment_id(&melt.quote_id)) {
            return Ok(offer);
        }
        invariants::check_books(&mint, &self.treasury, &[epoch]).await?;
        invariants::check_reserve(&mint, &self.treasury, offer.sats).await?;

        let db = mint.localstore();
        let mut tx = db.begin_transaction().await?;
        match book(&mut tx, &mint, &quote.id, epoch, rate, offer, payment_id(&melt.quote_id)).await {
            Ok(Some(quote)) => {
                tx.commit().await?;
                let paid = quote.amount_paid();
                mint.pubsub_manager().mint_quote_payment(&quote, paid);
                tracing::info!(%epoch, ehash = offer.ehash.ehash(), sats = offer.sats.get(), "ehash redeemed");
                Ok(offer)
            }
            Ok(None) => {
                tx.rollback().await?;
                Ok(offer)
            }
            // Left to itself, a transaction that failed keeps the database locked.
            Err(refusal) => {
                tx.rollback().await?;
                Err(refusal)
            }
        }
    }
}

/// Pays the sat quote `id` and books the redemption; none when the payment is there already.
async fn book(
    tx: &mut DynMintTransaction,
    mint: &Mint,
    id: &QuoteId,
    epoch: EpochId,
    rate: Rate,
    offer: Offer,
    payment_id: String,
) -> Result<Option<MintQuote>, Refusal> {
    let quote = tx.get_mint_quote(id).await?;
    let mut quote = quote.ok_or_else(|| Refusal::UnknownQuote(id.to_string()))?;
    if quote.payment_ids().contains(&&payment_id) {
        return Ok(None);
    }
    let of_epoch = grown(tx, &Place::redeemed(epoch), offer).await?;
    let in_all = grown(tx, &Place::redeemed_in_all(), offer).await?;
    let breach = if of_epoch.ehash > rate.work() {
        Some(Breach::EhashFromNothing { epoch, ehash: of_epoch.ehash, work: rate.work() })
    } else if of_epoch.sats > rate.payable() {
        Some(Breach::Overpaid { epoch, paid: of_epoch.sats, payable: rate.payable() })
    } else {
        None
    };
    if let Some(breach) = breach {
        return Err(CheckError::Breach(breach).into());
    }
    let payment = WaitPaymentResponse {
        payment_identifier: quote.request_lookup_id.clone(),
        payment_amount: Amount::new(offer.sats.get(), CurrencyUnit::Sat),
        payment_id,
    };
    mint.pay_mint_quote(tx, &mut quote, payment).await?;
    ledger::write(tx, &Place::redeemed(epoch), &of_epoch).await?;
    ledger::write(tx, &Place::redeemed_in_all(), &in_all).await?;
    Ok(Some(quote.inner()))
}

/// What was redeemed at `place`, with `offer` added.
async fn grown(tx: &mut DynMintTransaction, place: &Place, offer: Offer) -> Result<Redeemed, LedgerError> {
    let before: Redeemed = ledger::read_in(tx, place).await?.unwrap_or_default();
    // Saturated sums are above every bound and are refused.
    Ok(Redeemed {
        ehash: [before.ehash, offer.ehash].into_iter().sum(),
        sats: [before.sats, offer.sats].into_iter().sum(),
    })
}

/// Blocks until a payout at `height` can be spent, with the tip at `tip`.
pub fn blocks_missing(height: u32, tip: u32, maturity: u32) -> u32 {
    (height + maturity).saturating_sub(tip + 1)
}

fn payment_id(melt: &QuoteId) -> String {
    format!("redeem:{melt}")
}

fn custom(options: OutgoingPaymentOptions) -> Result<Box<CustomOutgoingPaymentOptions>, PaymentError> {
    match options {
        OutgoingPaymentOptions::Custom(options) => Ok(options),
        _ => Err(PaymentError::UnsupportedPaymentOption),
    }
}

fn refused(refusal: Refusal) -> PaymentError {
    PaymentError::Custom(refusal.to_string())
}

fn outcome(melt: &QuoteId, unit: &CurrencyUnit, paid: Option<Work>) -> MakePaymentResponse {
    MakePaymentResponse {
        payment_lookup_id: PaymentIdentifier::QuoteId(melt.clone()),
        payment_proof: paid.map(|_| payment_id(melt)),
        status: if paid.is_some() { MeltQuoteState::Paid } else { MeltQuoteState::Failed },
        total_spent: Amount::new(paid.map_or(0, Work::ehash), unit.clone()),
    }
}

#[async_trait]
impl MintPayment for Settlement {
    type Err = PaymentError;

    async fn get_settings(&self) -> Result<SettingsResponse, PaymentError> {
        let custom = [(METHOD.to_owned(), "{}".to_owned())].into();
        Ok(SettingsResponse { unit: "sat".to_owned(), bolt11: None, bolt12: None, onchain: None, custom })
    }

    /// A quote that a wallet makes: in sat to redeem into. Only locked ones, since quote ids are
    /// seen by more than their owner.
    async fn create_incoming_payment_request(
        &self,
        options: IncomingPaymentOptions,
    ) -> Result<CreateIncomingPaymentResponse, PaymentError> {
        let IncomingPaymentOptions::Custom(options) = options else {
            return Err(PaymentError::UnsupportedPaymentOption);
        };
        if options.pubkey.is_none() {
            return Err(PaymentError::Custom("only quotes locked to a key (NUT-20) are made".to_owned()));
        }
        Ok(CreateIncomingPaymentResponse {
            request: format!("{METHOD}:{}", options.quote_id),
            request_lookup_id: PaymentIdentifier::QuoteId(options.quote_id),
            expiry: None,
            extra_json: Some(serde_json::json!({})),
        })
    }

    async fn get_payment_quote(
        &self,
        unit: &CurrencyUnit,
        options: OutgoingPaymentOptions,
    ) -> Result<PaymentQuoteResponse, PaymentError> {
        let melt = custom(options)?;
        let amount = melt.amount.as_ref().map(|amount| amount.value());
        let offer =
            self.offer(unit, amount, melt.extra_json.as_deref(), &melt.request).await.map_err(refused)?;
        Ok(PaymentQuoteResponse {
            request_lookup_id: Some(PaymentIdentifier::QuoteId(melt.quote_id)),
            amount: Amount::new(offer.ehash.ehash(), unit.clone()),
            fee: Amount::new(0, unit.clone()),
            state: MeltQuoteState::Unpaid,
            extra_json: Some(serde_json::to_value(offer)?),
            estimated_blocks: None,
            fee_options: None,
        })
    }

    async fn make_payment(
        &self,
        unit: &CurrencyUnit,
        options: OutgoingPaymentOptions,
    ) -> Result<MakePaymentResponse, PaymentError> {
        let melt = custom(options)?;
        match self.redeem(unit, &melt).await {
            Ok(offer) => Ok(outcome(&melt.quote_id, unit, Some(offer.ehash))),
            // Whether the transaction was committed is unknown: cdk asks check_outgoing_payment.
            Err(refusal @ (Refusal::Ledger(_) | Refusal::Mint(_))) => Err(refused(refusal)),
            Err(refusal) => {
                if let Refusal::Halted(reason) = &refusal {
                    self.health.halt(reason);
                }
                tracing::warn!(%unit, reason = %refusal, "redemption refused");
                Ok(outcome(&melt.quote_id, unit, None))
            }
        }
    }

    async fn wait_payment_event(&self) -> Result<Pin<Box<dyn Stream<Item = Event> + Send>>, PaymentError> {
        // Quotes are paid within the mint, never by an event from outside.
        Ok(Box::pin(futures::stream::pending()))
    }

    fn is_payment_event_stream_active(&self) -> bool {
        false
    }

    fn cancel_payment_event_stream(&self) {}

    async fn check_incoming_payment_status(
        &self,
        _: &PaymentIdentifier,
    ) -> Result<Vec<WaitPaymentResponse>, PaymentError> {
        Ok(Vec::new())
    }

    /// A melt is paid exactly when the sat quote holds its payment.
    async fn check_outgoing_payment(
        &self,
        identifier: &PaymentIdentifier,
    ) -> Result<MakePaymentResponse, PaymentError> {
        let PaymentIdentifier::QuoteId(melt) = identifier else {
            return Err(PaymentError::UnsupportedPaymentOption);
        };
        let db = self.mint().map_err(refused)?.localstore();
        let unread = |error: cdk_common::database::Error| PaymentError::Backend(Box::new(error));
        let quote = db.get_melt_quote(melt).await.map_err(unread)?;
        let quote = quote.ok_or_else(|| PaymentError::Custom(format!("unknown melt quote {melt}")))?;
        let sat_quote = match QuoteId::from_str(&quote.request.to_string()) {
            Ok(id) => db.get_mint_quote(&id).await.map_err(unread)?,
            Err(_) => None,
        };
        let paid = sat_quote.is_some_and(|sat_quote| sat_quote.payment_ids().contains(&&payment_id(melt)));
        let offer = quote.extra_json.clone().and_then(|extra| serde_json::from_value::<Offer>(extra).ok());
        Ok(outcome(melt, &quote.unit, offer.filter(|_| paid).map(|offer| offer.ehash)))
    }
}
