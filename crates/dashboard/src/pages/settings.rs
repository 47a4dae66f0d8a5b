//! What is set, and what the admin may change here.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use poolbox_api::pool;
use serde::Deserialize;

use crate::admin::{Closed, MIN_LENGTH, Visitor};
use crate::app::{App, Shared};
use crate::frame::{Frame, Section, page_with};
use crate::pages::door::inside;
use crate::words;

#[derive(Template)]
#[template(path = "settings.html")]
struct Page {
    frame: Frame,
    /// Of the form for the password.
    trouble: Option<String>,
    min_length: usize,
    facts: Vec<(&'static str, String)>,
}

/// A change of the password.
#[derive(Deserialize)]
pub struct Change {
    token: String,
    old: String,
    password: String,
    again: String,
}

/// `GET /settings`
pub async fn show(State(app): State<Shared>, visitor: Visitor) -> Response {
    drawn(&app, &visitor, None)
}

/// `POST /settings/password`
pub async fn password(State(app): State<Shared>, visitor: Visitor, Form(change): Form<Change>) -> Response {
    if let Err(refusal) = visitor.changes(&change.token) {
        return refusal.into_response();
    }
    if change.password != change.again {
        return drawn(&app, &visitor, Some(&Closed::Unfit("The two new passwords are not the same.")));
    }
    match app.admin.change(visitor.address, &change.old, &change.password).await {
        Ok(session) => inside(&session, "/settings"),
        Err(closed) => drawn(&app, &visitor, Some(&closed)),
    }
}

fn drawn(app: &App, visitor: &Visitor, closed: Option<&Closed>) -> Response {
    let status = if closed.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let page = Page {
        frame: Frame::new(app, visitor, Section::Settings, "Settings"),
        trouble: closed.map(Closed::sentence),
        min_length: MIN_LENGTH,
        facts: facts(app),
    };
    page_with(status, &page)
}

fn facts(app: &App) -> Vec<(&'static str, String)> {
    let now = app.now();
    let mut facts = vec![("Dashboard", format!("version {}", env!("CARGO_PKG_VERSION")))];
    if let Some(pool) = &now.pool {
        let mode = match pool.mode {
            pool::Mode::Pool => "pool: a block pays the mint, and everybody's work shares in it",
            pool::Mode::Solo => "solo: a block pays the miner that finds it",
        };
        facts.push(("Network", pool.network.name().to_owned()));
        facts.push(("Mode", mode.to_owned()));
        facts.push(("Pool", format!("version {}, up for {}", pool.version, words::duration(pool.uptime_s))));
    }
    if let Some(mint) = &now.mint {
        let up = words::duration(now.at.saturating_sub(mint.started_at));
        facts.push(("Mint", format!("version {}, up for {up}", mint.version)));
        facts.push(("Wallets connect to", mint.url.clone()));
    }
    if let Some(node) = &now.node {
        facts.push(("Node", node.version.clone()));
    }
    facts
}
