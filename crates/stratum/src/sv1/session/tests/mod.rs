//! Conversations as the firmwares hold them, and the rules that no miner may lose a share by.

mod axeos;
mod first;
mod industrial;
mod jobs;
mod lines;
mod proxy;
mod shares;
mod small;
mod workers;

use std::sync::LazyLock;

use poolbox_accounting::Network;
use serde_json::Value;

use super::*;
use crate::job::fixture;
use crate::payout::PayoutPolicy;
use crate::session::{NoMemory, Session as _};
use crate::share::{RejectReason, Submission};
use crate::sink::AcceptedShare;

const START: Now = Now { ms: 0, unix: 1_700_000_500 };
const EXTRANONCE1: [u8; 4] = [0xaa, 0xbb, 0xcc, 0xdd];
/// All of them.
const WIDE: VardiffLimits = VardiffLimits { min: Difficulty::MIN, max: Difficulty::MAX };

/// A session, and what it wants done after each event.
struct Talk(Session);

impl Talk {
    /// A session of a server like this, with nothing to mine yet.
    fn idle(settings: SessionSettings) -> Self {
        Self(Session::new(Arc::new(settings), EXTRANONCE1.into(), START))
    }

    fn with(&mut self, event: impl FnOnce(&mut Session, &mut Outbox)) -> Outbox {
        let mut out = Outbox::default();
        event(&mut self.0, &mut out);
        out
    }

    fn on_bytes(&mut self, bytes: &[u8], now: Now) -> Outbox {
        self.with(|session, out| session.on_bytes(&mut bytes.to_vec(), now, out))
    }

    fn on_line(&mut self, line: &str, now: Now) -> Outbox {
        self.on_bytes(format!("{line}\n").as_bytes(), now)
    }

    fn on_job(&mut self, job: Arc<Job>, now: Now) -> Outbox {
        self.with(|session, out| session.on_job(&job, now, out))
    }

    fn on_tick(&mut self, now: Now) -> Outbox {
        self.with(|session, out| session.on_tick(now, out))
    }

    fn on_kept(&mut self, count: usize, kept: bool) -> Outbox {
        self.with(|session, out| session.on_kept(count, kept, out))
    }

    fn on_close(&mut self) -> Outbox {
        self.with(Session::on_close)
    }

    /// The lines that are sent for lines that come one by one.
    fn say(&mut self, now: Now, lines: &[&str]) -> Vec<Value> {
        lines.iter().flat_map(|line| sent(&self.on_line(line, now))).collect()
    }

    /// The lines that are sent while nothing happens, second by second.
    fn wait(&mut self, seconds: std::ops::RangeInclusive<u64>) -> Vec<Value> {
        seconds.flat_map(|second| sent(&self.on_tick(at(second)))).collect()
    }

    /// A share of `garage.one`.
    fn submit(&mut self, now: Now, job: &str, extranonce2: u64, nonce: u32) -> Outbox {
        let time = START.unix;
        let line = format!(
            r#"{{"id":4,"method":"mining.submit","params":["garage.one","{job}","{extranonce2:016x}","{time:08x}","{nonce:x}"]}}"#
        );
        self.on_line(&line, now)
    }
}

fn settings(limits: VardiffLimits) -> SessionSettings {
    SessionSettings {
        network: Network::Devnet,
        payout: PayoutPolicy::Pool(fixture::payout()),
        start: limits.min,
        limits,
        memory: Arc::new(NoMemory),
    }
}

/// A session of a server that has work, whose miner has said nothing yet.
fn session() -> Talk {
    session_at(WIDE)
}

fn session_at(limits: VardiffLimits) -> Talk {
    let mut session = Talk::idle(settings(limits));
    let out = session.on_job(fixture::job(fixture::template()), START);
    assert!(out.bytes.is_empty(), "nothing before the handshake");
    session
}

/// Subscribed and authorised; the id of the first job.
fn mining() -> (Talk, String) {
    mining_at(WIDE)
}

/// Where every hash is a share.
fn mining_freely() -> (Talk, String) {
    mining_at(VardiffLimits { min: Difficulty::FREE, max: Difficulty::FREE })
}

fn mining_at(limits: VardiffLimits) -> (Talk, String) {
    let mut session = session_at(limits);
    let lines = session.say(
        START,
        &[
            r#"{"id":1,"method":"mining.subscribe","params":["test"]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["garage.one","x"]}"#,
        ],
    );
    let job = job_id(lines.last().unwrap());
    (session, job)
}

fn at(seconds: u64) -> Now {
    Now { ms: seconds * 1_000, unix: START.unix + seconds as u32 }
}

/// One after the other.
fn together(outs: impl IntoIterator<Item = Outbox>) -> Outbox {
    let mut all = Outbox::default();
    for mut out in outs {
        all.bytes.append(&mut out.bytes);
        all.shares.append(&mut out.shares);
        all.news.append(&mut out.news);
        all.close = all.close.or(out.close);
    }
    all
}

fn job_of(number: u64, template: poolbox_work_source::Template) -> Arc<Job> {
    Arc::new(Job::new(crate::JobNumber::starting_at(number), Arc::new(template)))
}

/// The fixture's template on another block.
fn next_block() -> poolbox_work_source::Template {
    let prev_hash = bitcoin::hashes::Hash::from_byte_array([0x99; 32]);
    poolbox_work_source::Template { prev_hash, ..fixture::template() }
}

fn text(out: &Outbox) -> &str {
    std::str::from_utf8(&out.bytes).unwrap()
}

fn sent(out: &Outbox) -> Vec<Value> {
    text(out).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What each line is: its method, or the id that it answers.
fn methods(lines: &[Value]) -> Vec<String> {
    let name = |line: &Value| {
        line["method"].as_str().map_or_else(|| format!("answer {}", line["id"]), str::to_owned)
    };
    lines.iter().map(name).collect()
}

fn notifies(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["method"] == "mining.notify").collect()
}

fn job_id(notify: &Value) -> String {
    notify["params"][0].as_str().unwrap().to_owned()
}

/// The `count` first shares of the fixture's job for this connection at the easiest difficulty, three at
/// most.
fn easy_shares(count: usize) -> Vec<u32> {
    static FOUND: LazyLock<Vec<u32>> = LazyLock::new(|| {
        let job = fixture::job(fixture::template());
        let coinbase = job.coinbase(&fixture::payout(), 12).unwrap();
        let root = job.template.merkle_root(coinbase.txid(&EXTRANONCE1, &[0; 8]));
        let (target, version) = (Difficulty::MIN.target(), job.template.version);
        let judge = |nonce| {
            Submission { time: START.unix, nonce, version }.judge(&job, root, target, 0, START.unix).is_ok()
        };
        (0..).filter(|&nonce| judge(nonce)).take(3).collect()
    });
    FOUND[..count].to_vec()
}

fn kept(out: &Outbox) -> Option<&AcceptedShare> {
    out.shares.first()
}

fn news(out: &Outbox) -> Vec<(WorkerChange, String)> {
    let seen = |news: &News| match news {
        News::Worker(seen) => Some((seen.change, seen.identity.worker.clone())),
        News::Rejected(_) => None,
    };
    out.news.iter().filter_map(seen).collect()
}

fn refusal(out: &Outbox) -> Option<RejectReason> {
    out.news.iter().find_map(|news| match news {
        News::Rejected(share) => Some(share.reason),
        News::Worker(_) => None,
    })
}
