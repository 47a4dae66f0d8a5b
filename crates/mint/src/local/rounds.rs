//! Mode proxy: where upstream pools pay, and the rounds: `GET /upstream`, `POST /upstream/offer`,
//! `GET /rounds`.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use poolbox_accounting::{Payment, Round, RoundId, Sats};
use poolbox_api::{Problem, mint as api};
use poolbox_service::Answer;

use super::{Local, Reply, broken, lightning};
use crate::ledger::{self, Place, SharedOut, UpstreamAccount};
use crate::upstream;

/// Rounds that are listed.
const LISTED: u64 = 100;

/// The routes of this room.
pub fn routes() -> Router<Arc<Local>> {
    Router::new()
        .route(api::UPSTREAM, get(account))
        .route(api::UPSTREAM_OFFER, post(offer))
        .route(api::ROUNDS, get(rounds))
}

async fn account(State(local): State<Arc<Local>>) -> Reply<api::UpstreamAccount> {
    let account = local.upstream(false).await.map_err(broken)?;
    Ok(Json(shown(account)))
}

async fn offer(State(local): State<Arc<Local>>) -> Reply<api::UpstreamAccount> {
    let node = lightning::node(&local)?.info().await.map_err(lightning::answer)?;
    // An offer names a way to the node.
    if !node.channels.iter().any(|channel| channel.usable) {
        let problem = Problem::new("an offer needs a Lightning channel, and none can be used yet");
        let remedy = "have one opened to this node, or open one (poolbox lightning open), and ask again";
        return Err(Answer::bad_request(problem.remedy(remedy)));
    }
    let account = local.upstream(true).await.map_err(broken)?;
    Ok(Json(shown(account)))
}

async fn rounds(State(local): State<Arc<Local>>) -> Reply<Vec<api::Round>> {
    local.rounds().await.map(Json).map_err(broken)
}

fn shown(account: UpstreamAccount) -> api::UpstreamAccount {
    api::UpstreamAccount { address: account.address, offer: account.offer.map(|offer| offer.text) }
}

impl Local {
    async fn upstream(&self, offer: bool) -> anyhow::Result<UpstreamAccount> {
        let (db, tip) = (self.mint.localstore(), self.progress().await?.epochs.tip());
        match self.treasury.lightning().filter(|_| offer) {
            Some(node) => upstream::with_offer(&db, &self.treasury, node, tip).await,
            None => upstream::account(&db, &self.treasury, tip).await,
        }
    }

    /// The latest rounds, newest first.
    async fn rounds(&self) -> anyhow::Result<Vec<api::Round>> {
        let db = self.mint.localstore();
        let live = self.progress().await?.rounds;
        let newest = live.open().get();
        let mut list = Vec::new();
        for id in (newest.saturating_sub(LISTED - 1).max(1)..=newest).rev().map(RoundId::new) {
            let shared: Option<SharedOut> = ledger::read(&db, &Place::shared_out(id)).await?;
            let (round, state) = match shared {
                Some(shared) => (shared.round, api::RoundState::Shared),
                // Between two readings it may have left the one and not be in the other yet.
                None => match live.live().iter().find(|round| round.id == id) {
                    Some(round) => (round.clone(), state(round)),
                    None => continue,
                },
            };
            let paid: Option<Sats> = ledger::read(&db, &Place::shared(id)).await?;
            let owners = ledger::parts_in(&db, id).await?.len();
            list.push(api::Round {
                n: id,
                state,
                ended_at: round.end.as_ref().map(|end| end.at),
                work: round.work,
                received: round.reward(),
                paid: paid.unwrap_or_default(),
                owners: u32::try_from(owners).unwrap_or(u32::MAX),
                payments: round.payments.iter().map(payment).collect(),
            });
        }
        Ok(list)
    }
}

const fn state(round: &Round) -> api::RoundState {
    match (&round.end, &round.rate) {
        (_, Some(_)) => api::RoundState::Sharing,
        (Some(_), None) => api::RoundState::Ended,
        (None, None) => api::RoundState::Open,
    }
}

fn payment(payment: &Payment) -> api::UpstreamPayment {
    let Payment { id, sats, at, is_final } = payment;
    api::UpstreamPayment { id: id.to_string(), sats: *sats, at: *at, is_final: *is_final }
}
