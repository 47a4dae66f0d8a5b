//! What an owner has of rounds of mode proxy.

use anyhow::Context;
use cdk::mint::Mint;
use cdk::nuts::CurrencyUnit;
use cdk_common::QuoteId;
use poolbox_accounting::{Owner, RoundId, Sats};

use super::Open;
use crate::keys::Keys;
use crate::ledger::{self, Part, Place, Progress};
use crate::quotes;

/// What one owner has in one round.
#[derive(Clone, Debug)]
pub struct OwnPart {
    /// The round.
    pub round: RoundId,
    /// The owner's record.
    pub part: Part,
    /// Its sat quote.
    pub quote: QuoteId,
    /// Of what was paid to the quote, what was minted.
    pub issued: Sats,
}

impl OwnPart {
    /// Paid and not minted yet.
    pub fn owed(&self) -> Sats {
        self.part.paid.unwrap_or_default().saturating_sub(self.issued)
    }
}

/// Reads an owner's parts, oldest round first.
///
/// # Errors
/// When the books cannot be read.
pub async fn parts(mint: &Mint, keys: &Keys, owner: &Owner) -> anyhow::Result<Vec<OwnPart>> {
    let db = mint.localstore();
    let progress: Option<Progress> = ledger::read(&db, &Place::progress()).await?;
    let newest = progress.context("the mint has no record of progress")?.rounds.open();
    let mut parts = Vec::new();
    for round in (1..=newest.get()).map(RoundId::new) {
        let Some(part) = ledger::read::<Part>(&db, &Place::part(round, owner)).await? else { continue };
        let quote = quotes::part_id(keys, round, &part.lock);
        let issued = db.get_mint_quote(&quote).await?.map_or(0, |quote| quote.amount_issued().value());
        parts.push(OwnPart { round, part, quote, issued: Sats::new(issued) });
    }
    Ok(parts)
}

impl Open<'_> {
    /// What the owner has in each round, says the mint.
    pub(super) async fn parts(&self) -> anyhow::Result<Vec<OwnPart>> {
        parts(&self.purses.mint, &self.purses.keys, &self.owner).await
    }

    /// Mints what a round paid into the owner's wallet.
    pub(super) async fn mint_part(&self, own: &OwnPart) -> anyhow::Result<Sats> {
        let owed = own.owed();
        if owed > Sats::ZERO {
            let pocket = self.pocket(&CurrencyUnit::Sat).await?;
            pocket.mint_locked(&own.quote.to_string(), self.key.clone()).await?;
        }
        Ok(owed)
    }
}
