//! The first steps on a new box: which network, whom blocks pay, the seed's words on paper, the first miner. Each can
//! be skipped, and leaves what is set as it is.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::admin::Visitor;
use crate::app::{App, Shared};
use crate::choices::{Field, Mistake, Wish};
use crate::frame::{Frame, Section, page_with};
use crate::pages::choices::Fields;
use crate::pages::encrypted::Offer;
use crate::pages::seed::{Paper, paper};

#[derive(Template)]
#[template(path = "start.html")]
struct Page {
    frame: Frame,
    step: Step,
    fields: Fields,
    /// Of the first step, for the second.
    network: String,
    /// Whether a box that was lost may be restored here.
    can_restore: bool,
    offer: Option<Offer>,
}

/// Where on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    #[default]
    Network,
    Payout,
    Seed,
    Miner,
}

/// How far somebody is.
#[derive(Deserialize)]
pub struct At {
    #[serde(default)]
    step: Step,
    network: Option<String>,
}

impl Step {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Network, "Network"),
        (Self::Payout, "Whom blocks pay"),
        (Self::Seed, "The seed"),
        (Self::Miner, "A miner"),
    ];
}

/// `GET /start?step=…`
pub async fn show(State(app): State<Shared>, visitor: Visitor, Query(at): Query<At>) -> Response {
    let wish = Wish { network: at.network, ..Wish::default() };
    if at.step == Step::Seed && visitor.session.is_some() && !matches!(paper(&app).await, Paper::Missing) {
        return Redirect::to("/start?step=miner").into_response();
    }
    drawn(&app, &visitor, at.step, &wish, None)
}

/// The second step again, with what was typed and what is wrong with it.
pub fn again(app: &App, visitor: &Visitor, wish: &Wish, mistake: Mistake) -> Response {
    let step = if mistake.field == Some(Field::Network) { Step::Network } else { Step::Payout };
    drawn(app, visitor, step, wish, Some(mistake))
}

fn drawn(app: &App, visitor: &Visitor, step: Step, wish: &Wish, mistake: Option<Mistake>) -> Response {
    if let Err(door) = visitor.admin() {
        return door.into_response();
    }
    let Some(choices) = &app.choices else { return Redirect::to("/settings").into_response() };
    let present = match choices.present_on(wish) {
        Ok(present) => present,
        // The page of settings says what cannot be read.
        Err(_) => return Redirect::to("/settings").into_response(),
    };
    let status = if mistake.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = Page {
        frame: Frame::new(app, visitor, Section::Settings, "First steps"),
        step,
        network: wish.network.clone().unwrap_or_else(|| present.network.to_string()),
        can_restore: app.backups.is_some(),
        offer: Offer::of(app, visitor, "/start?step=seed"),
        fields: Fields::new(&choices.place, &present, wish, mistake, &app.now()),
    };
    page_with(status, &page)
}
