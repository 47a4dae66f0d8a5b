//! The pool's local API.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use bitcoin::Target;
use poolbox_accounting::Network;
use poolbox_api::Problem;
use poolbox_api::pool::{self, Protocol, Source, Status, Stop, Stopped};
use poolbox_journal::Journal;
use poolbox_service::{Answer, Input};
use poolbox_stratum::server::Server;
use poolbox_stratum::{Job, JobFeed, PayoutPolicy};
use poolbox_work_source::WorkSource;
use poolbox_work_source::upstream::{Upstream, UpstreamStatus};

use crate::books::{Books, Sink};
use crate::coinbases::{decoded, subsidy_sat};
use crate::jobs::Halt;
use crate::workers::Listing;
use crate::{metrics, outlet};

/// A longer reason is none that a person reads.
const MAX_REASON: usize = 300;

/// What the API reports on.
#[derive(Debug)]
pub struct View {
    /// Network of the node.
    pub network: Network,
    /// Whom the blocks pay.
    pub policy: PayoutPolicy,
    /// When the pool started.
    pub started: (SystemTime, Instant),
    /// Where Sv1 miners connect.
    pub stratum_v1: String,
    /// Where Sv1 miners connect over TLS, if they may.
    pub stratum_v1_tls: Option<pool::Tls>,
    /// Where Sv2 miners connect, with the key of this box.
    pub stratum_v2: String,
    /// Whether mining was stopped.
    pub halt: Arc<Halt>,
    /// The miners' server.
    pub server: Arc<Server<Sink>>,
    /// The counters.
    pub books: Arc<Books>,
    /// The journal.
    pub journal: Journal,
    /// Where the quote queue leaves, if the mint is elsewhere.
    pub outlet: Option<outlet::View>,
    /// Where jobs come from.
    pub source: Arc<WorkSource>,
    /// The upstream pool, in mode proxy.
    pub upstream: Option<Upstream>,
    /// The newest job.
    pub jobs: JobFeed,
}

/// The routes of the local API.
pub fn router(view: View) -> Router {
    let router = Router::new().route(pool::STATUS, get(status)).route(pool::METRICS, get(metrics));
    router.route(pool::HALT, post(halt)).with_state(Arc::new(view))
}

async fn status(State(view): State<Arc<View>>) -> Json<Status> {
    Json(view.status())
}

async fn metrics(State(view): State<Arc<View>>) -> impl IntoResponse {
    let page = metrics::page(&view.status(), &view.books.latency.so_far().each);
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], page)
}

async fn halt(State(view): State<Arc<View>>, Input(stop): Input<Stop>) -> Result<Json<Stopped>, Answer> {
    let reason = readable(&stop.reason).ok_or_else(|| {
        let problem = Problem::new("the reason to stop mining cannot be shown");
        Answer::bad_request(problem.remedy(format!("say it in 1 to {MAX_REASON} characters on one line")))
    })?;
    view.halt.tell(reason);
    Ok(Json(Stopped { reason: view.halt.reason().unwrap_or(reason).to_owned() }))
}

/// A reason as it stands in logs and on pages; none when it is not fit for them.
fn readable(reason: &str) -> Option<&str> {
    let reason = reason.trim();
    let fits = (1..=MAX_REASON).contains(&reason.chars().count()) && !reason.contains(char::is_control);
    fits.then_some(reason)
}

impl View {
    /// Everything the pool knows about itself.
    pub fn status(&self) -> Status {
        let listing = self.books.listing();
        let job = self.jobs.borrow().clone();
        let (started, running) = self.started;
        let speaking = |protocol| count(self.server.speaking(protocol));
        Status {
            network: self.network,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: self.policy.mode(),
            started_at: started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            uptime_s: running.elapsed().as_secs(),
            stratum_v1: self.stratum_v1.clone(),
            stratum_v1_tls: self.stratum_v1_tls.clone(),
            stratum_v2: self.stratum_v2.clone(),
            halted: self.halt.reason().map(str::to_owned),
            connections: count(self.server.connections()),
            connections_by: [
                (Protocol::Sv1, speaking(poolbox_stratum::Protocol::Sv1)),
                (Protocol::Sv2, speaking(poolbox_stratum::Protocol::Sv2)),
            ]
            .into(),
            hashrate: listing.hashrate(),
            shares: listing.shares(),
            source: self.source(job.as_deref()),
            upstream: self.upstream.as_ref().map(|upstream| told(upstream.status())),
            job: job.map(|job| self.job(&job, &listing)),
            latency: self.books.latency.so_far().times(),
            journal: self.journal(),
            delivery: self.outlet.as_ref().map(outlet::View::told),
            owners: listing.owners(),
            workers: listing.workers(),
            blocks: self.books.blocks(),
        }
    }

    fn source(&self, job: Option<&Job>) -> Source {
        let trouble = self.source.current().err().map(|outage| outage.to_string());
        Source { connected: trouble.is_none(), trouble, height: job.map(|job| job.template.height) }
    }

    fn job(&self, job: &Job, listing: &Listing) -> pool::Job {
        let template = &job.template;
        let reward_sat = template.coinbase.value.get();
        pool::Job {
            number: job.number.get(),
            age_ms: u64::try_from(job.made.elapsed().as_millis()).unwrap_or(u64::MAX),
            height: template.height,
            prev_hash: template.prev_hash.to_string(),
            template_time: template.time,
            network_difficulty: Target::from_compact(template.bits).difficulty_float(),
            reward_sat,
            fees_sat: reward_sat.saturating_sub(subsidy_sat(template.height, self.network)),
            coinbases: decoded(job, &self.policy, self.network, listing.owners_at_work()),
        }
    }

    fn journal(&self) -> pool::Journal {
        let stats = self.journal.stats();
        pool::Journal {
            identity: self.journal.identity(),
            shares: stats.totals.shares,
            work_ehash: stats.totals.work,
            waiting: self.books.lag.shares_waiting(),
            queued_through: stats.totals.queued_through,
            oldest_unqueued_ms: self.books.oldest_unqueued_ms(),
            commit_us: u64::try_from(stats.last_commit.as_micros()).unwrap_or(u64::MAX),
            failing: stats.failing,
        }
    }
}

fn told(status: UpstreamStatus) -> pool::Upstream {
    let UpstreamStatus { url, user, difficulty, accepted, rejected, waiting, last_accepted_at } = status;
    pool::Upstream { url, user, difficulty, accepted, rejected, waiting, last_accepted_at }
}

fn count(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_that_can_be_shown() {
        assert_eq!(readable(" it pays somebody else\n"), Some("it pays somebody else"));
        for wrong in ["", "  ", "one\ntwo", "\x1b[2J", &"x".repeat(MAX_REASON + 1)] {
            assert_eq!(readable(wrong), None, "{wrong:?}");
        }
    }
}
