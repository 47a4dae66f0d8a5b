//! The pool's local API: `GET /status`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use poolbox_accounting::{Network, ShareSeq, Work};
use serde::{Deserialize, Serialize};

/// Path of [`Status`].
pub const STATUS: &str = "/status";

/// Everything the pool knows about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Network of the node.
    pub network: Network,
    /// Version of the program.
    pub version: String,
    /// When it started, Unix seconds.
    pub started_at: u64,
    /// Where Sv1 miners connect, as `stratum+tcp://host:port`.
    pub stratum_v1: String,
    /// Where Sv1 miners connect over TLS; none where that is off.
    #[serde(default)]
    pub stratum_v1_tls: Option<Tls>,
    /// Where Sv2 miners connect, as `stratum2+tcp://host:port/authority-key`.
    pub stratum_v2: String,
    /// Why mining was stopped: a job would have paid the wrong party. None while all is well.
    pub halted: Option<String>,
    /// Open miner connections.
    pub connections: u32,
    /// Where jobs come from.
    pub source: Source,
    /// The share journal.
    pub journal: Journal,
    /// Workers seen since the start, ordered by owner and name.
    pub workers: Vec<Worker>,
    /// Blocks found since the start, newest first.
    pub blocks: Vec<Block>,
}

/// Stratum V1 over TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// As `stratum+ssl://host:port`.
    pub url: String,
    /// What a miner knows the box by, PEM: its "custom certificate".
    pub certificate: String,
    /// Where that is kept.
    pub certificate_file: PathBuf,
}

/// The work source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Whether jobs are current.
    pub connected: bool,
    /// Height of the block being worked on; none before the first template.
    pub height: Option<u32>,
    /// Header time of the current template, Unix seconds.
    pub template_time: Option<u32>,
    /// What the coinbase of the current job pays, in sats.
    pub reward_sat: Option<u64>,
}

/// The share journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Journal {
    /// Shares on disk.
    pub shares: u64,
    /// Their work.
    pub work_ehash: Work,
    /// The last share that is in the quote queue.
    pub queued_through: ShareSeq,
    /// How long the latest group commit took, in microseconds.
    pub commit_us: u64,
    /// Whether the latest write failed: shares are refused until the disk takes them again.
    pub failing: bool,
}

/// One named connection, counted since the pool started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worker {
    /// Canonical text of the owner.
    pub owner: String,
    /// Name after the dot.
    pub name: String,
    /// Of the latest connection.
    pub protocol: Protocol,
    /// What the miner calls itself.
    pub user_agent: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Advertised difficulty as log2.
    pub difficulty_log2: i8,
    /// Shares accepted.
    pub accepted: u64,
    /// Shares rejected, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Work of the accepted shares.
    pub work_ehash: Work,
    /// When the latest share was accepted, Unix seconds.
    pub last_share_at: Option<u64>,
}

/// How a miner speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Stratum V1.
    Sv1,
    /// Stratum V2.
    Sv2,
}

/// A block found by one of the workers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Block {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: String,
    /// Who found it, as `owner.worker`.
    pub finder: String,
    /// When, Unix seconds.
    pub found_at: u64,
    /// Whether the node's tip moved to it.
    pub confirmed: bool,
}
