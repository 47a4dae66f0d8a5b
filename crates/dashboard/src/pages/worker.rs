//! One worker: how fast, how lucky, and why shares were not accepted.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use poolbox_api::pool;
use serde::Deserialize;

use crate::admin::Visitor;
use crate::app::Shared;
use crate::chart;
use crate::frame::{Frame, Section, page};
use crate::history::Span;
use crate::link::encoded;
use crate::pages::miners::{protocol, state, title};
use crate::pages::missing;
use crate::pages::overview::percent;
use crate::words;

/// Which worker. In the query, because a name may hold anything.
#[derive(Debug, Deserialize)]
pub struct Wish {
    #[serde(default)]
    owner: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    span: String,
}

#[derive(Template)]
#[template(path = "worker.html")]
struct Page {
    frame: Frame,
    owner: String,
    name: String,
    span: Span,
    /// Which worker, for the links to other spans.
    query: String,
    chart: String,
    state: &'static str,
    class: &'static str,
    rate: String,
    rate_hour: String,
    rate_day: String,
    accepted: String,
    rejected: u64,
    percent: String,
    reasons: Vec<Reason>,
    work: String,
    best: Option<(String, String)>,
    last: Option<(String, String)>,
    since: Option<(String, String)>,
    difficulty: String,
    protocol: &'static str,
    firmware: String,
    connections: u32,
}

struct Reason {
    name: String,
    count: String,
    means: &'static str,
}

/// `GET /miner?owner=…&name=…`
pub async fn show(State(app): State<Shared>, visitor: Visitor, Query(wish): Query<Wish>) -> Response {
    let now = app.now();
    let workers = now.pool.iter().flat_map(|pool| &pool.workers);
    let Some(worker) =
        workers.into_iter().find(|worker| worker.owner == wish.owner && worker.name == wish.name)
    else {
        return missing::show(&visitor);
    };
    let (span, points) = {
        let history = app.history();
        let span = Span::named(&wish.span).unwrap_or_else(|| history.telling(now.at));
        (span, history.worker(&worker.owner, &worker.name, span, now.at))
    };
    let chart = points.map_or_else(String::new, |points| chart::rates(&points, span, "Hash rate"));
    let at = |time: u64| (words::ago(time, now.at), words::stamp(time));
    let rejected: u64 = worker.shares.rejected.values().sum();
    let (state, class) = state(worker);
    page(&Page {
        frame: Frame::of(&now, &visitor, Section::Miners, &title(worker)),
        owner: worker.owner.clone(),
        name: worker.name.clone(),
        span,
        query: format!("owner={}&amp;name={}&amp;", encoded(&worker.owner), encoded(&worker.name)),
        chart,
        state,
        class,
        rate: words::hashrate(worker.hashrate.ten_minutes),
        rate_hour: words::hashrate(worker.hashrate.hour),
        rate_day: words::hashrate(worker.hashrate.day),
        accepted: words::grouped(worker.shares.accepted),
        rejected,
        percent: percent(rejected, worker.shares.accepted),
        reasons: worker.shares.rejected.iter().map(Reason::new).collect(),
        work: words::ehash(worker.shares.work_ehash),
        best: worker.shares.best.as_ref().map(best),
        last: worker.last_share_at.map(at),
        since: worker.connected_since.map(at),
        difficulty: words::difficulty(f64::from(worker.difficulty_log2).exp2()),
        protocol: protocol(worker.protocol),
        firmware: worker.user_agent.clone(),
        connections: worker.connections,
    })
}

fn best(best: &pool::BestShare) -> (String, String) {
    (words::difficulty(best.difficulty), best.hash.clone())
}

impl Reason {
    fn new((name, count): (&String, &u64)) -> Self {
        Self { name: name.replace('-', " "), count: words::grouped(*count), means: means(name) }
    }
}

/// What a reason means for the person whose miner it is.
fn means(reason: &str) -> &'static str {
    match reason {
        "stale" => "Found for a block that was over. Now and then is normal; often means a slow network.",
        "unknown-job" => {
            "For work that this box did not send: the miner mixed up two pools, or was restarted."
        }
        "duplicate" => "Sent twice. A bug of the firmware, or an overclocked chip that repeats itself.",
        "above-target" => {
            "Too easy for the work it was sent for. Overclocked too far, or a bug of the firmware."
        }
        "bad-time" => "The time in it was changed too far. A bug of the firmware.",
        "bad-version" => "It changed bits that were not allowed. A bug of the firmware.",
        "bad-extranonce" => "Of a size that was not agreed on. A bug of the firmware.",
        "malformed" => "Could not be read. A bug of the firmware.",
        "unauthorized" => "Sent before the user name was accepted.",
        "not-kept" => "The box could not write it to its disk, so it does not count.",
        _ => "The pool's log tells more.",
    }
}
