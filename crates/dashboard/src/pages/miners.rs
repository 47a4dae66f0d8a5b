//! All workers: filtered, sorted, a hundred a page.

use std::cmp::Reverse;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use poolbox_api::pool;
use serde::Deserialize;

use crate::admin::Visitor;
use crate::app::Shared;
use crate::chart;
use crate::frame::{Frame, Section, page};
use crate::history::{History, Span};
use crate::pages::overview::percent;
use crate::words;

/// Workers on a page.
const PER_PAGE: usize = 100;

/// Which workers are to be shown.
#[derive(Debug, Default, Deserialize)]
pub struct Wish {
    /// Text in the name or the firmware.
    #[serde(default)]
    q: String,
    #[serde(default)]
    sort: Sort,
    /// From 1.
    #[serde(default)]
    page: usize,
}

/// By what workers are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    #[default]
    Name,
    Rate,
    Seen,
    Rejected,
    #[serde(other)]
    Other,
}

impl Sort {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Name, "name", "Name"),
        (Self::Rate, "rate", "Fastest first"),
        (Self::Seen, "seen", "Silent first"),
        (Self::Rejected, "rejected", "Most rejected first"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(sort, ..)| *sort == self).map_or("name", |(_, name, _)| name)
    }
}

#[derive(Template)]
#[template(path = "miners.html")]
struct Page {
    frame: Frame,
    q: String,
    sort: Sort,
    known: usize,
    found: usize,
    connected: usize,
    rows: Vec<Row>,
    page: usize,
    pages: usize,
}

struct Row {
    owner: String,
    name: String,
    title: String,
    state: &'static str,
    class: &'static str,
    rate: String,
    hour: String,
    spark: String,
    difficulty: String,
    accepted: String,
    rejected: u64,
    percent: String,
    best: String,
    last: String,
    stamp: String,
    protocol: &'static str,
    firmware: String,
}

/// `GET /miners`
pub async fn show(State(app): State<Shared>, visitor: Visitor, Query(wish): Query<Wish>) -> Response {
    let now = app.now();
    let all: &[pool::Worker] = now.pool.as_ref().map_or(&[], |pool| &pool.workers);
    let chosen = choose(all, &wish);
    let pages = chosen.len().div_ceil(PER_PAGE).max(1);
    let number = wish.page.clamp(1, pages);
    let history = app.history();
    let rows = chosen.iter().skip((number - 1) * PER_PAGE).take(PER_PAGE);
    let rows = rows.map(|worker| Row::new(worker, &history, now.at)).collect();
    drop(history);
    page(&Page {
        frame: Frame::of(&now, &visitor, Section::Miners, "Miners"),
        known: all.len(),
        found: chosen.len(),
        connected: all.iter().filter(|worker| worker.connected).count(),
        rows,
        page: number,
        pages,
        q: wish.q,
        sort: wish.sort,
    })
}

fn choose<'a>(all: &'a [pool::Worker], wish: &Wish) -> Vec<&'a pool::Worker> {
    let wanted = wish.q.trim().to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    let fits = |worker: &&pool::Worker| wanted.is_empty() || has(&title(worker)) || has(&worker.user_agent);
    let mut chosen: Vec<_> = all.iter().filter(fits).collect();
    match wish.sort {
        Sort::Name | Sort::Other => {}
        Sort::Rate => chosen.sort_by_key(|worker| Reverse(worker.hashrate.ten_minutes)),
        Sort::Seen => chosen.sort_by_key(|worker| worker.last_share_at),
        Sort::Rejected => chosen.sort_by_key(|worker| Reverse(worker.shares.rejected.values().sum::<u64>())),
    }
    chosen
}

/// As the user name that it connects with.
pub fn title(worker: &pool::Worker) -> String {
    if worker.name.is_empty() { worker.owner.clone() } else { format!("{}.{}", worker.owner, worker.name) }
}

/// How a worker does, in a word.
pub fn state(worker: &pool::Worker) -> (&'static str, &'static str) {
    match (worker.connected, worker.hashrate.ten_minutes > 0) {
        (true, true) => ("Mining", "well"),
        (true, false) => ("Connected, no share yet", "warning"),
        (false, _) => ("Away", "idle"),
    }
}

/// For people.
pub const fn protocol(protocol: pool::Protocol) -> &'static str {
    match protocol {
        pool::Protocol::Sv1 => "Stratum V1",
        pool::Protocol::Sv2 => "Stratum V2",
    }
}

impl Row {
    fn new(worker: &pool::Worker, history: &History, now: u64) -> Self {
        let rejected: u64 = worker.shares.rejected.values().sum();
        let (state, class) = state(worker);
        let points = history.worker(&worker.owner, &worker.name, Span::Day, now);
        Self {
            owner: worker.owner.clone(),
            name: worker.name.clone(),
            title: title(worker),
            state,
            class,
            rate: words::hashrate(worker.hashrate.ten_minutes),
            hour: words::hashrate(worker.hashrate.hour),
            spark: points.map(|points| chart::spark(&points)).unwrap_or_default(),
            difficulty: words::difficulty(f64::from(worker.difficulty_log2).exp2()),
            accepted: words::grouped(worker.shares.accepted),
            rejected,
            percent: percent(rejected, worker.shares.accepted),
            best: worker
                .shares
                .best
                .as_ref()
                .map_or_else(String::new, |best| words::difficulty(best.difficulty)),
            last: worker.last_share_at.map_or_else(|| "none yet".to_owned(), |at| words::ago(at, now)),
            stamp: worker.last_share_at.map(words::stamp).unwrap_or_default(),
            protocol: protocol(worker.protocol),
            firmware: worker.user_agent.clone(),
        }
    }
}
