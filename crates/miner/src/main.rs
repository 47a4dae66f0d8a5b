//! `poolbox-miner`: a CPU miner, for the demo, for tests and as a load on the pool.
//!
//! Hashing (`hash`, `work`, `hashers`, `throttle`) knows no protocol; `sv1` and `sv2` are the Stratum
//! protocols without sockets; `client` joins them over TCP (`wire`). `load` is another program in the
//! same binary: a load generator that speaks both protocols over thousands of connections.

mod bench;
mod client;
mod hash;
mod hashers;
mod hashrate;
mod inbox;
mod load;
mod options;
mod protocol;
mod sv1;
mod sv2;
mod tally;
mod target;
mod throttle;
mod url;
mod wire;
mod work;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use poolbox_service::Misconfigured;
use tokio::sync::{mpsc, watch};

use crate::client::Client;
use crate::hashers::{Hashers, nominal_hashrate};
use crate::options::{Command, MineOptions, Options};
use crate::sv1::Credentials;
use crate::tally::Tally;

/// Found shares that may wait for the connection.
const MAX_WAITING_SHARES: usize = 1024;

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match (options.command, options.mine) {
        (Some(Command::Bench(options)), _) => bench::run(&options),
        (Some(Command::Load(options)), _) => load::run(&options),
        (None, Some(options)) => mine(options),
        (None, None) => Err(Misconfigured::new("name the pool with --url and yourself with --user").into()),
    };
    poolbox_service::exit("poolbox-miner", result)
}

#[tokio::main]
async fn mine(options: MineOptions) -> anyhow::Result<()> {
    poolbox_service::log::init(options.log.as_deref())?;
    let stop = poolbox_service::on_signal()?;
    let tally = Arc::new(Tally::default());
    // Measured before the hashers start, who would take its share.
    let hashrate = nominal_hashrate(options.threads, options.max_hashrate);
    let (jobs, current_job) = watch::channel(None);
    let (solutions, found) = mpsc::channel(MAX_WAITING_SHARES);
    let hashers = Hashers::start(options.threads, options.max_hashrate, &current_job, &solutions, &tally)?;
    drop(solutions);
    tracing::info!(url = %options.url, user = options.user, threads = options.threads, "starting");
    let reports = tokio::spawn(tally::report(Arc::clone(&tally)));
    let credentials =
        Credentials { user: options.user, password: options.password, user_agent: options.user_agent };
    let client = Client {
        url: options.url,
        credentials,
        channel: options.channel,
        hashrate,
        jobs,
        found,
        tally: Arc::clone(&tally),
    };
    let ended = client.run(stop).await;
    hashers.join();
    reports.abort();
    tally.log_total();
    ended
}
