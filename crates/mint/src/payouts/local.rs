//! Payouts over the local API.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use poolbox_accounting::{Owner, Sats};
use poolbox_api::Problem;
use poolbox_api::mint::{OWNERS, payouts as api};
use poolbox_service::Answer;
use serde::Deserialize;

use super::Paymaster;
use super::account::Account;
use super::paymaster::Standing;
use super::payout::Stage;
use super::rule::{Rule, RuleError, Wish};
use crate::crediting::unix_time;

/// Payouts in a page when nothing else is asked for.
const PAGE: u32 = 50;

type Reply<T> = Result<Json<T>, Answer>;
type Master = State<Arc<Paymaster>>;

/// The routes about payouts.
pub fn router(paymaster: Arc<Paymaster>) -> Router {
    let payout = format!("{OWNERS}/{{owner}}/payout");
    Router::new()
        .route(api::PAYOUTS, get(page))
        .route(&payout, get(owner_payout).put(set_rule).delete(remove_rule))
        .route(&format!("{payout}/now"), post(pay_now))
        .with_state(paymaster)
}

#[derive(Deserialize)]
struct Pages {
    before: Option<u64>,
    limit: Option<u32>,
}

async fn page(State(master): Master, Query(pages): Query<Pages>) -> Reply<api::Page> {
    let limit = pages.limit.unwrap_or(PAGE).clamp(1, api::MAX_PAGE);
    master.page(pages.before, limit).await.map(Json).map_err(broken)
}

async fn owner_payout(State(master): Master, Path(owner): Path<String>) -> Reply<api::OwnerPayout> {
    show(&master, &parse(&master, &owner)?).await
}

async fn set_rule(
    State(master): Master,
    Path(owner): Path<String>,
    Json(request): Json<api::RuleRequest>,
) -> Reply<api::OwnerPayout> {
    let owner = parse(&master, &owner)?;
    let wish = Wish::check(&owner, &request, master.network()).map_err(|error| refused(&error))?;
    master.set_rule(&owner, wish).await.map_err(broken)?;
    show(&master, &owner).await
}

async fn remove_rule(State(master): Master, Path(owner): Path<String>) -> Reply<api::OwnerPayout> {
    let owner = parse(&master, &owner)?;
    if master.standing(&owner).await.account.is_some() {
        master.set_rule(&owner, Wish::default()).await.map_err(broken)?;
    }
    show(&master, &owner).await
}

async fn pay_now(State(master): Master, Path(owner): Path<String>) -> Reply<api::OwnerPayout> {
    let owner = parse(&master, &owner)?;
    if master.standing(&owner).await.rule.is_none() {
        return Err(refused(&match owner {
            Owner::Key(_) => RuleError::KeyOwner,
            _ => RuleError::NoTarget,
        }));
    }
    master.pay_now(&owner).await.map_err(broken)?;
    show(&master, &owner).await
}

fn parse(master: &Paymaster, owner: &str) -> Result<Owner, Answer> {
    Owner::parse(owner, master.network())
        .map_err(|error| Answer::bad_request(Problem::new(error.to_string())))
}

fn refused(error: &RuleError) -> Answer {
    let text = error.to_string();
    Answer::bad_request(match text.split_once("; ") {
        Some((error, remedy)) => Problem::new(error).remedy(remedy),
        None => Problem::new(text),
    })
}

fn broken(error: impl Into<anyhow::Error>) -> Answer {
    let error: anyhow::Error = error.into();
    tracing::error!(error = format!("{error:#}"), "a local request failed");
    Answer::unavailable(Problem::new(format!("{error:#}")))
}

async fn show(master: &Paymaster, owner: &Owner) -> Reply<api::OwnerPayout> {
    let Standing { rule, account } = master.standing(owner).await;
    let now = unix_time();
    let waits_for = waits_for(owner, rule.as_ref(), account.as_ref(), now);
    let mut last = Vec::new();
    for n in account.iter().flat_map(|account| account.ended.iter().rev()) {
        last.extend(master.payout(*n).await.map_err(broken)?.map(api::Payout::from));
    }
    Ok(Json(api::OwnerPayout {
        owner: owner.to_string(),
        rule: rule.map(api::Rule::from),
        balance: account.as_ref().map_or(Sats::ZERO, Account::total),
        waits_for,
        retry_at: account.as_ref().map(|account| account.not_before).filter(|&at| at > now),
        under_way: account.and_then(|account| account.payout).map(api::Payout::from),
        last,
    }))
}

/// What the next payout waits for, in a sentence for a person.
fn waits_for(owner: &Owner, rule: Option<&Rule>, account: Option<&Account>, now: u64) -> String {
    let Some(rule) = rule else {
        return match owner {
            Owner::Key(_) => "its ecash is claimed by whoever holds the key".to_owned(),
            _ => "a rule: set where the sats go, or claim them as a token".to_owned(),
        };
    };
    let Some(account) = account else {
        return "an epoch with its work to settle".to_owned();
    };
    match account.payout.as_ref().map(|payout| payout.stage) {
        Some(Stage::Sent) if rule.target.kind() == api::Kind::Onchain => {
            return "its transaction to be in a block".to_owned();
        }
        Some(Stage::Sent) => return "the Lightning payment to arrive".to_owned(),
        _ => {}
    }
    if account.not_before > now {
        let minutes = (account.not_before - now).div_ceil(60);
        let trouble = account.trouble.as_deref().unwrap_or("the last try failed");
        return format!("the next try, in {minutes} min: {trouble}");
    }
    let total = account.total();
    if account.payout.is_some() || account.asked || total >= rule.threshold {
        return "nothing: it is about to be paid".to_owned();
    }
    format!("its threshold: {total} of {}", rule.threshold)
}

#[cfg(test)]
mod tests {
    use poolbox_accounting::{FeePpm, Network};

    use super::super::rule::Target;
    use super::*;

    #[test]
    fn what_a_payout_waits_for_is_said_plainly() {
        let owner = |text: &str| Owner::parse(text, Network::Regtest).unwrap();
        let rule = Rule {
            target: Target::Lightning("bob@example.com".to_owned()),
            threshold: Sats::new(2_000),
            max_fee: FeePpm::default(),
        };
        let said = |account: &Account| waits_for(&owner("bob"), Some(&rule), Some(account), 1_000);
        let mut account = Account::new("bob".to_owned());
        account.balance = Sats::new(700);
        assert_eq!(said(&account), "its threshold: 700 sat of 2000 sat");
        account.uncollected = Sats::new(1_300);
        assert_eq!(said(&account), "nothing: it is about to be paid");
        account.not_before = 1_061;
        account.trouble = Some("the host example.com does not answer (refused)".to_owned());
        assert_eq!(said(&account), "the next try, in 2 min: the host example.com does not answer (refused)");
        assert!(waits_for(&owner("bob"), None, None, 0).contains("set where the sats go"));
        let key = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
        assert!(waits_for(&owner(key), None, None, 0).contains("whoever holds the key"));
    }
}
