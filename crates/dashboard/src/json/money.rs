//! JSON about money: what an owner has, payouts, and claims by the admin or with a claim secret. The mint
//! decides; its problems are passed on.

use axum::Json;
use axum::extract::{Query, State};
use poolbox_accounting::EpochId;
use poolbox_api::mint::payouts::{self, OwnerPayout};
use poolbox_api::mint::{self, ClaimRequest, Claimed, OwnerAccount, SecretClaim, owner_path};
use poolbox_api::{Client, ClientError, Problem};
use poolbox_service::{Answer, Input};
use serde::{Deserialize, Serialize};

use super::changes;
use crate::admin::Visitor;
use crate::app::{App, Shared};
use crate::link::encoded;

type Reply<T> = Result<Json<T>, Answer>;

/// Whose.
#[derive(Deserialize)]
pub struct Whose {
    #[serde(default)]
    owner: String,
}

/// What an owner has, and how it is paid.
#[derive(Serialize)]
pub struct Owner {
    account: OwnerAccount,
    payout: OwnerPayout,
}

/// Which payouts.
#[derive(Deserialize)]
pub struct Pages {
    before: Option<u64>,
    limit: Option<u32>,
}

/// A claim: with the owner's secret, or with the token of the admin's session.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    owner: String,
    secret: Option<String>,
    token: Option<String>,
    epoch: Option<EpochId>,
    amount: Option<u64>,
    lock: Option<String>,
}

/// `GET /api/v1/owner?owner=…`
pub async fn owner(State(app): State<Shared>, Query(whose): Query<Whose>) -> Reply<Owner> {
    let mint = mint(&app)?;
    let owner = encoded(&whose.owner);
    let account =
        mint.get(&owner_path(&owner, "")).await.map_err(|error| refused(error, Answer::not_found))?;
    let payout = mint.get(&payouts::of_owner(&owner)).await;
    Ok(Json(Owner { account, payout: payout.map_err(|error| refused(error, Answer::not_found))? }))
}

/// `GET /api/v1/payouts`
pub async fn payouts(State(app): State<Shared>, Query(pages): Query<Pages>) -> Reply<payouts::Page> {
    let limit = pages.limit.unwrap_or(50);
    let before = pages.before.map(|before| format!("&before={before}")).unwrap_or_default();
    let page = mint(&app)?.get(&format!("{}?limit={limit}{before}", payouts::PAYOUTS)).await;
    page.map(Json).map_err(|error| refused(error, Answer::bad_request))
}

/// `POST /api/v1/claims`
pub async fn claim(
    State(app): State<Shared>,
    visitor: Visitor,
    Input(claim): Input<Claim>,
) -> Reply<Claimed> {
    let Claim { owner, secret, token, epoch, amount, lock } = claim;
    let claim = ClaimRequest { epoch, amount, lock };
    let claimed = match secret {
        Some(secret) => {
            let claim = SecretClaim { owner: owner.trim().to_owned(), secret, claim };
            mint(&app)?.post_patiently(mint::CLAIMS, &claim).await
        }
        None => {
            changes(&visitor, token.as_deref().unwrap_or_default())?;
            mint(&app)?.post_patiently(&owner_path(&encoded(&owner), "claim"), &claim).await
        }
    };
    claimed.map(Json).map_err(|error| refused(error, Answer::forbidden))
}

fn mint(app: &App) -> Result<&Client, Answer> {
    app.mint.as_ref().ok_or_else(|| Answer::not_found(Problem::new("this box has no mint")))
}

/// What the mint refuses is answered as `refusal` says; paths of this machine are not told.
fn refused(error: ClientError, refusal: fn(Problem) -> Answer) -> Answer {
    match error {
        ClientError::Refused(problem) => refusal(problem),
        ClientError::Unreachable { .. } => {
            Answer::unavailable(Problem::new("the mint does not answer").remedy("nothing is lost; try again"))
        }
        ClientError::Malformed { .. } => {
            Answer::unavailable(Problem::new("the mint's answer cannot be read").remedy("see its log"))
        }
    }
}
