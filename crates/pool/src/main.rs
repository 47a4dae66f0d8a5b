//! `poolbox-pool`: miners, jobs, shares, journal. Wires the rooms together and keeps no rules.

mod authority;
mod books;
mod coinbases;
mod found;
mod jobs;
mod lag;
mod latency;
mod local;
mod metrics;
mod notebook;
mod origin;
mod outlet;
mod payout;
mod pool;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Gives memory back when miners leave; the system's keeps what it once had.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The mining pool of a Poolbox.
#[derive(Debug, Parser)]
#[command(name = "poolbox-pool", version)]
struct Arguments {
    /// Settings file (TOML).
    #[arg(long, value_name = "FILE", default_value = "/etc/poolbox/pool.toml")]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    poolbox_service::exit("poolbox-pool", pool::run(&arguments.config).await)
}
