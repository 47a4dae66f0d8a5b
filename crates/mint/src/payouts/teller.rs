//! What an account's actions come to: collecting into the owner's wallet, asking the mint for a
//! quote, paying it, and seeing what became of it. Decides nothing.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use bitcoin::hashes::{Hash, hex::FromHex, sha256};
use cdk::mint::{MeltQuote, Mint};
use cdk::nuts::nut00::KnownMethod;
use cdk::nuts::{CurrencyUnit, MeltQuoteState, PaymentMethod};
use cdk_common::QuoteId;
use poolbox_accounting::{Owner, Sats};
use poolbox_api::mint::payouts::Kind;
use poolbox_wallet::{MeltOffer, Pocket};
use tokio::sync::Mutex;

use super::lnurl::Lnurl;
use super::payout::Offer;
use super::rule::{Rule, Target};
use crate::purses::{Open, Purses};

/// What became of a melt quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Paid: what left the wallet, and what proves it.
    Paid(Sats, Option<String>),
    /// Not known yet.
    Pending,
    /// Not paid, and never will be.
    Refused(String),
}

/// Pays with the box's own wallets.
pub struct Teller {
    purses: Arc<Purses>,
    mint: Arc<Mint>,
    lnurl: Lnurl,
    /// One wallet at a time: the mint's database has one writer, and miners and wallets come first.
    turn: Mutex<()>,
}

impl Teller {
    /// With these wallets at this mint.
    pub const fn new(purses: Arc<Purses>, mint: Arc<Mint>, lnurl: Lnurl) -> Self {
        Self { purses, mint, lnurl, turn: Mutex::const_new(()) }
    }

