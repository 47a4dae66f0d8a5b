//! What owners have: `GET /owners` and `GET /owners/{owner}`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use poolbox_accounting::{EpochId, Owner, RoundId, Sats, Work};
use poolbox_api::mint as api;
use serde::Deserialize;

use super::{Local, Reply, broken, newest};
use crate::ledger::{self, Credit, Part};
use crate::purses::{OwnPart, Stake, parts, stakes};
use crate::quotes;

/// Owners on a page unless asked otherwise, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;
/// How long to wait for a wallet in which somebody is at work; who asks waits ten seconds.
const TURN: Duration = Duration::from_secs(8);

/// The routes of this room.
pub fn routes() -> Router<Arc<Local>> {
    Router::new().route(api::OWNERS, get(owners)).route(&api::owner_path("{owner}", ""), get(account))
}

#[derive(Deserialize)]
struct Wanted {
    after: Option<String>,
    limit: Option<usize>,
}

async fn owners(State(local): State<Arc<Local>>, Query(wanted): Query<Wanted>) -> Reply<api::OwnerPage> {
    local.page(&wanted).await.map(Json).map_err(broken)
}

async fn account(State(local): State<Arc<Local>>, Path(owner): Path<String>) -> Reply<api::OwnerAccount> {
    let owner = local.owner(&owner)?;
    local.account(&owner).await.map(Json).map_err(broken)
}

impl Local {
    async fn page(&self, wanted: &Wanted) -> anyhow::Result<api::OwnerPage> {
        let db = self.mint.localstore();
        let progress = self.progress().await?;
        let epochs: Vec<_> = (1..=newest(&progress).get()).map(EpochId::new).collect();
        let mut places: BTreeMap<String, Vec<(EpochId, ledger::Place)>> = BTreeMap::new();
        let mut rounds: BTreeMap<String, Vec<ledger::Place>> = BTreeMap::new();
        for epoch in epochs {
            for place in ledger::credits_in(&db, epoch).await? {
                places.entry(place.key().to_owned()).or_default().push((epoch, place));
            }
        }
        for round in (1..=progress.rounds.open().get()).map(RoundId::new) {
            for place in ledger::parts_in(&db, round).await? {
                rounds.entry(place.key().to_owned()).or_default().push(place);
            }
        }
        let limit = wanted.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
        let keys: BTreeSet<String> = places.keys().chain(rounds.keys()).cloned().collect();
        let rest = keys.into_iter().filter(|key| wanted.after.as_ref().is_none_or(|after| key > after));
        let mut page: Vec<String> = rest.take(limit + 1).collect();
        let more = page.len() > limit;
        page.truncate(limit);
        let mut owners = Vec::new();
        for key in &page {
            let mut credits = Vec::new();
            for (epoch, place) in places.remove(key).unwrap_or_default() {
                credits.extend(ledger::read::<Credit>(&db, &place).await?.map(|credit| (epoch, credit)));
            }
            let parts = rounds.remove(key).unwrap_or_default();
            let named = match (credits.last(), parts.last()) {
                (Some((_, credit)), _) => Some(credit.owner.clone()),
                (None, Some(place)) => ledger::read::<Part>(&db, place).await?.map(|part| part.owner),
                (None, None) => None,
            };
            owners.extend(named.and_then(|owner| self.totals(owner, &credits, parts.len())));
        }
        Ok(api::OwnerPage { owners, next: page.pop().filter(|_| more) })
    }

    fn totals(
        &self,
        owner: String,
        credits: &[(EpochId, Credit)],
        rounds: usize,
    ) -> Option<api::OwnerTotals> {
        let parsed = Owner::parse(&owner, self.network).ok()?;
        Some(api::OwnerTotals {
            owner,
            held_by_box: !matches!(parsed, Owner::Key(_)),
            epochs: u32::try_from(credits.len()).unwrap_or(u32::MAX),
            newest: credits.last().map(|(newest, _)| *newest),
            rounds: u32::try_from(rounds).unwrap_or(u32::MAX),
            credited: credits.iter().map(|(_, credit)| credit.credited).sum(),
            released: credits.iter().map(|(_, credit)| credit.paid).sum(),
        })
    }

    /// What an owner has. The owner's wallet is only opened when there can be something in it.
    pub(super) async fn account(&self, owner: &Owner) -> anyhow::Result<api::OwnerAccount> {
        let stakes = stakes(&self.mint, &self.keys, owner, self.maturity).await?;
        let parts = parts(&self.mint, &self.keys, owner).await?;
        let open = if stakes.is_empty() && parts.is_empty() {
            None
        } else {
            let open = tokio::time::timeout(TURN, self.purses.open(owner)).await;
            open.with_context(|| format!("somebody is claiming for {owner}; look again in a moment"))??
        };
        let held = match &open {
            Some(open) => Some(open.holdings().await?),
            None => None,
        };
        let epochs = stakes.iter().map(|stake| {
            let held = held.as_ref().and_then(|held| held.ehash.get(&stake.epoch)).copied();
            epoch(stake, held.unwrap_or_default())
        });
        let of_rounds = parts.iter().map(OwnPart::owed);
        let owed: Sats = stakes.iter().map(|stake| stake.owed).chain(of_rounds).sum();
        let in_wallet = held.as_ref().map_or(Sats::ZERO, |held| held.sats);
        Ok(api::OwnerAccount {
            owner: owner.to_string(),
            held_by_box: self.keys.held_for(owner)?.is_some(),
            pubkey: self.keys.lock_of(owner)?.to_string(),
            quotes: self.quotes(&stakes).await?,
            epochs: epochs.collect(),
            rounds: parts.iter().map(round).collect(),
            sats: [owed, in_wallet].into_iter().sum(),
            claim_secret: self.secret_number(owner).await?,
        })
    }

    async fn quotes(&self, stakes: &[Stake]) -> anyhow::Result<Vec<api::Quote>> {
        let db = self.mint.localstore();
        let mut list = Vec::new();
        for Stake { epoch, credit, .. } in stakes {
            for index in 0..credit.quotes {
                let id = quotes::id(&self.keys, *epoch, &credit.lock, index);
                let Some(quote) = db.get_mint_quote(&id).await? else { continue };
                let paid = Work::from_ehash(quote.amount_paid().value());
                let grows = index + 1 == credit.quotes;
                let pending = credit.credited.checked_sub(credit.paid).filter(|_| grows).unwrap_or_default();
                list.push(api::Quote {
                    id: id.to_string(),
                    epoch: *epoch,
                    unit: epoch.unit(),
                    credited: [paid, pending].into_iter().sum(),
                    paid,
                    issued: Work::from_ehash(quote.amount_issued().value()),
                });
            }
        }
        Ok(list)
    }
}

fn round(own: &OwnPart) -> api::OwnerRound {
    let OwnPart { round, part, quote, issued } = own;
    api::OwnerRound {
        round: *round,
        work: part.work,
        quote: quote.to_string(),
        paid: part.paid,
        issued: *issued,
    }
}

fn epoch(stake: &Stake, held: Work) -> api::OwnerEpoch {
    let unminted = stake.credit.paid.checked_sub(stake.minted).unwrap_or_default();
    let claimable = [unminted, held].into_iter().sum();
    api::OwnerEpoch {
        epoch: stake.epoch,
        unit: stake.epoch.unit(),
        credited: stake.credit.credited,
        claimable,
        waits: stake.waits,
        worth: stake.rate.and_then(|rate| rate.redeem(claimable).ok()),
    }
}
