//! `poolbox demo`: the whole box on this machine, on devnet, and the way of a share through it.

mod child;
mod devnet;
mod line;
mod payee;
mod ports;
mod processes;
mod setup;
mod summary;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use poolbox_service::on_signal;

use self::line::Line;
use self::processes::Processes;
use self::setup::Setup;
use crate::place::Place;

/// How to run the demo.
#[derive(Debug, Args)]
pub struct Options {
    /// Stop with status 0 once this was reached.
    #[arg(long, value_enum, value_name = "STEP")]
    until: Option<Step>,
    /// Print a summary of what was measured on standard output.
    #[arg(long)]
    json: bool,
    /// Stop with status 1 when it takes longer than this.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: Option<u64>,
    /// Start over, with a new chain and new balances.
    #[arg(long)]
    fresh: bool,
    /// Where Sv1 miners connect.
    #[arg(long, default_value_t = 3333, value_name = "N", value_parser = port())]
    stratum_port: u16,
    /// Where Sv2 miners connect.
    #[arg(long, default_value_t = 34254, value_name = "N", value_parser = port())]
    stratum_v2_port: u16,
    /// Where wallets connect.
    #[arg(long, default_value_t = 3338, value_name = "N", value_parser = port())]
    mint_port: u16,
    /// Where browsers see the box.
    #[arg(long, default_value_t = ports::DASHBOARD, value_name = "N", value_parser = port())]
    dashboard_port: u16,
    /// Where browsers see it encrypted; 3443, or any free one where that is taken or --dashboard-port is set.
    #[arg(long, value_name = "N", value_parser = port())]
    dashboard_tls_port: Option<u16>,
    /// Folder with poolbox-pool, poolbox-mint, poolbox-dashboard and poolbox-miner; that of this program unless set.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// The bitcoin-node program (Bitcoin Core 31 or later).
    #[arg(long, env = "BITCOIN_NODE", default_value = "bitcoin-node", value_name = "FILE")]
    node: PathBuf,
}

/// Zero would be any port, which nobody could tell the miners.
fn port() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

/// How far a share has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Step {
    /// A miner's share is in the journal.
    FirstShare,
    /// A wallet holds ehash for it.
    FirstToken,
    /// The pool found a block, and the epoch closed with it.
    Block,
    /// The reward matured: one owner was paid on-chain, and the ehash of another became sats that a
    /// second wallet received.
    Settled,
}

/// Runs the demo until its step is reached, or until it is stopped.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let started = Instant::now();
    let setup = Setup::check(place, options).await?;
    let stop = on_signal()?;
    let mut processes = Processes::new(setup.prepare()?);
    let mut line = Line::new(started);
    let limit = async {
        match options.timeout {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let last = options.until.unwrap_or(Step::Settled);
    let outcome = tokio::select! {
        walked = line.walk(&mut processes, last) => walked.map(|()| End::Reached),
        () = stop.cancelled() => Ok(End::Stopped),
        () = limit => Ok(End::TimedOut),
    };
    let summary = summary::collect(&processes, &line).await;
    let outcome = match (outcome, options.until) {
        (Ok(End::Reached), None) => {
            processes.announce();
            tokio::select! {
                died = processes.watch() => Err(died),
                () = stop.cancelled() => Ok(End::Stopped),
            }
        }
        (outcome, _) => outcome,
    };
    let where_it_stood = line.where_it_stands();
    processes.stop().await;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    }
    let logs = place.logs();
    match outcome? {
        End::TimedOut => {
            anyhow::bail!(
                "not done after {} s: {where_it_stood}; the logs are in {}",
                options.timeout.unwrap_or(0),
                logs.display()
            )
        }
        End::Stopped if options.until.is_some() => {
            anyhow::bail!("stopped before it was done: {where_it_stood}; start it again to go on")
        }
        End::Stopped | End::Reached => Ok(()),
    }
}

/// How the walk ended.
enum End {
    Reached,
    Stopped,
    TimedOut,
}
