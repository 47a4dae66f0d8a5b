//! One log set-up: readable lines on standard error and the same lines in a file to open and send.
//!
//! A line is `TIME LEVEL service: message key=value …`, the time in UTC with microseconds, so that
//! files of several processes merge by sorting.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::Misconfigured;

/// Variable that sets what is logged, as `info` or `debug,poolbox_stratum=trace`.
pub const VARIABLE: &str = "POOLBOX_LOG";
/// A file larger than this is set aside (`.1`) at the next start.
const MAX_BYTES: u64 = 32 << 20;
/// Libraries that log at info what only their developers want to know.
const QUIET: &str = "info,cdk=warn,cdk_common=warn,cdk_signatory=warn,cdk_sql_common=error,cdk_sqlite=warn,\
    cdk_axum=warn,cdk_bdk=warn,bdk_wallet=warn,bitcoin_core_sv2=off,\
    bitcoin_core_sv2::unix_capnp::v31x::template_distribution_protocol::handlers=error,hyper=warn,sqlx=warn";

/// Starts logging to standard error and, where one is named, to `file`.
///
/// # Errors
/// [`Misconfigured`] when the filter in `POOLBOX_LOG` or the file is not usable.
pub fn init(file: Option<&Path>) -> anyhow::Result<()> {
    let filter = match std::env::var(VARIABLE) {
        Ok(given) => EnvFilter::try_new(&given).map_err(|error| {
            Misconfigured::new(format!("{VARIABLE}={given} is no log filter ({error}); try info"))
        })?,
        Err(_) => EnvFilter::new(QUIET),
    };
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let terminal = Layer::new().with_writer(std::io::stderr).with_ansi(colours);
    let written = match file {
        Some(path) => Some(Layer::new().with_writer(Arc::new(open(path)?)).with_ansi(false)),
        None => None,
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(terminal)
        .with(written)
        .try_init()
        .context("start logging twice")
}

fn open(path: &Path) -> anyhow::Result<File> {
    if std::fs::metadata(path).is_ok_and(|found| found.len() > MAX_BYTES) {
        let aside = path.with_extension("log.1");
        std::fs::rename(path, &aside).with_context(|| format!("set {} aside", path.display()))?;
    }
    OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
        Misconfigured::new(format!("log_file {} cannot be written: {error}; change log_file", path.display()))
            .into()
    })
}
