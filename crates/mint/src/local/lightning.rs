//! The operator's side of Lightning on the local API: what the node holds, its channels and peers.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use poolbox_accounting::Sats;
use poolbox_api::{Problem, mint as api};
use poolbox_service::Answer;

use super::Local;
use crate::ledger::{self, Place, UpstreamAccount};
use crate::settings::Peer;
use crate::treasury::{Lightning, Trouble};

/// The routes.
pub(super) fn router() -> Router<Arc<Local>> {
    Router::new()
        .route(api::LIGHTNING, get(info))
        .route(api::LIGHTNING_UNQUOTED, get(unquoted))
        .route(api::LIGHTNING_ADDRESS, post(address))
        .route(api::LIGHTNING_PEERS, post(connect))
        .route(api::LIGHTNING_CHANNELS, post(open))
        .route(api::LIGHTNING_CLOSE, post(close))
        .route(api::LIGHTNING_OFFERS, post(offer))
}

pub(super) fn node(local: &Local) -> Result<&Arc<Lightning>, Answer> {
    local.treasury.lightning().ok_or_else(|| {
        Answer::not_found(
            Problem::new("this mint has no Lightning node")
                .remedy("add a section [lightning] to mint.toml and restart the mint"),
        )
    })
}

pub(super) fn answer(trouble: Trouble) -> Answer {
    let problem = Problem::new(trouble.to_string());
    match trouble {
        Trouble::NoChannel(_) => Answer::not_found(problem),
        Trouble::Refused(_) => Answer::bad_request(problem.remedy("see lightning.log beside the mint's log")),
        Trouble::Down(_) | Trouble::Broken(_) => Answer::unavailable(problem),
    }
}

fn peer(text: &str) -> Result<Peer, Answer> {
    text.parse().map_err(|_| {
        Answer::bad_request(Problem::new("that is no Lightning node").remedy("write it as KEY@HOST:PORT"))
    })
}

async fn info(State(local): State<Arc<Local>>) -> Result<Json<api::LightningNode>, Answer> {
    node(&local)?.info().await.map(Json).map_err(answer)
}

async fn unquoted(State(local): State<Arc<Local>>) -> Result<Json<Vec<api::Unquoted>>, Answer> {
    let db = local.mint.localstore();
    let notes = ledger::unquoted(&db).await.map_err(super::broken)?;
    // What is paid to the upstream offer belongs to those who worked.
    let account: Option<UpstreamAccount> =
        ledger::read(&db, &Place::upstream()).await.map_err(super::broken)?;
    let offer = account.and_then(|account| account.offer).map(|offer| offer.id);
    let nobodys = notes.into_iter().filter(|note| Some(&note.request) != offer.as_ref());
    let shown = nobodys.map(|note| api::Unquoted {
        payment_hash: note.payment_hash,
        request: note.request,
        msat: note.msat,
        seen_at: note.seen_at,
    });
    Ok(Json(shown.collect()))
}

async fn address(State(local): State<Arc<Local>>) -> Result<Json<api::LightningAddress>, Answer> {
    let address = node(&local)?.address().await.map_err(answer)?;
    Ok(Json(api::LightningAddress { address }))
}

async fn connect(
    State(local): State<Arc<Local>>,
    Json(request): Json<api::ConnectPeer>,
) -> Result<Json<()>, Answer> {
    let peer = peer(&request.peer)?;
    node(&local)?.connect(peer).await.map(Json).map_err(answer)
}

async fn open(
    State(local): State<Arc<Local>>,
    Json(request): Json<api::OpenChannel>,
) -> Result<Json<()>, Answer> {
    let peer = peer(&request.peer)?;
    if request.sats == Sats::ZERO {
        return Err(Answer::bad_request(Problem::new("a channel needs a size").remedy("name its sats")));
    }
    let opened = node(&local)?.open_channel(peer, request.sats, request.announced).await;
    opened.map(Json).map_err(answer)
}

async fn close(
    State(local): State<Arc<Local>>,
    Json(request): Json<api::CloseChannel>,
) -> Result<Json<()>, Answer> {
    node(&local)?.close_channel(&request.channel, request.force).await.map(Json).map_err(answer)
}

async fn offer(
    State(local): State<Arc<Local>>,
    Json(request): Json<api::MakeOffer>,
) -> Result<Json<api::Offer>, Answer> {
    let offer = node(&local)?.standing_offer(request.description).await.map_err(answer)?;
    Ok(Json(api::Offer { offer }))
}
