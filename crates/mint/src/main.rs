//! `poolbox-mint`: reads the flags and the settings, then checks them, or runs or initialises the mint.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
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
    Init {
        /// Read the words of a seed on standard input instead of making one. The treasury's coins and
        /// the household names' keys come back; ecash and books do not, a backup has those.
        #[arg(long)]
        restore: bool,
        /// Height from which the treasury looks for its coins.
        #[arg(long, value_name = "HEIGHT", default_value_t = 0, requires = "restore")]
        since: u32,
    },
    /// Reads the settings file, says whether it can be used, and ends. Nothing is opened or changed.
    Check,
    /// Runs the mint (the default).
    Run,
}

/// Threads that tasks run on. cdk's SQLite blocks the thread that waits for another writer, up to twenty of
/// them, as many as cdk opens connections: with no more threads than that, nobody would be left to let that
/// writer finish.
const THREADS: usize = 32;
/// Turns of tasks until a thread looks after those that were made to pause: a writer among them must not wait
/// for a task that waits for it.
const TURNS: u32 = 1;

fn main() -> ExitCode {
    let flags = Flags::parse();
    exit("poolbox-mint", start(&flags))
}

fn start(flags: &Flags) -> anyhow::Result<()> {
    let settings = Settings::load(&flags.config)?;
    if let Some(Command::Check) = flags.command {
        return writeln!(std::io::stdout(), "OK").context("say so");
    }
    log::init(settings.log_file.as_deref())?;
    match flags.command {
        Some(Command::Init { restore: true, since }) => {
            let mut words = String::new();
            std::io::stdin().read_to_string(&mut words).context("read the words on standard input")?;
            return service::restore_seed(&settings, &words, since);
        }
        Some(Command::Init { restore: false, .. }) => return service::init(&settings).map(drop),
        Some(Command::Check | Command::Run) | None => {}
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .event_interval(TURNS)
        .enable_all()
        .build()?
        .block_on(async { service::run(settings, on_signal()?).await })
}
