//! The pool's local API: `GET /status`, `GET /metrics` for Prometheus, and `POST /halt`.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use poolbox_accounting::Mode;
use poolbox_accounting::{JournalId, Network, QueueSeq, ShareSeq, Work};
use serde::{Deserialize, Serialize};

/// Path of [`Status`].
pub const STATUS: &str = "/status";
/// Path of the same figures in Prometheus' text format.
pub const METRICS: &str = "/metrics";
/// Path where all mining is stopped until the pool is started again: [`Stop`] in, [`Stopped`] out.
pub const HALT: &str = "/halt";

/// Asks the pool to stop all mining: somebody saw that a block would pay the wrong party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// What was seen, in a sentence without its full stop.
    pub reason: String,
}

/// Mining is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Why: the first reason that was given.
    pub reason: String,
}

/// Everything the pool knows about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Network of the node.
    pub network: Network,
    /// Version of the program.
    pub version: String,
    /// For whom the miners work.
    pub mode: Mode,
    /// When it started, Unix seconds.
    pub started_at: u64,
    /// For how long it has run, in seconds of a clock that nobody sets.
    pub uptime_s: u64,
    /// Where Sv1 miners connect, as `stratum+tcp://host:port`.
    pub stratum_v1: String,
    /// Where Sv1 miners connect over TLS; none where that is off.
    #[serde(default)]
    pub stratum_v1_tls: Option<Tls>,
    /// Where Sv2 miners connect, as `stratum2+tcp://host:port/authority-key`.
    pub stratum_v2: String,
    /// Why mining was stopped: a job would have paid the wrong party, as the pool or somebody else saw. None while all
    /// is well.
    pub halted: Option<String>,
    /// Open miner connections.
    pub connections: u32,
    /// Open miner connections by protocol, with those that have not said yet who they are.
    pub connections_by: BTreeMap<Protocol, u32>,
    /// What all workers do together.
    pub hashrate: HashRates,
    /// Their shares.
    pub shares: Shares,
    /// Where jobs come from.
    pub source: Source,
    /// The upstream pool, in mode proxy.
    #[serde(default)]
    pub upstream: Option<Upstream>,
    /// What miners work on; none while there is nothing to mine.
    pub job: Option<Job>,
    /// How fast jobs reach the miners.
    pub latency: Latency,
    /// The share journal.
    pub journal: Journal,
    /// How far the quote queue was sent; none where the mint reads the journal itself.
    #[serde(default)]
    pub delivery: Option<Delivery>,
    /// What each owner's workers do together, ordered by owner.
    pub owners: Vec<Owner>,
    /// Workers known, ordered by owner and name. Beyond 10,000, those that are away are forgotten.
    pub workers: Vec<Worker>,
    /// The latest hundred blocks found, newest first.
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

/// The upstream pool that the miners work for in mode proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    /// Where it is, as `stratum+tcp://host:port`.
    pub url: String,
    /// The user name that the box has there.
    pub user: String,
    /// Difficulty that it takes shares at; none before it said.
    pub difficulty: Option<f64>,
    /// Shares that it accepted since the pool started.
    pub accepted: u64,
    /// Shares that it rejected, or that could not be handed on, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Shares that it has not answered yet.
    pub waiting: u64,
    /// When it last accepted one, Unix seconds.
    pub last_accepted_at: Option<u64>,
}

/// Hashes a second over the last minute, ten minutes, hour and day, from the work of accepted shares.
/// Of somebody who began within such a time: since then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashRates {
    /// Over a minute.
    #[serde(rename = "1m")]
    pub minute: u64,
    /// Over ten minutes.
    #[serde(rename = "10m")]
    pub ten_minutes: u64,
    /// Over an hour.
    #[serde(rename = "1h")]
    pub hour: u64,
    /// Over a day.
    #[serde(rename = "1d")]
    pub day: u64,
}

impl HashRates {
    /// Each with the name of its time.
    pub const fn named(&self) -> [(&'static str, u64); 4] {
        [("1m", self.minute), ("10m", self.ten_minutes), ("1h", self.hour), ("1d", self.day)]
    }
}

/// Shares and what they are worth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Shares accepted.
    pub accepted: u64,
    /// Shares rejected, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Work of the accepted shares.
    pub work_ehash: Work,
    /// The hardest hash among them.
    pub best: Option<BestShare>,
}

/// The hardest hash that was found. Luck: it is worth no more than any other share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestShare {
    /// The difficulty that it would have met.
    pub difficulty: f64,
    /// The hash.
    pub hash: String,
}

