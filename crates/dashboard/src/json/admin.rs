//! JSON for the admin: the session's token, which changes carry, and the logs.

use axum::Json;
use axum::extract::{Query, State};
use poolbox_api::Problem;
use poolbox_service::Answer;
use serde::{Deserialize, Serialize};

use crate::admin::Visitor;
use crate::app::Shared;
use crate::logfile::{self, Filter, Level, Line};

/// Lines that are given unless more are asked for.
const LINES: usize = 300;
/// Lines that are given at most.
const MAX_LINES: usize = 20_000;

/// Who asks.
#[derive(Serialize)]
pub struct Session {
    admin: bool,
    token: Option<String>,
}

/// Which lines.
#[derive(Deserialize)]
pub struct Wish {
    #[serde(default)]
    service: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    q: String,
    limit: Option<usize>,
}

/// A line, without secrets.
#[derive(Serialize)]
pub struct Told {
    service: String,
    level: &'static str,
    text: String,
}

/// `GET /api/v1/session`. A page of another site cannot read the answer, as none of our answers.
pub async fn session(visitor: Visitor) -> Json<Session> {
    let token = visitor.session.as_ref().map(|session| session.token().to_owned());
    Json(Session { admin: token.is_some(), token })
}

/// `GET /api/v1/logs`
pub async fn logs(
    State(app): State<Shared>,
    visitor: Visitor,
    Query(wish): Query<Wish>,
) -> Result<Json<Vec<Told>>, Answer> {
    if visitor.session.is_none() {
        return Err(Answer::forbidden(Problem::new("logs are for the admin").remedy("log in at /login")));
    }
    let Some(dir) = app.settings.log_dir.clone() else {
        return Err(Answer::not_found(Problem::new("there are no log files").remedy("set log_dir")));
    };
    let filter = Filter {
        service: Some(wish.service).filter(|service| !service.is_empty()),
        level: Level::named(&wish.level),
        text: wish.q.trim().to_owned(),
    };
    let most = wish.limit.unwrap_or(LINES).min(MAX_LINES);
    let lines = tokio::task::spawn_blocking(move || logfile::newest(&dir, &filter, most)).await;
    let told = |Line { service, level, text, .. }: Line| Told { service, level: level.name(), text };
    Ok(Json(lines.unwrap_or_default().into_iter().map(told).collect()))
}
