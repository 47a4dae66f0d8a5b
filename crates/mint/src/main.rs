//! `poolbox-mint`: reads the flags and the settings, then runs or initialises the mint.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use poolbox_mint::service;
use poolbox_mint::settings::Settings;
use poolbox_service::{exit, log, on_signal};

/// Mints ehash for mining shares and redeems it for sats.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Settings file (TOML).
    #[arg(long, global = true, default_value = "mint.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Makes the seed and the coinbase descriptor that the pool needs, and ends.
    Init,
    /// Runs the mint (the default).
    Run,
}

/// Threads that tasks run on. cdk's SQLite blocks the thread that waits for another writer, for up to
/// ten seconds: with few threads nobody would be left to let that one finish.
const THREADS: usize = 16;

fn main() -> ExitCode {
    let flags = Flags::parse();
    exit("poolbox-mint", start(&flags))
}

fn start(flags: &Flags) -> anyhow::Result<()> {
    let settings = Settings::load(&flags.config)?;
    log::init(settings.log_file.as_deref())?;
    if let Some(Command::Init) = flags.command {
        return service::init(&settings).map(drop);
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?
        .block_on(async { service::run(settings, on_signal()?).await })
}
