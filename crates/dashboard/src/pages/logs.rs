//! Logs: what every service wrote, for the admin; and a bundle of it for a bug report.

use std::path::PathBuf;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::admin::Visitor;
use crate::app::{Refusal, Shared};
use crate::feed::Snapshot;
use crate::frame::{Frame, Section, page};
use crate::logfile::{self, Filter, Level, Line};
use crate::words;

/// Lines on the page.
const SHOWN: usize = 300;
/// Lines in a bundle.
const BUNDLED: usize = 20_000;

/// Which lines are to be shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wish {
    #[serde(default)]
    service: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    q: String,
}

impl Wish {
    fn filter(&self) -> Filter {
        Filter {
            service: Some(self.service.clone()).filter(|service| !service.is_empty()),
            level: Level::named(&self.level),
            text: self.q.trim().to_owned(),
        }
    }
}

#[derive(Template)]
#[template(path = "logs.html")]
struct Page {
    frame: Frame,
    wish: Wish,
    services: Vec<String>,
    lines: Vec<Line>,
    is_set: bool,
}

/// `GET /logs`
pub async fn show(State(app): State<Shared>, visitor: Visitor, Query(wish): Query<Wish>) -> Response {
    if let Err(door) = visitor.admin() {
        return door.into_response();
    }
    let dir = app.settings.log_dir.clone();
    let is_set = dir.is_some();
    let filter = wish.filter();
    let (services, lines) = read(dir, filter, SHOWN).await;
    let frame = Frame::new(&app, &visitor, Section::Logs, "Logs");
    page(&Page { frame, wish, services, lines, is_set })
}

/// `GET /logs/bundle`: plain text, to be attached to a bug report.
pub async fn bundle(State(app): State<Shared>, visitor: Visitor) -> Response {
    if let Err(door) = visitor.admin() {
        return door.into_response();
    }
    let Some(dir) = app.settings.log_dir.clone() else {
        return Refusal::new(StatusCode::NOT_FOUND, "No log_dir is set.").into_response();
    };
    let (_, lines) = read(Some(dir), Filter::default(), BUNDLED).await;
    let mut text = head(&app.now());
    for line in lines {
        text.push_str(&format!("{:<10} {}\n", line.service, line.text));
    }
    let name = format!("attachment; filename=\"poolbox-logs-{}.txt\"", app.now().at);
    ([(CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, name)], text)
        .into_response()
}

async fn read(dir: Option<PathBuf>, filter: Filter, most: usize) -> (Vec<String>, Vec<Line>) {
    let Some(dir) = dir else { return (Vec::new(), Vec::new()) };
    let reading = move || (logfile::services(&dir), logfile::newest(&dir, &filter, most));
    tokio::task::spawn_blocking(reading).await.unwrap_or_default()
}

/// What whoever reads a bug report asks first.
fn head(now: &Snapshot) -> String {
    let mut head = format!("Poolbox {}, {}\n", env!("CARGO_PKG_VERSION"), words::stamp(now.at));
    let mut add = |text: String| head.push_str(&(text + "\n"));
    match (&now.pool, &now.pool_trouble) {
        (Some(pool), _) => add(format!(
            "pool {} on {}, up for {} s; {} connections, {} workers; work for block {:?}, trouble {:?}, halted {:?}",
            pool.version,
            pool.network,
            pool.uptime_s,
            pool.connections,
            pool.workers.len(),
            pool.source.height,
            pool.source.trouble,
            pool.halted
        )),
        (None, trouble) => add(format!("pool: {}", trouble.as_deref().unwrap_or("not asked"))),
    }
    match (&now.mint, &now.mint_trouble) {
        (Some(mint), _) => add(format!(
            "mint {}; chain at {}, connected {}, {} entries waiting, halted {:?}",
            mint.version, mint.chain.height, mint.chain.connected, mint.queue.waiting, mint.halted
        )),
        (None, trouble) => add(format!("mint: {}", trouble.as_deref().unwrap_or("none"))),
    }
    match (&now.node, &now.node_trouble) {
        (Some(node), _) => add(format!(
            "node {}; {} of {} blocks, {:.4} checked, {} peers",
            node.version, node.height, node.headers, node.progress, node.peers
        )),
        (None, trouble) => add(format!("node: {}", trouble.as_deref().unwrap_or("not asked"))),
    }
    add(String::new());
    logfile::without_secrets(&head.replace('\n', "\u{1}")).replace('\u{1}', "\n")
}
