//! Paying sats out of a wallet: a bitcoin address, an invoice or an offer, through melt quotes
//! (NUT-05) at the mint.

use anyhow::Context;
use cdk::amount::Amount;
use cdk::nuts::{MeltOptions, PaymentMethod};
use cdk_common::nut00::KnownMethod;
use cdk_common::wallet::{MeltQuote, TransactionDirection, TransactionStatus};
use poolbox_accounting::Sats;

use crate::Pocket;

/// What the mint asks for a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeltOffer {
    /// The melt quote's id.
    pub quote: String,
    /// What arrives.
    pub amount: Sats,
    /// The most that the fee comes to; what is not used of it is returned.
    pub max_fee: Sats,
}

impl From<MeltQuote> for MeltOffer {
    fn from(quote: MeltQuote) -> Self {
        Self {
            quote: quote.id,
            amount: Sats::new(quote.amount.to_u64()),
            max_fee: Sats::new(quote.fee_reserve.to_u64()),
        }
    }
}

impl Pocket {
    /// Asks what a transaction to `address` would cost, and takes the cheapest way that the mint has.
    ///
    /// # Errors
    /// When the mint refuses, as for an amount that it does not hold.
    pub async fn quote_onchain(&self, address: &str, amount: Sats) -> anyhow::Result<MeltOffer> {
        self.refresh().await?;
        let amount = Amount::from(amount.get());
        let ways = self.wallet().quote_onchain_melt_options(address, amount, None).await;
        let ways = ways.context("ask the mint for a payment on-chain")?;
        let cheapest =
            ways.into_iter().min_by_key(|way| way.fee_reserve).context("the mint offers no way")?;
        let quote = self.wallet().select_onchain_melt_quote(cheapest).await.context("note the melt quote")?;
        Ok(quote.into())
    }

    /// Asks what paying a BOLT11 invoice would cost.
    ///
    /// # Errors
    /// When the mint refuses.
    pub async fn quote_bolt11(&self, invoice: &str) -> anyhow::Result<MeltOffer> {
        self.quote(KnownMethod::Bolt11, invoice, None).await
    }

    /// Asks what paying `amount` to a BOLT12 offer would cost.
    ///
    /// # Errors
    /// When the mint refuses.
    pub async fn quote_bolt12(&self, offer: &str, amount: Sats) -> anyhow::Result<MeltOffer> {
        let msat = amount.get().saturating_mul(1_000);
        self.quote(KnownMethod::Bolt12, offer, Some(MeltOptions::new_amountless(msat))).await
    }

    async fn quote(
        &self,
        method: KnownMethod,
        request: &str,
        options: Option<MeltOptions>,
    ) -> anyhow::Result<MeltOffer> {
        self.refresh().await?;
        let quote = self.wallet().melt_quote(PaymentMethod::Known(method), request, options, None).await;
        Ok(quote.context("ask the mint for a payment over Lightning")?.into())
    }

    /// Hands a melt quote over for payment. Returns when the mint has taken it on, which does not
    /// mean that it is paid.
    ///
    /// # Errors
    /// When the wallet does not hold enough, or the mint refuses.
    pub async fn melt(&self, quote: &str) -> anyhow::Result<()> {
        let prepared =
            self.wallet().prepare_melt(quote, Default::default()).await.context("prepare the payment")?;
        prepared.confirm_prefer_async().await.context("pay")?;
        Ok(())
    }

    /// What a paid melt quote took from the wallet, the fee included; none while the wallet has not
    /// booked it, which opening the wallet does.
    ///
    /// # Errors
    /// When the wallet's database cannot be read.
    pub async fn spent_on(&self, quote: &str) -> anyhow::Result<Option<Sats>> {
        let booked = self.wallet().list_transactions(Some(TransactionDirection::Outgoing)).await;
        let booked = booked.context("read the wallet's transactions")?;
        let of_quote = booked.into_iter().find(|transaction| {
            transaction.quote_id.as_deref() == Some(quote)
                && transaction.status == TransactionStatus::Completed
        });
        Ok(of_quote.map(|transaction| {
            [transaction.amount, transaction.fee].iter().map(|part| Sats::new(part.to_u64())).sum()
        }))
    }

    /// Whether the wallet has lost what it knew of a melt quote, as one that was restored from its seed.
    ///
    /// # Errors
    /// When the wallet's database cannot be read.
    pub async fn has_forgotten(&self, quote: &str) -> anyhow::Result<bool> {
        let known =
            self.wallet().localstore.get_melt_quote(quote).await.context("read the wallet's melt quotes")?;
        Ok(known.is_none())
    }
}
