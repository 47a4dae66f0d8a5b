//! The pool's local API.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use poolbox_accounting::Network;
use poolbox_api::pool::{self, Source, Status};
use poolbox_journal::Journal;
use poolbox_stratum::JobFeed;
use poolbox_stratum::server::Server;
use poolbox_work_source::WorkSource;

use crate::books::{Books, Sink};
use crate::jobs::Halt;

/// What the API reports on.
#[derive(Debug)]
pub struct View {
    /// Network of the node.
    pub network: Network,
    /// When the pool started.
    pub started: SystemTime,
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
    /// Where jobs come from.
    pub source: Arc<WorkSource>,
    /// The newest job.
    pub jobs: JobFeed,
}

/// The routes of the local API.
pub fn router(view: View) -> Router {
    Router::new().route(pool::STATUS, get(status)).with_state(Arc::new(view))
}

async fn status(State(view): State<Arc<View>>) -> Json<Status> {
    let journal = view.journal.stats();
    let job = view.jobs.borrow().clone();
    Json(Status {
        network: view.network,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: view.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        stratum_v1: view.stratum_v1.clone(),
        stratum_v1_tls: view.stratum_v1_tls.clone(),
        stratum_v2: view.stratum_v2.clone(),
        halted: view.halt.reason().map(str::to_owned),
        connections: u32::try_from(view.server.connections()).unwrap_or(u32::MAX),
        source: Source {
            connected: view.source.current().is_ok(),
            height: job.as_ref().map(|job| job.template.height),
            template_time: job.as_ref().map(|job| job.template.time),
            reward_sat: job.as_ref().map(|job| job.template.coinbase.value.get()),
        },
        journal: pool::Journal {
            shares: journal.totals.shares,
            work_ehash: journal.totals.work,
            queued_through: journal.totals.queued_through,
            commit_us: u64::try_from(journal.last_commit.as_micros()).unwrap_or(u64::MAX),
            failing: journal.failing,
        },
        workers: view.books.workers(),
        blocks: view.books.blocks(),
    })
}
