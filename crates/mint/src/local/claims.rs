//! Claiming for owners whose key the box holds. What was begun is brought to its end even when who
//! asked has gone; the token is then among those that nobody has spent.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use cdk::nuts::{CurrencyUnit, PublicKey};
use poolbox_accounting::{Owner, Work};
use poolbox_api::{Problem, mint as api};
use poolbox_service::{Answer, Input};
use poolbox_wallet::{Slip, fragments};
use uuid::Uuid;

use super::{Local, Reply, broken};
use crate::purses::{Collected, Open, TokenError, parts, stakes};
use crate::undivided::undivided;
use crate::units::{METHOD, unit_of};

/// The routes of this room.
pub fn routes() -> Router<Arc<Local>> {
    let of_owner = |what| api::owner_path("{owner}", what);
    Router::new()
        .route(&of_owner("collect"), post(collect))
        .route(&of_owner("claim"), post(claim))
        .route(&of_owner("tokens"), get(tokens))
        .route(&of_owner("tokens/{id}/take-back"), post(take_back))
}

async fn collect(State(local): State<Arc<Local>>, Path(owner): Path<String>) -> Reply<api::Claimed> {
    let owner = local.owner(&owner)?;
    to_its_end(async move { local.claim(&owner, None).await }).await
}

async fn claim(
    State(local): State<Arc<Local>>,
    Path(owner): Path<String>,
    Input(request): Input<api::ClaimRequest>,
) -> Reply<api::Claimed> {
    let owner = local.owner(&owner)?;
    to_its_end(async move { local.claim(&owner, Some(&request)).await }).await
}

async fn tokens(State(local): State<Arc<Local>>, Path(owner): Path<String>) -> Reply<Vec<api::Token>> {
    let owner = local.owner(&owner)?;
    to_its_end(async move { local.tokens(&owner).await }).await
}

async fn take_back(
    State(local): State<Arc<Local>>,
    Path((owner, id)): Path<(String, String)>,
) -> Reply<api::TakenBack> {
    let owner = local.owner(&owner)?;
    to_its_end(async move { local.take_back(&owner, &id).await }).await
}

/// Runs `work` whether or not who asked still waits.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Answer>> + Send + 'static,
) -> Reply<T> {
    tokio::spawn(undivided(work)).await.map_err(broken)?.map(Json)
}

impl Local {
    /// Collects what `owner` has; makes the token that `request` asks for, if it is one.
    pub(super) async fn claim(
        &self,
        owner: &Owner,
        request: Option<&api::ClaimRequest>,
    ) -> Result<api::Claimed, Answer> {
        let lock = request.and_then(|request| request.lock.as_deref()).map(lock).transpose()?;
        let open = self.wallet(owner).await?;
        let collected = open.collect().await.map_err(broken)?;
        let token = match request {
            Some(request) => self.token(&open, request, lock).await?,
            None => None,
        };
        let held = open.holdings().await.map_err(broken)?;
        let waiting = held.stakes.iter().filter_map(|stake| {
            let unminted = stake.credit.credited.checked_sub(stake.minted).unwrap_or_default();
            let ehash =
                [held.ehash.get(&stake.epoch).copied().unwrap_or_default(), unminted].into_iter().sum();
            let waits = stake.waits.filter(|_| ehash > Work::ZERO)?;
            Some(api::Waiting { epoch: stake.epoch, ehash, waits })
        });
        let waiting = waiting.collect();
        let Collected { minted, redeemed, sats, trouble } = collected;
        Ok(api::Claimed { owner: owner.to_string(), minted, redeemed, sats, waiting, trouble, token })
    }

