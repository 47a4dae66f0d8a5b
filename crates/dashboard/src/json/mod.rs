//! The JSON API: what the pages show, for programs. Described in `web/static/openapi.json`.

mod admin;
mod money;

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use poolbox_api::{Problem, mint, pool};
use poolbox_service::Answer;
use serde::{Deserialize, Serialize};

use crate::admin::{Session, Visitor};
use crate::alarms::alarms;
use crate::alerts::{Event, Kind};
use crate::app::{Refusal, Shared};
use crate::coinbase::Seen;
use crate::disk::Disk;
use crate::history::{Points, Span};
use crate::node::NodeState;
use crate::versions::Versions;

/// The description, which a test compares with the routes.
const OPENAPI: &str = include_str!("../../../../web/static/openapi.json");

/// The box at a glance.
#[derive(Serialize)]
struct Status {
    at: u64,
    version: &'static str,
    network: Option<&'static str>,
    mode: Option<pool::Mode>,
    hashrate: Option<pool::HashRates>,
    connections: Option<u32>,
    shares: Option<pool::Shares>,
    source: Option<pool::Source>,
    upstream: Option<pool::Upstream>,
    job: Option<pool::Job>,
    journal: Option<pool::Journal>,
    blocks: Vec<pool::Block>,
    mint: Option<mint::Status>,
    coinbase: Option<Seen>,
    node: Option<NodeState>,
    sync_left_s: Option<u64>,
    disk: Option<Disk>,
    versions: Option<Versions>,
    backup_made_at: Option<u64>,
    alarms: Vec<Alarm>,
}

#[derive(Serialize)]
struct Alarm {
    gravity: &'static str,
    what: String,
    remedy: &'static str,
}

#[derive(Serialize)]
struct Alerts {
    events: Vec<Event>,
    ways: Vec<Way>,
}

#[derive(Serialize)]
struct Way {
    kind: Kind,
    host: String,
    waiting: usize,
    sent_at: Option<u64>,
    trouble: Option<String>,
}

/// Whose history.
#[derive(Debug, Deserialize)]
struct Whose {
    #[serde(default)]
    span: Span,
    owner: Option<String>,
    #[serde(default)]
    name: String,
}

/// The routes.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/miners", get(miners))
        .route("/api/v1/owners", get(owners))
        .route("/api/v1/epochs", get(epochs))
        .route("/api/v1/rounds", get(rounds))
        .route("/api/v1/history", get(history))
        .route("/api/v1/alerts", get(alerts))
        .route("/api/v1/owner", get(money::owner))
        .route("/api/v1/payouts", get(money::payouts))
        .route("/api/v1/claims", post(money::claim))
        .route("/api/v1/session", get(admin::session))
        .route("/api/v1/logs", get(admin::logs))
        .route("/api/v1/openapi.json", get(description))
        .route("/metrics", get(metrics))
}

/// The admin's session, for what changes something; `token` is of the same session.
fn changes<'a>(visitor: &'a Visitor, token: &str) -> Result<&'a Session, Answer> {
    let session = visitor.session.as_ref().filter(|session| session.wrote(token));
    session.ok_or_else(|| {
        Answer::forbidden(
            Problem::new("only the admin may do this, with the token of the session")
                .remedy("log in at /login and take the token from /api/v1/session"),
        )
    })
}

async fn status(State(app): State<Shared>) -> Response {
    let now = app.now();
    let pool = now.pool.as_ref();
    let told = alarms(&now).into_iter();
    let told =
        told.map(|alarm| Alarm { gravity: alarm.gravity.class(), what: alarm.what, remedy: alarm.remedy });
    Json(Status {
        at: now.at,
        version: env!("CARGO_PKG_VERSION"),
        network: pool.map(|pool| pool.network.name()),
        mode: pool.map(|pool| pool.mode),
        hashrate: pool.map(|pool| pool.hashrate),
        connections: pool.map(|pool| pool.connections),
        shares: pool.map(|pool| pool.shares.clone()),
        source: pool.map(|pool| pool.source.clone()),
        upstream: pool.and_then(|pool| pool.upstream.clone()),
        job: pool.and_then(|pool| pool.job.clone()),
        journal: pool.map(|pool| pool.journal.clone()),
        blocks: pool.map(|pool| pool.blocks.clone()).unwrap_or_default(),
        mint: now.mint.clone(),
        coinbase: now.coinbase.clone(),
        node: now.node.clone(),
        sync_left_s: now.sync_left_s,
        disk: now.disk,
        versions: now.versions.clone(),
        backup_made_at: app.backups.as_ref().and_then(|backups| backups.taken()).map(|taken| taken.made_at),
        alarms: told.collect(),
    })
    .into_response()
}

async fn miners(State(app): State<Shared>) -> Response {
    let now = app.now();
    Json(now.pool.as_ref().map_or(&[][..], |pool| &pool.workers)).into_response()
}

async fn owners(State(app): State<Shared>) -> Response {
    let now = app.now();
    Json(now.pool.as_ref().map_or(&[][..], |pool| &pool.owners)).into_response()
}

async fn epochs(State(app): State<Shared>) -> Response {
    Json(&app.now().epochs).into_response()
}

async fn rounds(State(app): State<Shared>) -> Response {
    Json(&app.now().rounds).into_response()
}

async fn history(State(app): State<Shared>, Query(whose): Query<Whose>) -> Response {
    let now = app.now().at;
    let history = app.history();
    let points: Option<Points> = match &whose.owner {
        None => Some(history.total(whose.span, now)),
        Some(owner) => history.worker(owner, &whose.name, whose.span, now),
    };
    points.map_or_else(
        || Refusal::new(StatusCode::NOT_FOUND, "Nothing is known of that worker.").into_response(),
        |points| Json(points).into_response(),
    )
}

/// What happened lately, and how each way out of the house does.
async fn alerts(State(app): State<Shared>) -> Response {
    let ways = app.alerts.ways().into_iter().map(|(kind, host, health, waiting)| Way {
        kind,
        host,
        waiting,
        sent_at: health.sent_at,
        trouble: health.trouble,
    });
    Json(Alerts { events: app.alerts.events(), ways: ways.collect() }).into_response()
}

async fn description() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// The pool's own figures, in Prometheus' text format.
async fn metrics(State(app): State<Shared>) -> Response {
    match app.pool.get_text(pool::METRICS).await {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(_) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "The pool does not answer.").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_can_be_read_and_names_every_route() {
        let read: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let source = include_str!("mod.rs");
        let routes = source.lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
        let mut routes: Vec<_> = routes
            .flat_map(|rest| {
                let (path, served) = rest.split_once('"').unwrap();
                let methods = ["get", "post", "put", "delete"].into_iter();
                let served = methods.filter(move |method| served.contains(&format!("{method}(")));
                served.map(move |method| (path.to_owned(), method.to_owned()))
            })
            .collect();
        let paths = read["paths"].as_object().unwrap().iter();
        let mut described: Vec<_> = paths
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
            })
            .collect();
        routes.sort_unstable();
        described.sort_unstable();
        assert_eq!(routes, described);
        assert!(routes.contains(&("/api/v1/claims".to_owned(), "post".to_owned())), "{routes:?}");
    }

    #[test]
    fn every_schema_that_is_named_is_there() {
        let read: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let names = OPENAPI.split("\"#/components/schemas/").skip(1);
        for name in names.filter_map(|rest| rest.split('"').next()) {
            assert!(read["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
