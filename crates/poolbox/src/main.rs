//! `poolbox`: the command line of a box. Each command is a module of its name.

// A command line speaks on standard output; everything else in the workspace logs.
#![allow(clippy::print_stdout, clippy::print_stderr)]
// The futures of cdk's wallet nest deeper than the compiler's default.
#![recursion_limit = "256"]

mod audit;
mod backup;
mod claim;
mod claim_secret;
mod demo;
mod export;
mod layout;
mod lightning;
mod logs;
mod payouts;
mod place;
mod qr;
mod receive;
mod restore;
mod screen;
mod secret;
mod seed;
mod status;
mod tokens;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use poolbox_service::log;

use crate::place::Place;

/// Look after a Poolbox from the command line.
#[derive(Debug, Parser)]
#[command(name = "poolbox", version)]
struct Arguments {
    /// State directory of the box or the demo.
    #[arg(long, global = true, env = place::VARIABLE, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what pool and mint are doing.
    Status(status::Options),
    /// Turn an owner's shares into a Cashu token: mint, redeem what has matured, print it.
    Claim(claim::Options),
    /// List an owner's tokens that nobody has spent, show one again, take one back.
    Tokens(tokens::Options),
    /// Make the secret with which an owner claims at the dashboard without the admin.
    ClaimSecret(claim_secret::Options),
    /// Receive a Cashu token into a wallet.
    Receive(receive::Options),
    /// Show what was paid by standing rules, and set the rule of an owner.
    Payouts(payouts::Options),
    /// Look after the mint's Lightning node: its funds, peers and channels.
    Lightning(lightning::Options),
    /// Show the logs of all processes in one stream.
    Logs(logs::Options),
    /// Show the words of the box's seed until they are written down.
    Seed(seed::Options),
    /// Write everything that cannot be recreated into one encrypted file, while the box runs.
    Backup(backup::Options),
    /// Bring a box back from its backup, on a machine that has none.
    Restore(restore::Options),
    /// Recompute every epoch from the journal, and compare it with what the mint did.
    Audit(audit::Options),
    /// Write shares, credits, epochs, settlements or payouts as a table.
    Export(export::Options),
    /// Show on a monitor where the box is found and whether it works.
    Screen(screen::Options),
    /// Run a whole box on this machine, on a private chain with real difficulty.
    Demo(demo::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { state, command } = Arguments::parse();
    poolbox_service::exit("poolbox", run(state, command).await)
}

async fn run(state: Option<PathBuf>, command: Command) -> anyhow::Result<()> {
    // Wallets are money: whatever is made here, and by the demo's processes, is for this user alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // A command says what it does itself; its libraries speak only when asked.
    if std::env::var_os(log::VARIABLE).is_some() {
        log::init(None)?;
    }
    let place = Place::find(state)?;
    match command {
        Command::Status(options) => status::run(&place, &options).await,
        Command::Claim(options) => claim::run(&place, &options).await,
        Command::Tokens(options) => tokens::run(&place, &options).await,
        Command::ClaimSecret(options) => claim_secret::run(&place, &options).await,
        Command::Receive(options) => receive::run(&place, &options).await,
        Command::Payouts(options) => payouts::run(&place, &options).await,
        Command::Lightning(options) => lightning::run(&place, &options).await,
        Command::Logs(options) => logs::run(&place, &options).await,
        Command::Seed(options) => seed::run(&place, &options).await,
        Command::Backup(options) => {
            tokio::task::spawn_blocking(move || backup::run(&place, &options)).await?
        }
        Command::Restore(options) => restore::run(&place, &options).await,
        Command::Audit(options) => audit::run(&place, &options).await,
        Command::Export(options) => export::run(&place, &options).await,
        Command::Screen(options) => screen::run(&place, &options).await,
        Command::Demo(options) => demo::run(&place, &options).await,
    }
}