    async fn token(
        &self,
        open: &Open<'_>,
        request: &api::ClaimRequest,
        lock: Option<PublicKey>,
    ) -> Result<Option<api::Token>, Answer> {
        let unit = request.epoch.map_or(CurrencyUnit::Sat, unit_of);
        if let Some(epoch) = request.epoch {
            let held = open.holdings().await.map_err(broken)?;
            if !held.ehash.contains_key(&epoch) && !held.stakes.iter().any(|stake| stake.epoch == epoch) {
                let problem =
                    Problem::new(format!("{} has no ehash of epoch {epoch} ({unit})", open.owner()));
                return Err(Answer::bad_request(problem.remedy("choose one of the epochs in the account")));
            }
        }
        match open.token(&unit, request.amount, lock).await {
            Ok(slip) => self.shown(&slip).map(Some).map_err(broken),
            Err(TokenError::Nothing(_)) if request.amount.is_none() => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    pub(super) async fn tokens(&self, owner: &Owner) -> Result<Vec<api::Token>, Answer> {
        let slips = self.wallet(owner).await?.unspent_tokens().await.map_err(broken)?;
        slips.iter().map(|slip| self.shown(slip)).collect::<Result<_, _>>().map_err(broken)
    }

    pub(super) async fn take_back(&self, owner: &Owner, id: &str) -> Result<api::TakenBack, Answer> {
        let id = Uuid::from_str(id).map_err(|_| {
            let problem = Problem::new("that is no token's id");
            Answer::not_found(problem.remedy("take one from the list of tokens"))
        })?;
        let slip = self.wallet(owner).await?.take_back(id).await.map_err(refused)?;
        let Slip { unit, amount, .. } = slip;
        Ok(api::TakenBack { id: id.to_string(), unit: unit.to_string(), amount })
    }

    /// The wallet of an owner that has mined here and whose key the box holds.
    pub(super) async fn wallet(&self, owner: &Owner) -> Result<Open<'_>, Answer> {
        if matches!(owner, Owner::Key(_)) {
            let problem = Problem::new("this owner is a public key, whose secret the box does not hold");
            let remedy = "claim with the wallet that holds the key, or with poolbox claim --key-file";
            return Err(Answer::bad_request(problem.remedy(remedy)));
        }
        let stakes = stakes(&self.mint, &self.keys, owner, self.maturity).await.map_err(broken)?;
        if stakes.is_empty() && parts(&self.mint, &self.keys, owner).await.map_err(broken)?.is_empty() {
            let problem = Problem::new(format!("nobody has mined for {owner} yet"));
            let remedy = "check the name; it is the part before the dot in the miner's user name";
            return Err(Answer::not_found(problem.remedy(remedy)));
        }
        let open = self.purses.open(owner).await.map_err(broken)?;
        open.ok_or_else(|| broken(anyhow::anyhow!("the box holds no key for {owner}")))
    }

    /// A token as it is given away: with the address at which others reach the mint.
    fn shown(&self, slip: &Slip) -> anyhow::Result<api::Token> {
        let url = match slip.unit {
            CurrencyUnit::Sat => self.public_url.clone(),
            _ => format!("{}/{METHOD}", self.public_url),
        };
        let text = slip.token(&url)?;
        Ok(api::Token {
            id: slip.id.to_string(),
            unit: slip.unit.to_string(),
            amount: slip.amount,
            lock: slip.lock.map(|lock| lock.to_string()),
            made_at: slip.made_at,
            fragments: fragments(&text)?,
            text,
        })
    }
}

fn lock(text: &str) -> Result<PublicKey, Answer> {
    PublicKey::from_hex(text.trim()).map_err(|_| {
        let problem = Problem::new("lock is no public key");
        Answer::bad_request(problem.remedy("copy the 66 hex digits that the receiving wallet shows"))
    })
}

fn refused(error: TokenError) -> Answer {
    let problem = Problem::new(error.to_string());
    match error {
        TokenError::Unknown(_) => Answer::not_found(problem),
        TokenError::Other(error) => broken(error),
        TokenError::TooMuch { .. } | TokenError::Nothing(_) => {
            Answer::bad_request(problem.remedy("ask for less, or wait until more is redeemed"))
        }
        TokenError::Spent(_) | TokenError::InUse(_) | TokenError::Locked(_) => Answer::bad_request(problem),
    }
}
