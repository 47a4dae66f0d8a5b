//! The wallet of one unit: minting, redeeming, receiving. Tokens leave it as slips.

use std::str::FromStr;

use anyhow::{Context, anyhow, ensure};
use cdk::amount::{Amount, SplitTarget};
use cdk::nuts::nut00::ProofsMethods;
use cdk::nuts::{CurrencyUnit, PaymentMethod, Proofs, SecretKey, State};
use cdk::wallet::{ReceiveOptions, Wallet};
use cdk_common::wallet::{KeysetLoadPolicy, MintQuote};
use poolbox_accounting::{EpochId, Sats, Work};

/// The payment method of quotes that mining pays for.
const METHOD: &str = "ehash";
/// Most proofs that are given to the mint at once; it takes a thousand.
const INPUTS: usize = 500;
/// So many proofs are not worth tidying up.
const TIDY: usize = 100;

/// The wallet of one unit.
pub struct Pocket(Wallet);

impl Pocket {
    pub(crate) const fn new(wallet: Wallet) -> Self {
        Self(wallet)
    }

    /// cdk's wallet itself, for what this type does not do.
    pub const fn wallet(&self) -> &Wallet {
        &self.0
    }

    /// Brings what an earlier run left unfinished to its end.
    pub(crate) async fn recover(&self) -> anyhow::Result<()> {
        let report = self.0.recover_incomplete_sagas().await.context("finish what was cut off")?;
        ensure!(
            report.failed == 0,
            "{} cut-off operations of the wallet cannot be finished yet",
            report.failed
        );
        if !report.is_empty() {
            // A rolled-back operation calls its ecash unspent, whatever the mint had done with it.
            let unspent = self.0.get_unspent_proofs().await.context("read the wallet's ecash")?;
            self.believe_the_mint(unspent).await?;
        }
        Ok(())
    }

    /// Marks as spent what the mint calls spent; gives what is left.
    pub(crate) async fn believe_the_mint(&self, proofs: Proofs) -> anyhow::Result<Proofs> {
        let mut left = Proofs::new();
        for some in proofs.chunks(INPUTS) {
            let states = self.0.check_proofs_spent(some.to_vec()).await;
            let states = states.context("ask the mint what is spent")?;
            for (proof, state) in some.iter().zip(states) {
                ensure!(proof.y()? == state.y, "the mint answered for other ecash");
                if state.state == State::Spent {
                    self.mark(std::slice::from_ref(proof), State::Spent).await?;
                } else {
                    left.push(proof.clone());
                }
            }
        }
        Ok(left)
    }

    pub(crate) async fn mark(&self, proofs: &[cdk::nuts::Proof], state: State) -> anyhow::Result<()> {
        let ys = proofs.iter().map(cdk::nuts::Proof::y).collect::<Result<Vec<_>, _>>()?;
        self.0.localstore.update_proofs_state(ys, state).await.context("mark ecash in the wallet")
    }

    /// Finds the ecash of the wallet's seed at the mint again (NUT-09), for a database that was lost.
    ///
    /// # Errors
    /// When the mint does not answer.
    pub async fn restore(&self) -> anyhow::Result<()> {
        self.refresh().await?;
        self.0.restore().await.context("restore ecash from the seed")?;
        Ok(())
    }

    /// Swaps ecash that came in many small pieces for few. What is left to tidy waits for next time.
    ///
    /// # Errors
    /// When the mint does not answer.
    pub async fn tidy(&self) -> anyhow::Result<()> {
        let mut proofs = self.unspent().await?;
        if proofs.len() <= TIDY {
            return Ok(());
        }
        proofs.sort_by_key(|proof| proof.amount);
        proofs.truncate(INPUTS);
        let total = proofs.total_amount().context("add up ecash")?;
        self.swap(proofs, self.split(total).await?).await
    }

    /// What can be spent, but for what is locked to somebody.
    pub(crate) async fn unspent(&self) -> anyhow::Result<Proofs> {
        self.0
            .get_proofs_with(Some(vec![State::Unspent]), Some(vec![]))
            .await
            .context("read the wallet's ecash")
    }

    /// The fewest amounts of the mint's keyset that make up `amount`.
    pub(crate) async fn split(&self, amount: Amount) -> anyhow::Result<Vec<Amount>> {
        let keyset = self.0.active_keyset().await.context("ask the mint for its keyset")?;
        let amounts = self.0.get_keyset_fees_and_amounts_by_id(keyset.id).await?;
        Ok(amount.split(&amounts)?)
    }

