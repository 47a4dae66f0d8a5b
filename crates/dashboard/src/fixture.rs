//! A box as it may be, for tests.

use poolbox_accounting::{JournalId, Network, ShareSeq, Work};
use poolbox_api::pool::{
    BestShare, Block, HashRates, Job, Journal, Latency, Mode, Owner, Protocol, Shares, Source, Status, Worker,
};

use crate::feed::Snapshot;

/// When it is.
pub const NOW: u64 = 1_795_564_800;
/// A name that a miner may give itself.
pub const HOSTILE: &str = "<script>alert(1)</script>\"'&#x3c;img src=x onerror=alert(2)>";

const RATES: HashRates =
    HashRates { minute: 9e11 as u64, ten_minutes: 1e12 as u64, hour: 1e12 as u64, day: 8e11 as u64 };

/// A snapshot with so many workers.
pub fn snapshot(workers: usize) -> Snapshot {
    Snapshot { at: NOW, pool: Some(status(workers)), ..Snapshot::default() }
}

/// A worker that mines.
pub fn worker(owner: &str, name: &str) -> Worker {
    Worker {
        owner: owner.to_owned(),
        name: name.to_owned(),
        protocol: Protocol::Sv1,
        user_agent: "bitaxe/BM1370/v2.9.0".to_owned(),
        connected: true,
        connections: 1,
        connected_since: Some(NOW - 4000),
        difficulty_log2: 9,
        hashrate: RATES,
        shares: shares(),
        last_share_at: Some(NOW - 7),
    }
}

fn shares() -> Shares {
    Shares {
        accepted: 4711,
        rejected: [("stale".to_owned(), 3)].into(),
        work_ehash: Work::from_ehash(9_876_543),
        best: Some(BestShare { difficulty: 1_234_567.0, hash: "00".repeat(32) }),
    }
}

fn status(workers: usize) -> Status {
    let connections = u32::try_from(workers).unwrap();
    Status {
        network: Network::Devnet,
        version: "0.1.0".to_owned(),
        mode: Mode::Pool,
        started_at: NOW - 5000,
        uptime_s: 5000,
        stratum_v1: "stratum+tcp://0.0.0.0:3333".to_owned(),
        stratum_v1_tls: None,
        stratum_v2: "stratum2+tcp://0.0.0.0:34254/9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"
            .to_owned(),
        halted: None,
        connections,
        connections_by: [(Protocol::Sv1, connections)].into(),
        hashrate: if workers == 0 { HashRates::default() } else { RATES },
        shares: shares(),
        source: Source { connected: true, trouble: None, height: Some(900_000) },
        upstream: None,
        job: Some(Job {
            number: 7,
            age_ms: 4200,
            height: 900_000,
            prev_hash: "00".repeat(32),
            template_time: u32::try_from(NOW).unwrap(),
            network_difficulty: 1.5e14,
            reward_sat: 312_600_000,
            fees_sat: 100_000,
            coinbases: Vec::new(),
        }),
        latency: Latency::default(),
        delivery: None,
        journal: Journal {
            identity: JournalId::UNNAMED,
            shares: 4711,
            work_ehash: Work::from_ehash(9_876_543),
            waiting: 0,
            queued_through: ShareSeq::new(4711),
            oldest_unqueued_ms: None,
            commit_us: 900,
            failing: false,
        },
        owners: vec![Owner {
            owner: "garage".to_owned(),
            hashrate: RATES,
            workers: connections,
            connected: connections,
        }],
        workers: (0..workers).map(|nth| worker("garage", &format!("axe{nth:04}"))).collect(),
        blocks: vec![Block {
            height: 899_000,
            hash: "00".repeat(32),
            finder: Some("garage.axe0000".to_owned()),
            found_at: NOW - 90_000,
            confirmed: true,
            lost: None,
            trouble: None,
        }],
    }
}
