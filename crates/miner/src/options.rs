//! Command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::{Args, Parser, Subcommand};

use crate::hashrate::Hashrate;
use crate::load::LoadOptions;
use crate::sv2::ChannelKind;
use crate::url::PoolUrl;

/// CPU miner for Stratum V1 and V2, and load generator.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Options {
    /// What to do instead of mining.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to mine.
    #[command(flatten)]
    pub mine: Option<MineOptions>,
}

/// What else it can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure the hash rate of each thread.
    Bench(BenchOptions),
    /// Put load on a pool and measure how it bears it.
    Load(Box<LoadOptions>),
}

/// How to mine.
#[derive(Debug, Args)]
pub struct MineOptions {
    /// The pool: stratum+tcp://HOST:PORT for Stratum V1, stratum2+tcp://HOST:PORT for Stratum V2.
    ///
    /// In Stratum V2 the pool's key may follow, after a slash: the miner then mines there only if
    /// the pool proves that it has it.
    #[arg(long)]
    pub url: PoolUrl,
    /// User name: the owner who is paid, a dot, the name of this miner.
    #[arg(long)]
    pub user: String,
    /// What to mine on in Stratum V2.
    #[arg(long, value_enum, default_value_t)]
    pub channel: ChannelKind,
    /// Password in Stratum V1; pools read a starting difficulty from it, as d=0.5.
    #[arg(long, default_value = "x")]
    pub password: String,
    /// Threads that hash; one for each core by default.
    #[arg(long, default_value_t = cores())]
    pub threads: NonZeroUsize,
    /// Hash no faster than this in all, as 240k or 1.5M (hashes per second).
    #[arg(long, value_name = "RATE")]
    pub max_hashrate: Option<Hashrate>,
    /// The name and version that the pool is told.
    #[arg(long, default_value = concat!("poolbox-miner/", env!("CARGO_PKG_VERSION")))]
    pub user_agent: String,
    /// Write the log to this file too.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

/// How to measure.
#[derive(Debug, Args)]
pub struct BenchOptions {
    /// For how long.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Threads that hash; one for each core by default.
    #[arg(long, default_value_t = cores())]
    pub threads: NonZeroUsize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

fn cores() -> NonZeroUsize {
    available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }
}