/// The work source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Whether jobs are current.
    pub connected: bool,
    /// Why they are not.
    pub trouble: Option<String>,
    /// Height of the block being worked on; none while there is nothing to mine.
    pub height: Option<u32>,
}

/// The newest job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub number: u32,
    /// How long ago it was made, in milliseconds.
    pub age_ms: u64,
    /// Height of the block it would be.
    pub height: u32,
    /// Hash of the block before.
    pub prev_hash: String,
    /// Header time of its template, Unix seconds.
    pub template_time: u32,
    /// Difficulty of the network.
    pub network_difficulty: f64,
    /// What its coinbase pays, in sats.
    pub reward_sat: u64,
    /// The part of it that is fees of transactions, in sats.
    pub fees_sat: u64,
    /// Its coinbases, decoded: one in mode pool; in mode solo one for each connected owner, up to a
    /// hundred; in mode proxy the upstream pool's.
    pub coinbases: Vec<Coinbase>,
}

/// A coinbase as a miner would read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Coinbase {
    /// Whose shares it is for, in mode solo.
    pub owner: Option<String>,
    /// All that it pays.
    pub outputs: Vec<Output>,
    /// What is wrong with it; none when it pays whom the settings say, and all of it.
    pub mismatch: Option<String>,
    /// The transaction without its witness, in hex, with zeros for extranonces.
    pub transaction: String,
}

/// One output of a coinbase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The address it pays; none for what is no payment, such as the witness commitment.
    pub address: Option<String>,
    /// Its script, in hex.
    pub script: String,
    /// What it pays, in sats.
    pub sats: u64,
}

/// Times from the arrival of a template to the moment its job was written to a miner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// To each miner.
    pub each: Times,
    /// To the last miner of each job.
    pub last: Times,
}

/// A distribution of times in microseconds, each told to within an eighth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// How many were measured.
    pub count: u64,
    /// Half of them were no longer.
    pub p50_us: u64,
    /// All but one in a hundred were no longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// The share journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Journal {
    /// The name under which a mint knows it.
    pub identity: JournalId,
    /// Shares on disk.
    pub shares: u64,
    /// Their work.
    pub work_ehash: Work,
    /// Shares on their way to the disk.
    pub waiting: u64,
    /// The last share that is in the quote queue.
    pub queued_through: ShareSeq,
    /// How long ago the oldest share was journalled that is not in the quote queue, in milliseconds, to
    /// within a second.
    pub oldest_unqueued_ms: Option<u64>,
    /// How long the latest group commit took, in microseconds.
    pub commit_us: u64,
    /// Whether the latest write failed: shares are refused until the disk takes them again.
    pub failing: bool,
}

/// The quote queue's way to a mint elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Where Redis listens.
    pub address: String,
    /// The last entry in Redis, as far as known.
    pub sent: QueueSeq,
    /// Entries in the journal behind it.
    pub waiting: u64,
    /// Why no more are sent; none while all is well.
    pub trouble: Option<String>,
}

/// An owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Owner {
    /// Canonical text.
    pub owner: String,
    /// What the workers do together.
    pub hashrate: HashRates,
    /// Workers known.
    pub workers: u32,
    /// Workers connected.
    pub connected: u32,
}

/// One name of a machine. What it did before a restart of the pool counts, hash rates excepted.
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
    /// Connections by this name.
    pub connections: u32,
    /// Since when there has been one, Unix seconds.
    pub connected_since: Option<u64>,
    /// Advertised difficulty as log2, of the latest connection.
    pub difficulty_log2: i8,
    /// Its speed.
    pub hashrate: HashRates,
    /// Its shares.
    #[serde(flatten)]
    pub shares: Shares,
    /// When the latest share was accepted, Unix seconds.
    pub last_share_at: Option<u64>,
}

/// How a miner speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Stratum V1.
    Sv1,
    /// Stratum V2.
    Sv2,
}

impl Protocol {
    /// As it is written here.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sv1 => "sv1",
            Self::Sv2 => "sv2",
        }
    }
}

/// A block found by one of the workers. It was sent to the node; what came of it is told once known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: String,
    /// Who found it, as `owner.worker`; none when a restart lost that.
    pub finder: Option<String>,
    /// When, Unix seconds.
    pub found_at: u64,
    /// Whether it is in the chain.
    pub confirmed: bool,
    /// Why it will never be.
    pub lost: Option<String>,
    /// Why it is not in the chain yet, as far as is known.
    pub trouble: Option<String>,
}
