//! "Why isn't it mining?": the way of a share, and where it ends.

use std::cmp::Reverse;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::admin::Visitor;
use crate::app::Shared;
use crate::diagnosis::{self, Finding, Step, Verdict};
use crate::frame::{Frame, Section, page};
use crate::pages::miners::title;

/// Workers that are listed, those in trouble first.
const MAX_WORKERS: usize = 100;

#[derive(Template)]
#[template(path = "why.html")]
struct Page {
    frame: Frame,
    steps: Vec<Step>,
    first: Option<Step>,
    workers: Vec<(String, String, String, Finding)>,
    more: usize,
}

/// `GET /why`
pub async fn show(State(app): State<Shared>, visitor: Visitor) -> Response {
    let now = app.now();
    let steps = diagnosis::steps(&now);
    let workers = now.pool.iter().flat_map(|pool| &pool.workers);
    let mut found: Vec<_> = workers.map(|worker| (worker, diagnosis::worker(worker, now.at))).collect();
    found.sort_by_key(|(worker, finding)| {
        let order = match finding.verdict {
            Verdict::Failed => 0,
            Verdict::Open => 1,
            Verdict::Done => 2,
        };
        (order, Reverse(worker.connected))
    });
    let more = found.len().saturating_sub(MAX_WORKERS);
    let shown = found.into_iter().take(MAX_WORKERS);
    page(&Page {
        frame: Frame::of(&now, &visitor, Section::Why, "Why isn't it mining?"),
        first: steps.iter().find(|step| step.verdict == Verdict::Failed).cloned(),
        steps,
        workers: shown
            .map(|(worker, finding)| (worker.owner.clone(), worker.name.clone(), title(worker), finding))
            .collect(),
        more,
    })
}
