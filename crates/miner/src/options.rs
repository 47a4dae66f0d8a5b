//! Command line.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::available_parallelism;

use clap::{Args, Parser, Subcommand};

use crate::hashrate::Hashrate;

/// CPU miner for Stratum V1.
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
}

/// How to mine.
#[derive(Debug, Args)]
pub struct MineOptions {
    /// The pool, as stratum+tcp://HOST:PORT.
    #[arg(long)]
    pub url: PoolUrl,
    /// User name: the owner who is paid, a dot, the name of this miner.
    #[arg(long)]
    pub user: String,
    /// Password; pools read a starting difficulty from it, as d=0.5.
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

/// Where the pool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUrl {
    /// Name or address; IPv6 addresses without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A URL that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No Stratum V1 URL.
    #[error("write it as stratum+tcp://HOST:PORT, for example stratum+tcp://poolbox.local:3333")]
    NotStratumV1,
    /// No number after the last colon.
    #[error("the port is missing or no number from 1 to 65535; Stratum V1 pools mostly use 3333")]
    Port,
}

impl FromStr for PoolUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let authority = text.strip_prefix("stratum+tcp://").ok_or(UrlError::NotStratumV1)?;
        let (host, port) = authority.trim_end_matches('/').rsplit_once(':').ok_or(UrlError::Port)?;
        let port = port.parse().ok().filter(|&port| port != 0).ok_or(UrlError::Port)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(UrlError::NotStratumV1);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for PoolUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "stratum+tcp://[{host}]:{port}")
        } else {
            write!(f, "stratum+tcp://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn urls_are_read_back() {
        for url in ["stratum+tcp://poolbox.local:3333", "stratum+tcp://[::1]:3333"] {
            assert_eq!(url.parse::<PoolUrl>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn other_urls_are_refused() {
        let error = |url: &str| url.parse::<PoolUrl>().unwrap_err();
        assert_eq!(error("poolbox.local:3333"), UrlError::NotStratumV1);
        assert_eq!(error("stratum2+tcp://poolbox.local:34254"), UrlError::NotStratumV1);
        assert_eq!(error("stratum+tcp://:3333"), UrlError::NotStratumV1);
        for port in ["", ":", ":0", ":70000", ":http"] {
            assert_eq!(error(&format!("stratum+tcp://poolbox.local{port}")), UrlError::Port);
        }
    }
}
