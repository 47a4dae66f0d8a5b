//! The process: reads settings, follows the box, serves pages, and stops in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use poolbox_api::Client;
use poolbox_service::{Misconfigured, bind_tcp, log, on_signal};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::app::{App, Shared, router};
use crate::coinbase::Looker;
use crate::feed::{Snapshot, Sources};
use crate::history::History;
use crate::node::Node;
use crate::settings::Settings;
use crate::wire::{self, Encrypted, Peer, TlsListener};

/// How often the history is written.
const KEEP_EVERY: Duration = Duration::from_secs(600);

/// Runs the dashboard until it is asked to stop.
///
/// # Errors
/// [`Misconfigured`] for what a person has to change, others when something breaks.
pub async fn run(config: &Path) -> anyhow::Result<()> {
    let settings = Settings::load(config)?;
    log::init(settings.log_file.as_deref())?;
    let stop = on_signal()?;
    let dir = &settings.data_dir;
    std::fs::create_dir_all(dir).map_err(|error| {
        Misconfigured::new(format!("data_dir {} cannot be made: {error}; change data_dir", dir.display()))
    })?;
    let listener = bind_tcp("listen", settings.listen).await?;
    let address = listener.local_addr().context("read the address just opened")?;
    let tls = match settings.listen_tls {
        Some(listen) => Some(encrypted(&settings, bind_tcp("listen_tls", listen).await?)?),
        None => None,
    };
    let (encrypted, tls_listener) = tls.unzip();
    let https = encrypted.as_ref().map(|encrypted| encrypted.port);

    let pool = Client::new(&settings.pool_socket)?;
    let mint = settings.mint_socket.as_ref().map(Client::new).transpose()?;
    let (see, seen) = watch::channel(None);
    let sources = Sources {
        pool: pool.clone(),
        mint: mint.clone(),
        node: settings.node.clone().map(Node::new).transpose()?,
        seen,
        data_dir: dir.clone(),
        versions_file: settings.place.as_ref().and_then(|place| place.versions_file.clone()),
    };
    let kept = history_file(dir);
    let (out, feed) = watch::channel(Arc::new(Snapshot::default()));
    let app = Arc::new(App::open(settings, encrypted, pool, mint, feed, History::load(&kept), stop.clone())?);
    let sampling = Arc::clone(&app);
    let each = move |now: &Snapshot| {
        if let Some(pool) = &now.pool {
            sampling.history().sample(now.at, pool);
        }
    };
    let following = tokio::spawn(sources.follow(out, each, stop.clone()));
    let looker = Looker {
        descriptor_file: app.settings.coinbase_descriptor_file.clone(),
        pool: app.pool.clone(),
        feed: app.feed.clone(),
        out: see,
    };
    let looking = tokio::spawn(looker.run(stop.clone()));
    let alerting = tokio::spawn(Arc::clone(&app.alerts).run(app.feed.clone(), stop.clone()));
    let tidying = app.backups.clone().map(|backups| tokio::spawn(backups.tidy(stop.clone())));
    let keeping = tokio::spawn(keep_history(Arc::clone(&app), kept));
    tracing::info!(%address, https, "dashboard started");

    let router = router(app);
    let over_tls = tls_listener.map(|listener| {
        let service = router.clone().into_make_service_with_connect_info::<Peer>();
        let served = axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(served.into_future())
    });
    let service = router.into_make_service_with_connect_info::<Peer>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Some(over_tls) = over_tls {
        over_tls.await.context("the encrypted port broke")?.context("serve the pages encrypted")?;
    }
    following.await.context("following the box broke")?;
    looking.await.context("looking at the coinbase broke")?;
    alerting.await.context("following what is told broke")?;
    keeping.await.context("keeping the history broke")?;
    if let Some(tidying) = tidying {
        tidying.await.context("looking after backups broke")?;
    }
    tracing::info!("dashboard stopped");
    served.context("serve the pages")
}

/// What the pages tell of the encrypted port, and the port itself.
fn encrypted(settings: &Settings, tcp: TcpListener) -> anyhow::Result<(Encrypted, TlsListener)> {
    let tls = wire::OWN.load_or_make(&settings.data_dir, &settings.host_names, |config| {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    })?;
    let port = tcp.local_addr().context("read the address just opened")?.port();
    let told = Encrypted { port, fingerprint: tls.fingerprint() };
    Ok((told, TlsListener::new(tcp, tls)))
}

fn history_file(dir: &Path) -> PathBuf {
    dir.join("history.json")
}

/// Writes the history now and then, and at the end.
async fn keep_history(app: Shared, file: PathBuf) {
    loop {
        let last = tokio::select! {
            () = tokio::time::sleep(KEEP_EVERY) => false,
            () = app.stop.cancelled() => true,
        };
        // A copy, so that nobody waits for the disk.
        let history = app.history().clone();
        let file = file.clone();
        let written = tokio::task::spawn_blocking(move || history.save(&file)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(error = format!("{error:#}"), "the history of hash rates was not kept");
        }
        if last {
            return;
        }
    }
}