    /// Swaps ecash for such of these amounts, and of what else it is worth; all of it stays here.
    pub(crate) async fn swap(&self, proofs: Proofs, amounts: Vec<Amount>) -> anyhow::Result<()> {
        let target = SplitTarget::Values(amounts);
        self.0.swap(None, target, proofs, None, false, false).await.context("swap ecash at the mint")?;
        Ok(())
    }
    /// The unit of an epoch.
    ///
    /// # Errors
    /// Never for an epoch of ours.
    pub fn ehash_unit(epoch: EpochId) -> anyhow::Result<CurrencyUnit> {
        CurrencyUnit::from_str(&epoch.unit()).map_err(|error| anyhow!("unit {}: {error}", epoch.unit()))
    }

    /// What it holds.
    ///
    /// # Errors
    /// When the wallet's database cannot be read.
    pub async fn balance(&self) -> anyhow::Result<u64> {
        Ok(self.0.total_balance().await.context("read the wallet's balance")?.to_u64())
    }

    /// Mints what may be minted of a quote that is locked to `key` (NUT-20).
    ///
    /// # Errors
    /// When the mint does not answer or refuses, as for a wrong key.
    pub async fn mint_locked(&self, quote: &str, key: SecretKey) -> anyhow::Result<Work> {
        self.refresh().await?;
        let mut known =
            self.0.fetch_mint_quote(quote, Some(method())).await.context("look the quote up at the mint")?;
        known.secret_key = Some(key);
        self.0.localstore.add_mint_quote(known).await.context("note the quote in the wallet")?;
        Ok(Work::from_ehash(self.mint(quote).await?))
    }

    /// The quote that redeemed ehash is paid into: one and the same for the wallet's life, so that
    /// nothing paid is ever forgotten.
    ///
    /// # Errors
    /// When the mint does not answer.
    pub async fn redeem_quote(&self) -> anyhow::Result<String> {
        self.refresh().await?;
        let known = self.0.localstore.get_mint_quotes().await.context("read the wallet's quotes")?;
        let of_this = |quote: &&MintQuote| {
            quote.mint_url == self.0.mint_url && quote.unit == self.0.unit && quote.payment_method == method()
        };
        if let Some(quote) = known.iter().find(of_this) {
            return Ok(quote.id.clone());
        }
        // Required by the wallet, without meaning for a quote that is paid by melts of any size.
        let amount = Some(Amount::from(1));
        let quote =
            self.0.mint_quote(method(), amount, None, None).await.context("ask the mint for a sat quote")?;
        Ok(quote.id)
    }

    /// Mints what was paid into one of this wallet's quotes and is not minted yet.
    ///
    /// # Errors
    /// When the mint does not answer or refuses.
    pub async fn mint_paid(&self, quote: &str) -> anyhow::Result<Sats> {
        let quote = self.0.check_mint_quote_status(quote).await.context("look the quote up at the mint")?;
        if quote.amount_paid == quote.amount_issued {
            return Ok(Sats::ZERO);
        }
        Ok(Sats::new(self.mint(&quote.id).await?))
    }

    /// Redeems `amount` of this epoch's ehash into a sat quote at the same mint (a NUT-05 melt).
    ///
    /// # Errors
    /// When the mint does not answer or refuses, as before the epoch is settled.
    pub async fn redeem(&self, amount: Work, into: &str) -> anyhow::Result<()> {
        self.refresh().await?;
        let extra = serde_json::json!({ "amount": amount.ehash() }).to_string();
        let quote = self
            .0
            .melt_quote(method(), into, None, Some(extra))
            .await
            .context("ask what the ehash is worth")?;
        let prepared =
            self.0.prepare_melt(&quote.id, Default::default()).await.context("prepare to redeem")?;
        prepared.confirm().await.context("redeem")?;
        Ok(())
    }

    /// Takes a token in: swaps it for ecash that only this wallet can spend. A token that is locked
    /// (NUT-11) needs the secret `key`. Gives the amount.
    ///
    /// # Errors
    /// When the mint does not answer, or the token is spent, locked or not the mint's.
    pub async fn receive(&self, token: &str, key: Option<SecretKey>) -> anyhow::Result<u64> {
        self.refresh().await?;
        let p2pk_signing_keys = key.into_iter().collect();
        let options = ReceiveOptions { p2pk_signing_keys, ..ReceiveOptions::default() };
        Ok(self.0.receive(token, options).await.context("receive the token")?.to_u64())
    }

    /// Every epoch brings a keyset; the wallet would look for new ones once an hour.
    pub(crate) async fn refresh(&self) -> anyhow::Result<()> {
        self.0.keysets(KeysetLoadPolicy::Refresh).await.context("ask the mint for its keysets")?;
        Ok(())
    }

    async fn mint(&self, quote: &str) -> anyhow::Result<u64> {
        let proofs = self.0.mint(quote, SplitTarget::default(), None).await.context("mint the quote")?;
        Ok(proofs.iter().map(|proof| proof.amount.to_u64()).sum())
    }
}

fn method() -> PaymentMethod {
    PaymentMethod::Custom(METHOD.into())
}
