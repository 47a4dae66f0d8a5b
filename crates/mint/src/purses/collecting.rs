//! Collecting: from an owner's locked quotes to ehash and sats in the owner's wallet. Every step can
//! be cut off and done again.

use anyhow::Context;
use cdk::nuts::CurrencyUnit;
use poolbox_accounting::{EpochId, Sats, Work};

use super::Open;
use super::stakes::Stake;
use crate::crediting::unix_time;
use crate::quotes;

/// What collecting brought.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Ehash minted.
    pub minted: Work,
    /// Ehash redeemed.
    pub redeemed: Work,
    /// Sats that came into the wallet.
    pub sats: Sats,
    /// The first thing that did not work; it is tried again the next time.
    pub trouble: Option<String>,
}

impl Collected {
    /// Adds what a step brought, or why it did not; `of` is what it was about.
    fn add(&mut self, of: &str, step: anyhow::Result<Self>) {
        match step {
            Ok(more) => {
                self.minted = [self.minted, more.minted].into_iter().sum();
                self.redeemed = [self.redeemed, more.redeemed].into_iter().sum();
                self.sats = [self.sats, more.sats].into_iter().sum();
            }
            Err(error) => {
                let text = format!("{of}: {error:#}");
                self.trouble.get_or_insert(text);
            }
        }
    }
}

impl Open<'_> {
    /// Mints what the owner's quotes hold, redeems the ehash of every settled epoch, mints the sats.
    /// What does not work in one epoch or round does not keep the others.
    ///
    /// # Errors
    /// When the books or the wallet cannot be read.
    pub async fn collect(&self) -> anyhow::Result<Collected> {
        let mut collected = Collected::default();
        // What the mint has signed already is in no quote any more: only the wallet knows of it.
        for unit in self.purse.interrupted().await? {
            if let Err(error) = self.pocket(&unit).await {
                collected.trouble.get_or_insert(format!("{unit}: {error:#}"));
            }
        }
        for stake in self.stakes().await? {
            collected.add(&format!("epoch {}", stake.epoch), self.mint_ehash(&stake).await);
        }
        let held = self.holdings().await?;
        for stake in &held.stakes {
            let ehash = held.ehash.get(&stake.epoch).copied().unwrap_or_default();
            let of = format!("epoch {}", stake.epoch);
            collected.add(&of, self.redeem(stake, ehash).await);
            collected.add(&of, self.mint_sats(stake.epoch, stake).await);
        }
        for own in self.parts().await? {
            let minted = self.mint_part(&own).await.map(|sats| Collected { sats, ..Collected::default() });
            collected.add(&format!("round {}", own.round), minted);
        }
        if collected.sats > Sats::ZERO {
            self.sats().await?.tidy().await?;
        }
        let Collected { minted, redeemed, sats, .. } = &collected;
        if *minted > Work::ZERO || *redeemed > Work::ZERO || *sats > Sats::ZERO {
            let (minted, redeemed, sats) = (minted.ehash(), redeemed.ehash(), sats.get());
            tracing::info!(owner = %self.owner, minted, redeemed, sats, "collected for an owner");
        }
        if let Some(reason) = &collected.trouble {
            tracing::warn!(owner = %self.owner, reason, "not everything could be collected");
        }
        Ok(collected)
    }

    async fn mint_ehash(&self, stake: &Stake) -> anyhow::Result<Collected> {
        if stake.credit.paid <= stake.minted {
            return Ok(Collected::default());
        }
        let pocket = self.ehash(stake.epoch).await?;
        let mut minted = Vec::new();
        for index in 0..stake.credit.quotes {
            let id = quotes::id(&self.purses.keys, stake.epoch, &stake.credit.lock, index);
            let quote = self.purses.mint.localstore().get_mint_quote(&id).await?;
            if quote.is_some_and(|quote| quote.amount_paid() > quote.amount_issued()) {
                minted.push(pocket.mint_locked(&id.to_string(), self.key.clone()).await?);
            }
        }
        pocket.tidy().await?;
        Ok(Collected { minted: minted.into_iter().sum(), ..Collected::default() })
    }

    /// Redeems an epoch's ehash when it is worth anything.
    async fn redeem(&self, stake: &Stake, ehash: Work) -> anyhow::Result<Collected> {
        let worth = stake.rate.and_then(|rate| rate.redeem(ehash).ok()).unwrap_or_default();
        if worth == Sats::ZERO {
            return Ok(Collected::default());
        }
        let into = self.sat_quote(stake).await?;
        let pocket = self.ehash(stake.epoch).await?;
        pocket.redeem(ehash, &into).await.with_context(|| format!("redeem {ehash}"))?;
        Ok(Collected { redeemed: ehash, ..Collected::default() })
    }

    /// The quote that this epoch's ehash is redeemed into: like all others it can be recomputed from
    /// the seed, so that no sats are ever paid to where nobody looks.
    async fn sat_quote(&self, stake: &Stake) -> anyhow::Result<String> {
        let Self { purses, .. } = self;
        let db = purses.mint.localstore();
        let id = quotes::sat_id(&purses.keys, stake.epoch, &stake.credit.lock);
        if db.get_mint_quote(&id).await?.is_none() {
            let mut tx = db.begin_transaction().await?;
            quotes::make_sat(&mut tx, &purses.keys, stake.epoch, &stake.credit.lock, unix_time()).await?;
            tx.commit().await?;
        }
        Ok(id.to_string())
    }

    async fn mint_sats(&self, epoch: EpochId, stake: &Stake) -> anyhow::Result<Collected> {
        let id = quotes::sat_id(&self.purses.keys, epoch, &stake.credit.lock);
        let quote = self.purses.mint.localstore().get_mint_quote(&id).await?;
        let Some(quote) = quote.filter(|quote| quote.amount_paid() > quote.amount_issued()) else {
            return Ok(Collected::default());
        };
        let owed = quote.amount_paid().value().saturating_sub(quote.amount_issued().value());
        let pocket = self.pocket(&CurrencyUnit::Sat).await?;
        pocket.mint_locked(&id.to_string(), self.key.clone()).await?;
        Ok(Collected { sats: Sats::new(owed), ..Collected::default() })
    }
}
