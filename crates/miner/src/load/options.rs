//! Command line of the load generator.

use std::time::Duration;

use clap::{Args, ValueEnum};
use poolbox_service::Misconfigured;
use serde::Serialize;

use crate::sv2::{AuthorityKey, ChannelKind};
use crate::url::{PoolUrl, Protocol};

/// What load.
#[derive(Debug, Args)]
pub struct LoadOptions {
    /// The pool, as for mining.
    #[arg(long)]
    pub url: PoolUrl,
    /// How many miners.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub connections: u32,
    /// What they do.
    #[arg(long, value_enum)]
    pub mode: Mode,
    /// For how long.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// In mode latency: shares a second in all.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// In mode throughput: shares of each connection that wait for their acknowledgement.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub window: u32,
    /// What to mine on in Stratum V2.
    #[arg(long, value_enum, default_value_t)]
    pub channel: ChannelKind,
    /// Owner; each connection adds a dot and its number.
    #[arg(long, default_value = "load")]
    pub user: String,
    /// Password in Stratum V1.
    #[arg(long, default_value = "x")]
    pub password: String,
    /// In Stratum V2 the pool's key, if the URL does not have it.
    #[arg(long, value_name = "KEY")]
    pub authority: Option<AuthorityKey>,
}

/// What the miners do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Send as many shares as the pool acknowledges.
    Throughput,
    /// Send shares at a fixed rate and time their acknowledgements.
    Latency,
    /// Wait for blocks and note when each miner hears of them.
    Jobs,
    /// Be connected.
    Idle,
}

impl LoadOptions {
    /// What the pool speaks.
    ///
    /// # Errors
    /// [`Misconfigured`] when `--authority` makes no sense.
    pub fn protocol(&self) -> Result<Protocol, Misconfigured> {
        match (self.url.protocol, self.authority) {
            (protocol, None) => Ok(protocol),
            (Protocol::Sv2 { authority: None }, authority) => Ok(Protocol::Sv2 { authority }),
            (Protocol::Sv2 { authority: Some(_) }, Some(_)) => {
                Err(Misconfigured::new("the URL has a key already; leave out --authority"))
            }
            (Protocol::Sv1, Some(_)) => {
                Err(Misconfigured::new("Stratum V1 has no keys; leave out --authority"))
            }
        }
    }

    /// For how long.
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// The user name of one of the connections.
    pub fn user_of(&self, number: usize) -> String {
        format!("{}.{number}", self.user)
    }
}
