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

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Gives memory back when miners leave; the system's keeps what it once had.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The mining pool of a Poolbox.
#[derive(Debug, Parser)]
#[command(name = "poolbox-pool", version)]
struct Arguments {
    /// Settings file (TOML).
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/poolbox/pool.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Reads the settings file, says whether it can be used, and ends. Nothing is opened or changed.
    Check,
    /// Runs the pool (the default).
    Run,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        Some(Command::Check) => check(&arguments.config),
        Some(Command::Run) | None => pool::run(&arguments.config).await,
    };
    poolbox_service::exit("poolbox-pool", ended)
}

fn check(config: &Path) -> anyhow::Result<()> {
    settings::Settings::load(config)?;
    writeln!(std::io::stdout(), "OK").context("say so")
}
