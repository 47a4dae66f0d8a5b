//! Alerts: what happened lately, and where it is sent.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use crate::admin::Visitor;
use crate::alerts::{Event, Health, Kind};
use crate::app::Shared;
use crate::frame::{Frame, Section, page};
use crate::pages::door::Token;
use crate::words;

#[derive(Template)]
#[template(path = "alerts.html")]
struct Page {
    frame: Frame,
    events: Vec<Row>,
    ways: Vec<Way>,
    silent_after: String,
}

struct Row {
    title: &'static str,
    class: &'static str,
    text: String,
    ago: String,
    stamp: String,
}

struct Way {
    kind: &'static str,
    host: String,
    class: &'static str,
    state: String,
}

/// `GET /alerts`
pub async fn show(State(app): State<Shared>, visitor: Visitor) -> Response {
    let now = app.now();
    page(&Page {
        frame: Frame::of(&now, &visitor, Section::Alerts, "Alerts"),
        events: app.alerts.events().iter().map(|event| Row::new(event, now.at)).collect(),
        ways: app.alerts.ways().into_iter().map(|way| Way::new(way, now.at)).collect(),
        silent_after: words::duration(app.settings.alerts.silent_after_s),
    })
}

/// `POST /alerts/test`
pub async fn test(State(app): State<Shared>, visitor: Visitor, Form(form): Form<Token>) -> Response {
    if let Err(turned) = visitor.changes(&form.token) {
        return turned.into_response();
    }
    app.alerts.test().await;
    Redirect::to("/alerts").into_response()
}

impl Row {
    fn new(event: &Event, now: u64) -> Self {
        Self {
            title: event.title(),
            class: event.class(),
            text: event.text.clone(),
            ago: words::ago(event.at, now),
            stamp: words::stamp(event.at),
        }
    }
}

impl Way {
    fn new((kind, host, health, waiting): (Kind, String, Health, usize), now: u64) -> Self {
        let waits = match waiting {
            1 => "1 alert waits and is tried again for a day".to_owned(),
            waiting => format!("{waiting} alerts wait and are tried again for a day"),
        };
        let (class, state) = match (health.trouble, waiting, health.sent_at) {
            (Some(trouble), 0, _) => ("alarm", format!("the last alert was refused: {trouble}")),
            (Some(trouble), ..) => ("alarm", format!("does not arrive: {trouble}; {waits}")),
            (None, 1.., _) => ("idle", "on its way".to_owned()),
            (None, 0, Some(at)) => ("well", format!("the last one arrived {}", words::ago(at, now))),
            (None, 0, None) => ("idle", "nothing was sent since the dashboard started".to_owned()),
        };
        Self { kind: kind.name(), host, class, state }
    }
}
