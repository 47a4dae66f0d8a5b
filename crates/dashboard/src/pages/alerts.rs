//! Alerts: what happened lately, where it is sent, and choosing that.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use crate::admin::Visitor;
use crate::alerts::{AlertSettings, Event, Field, Health, Kind, Mistake, Topic, Typed, Wish};
use crate::app::{App, Shared};
use crate::frame::{Frame, Section, page_with};
use crate::pages::door::Token;
use crate::words;

#[derive(Template)]
#[template(path = "alerts.html")]
struct Page {
    frame: Frame,
    events: Vec<Row>,
    ways: Vec<Way>,
    silent_after: String,
    /// For the admin.
    fields: Option<Fields>,
}

/// The form, without the secrets that are set.
struct Fields {
    mistake: Option<Mistake>,
    webhook: Option<String>,
    ntfy: Option<String>,
    has_token: bool,
    /// Name, title, and whether it is sent.
    events: Vec<(&'static str, &'static str, bool)>,
    /// Minutes.
    silent_after: String,
    is_chosen: bool,
    is_written: bool,
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
    drawn(&app, &visitor, None)
}

/// `POST /alerts/settings`. A box that is ticked comes as a pair of its own, so the form is read as pairs.
pub async fn choose(
    State(app): State<Shared>,
    visitor: Visitor,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Response {
    let (token, wish) = read(&pairs);
    if let Err(turned) = visitor.changes(token) {
        return turned.into_response();
    }
    match app.alerts.choose(&wish).await {
        Ok(()) => Redirect::to("/alerts").into_response(),
        Err(mistake) => drawn(&app, &visitor, Some((wish, mistake))),
    }
}

/// `POST /alerts/settings/remove`
pub async fn forget(State(app): State<Shared>, visitor: Visitor, Form(form): Form<Token>) -> Response {
    if let Err(turned) = visitor.changes(&form.token) {
        return turned.into_response();
    }
    match app.alerts.forget_choice().await {
        Ok(()) => Redirect::to("/alerts").into_response(),
        Err(mistake) => drawn(&app, &visitor, Some((Wish::default(), mistake))),
    }
}

/// The session's token, and what is asked for.
fn read(pairs: &[(String, String)]) -> (&str, Wish) {
    let given = |name: &str| {
        let found = pairs.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let typed =
        |name: &str| Typed { new: given(name).to_owned(), remove: !given(&format!("no_{name}")).is_empty() };
    let events = pairs.iter().filter(|(key, _)| key == "event").map(|(_, value)| value.clone());
    let wish = Wish {
        webhook: typed("webhook"),
        ntfy: typed("ntfy"),
        token: typed("ntfy_token"),
        events: events.collect(),
        silent_after: given("silent_after").to_owned(),
    };
    (given("token"), wish)
}

/// The page, with what was asked for and cannot be taken.
fn drawn(app: &App, visitor: &Visitor, refused: Option<(Wish, Mistake)>) -> Response {
    let now = app.now();
    let settings = app.alerts.settings();
    let status = match &refused {
        None => StatusCode::OK,
        Some((_, Mistake { field: Some(_), .. })) => StatusCode::UNPROCESSABLE_ENTITY,
        Some((_, Mistake { field: None, .. })) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let shown = Page {
        frame: Frame::of(&now, visitor, Section::Alerts, "Alerts"),
        events: app.alerts.events().iter().map(|event| Row::new(event, now.at)).collect(),
        ways: app.alerts.ways().into_iter().map(|way| Way::new(way, now.at)).collect(),
        silent_after: words::duration(settings.silent_after_s),
        fields: visitor.session.is_some().then(|| Fields::new(app, &settings, refused)),
    };
    page_with(status, &shown)
}

/// `POST /alerts/test`
pub async fn test(State(app): State<Shared>, visitor: Visitor, Form(form): Form<Token>) -> Response {
    if let Err(turned) = visitor.changes(&form.token) {
        return turned.into_response();
    }
    app.alerts.test().await;
    Redirect::to("/alerts").into_response()
}

impl Fields {
    fn new(app: &App, settings: &AlertSettings, refused: Option<(Wish, Mistake)>) -> Self {
        let part = |kind| {
            let way = settings.ways.iter().find(|way| way.kind == kind);
            way.map(|way| format!("{}/…", way.host))
        };
        let (wish, mistake) = refused.unzip();
        // A mistake of the disk was made with nothing typed.
        let wish = wish.filter(|_| mistake.as_ref().is_some_and(|mistake| mistake.field.is_some()));
        let is_sent = |topic: Topic| match &wish {
            Some(wish) => wish.events.iter().any(|name| name == topic.name()),
            None => settings.topics.contains(&topic),
        };
        Self {
            webhook: part(Kind::Webhook),
            ntfy: part(Kind::Ntfy),
            has_token: settings.ways.iter().any(crate::alerts::Way::has_token),
            events: Topic::CHOICES.map(|topic| (topic.name(), topic.title(), is_sent(topic))).into(),
            silent_after: match &wish {
                Some(wish) => wish.silent_after.clone(),
                None => settings.silent_after_s.div_ceil(60).to_string(),
            },
            is_chosen: app.alerts.is_chosen(),
            is_written: app.alerts.is_written(),
            mistake,
        }
    }

    /// What is wrong with a field.
    fn wrong(&self, field: Field) -> Option<&str> {
        let mistake = self.mistake.as_ref().filter(|mistake| mistake.field == Some(field))?;
        Some(&mistake.sentence)
    }

    /// What is wrong with none of them.
    fn trouble(&self) -> Option<&str> {
        let mistake = self.mistake.as_ref().filter(|mistake| mistake.field.is_none())?;
        Some(&mistake.sentence)
    }
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
