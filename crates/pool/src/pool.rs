//! The pool's life: start in order, run, stop in order.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use poolbox_journal::{Journal, JournalError};
use poolbox_service::{LocalApi, Misconfigured, bind_tcp, claim_data_dir, log, on_signal};
use poolbox_stratum::sv1::{Limits, Server, SessionSettings};
use poolbox_work_source::core_ipc::{self, CoreIpcConfig};

use crate::books::{Books, Sink};
use crate::jobs::JobMaker;
use crate::local::{self, View};
use crate::payout::coinbase_output;
use crate::settings::Settings;

/// Runs the pool with the settings in `config` until a signal stops it.
///
/// # Errors
/// [`Misconfigured`] before anything was changed; anything else when the pool cannot go on.
pub async fn run(config: &Path) -> anyhow::Result<()> {
    let settings = Settings::load(config)?;
    let payout = coinbase_output(&settings.coinbase_descriptor_file, settings.network)?;
    let listener = bind_tcp("stratum_v1.listen", settings.stratum_v1).await?;
    claim_data_dir(&settings.data_dir, settings.network)?;
    log::init(settings.log_file.as_deref())?;
    let api = LocalApi::bind(&settings.api_socket).await?;
    let journal =
        Journal::open(settings.data_dir.join("journal.sqlite"), settings.network).map_err(unusable)?;
    let stop = on_signal().context("listen for signals")?;

    let ipc = CoreIpcConfig::new(settings.node_socket.clone());
    let source =
        core_ipc::start(ipc).map_err(|error| Misconfigured::new(format!("node.ipc_socket: {error}")))?;
    let source = Arc::new(source);
    let (maker, jobs) = JobMaker::new(payout, settings.stale_after);
    let making = tokio::spawn(maker.run(source.events()));

    let books = Arc::new(Books::new(journal.clone(), Arc::clone(&source)));
    let session = SessionSettings {
        network: settings.network,
        start: settings.start_difficulty,
        limits: settings.difficulty_limits,
    };
    let sink = Arc::new(Sink(Arc::clone(&books)));
    let server = Arc::new(Server::new(session, Limits::default(), jobs.clone(), sink));
    let stratum_v1 = format!("stratum+tcp://{}", listener.local_addr().context("read the Stratum address")?);
    let view = View {
        network: settings.network,
        started: SystemTime::now(),
        stratum_v1: stratum_v1.clone(),
        server: Arc::clone(&server),
        books,
        journal: journal.clone(),
        source,
        jobs,
    };
    tracing::info!(network = %settings.network, stratum_v1, shares = journal.stats().totals.shares, "pool started");

    let serving = tokio::spawn(server.serve(listener, stop.clone()));
    let answering = tokio::spawn(api.serve(local::router(view), stop.clone()));
    stop.cancelled().await;
    serving.await.context("the Stratum server broke")?;
    answering.await.context("the local API broke")??;
    making.abort();
    journal.close().await;
    tracing::info!("pool stopped");
    Ok(())
}

/// A journal of another network, a newer version or another kind of file is a person's to sort out.
fn unusable(error: JournalError) -> anyhow::Error {
    match error {
        JournalError::NotAJournal(_)
        | JournalError::WrongNetwork { .. }
        | JournalError::NewerSchema { .. } => Misconfigured::new(error.to_string()).into(),
        other => other.into(),
    }
}
