//! The pool's life: start in order, run, stop in order.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::Context;
use poolbox_journal::{Journal, JournalError};
use poolbox_service::{LocalApi, Misconfigured, bind_tcp, claim_data_dir, log, on_signal};
use poolbox_stratum::server::{Extranonces, Server};
use poolbox_stratum::sv1::Sv1;
use poolbox_stratum::sv2::Sv2;
use poolbox_stratum::{PayoutPolicy, SessionSettings};
use poolbox_work_source::blocks::BlockKeeper;

use crate::authority;
use crate::books::{Books, Outward, Sink};
use crate::jobs::{Halt, JobMaker};
use crate::local::{self, View};
use crate::origin::Started;
use crate::outlet::Outlet;
use crate::payout::coinbase_output;
use crate::settings::{Mode, Settings};
use crate::tls::StratumTls;

/// Runs the pool with the settings in `config` until a signal stops it.
///
/// # Errors
/// [`Misconfigured`] before anything was changed; anything else when the pool cannot go on.
pub async fn run(config: &Path) -> anyhow::Result<()> {
    let settings = Settings::load(config)?;
    let policy = match &settings.mode {
        Mode::Pool { coinbase_descriptor_file } => {
            PayoutPolicy::Pool(coinbase_output(coinbase_descriptor_file, settings.network)?)
        }
        Mode::Solo => PayoutPolicy::Solo(settings.network),
        Mode::Proxy => PayoutPolicy::Upstream,
    };
    let sv1_listener = bind_tcp("stratum_v1.listen", settings.stratum_v1).await?;
    let tls_listener = match settings.stratum_v1_tls {
        Some(listen) => Some(bind_tcp("stratum_v1_tls.listen", listen).await?),
        None => None,
    };
    let sv2_listener = bind_tcp("stratum_v2.listen", settings.stratum_v2).await?;
    claim_data_dir(&settings.data_dir, settings.network)?;
    log::init(settings.log_file.as_deref())?;
    let authority = authority::load_or_make(&settings.data_dir)?;
    let tls = match tls_listener {
        Some(listener) => Some((StratumTls::load_or_make(&settings.data_dir)?, listener)),
        None => None,
    };
    let api = LocalApi::bind(&settings.api_socket).await?;
    let path = settings.data_dir.join("journal.sqlite");
    let journal = Journal::open(&path, settings.network).map_err(unusable)?;
    let stop = on_signal().context("listen for signals")?;
    let outlet = settings
        .redis
        .map(|redis| Outlet::open(redis, path, settings.network, journal.identity(), stop.clone()));

    let Started { source, upstream } = settings.origin.start()?;
    let source = Arc::new(source);
    let kept = settings.data_dir.join("blocks");
    let blocks = BlockKeeper::open(&kept, Arc::clone(&source), settings.rpc.clone())
        .with_context(|| format!("keep found blocks in {}", kept.display()))?;
    let halt = Arc::new(Halt::default());
    let (maker, jobs) = JobMaker::new(policy.clone(), settings.stale_after, Arc::clone(&halt));
    let making = tokio::spawn(maker.run(source.events()));

    let (data, network) = (&settings.data_dir, settings.network);
    let outward = Outward { keeper: blocks, upstream: upstream.clone() };
    let books = Books::open(data, network, &policy, journal.clone(), outward, Arc::clone(&halt));
    let session = Arc::new(SessionSettings {
        network: settings.network,
        payout: policy.clone(),
        start: settings.start_difficulty,
        limits: settings.difficulty_limits,
        memory: Arc::clone(&books) as _,
    });
    let extranonces = Arc::new(match &policy {
        PayoutPolicy::Upstream => Extranonces::upstream(jobs.clone()),
        PayoutPolicy::Pool(_) | PayoutPolicy::Solo(_) => Extranonces::new(),
    });
    let sv1 = Sv1::new(session.clone(), extranonces.clone());
    let sv1_over_tls = Sv1::new(session.clone(), extranonces.clone());
    let sv2 = Sv2::new(session, extranonces, authority.clone());
    let sink = Arc::new(Sink(Arc::clone(&books)));
    let server = Arc::new(Server::new(settings.limits, jobs.clone(), sink));
    let address = "read a Stratum address";
    let stratum_v1 = format!("stratum+tcp://{}", sv1_listener.local_addr().context(address)?);
    let stratum_v2 =
        format!("stratum2+tcp://{}/{}", sv2_listener.local_addr().context(address)?, authority.public_text());
    let stratum_v1_tls = match &tls {
        Some((tls, listener)) => Some(poolbox_api::pool::Tls {
            url: format!("stratum+ssl://{}", listener.local_addr().context(address)?),
            certificate: tls.0.certificate.clone(),
            certificate_file: tls.0.certificate_file.clone(),
        }),
        None => None,
    };
    let view = View {
        network: settings.network,
        policy,
        started: (SystemTime::now(), Instant::now()),
        stratum_v1: stratum_v1.clone(),
        stratum_v1_tls,
        stratum_v2: stratum_v2.clone(),
        halt,
        server: Arc::clone(&server),
        books: Arc::clone(&books),
        journal: journal.clone(),
        outlet: outlet.as_ref().map(Outlet::view),
        source,
        upstream,
        jobs,
    };
    tracing::info!(network = %settings.network, stratum_v1, stratum_v2, shares = journal.stats().totals.shares, "pool started");

    let noting = tokio::spawn(Arc::clone(&books).keep_notes(stop.clone()));
    let sv1 = tokio::spawn(Arc::clone(&server).serve(sv1, sv1_listener, stop.clone()));
    let over_tls = tls.map(|(tls, listener)| {
        tokio::spawn(Arc::clone(&server).serve_over(tls, sv1_over_tls, listener, stop.clone()))
    });
    let sv2 = tokio::spawn(server.serve(sv2, sv2_listener, stop.clone()));
    let answering = tokio::spawn(api.serve(local::router(view), stop.clone()));
    stop.cancelled().await;
    sv1.await.context("the Stratum V1 server broke")?;
    if let Some(over_tls) = over_tls {
        over_tls.await.context("the Stratum V1 server over TLS broke")?;
    }
    sv2.await.context("the Stratum V2 server broke")?;
    answering.await.context("the local API broke")??;
    making.abort();
    noting.await.context("the notes of the workers broke")?;
    // With what was measured of every miner until its connection ended.
    books.write_notes().await;
    journal.close().await;
    if let Some(outlet) = outlet {
        outlet.close().await?;
    }
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
