//! What is set, and what the admin may change here.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::admin::{Closed, MIN_LENGTH, Visitor};
use crate::app::{App, Shared};
use crate::choices::{Change, Field, Mistake, Service, Wish, mode_spoken};
use crate::feed::Snapshot;
use crate::frame::{Frame, Section, page_with};
use crate::node::NodeState;
use crate::pages::backup::Reminder;
use crate::pages::choices::Fields;
use crate::pages::door::inside;
use crate::versions::Versions;
use crate::words;

/// Changes that are listed.
const LISTED: usize = 10;

#[derive(Template)]
#[template(path = "settings.html")]
struct Page {
    frame: Frame,
    /// Of whatever was asked for.
    trouble: Option<String>,
    min_length: usize,
    facts: Vec<(&'static str, String)>,
    /// Whether settings are changed here at all.
    is_box: bool,
    /// What the admin may choose.
    fields: Option<Fields>,
    services: Vec<Service>,
    changes: Vec<Listed>,
    /// When the last backup was made, where that is known.
    reminder: Option<Reminder>,
}

struct Listed {
    change: Change,
    when: String,
    state: (&'static str, &'static str),
}

/// A change of the password.
#[derive(Deserialize)]
pub struct NewPassword {
    token: String,
    old: String,
    password: String,
    again: String,
}

/// `GET /settings`
pub async fn show(State(app): State<Shared>, visitor: Visitor) -> Response {
    drawn(&app, &visitor, StatusCode::OK, &Wish::default(), None, None)
}

/// `POST /settings/password`
pub async fn password(
    State(app): State<Shared>,
    visitor: Visitor,
    Form(change): Form<NewPassword>,
) -> Response {
    if let Err(refusal) = visitor.changes(&change.token) {
        return refusal.into_response();
    }
    if change.password != change.again {
        return closed(&app, &visitor, &Closed::Unfit("The two new passwords are not the same."));
    }
    match app.admin.change(visitor.peer, &change.old, &change.password).await {
        Ok(session) => inside(&session, "/settings"),
        Err(reason) => closed(&app, &visitor, &reason),
    }
}

fn closed(app: &App, visitor: &Visitor, reason: &Closed) -> Response {
    let trouble = Some(reason.sentence());
    drawn(app, visitor, StatusCode::FORBIDDEN, &Wish::default(), None, trouble)
}

/// The page again, with what was typed and what is wrong with it.
pub fn refused(app: &App, visitor: &Visitor, status: StatusCode, wish: &Wish, mistake: Mistake) -> Response {
    drawn(app, visitor, status, wish, Some(mistake), None)
}

fn drawn(
    app: &App,
    visitor: &Visitor,
    status: StatusCode,
    wish: &Wish,
    mistake: Option<Mistake>,
    trouble: Option<String>,
) -> Response {
    let now = app.now();
    let admin = visitor.session.is_some();
    let choices = app.choices.as_ref().filter(|_| admin);
    let (fields, trouble) = match choices.map(|choices| (choices, choices.present_on(&Wish::default()))) {
        Some((choices, Ok(present))) => {
            let fields = Fields::new(&choices.place, &present, wish, mistake, &app.now());
            let trouble = trouble.or_else(|| fields.trouble());
            (Some(fields), trouble)
        }
        Some((_, Err(unreadable))) => (None, trouble.or_else(|| Some(unreadable.spoken()))),
        None => (None, trouble),
    };
    let listed = |change: Change| {
        let state = match (&change.failed, &change.undone) {
            (Some(_), _) => ("alarm", "not made"),
            (None, Some(_)) => ("idle", "undone"),
            (None, None) => ("well", "made"),
        };
        Listed { when: words::ago(change.asked.at, now.at), state, change }
    };
    let page = Page {
        frame: Frame::of(&now, visitor, Section::Settings, "Settings"),
        trouble,
        min_length: MIN_LENGTH,
        facts: facts(app, visitor, &now),
        is_box: app.choices.is_some(),
        fields,
        services: choices.map(|choices| choices.place.services.clone()).unwrap_or_default(),
        changes: choices
            .map(|choices| choices.all())
            .unwrap_or_default()
            .into_iter()
            .take(LISTED)
            .map(listed)
            .collect(),
        reminder: app.backups.as_ref().map(|backups| Reminder::new(backups, now.at)),
    };
    page_with(status, &page)
}

fn facts(app: &App, visitor: &Visitor, now: &Snapshot) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Dashboard", format!("version {}", env!("CARGO_PKG_VERSION")))];
    if let Some(pool) = &now.pool {
        facts.push(("Network", pool.network.name().to_owned()));
        facts.push(("Mode", mode_spoken(pool.mode).to_owned()));
        facts.push(("Pool", format!("version {}, up for {}", pool.version, words::duration(pool.uptime_s))));
    }
    if let Some(mint) = &now.mint {
        let up = words::duration(now.at.saturating_sub(mint.started_at));
        facts.push(("Mint", format!("version {}, up for {up}", mint.version)));
        facts.push(("Wallets connect to", mint.url.clone()));
    }
    if let Some(node) = &now.node {
        facts.push(("Node", node.version.clone()));
        facts.push(("Blocks kept", blocks_kept(node)));
    }
    if let Some(encrypted) = &app.encrypted {
        facts.push(("Encrypted pages", encrypted.url(&visitor.host)));
        facts.push(("Their certificate (SHA-256)", encrypted.fingerprint.clone()));
    }
    if let Some(choices) = &app.choices {
        let off = choices.place.held().is_ok_and(|held| !held.switches().updates);
        facts.push((
            "Updates",
            match &choices.place.updates_from {
                Some(_) if off => "off; a newer version is flashed anew".to_owned(),
                Some(url) => format!(
                    "looked for once a day at {url} and started at four in the night (UTC), which interrupts mining \
                     for a minute; a version that does not work gives way to the one before by itself"
                ),
                None => "off: nowhere is set to look for them. A newer version is flashed anew".to_owned(),
            },
        ));
    }
    if let Some(versions) = &now.versions {
        facts.extend(of_versions(versions));
    }
    facts
}

/// What the system says of its versions.
fn of_versions(versions: &Versions) -> Vec<(&'static str, String)> {
    let mut facts = vec![("System", format!("version {}", versions.running))];
    let mut add = |name, version: &Option<String>, what: &str| {
        if let Some(version) = version {
            facts.push((name, format!("version {version} {what}")));
        }
    };
    add(
        "Update ready",
        &versions.installed,
        "is installed and waits for the next start, at four in the night (UTC)",
    );
    add("On offer", &versions.offered, "is to be had and not installed yet; that is tried once a day");
    add(
        "Update failed",
        &versions.failed,
        "did not work and was given up; the version before runs as it did. A later one is installed when there is one",
    );
    facts
}

fn blocks_kept(node: &NodeState) -> String {
    let which = if node.pruned { "the newest" } else { "all" };
    format!("{which}, {}", words::bytes(node.disk_bytes))
}
