//! The door: the first password, logging in, logging out.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::admin::{Closed, MIN_LENGTH, Session, Visitor};
use crate::app::{App, Shared};
use crate::frame::{Frame, Section, page_with};
use crate::pages::encrypted::Offer;

#[derive(Template)]
#[template(path = "setup.html")]
struct Setup {
    frame: Frame,
    trouble: Option<String>,
    min_length: usize,
    offer: Option<Offer>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    frame: Frame,
    trouble: Option<String>,
    offer: Option<Offer>,
}

/// The first password.
#[derive(Deserialize)]
pub struct First {
    code: String,
    password: String,
    again: String,
}

/// The password.
#[derive(Deserialize)]
pub struct Given {
    password: String,
}

/// A form with nothing but its token.
#[derive(Deserialize)]
pub struct Token {
    /// Of the session.
    pub token: String,
}

/// `GET /setup`
pub async fn setup(State(app): State<Shared>, visitor: Visitor) -> Response {
    if visitor.is_set { Redirect::to("/login").into_response() } else { show_setup(&app, &visitor, None) }
}

/// `POST /setup`
pub async fn set(State(app): State<Shared>, visitor: Visitor, Form(first): Form<First>) -> Response {
    if first.password != first.again {
        return show_setup(&app, &visitor, Some(&Closed::Unfit("The two passwords are not the same.")));
    }
    match app.admin.set_first(visitor.peer, &first.code, &first.password).await {
        // An appliance asks what it is to do; on any other machine that is in files.
        Ok(session) => inside(&session, if app.choices.is_some() { "/start" } else { "/settings" }),
        Err(closed) => show_setup(&app, &visitor, Some(&closed)),
    }
}

/// `GET /login`
pub async fn login(State(app): State<Shared>, visitor: Visitor) -> Response {
    match (&visitor.session, visitor.is_set) {
        (Some(_), _) => Redirect::to("/settings").into_response(),
        (None, false) => Redirect::to("/setup").into_response(),
        (None, true) => show_login(&app, &visitor, None),
    }
}

/// `POST /login`
pub async fn enter(State(app): State<Shared>, visitor: Visitor, Form(given): Form<Given>) -> Response {
    match app.admin.log_in(visitor.peer, &given.password).await {
        Ok(session) => inside(&session, "/settings"),
        Err(closed) => show_login(&app, &visitor, Some(&closed)),
    }
}

/// `POST /logout`
pub async fn leave(State(app): State<Shared>, visitor: Visitor, Form(form): Form<Token>) -> Response {
    match visitor.changes(&form.token) {
        Ok(session) => app.admin.log_out(session),
        Err(turned) => return turned.into_response(),
    }
    with_cookie(&Session::farewell(visitor.peer.wire), "/")
}

/// On with a session, as an answer to a form.
pub fn inside(session: &Session, path: &str) -> Response {
    with_cookie(&session.header(), path)
}

fn with_cookie(header: &str, path: &str) -> Response {
    let mut answer = Redirect::to(path).into_response();
    if let Ok(value) = HeaderValue::from_str(header) {
        answer.headers_mut().insert(SET_COOKIE, value);
    }
    answer
}

fn show_setup(app: &App, visitor: &Visitor, closed: Option<&Closed>) -> Response {
    let frame = Frame::new(app, visitor, Section::Settings, "Welcome");
    let offer = Offer::of(app, visitor, "/setup");
    let trouble = closed.map(Closed::sentence);
    page_with(status(closed), &Setup { frame, trouble, min_length: MIN_LENGTH, offer })
}

fn show_login(app: &App, visitor: &Visitor, closed: Option<&Closed>) -> Response {
    let frame = Frame::new(app, visitor, Section::Settings, "Log in");
    let offer = Offer::of(app, visitor, "/login");
    page_with(status(closed), &Login { frame, trouble: closed.map(Closed::sentence), offer })
}

const fn status(closed: Option<&Closed>) -> StatusCode {
    match closed {
        None => StatusCode::OK,
        Some(Closed::Wait(_)) => StatusCode::TOO_MANY_REQUESTS,
        Some(Closed::Wrong(_) | Closed::Unfit(_)) => StatusCode::FORBIDDEN,
        Some(Closed::Broken) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
