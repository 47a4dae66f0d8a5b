//! What the two protocols have in common: a session is a pure state machine, bytes in and bytes out,
//! without socket or clock.

use std::sync::Arc;

use poolbox_accounting::{Difficulty, Identity, Network};

use crate::coinbase::CoinbaseError;
use crate::job::Job;
use crate::payout::PayoutPolicy;
use crate::sink::{AcceptedShare, News};
use crate::vardiff::VardiffLimits;

/// Firmware waits 60 to 120 s for a line; a job goes out at least this often.
pub const NOTIFY_EVERY_MS: u64 = 40_000;
/// Health probes of firmwares subscribe, authorise, read a job and leave: AxeOS within 5 s. Who stays
/// this long with a job is a miner, even one that has not found a share yet.
pub const PROBE_MS: u64 = 10_000;

/// Why a connection is closed whose extranonces are too large for an upstream's new jobs: the next one gets
/// smaller ones.
pub const NO_ROOM: &str = "the upstream pool leaves less room for extranonces than this miner was promised";

/// What every session of a server has in common.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// For addresses in user names.
    pub network: Network,
    /// Whom coinbases pay.
    pub payout: PayoutPolicy,
    /// Where a miner starts that says nothing about itself.
    pub start: Difficulty,
    /// Between what its difficulty moves.
    pub limits: VardiffLimits,
    /// What its workers did before.
    pub memory: Arc<dyn Memory>,
}

/// What is remembered of workers across connections and restarts.
pub trait Memory: std::fmt::Debug + Send + Sync {
    /// The difficulty that was found to fit this worker, when it called itself the same.
    fn difficulty(&self, identity: &Identity, user_agent: &str) -> Option<Difficulty>;
}

/// Nobody was here before.
#[derive(Clone, Copy, Debug)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn difficulty(&self, _: &Identity, _: &str) -> Option<Difficulty> {
        None
    }
}

/// The time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that only moves forward.
    pub ms: u64,
    /// Unix seconds.
    pub unix: u32,
}

/// What a session wants done after an event.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To be written to the miner.
    pub bytes: Vec<u8>,
    /// How many messages the miner was found to have sent.
    pub messages: usize,
    /// To be kept; [`Session::on_kept`] follows, in the same order.
    pub shares: Vec<AcceptedShare>,
    /// To be noted.
    pub news: Vec<News>,
    /// No job may be sent: it would pay the wrong party.
    pub halt: Option<CoinbaseError>,
    /// The connection is over, for this reason.
    pub close: Option<&'static str>,
}

/// One miner's connection.
pub trait Session: Send {
    /// Bytes arrived. They may be changed in place.
    fn on_bytes(&mut self, input: &mut [u8], now: Now, out: &mut Outbox);

    /// The newest job changed.
    fn on_job(&mut self, job: &Arc<Job>, now: Now, out: &mut Outbox);

    /// Time passed; called about once a second.
    fn on_tick(&mut self, now: Now, out: &mut Outbox);

    /// The next `count` shares are on disk, or could not be kept.
    fn on_kept(&mut self, count: usize, kept: bool, out: &mut Outbox);

    /// The connection ended.
    fn on_close(&mut self, out: &mut Outbox);

    /// Whether the miner has said all it must say to be sent work.
    fn ready(&self) -> bool;
}