    async fn open(&self, owner: &Owner) -> anyhow::Result<Open<'_>> {
        self.purses.open(owner).await?.context("the box does not hold this owner's key")
    }

    /// Brings everything due into the owner's wallet; the sats in it, and what did not work.
    ///
    /// # Errors
    /// When the wallet cannot be used.
    pub async fn collect(&self, owner: &Owner) -> anyhow::Result<(Sats, Option<String>)> {
        let _turn = self.turn.lock().await;
        let open = self.open(owner).await?;
        let trouble = open.collect().await?.trouble;
        Ok((Sats::new(open.sats().await?.balance().await?), trouble))
    }

    /// An offer that `balance` covers.
    ///
    /// # Errors
    /// When the target, or the mint, gives none.
    pub async fn quote(&self, owner: &Owner, rule: &Rule, balance: Sats, now: u64) -> anyhow::Result<Offer> {
        self.check_method(rule.target.kind()).await?;
        let payable = rule.payable(balance);
        // Whoever is slow to give an invoice keeps nobody else waiting.
        let invoice = match &rule.target {
            Target::Lightning(address) => Some(self.lnurl.invoice(address, payable, now).await?),
            Target::Onchain(_) | Target::Bolt12(_) => None,
        };
        let _turn = self.turn.lock().await;
        let open = self.open(owner).await?;
        let pocket = open.sats().await?;
        if let Some(invoice) = invoice {
            return Ok(offer(pocket.quote_bolt11(&invoice.bolt11).await?));
        }
        let first = ask(&pocket, &rule.target, payable).await?;
        // With the fee known, all of the balance: a quote costs nothing, and this one may be left.
        let all = balance.saturating_sub(first.max_fee);
        if first.max_fee <= rule.max_fee(first.amount) && all > first.amount {
            match ask(&pocket, &rule.target, all).await {
                Ok(second) if [second.amount, second.max_fee].into_iter().sum::<Sats>() <= balance => {
                    return Ok(second);
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%owner, error = format!("{error:#}"), "no quote for all of it"),
            }
        }
        Ok(first)
    }

    /// Asks nobody for an invoice that the mint could not pay.
    async fn check_method(&self, kind: Kind) -> anyhow::Result<()> {
        let method = PaymentMethod::Known(match kind {
            Kind::Onchain => KnownMethod::Onchain,
            Kind::Lightning => KnownMethod::Bolt11,
            Kind::Bolt12 => KnownMethod::Bolt12,
        });
        let ways = self.mint.mint_info().await?.nuts.nut05.methods;
        if ways.iter().any(|way| way.method == method && way.unit == CurrencyUnit::Sat) {
            return Ok(());
        }
        match kind {
            Kind::Onchain => anyhow::bail!("the mint does not pay on-chain now"),
            Kind::Lightning | Kind::Bolt12 => {
                anyhow::bail!("the box pays over Lightning only when that is switched on; see its settings")
            }
        }
    }

    /// Hands a quote over for payment, and sees what became of it.
    ///
    /// # Errors
    /// When that cannot be told now.
    pub async fn pay(&self, owner: &Owner, quote: &str) -> anyhow::Result<Outcome> {
        let _turn = self.turn.lock().await;
        let open = self.open(owner).await?;
        let handed_over = open.sats().await?.melt(quote).await;
        match (self.became(&open, quote).await?, handed_over) {
            (Outcome::Refused(_), Err(error)) => Ok(Outcome::Refused(format!("{error:#}"))),
            (outcome, _) => Ok(outcome),
        }
    }

    /// What became of a quote that was handed over.
    ///
    /// # Errors
    /// When that cannot be told now.
    pub async fn check(&self, owner: &Owner, quote: &str) -> anyhow::Result<Outcome> {
        // The mint itself knows without opening a wallet.
        if self.melt_quote(quote).await?.is_some_and(|melt| is_open(melt.state)) {
            return Ok(Outcome::Pending);
        }
        let _turn = self.turn.lock().await;
        let open = self.open(owner).await?;
        self.became(&open, quote).await
    }

    /// The mint's word. The wallet is opened before it is asked: what it had begun ends first.
    async fn became(&self, open: &Open<'_>, quote: &str) -> anyhow::Result<Outcome> {
        let pocket = open.sats().await?;
        let Some(melt) = self.melt_quote(quote).await? else {
            return Ok(Outcome::Refused("the mint does not know the melt quote any more".to_owned()));
        };
        match melt.state {
            MeltQuoteState::Paid => match pocket.spent_on(quote).await? {
                Some(spent) => Ok(Outcome::Paid(spent, proof(&melt))),
                None if pocket.has_forgotten(quote).await? => {
                    // Restored from its seed: what came back is in its balance, the rest is gone.
                    let most = melt.amount().value().saturating_add(melt.fee_reserve().value());
                    Ok(Outcome::Paid(Sats::new(most), proof(&melt)))
                }
                // Paid since the wallet was opened: it books that when it is opened again.
                None => Ok(Outcome::Pending),
            },
            MeltQuoteState::Unpaid | MeltQuoteState::Failed => {
                Ok(Outcome::Refused("the payment did not go through".to_owned()))
            }
            MeltQuoteState::Pending | MeltQuoteState::Unknown => Ok(Outcome::Pending),
        }
    }

    /// The melt quote, from the mint's database.
    async fn melt_quote(&self, quote: &str) -> anyhow::Result<Option<MeltQuote>> {
        let id = QuoteId::from_str(quote).context("the record's melt quote")?;
        Ok(self.mint.localstore().get_melt_quote(&id).await?)
    }
}

const fn is_open(state: MeltQuoteState) -> bool {
    matches!(state, MeltQuoteState::Pending | MeltQuoteState::Unknown)
}

fn proof(quote: &MeltQuote) -> Option<String> {
    let proof = quote.payment_proof.clone()?;
    Some(if quote.payment_method.is_onchain() { proof } else { payment_hash(&proof) })
}

async fn ask(pocket: &Pocket, target: &Target, amount: Sats) -> anyhow::Result<Offer> {
    let asked = match target.kind() {
        Kind::Onchain => pocket.quote_onchain(target.text(), amount).await?,
        Kind::Bolt12 => pocket.quote_bolt12(target.text(), amount).await?,
        Kind::Lightning => pocket.quote_bolt11(target.text()).await?,
    };
    Ok(offer(asked))
}

fn offer(asked: MeltOffer) -> Offer {
    Offer { quote: asked.quote, amount: asked.amount, max_fee: asked.max_fee }
}

/// A preimage proves a payment to whoever has it: the books and the log show its hash.
fn payment_hash(preimage: &str) -> String {
    match <[u8; 32]>::from_hex(preimage) {
        Ok(bytes) => sha256::Hash::hash(&bytes).to_string(),
        Err(_) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preimage_is_shown_as_its_hash() {
        let hash = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
        assert_eq!(payment_hash(&"00".repeat(32)), hash);
        assert_eq!(payment_hash("not hex"), "unknown");
    }
}
