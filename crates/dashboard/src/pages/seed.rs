//! The words of the seed: shown in answer to the admin's form until two of them were entered, then never again. The
//! mint decides that; nothing of it is kept here.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use poolbox_api::Client;
use poolbox_api::mint::{self, Seed, SeedConfirmation, SeedWord, SeedWords};
use serde::Deserialize;

use crate::admin::{Turned, Visitor};
use crate::app::{App, Shared};
use crate::frame::{Frame, Section, page_with};
use crate::pages::claims::spoken;
use crate::words;

#[derive(Template)]
#[template(path = "seed.html")]
struct Page {
    frame: Frame,
    trouble: Option<String>,
    words: Vec<String>,
    ask: Vec<usize>,
    guided: bool,
}

/// Whether the words are on paper.
pub enum Paper {
    /// The mint does not say.
    Unknown,
    /// They can still be shown.
    Missing,
    /// They were written down.
    Written {
        /// When.
        when: String,
        /// Names the seed and tells nothing about it.
        fingerprint: String,
    },
}

/// A form that asks for the words.
#[derive(Deserialize)]
pub struct Asked {
    token: String,
    /// On the way through the first steps.
    #[serde(default)]
    guided: bool,
}

/// The two words that were asked for.
#[derive(Deserialize)]
pub struct Entered {
    token: String,
    #[serde(default)]
    guided: bool,
    first: usize,
    first_word: String,
    second: usize,
    second_word: String,
}

/// Whether the words are on paper, as the mint says.
pub async fn paper(app: &App) -> Paper {
    let Some(mint) = &app.mint else { return Paper::Unknown };
    match mint.get::<Seed>(mint::SEED).await {
        Ok(Seed { confirmed_at: Some(at), fingerprint, .. }) => {
            Paper::Written { when: words::ago(at, app.now().at), fingerprint }
        }
        Ok(Seed { confirmed_at: None, .. }) => Paper::Missing,
        Err(_) => Paper::Unknown,
    }
}

/// `POST /seed/show`
pub async fn show(State(app): State<Shared>, visitor: Visitor, Form(asked): Form<Asked>) -> Response {
    match allowed(&app, &visitor, &asked.token) {
        Ok(mint) => shown(&app, &visitor, mint, asked.guided, None).await,
        Err(turned) => turned.into_response(),
    }
}

/// `POST /seed/confirm`
pub async fn confirm(State(app): State<Shared>, visitor: Visitor, Form(entered): Form<Entered>) -> Response {
    let mint = match allowed(&app, &visitor, &entered.token) {
        Ok(mint) => mint,
        Err(turned) => return turned.into_response(),
    };
    let Entered { guided, first, first_word, second, second_word, .. } = entered;
    let words = [(first, first_word), (second, second_word)];
    let words = words.into_iter().map(|(position, word)| SeedWord { position, word }).collect();
    match mint.post::<_, Seed>(mint::SEED_CONFIRM, &SeedConfirmation { words }).await {
        Ok(_) => Redirect::to(if guided { "/start?step=miner" } else { "/backup" }).into_response(),
        Err(error) => shown(&app, &visitor, mint, guided, Some(spoken(&error))).await,
    }
}

fn allowed<'a>(app: &'a App, visitor: &Visitor, token: &str) -> Result<&'a Client, Turned> {
    visitor.changes(token)?;
    app.mint.as_ref().ok_or(Turned::Away("/settings"))
}

async fn shown(
    app: &App,
    visitor: &Visitor,
    mint: &Client,
    guided: bool,
    trouble: Option<String>,
) -> Response {
    let frame = Frame::new(app, visitor, Section::Settings, "The seed");
    match mint.post::<_, SeedWords>(mint::SEED_SHOW, &()).await {
        Ok(SeedWords { words, ask }) => {
            let status = if trouble.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
            page_with(status, &Page { frame, trouble, words, ask, guided })
        }
        Err(error) => {
            let trouble = Some(spoken(&error));
            let page = Page { frame, trouble, words: Vec::new(), ask: Vec::new(), guided };
            page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}
