//! One miner's Sv1 connection as a pure state machine: a line, a job or the passing of time in,
//! lines and shares out. No socket, no clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bitcoin::BlockHash;
use poolbox_accounting::{Difficulty, Identity};
use serde_json::{Value, json};

use super::message::{self, ErrorCode, Line, Lines, Request, hex_u32};
use crate::coinbase::{MINER_EXTRANONCE_BYTES, SERVER_EXTRANONCE_BYTES};
use crate::job::Job;
use crate::payout::PayoutOutput;
use crate::sent::{SentJob, SentJobs};
use crate::session::{NOTIFY_EVERY_MS, Now, Outbox, PROBE_MS, SessionSettings};
use crate::share::{RejectReason, Submission, VERSION_ROLLING_MASK};
use crate::sink::{AcceptedShare, FoundBlock, News, Protocol, RejectedShare, WorkerChange, WorkerSeen};
use crate::vardiff::{Introduction, Start, Vardiff, password_difficulty};

/// Lines in a row that are not JSON-RPC before the client is taken for something else.
const MAX_GARBAGE: u32 = 10;
/// Bytes in a line.
const MAX_LINE_BYTES: usize = 8 << 10;
/// User names on one connection.
const MAX_WORKERS: usize = 64;
/// Longest user agent that is kept.
const MAX_AGENT_CHARS: usize = 64;

/// A user name of this connection.
#[derive(Clone, Debug)]
struct Worker {
    identity: Arc<Identity>,
}

/// A share that is on its way to the disk.
#[derive(Debug)]
struct Waiting {
    id: Box<str>,
    hash: BlockHash,
    identity: Arc<Identity>,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    settings: Arc<SessionSettings>,
    extranonce1: [u8; SERVER_EXTRANONCE_BYTES],
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    user_agent: Arc<str>,
    subscribed: bool,
    /// When it was given its first job.
    started_ms: Option<u64>,
    /// Its workers were reported: it is a miner and no probe.
    known: bool,
    /// By user name as the miner writes it.
    workers: BTreeMap<String, Worker>,
    /// Whom its coinbases pay: settled by the first user name.
    payout: Option<PayoutOutput>,
    version_mask: u32,
    vardiff: Vardiff,
    /// What was found to fit the first worker before.
    remembered: Option<Difficulty>,
    /// What it asked for, by password or `mining.suggest_difficulty`.
    wish: Option<Difficulty>,
    told: Option<Difficulty>,
    current: Option<Arc<Job>>,
    sent: SentJobs,
    waiting: VecDeque<Waiting>,
    resent: u8,
    notified_ms: u64,
    notified_time: u32,
    garbage: u32,
}

impl Session {
    /// A connection that was just opened. `extranonce1` is unique among the open ones.
    pub fn new(settings: Arc<SessionSettings>, extranonce1: [u8; SERVER_EXTRANONCE_BYTES], now: Now) -> Self {
        let vardiff = Vardiff::new(settings.start, settings.limits, now.ms);
        Self {
            settings,
            extranonce1,
            partial: Vec::new(),
            user_agent: Arc::from(""),
            subscribed: false,
            started_ms: None,
            known: false,
            workers: BTreeMap::new(),
            payout: None,
            version_mask: 0,
            vardiff,
            remembered: None,
            wish: None,
            told: None,
            current: None,
            sent: SentJobs::default(),
            waiting: VecDeque::new(),
            resent: 0,
            notified_ms: now.ms,
            notified_time: 0,
            garbage: 0,
        }
    }

    /// A line arrived, without its newline.
    fn on_line(&mut self, line: &[u8], now: Now, out: &mut Outbox) {
        match Line::parse(line) {
            Line::Request(request) => {
                self.garbage = 0;
                self.on_request(&request, now, out);
            }
            Line::Response => self.garbage = 0,
            Line::Garbage => {
                self.garbage += 1;
                if self.garbage >= MAX_GARBAGE {
                    out.close = Some("it does not speak Stratum");
                }
                let sentence = "Not a JSON-RPC request; this port speaks Stratum V1";
                out.bytes.line(&message::error("null", ErrorCode::Other, sentence));
            }
        }
    }

    fn on_request(&mut self, request: &Request<'_>, now: Now, out: &mut Outbox) {
        let id = request.id;
        match request.method.as_str() {
            "mining.submit" => self.submit(request, now, out),
            "mining.configure" => self.configure(request, out),
            "mining.subscribe" => self.subscribe(request, now, out),
            "mining.authorize" => self.authorize(request, now, out),
            "mining.suggest_difficulty" => self.suggest_difficulty(request, now, out),
            "mining.extranonce.subscribe" => out.bytes.line(&message::result(id, &json!(true))),
            "mining.ping" => out.bytes.line(&message::result(id, &json!("pong"))),
            // AxeOS answers our own pings with a method of this name.
            "pong" => {}
            method => {
                let sentence = format!("Unknown method {}", method.chars().take(40).collect::<String>());
                out.bytes.line(&message::error(id, ErrorCode::Other, &sentence));
            }
        }
    }

    /// BIP 310. Extensions may come in any order; those unknown here are not answered.
    fn configure(&mut self, request: &Request<'_>, out: &mut Outbox) {
        let names = request.value(0).and_then(|names| names.as_array().cloned()).unwrap_or_default();
        let options = request.value(1).unwrap_or_default();
        let mut answer = serde_json::Map::new();
        for name in names.iter().filter_map(Value::as_str) {
            match name {
                "version-rolling" => {
                    let wanted = options.get("version-rolling.mask").and_then(Value::as_str);
                    let wanted = wanted.and_then(hex_u32).unwrap_or(u32::MAX);
                    self.version_mask = wanted & VERSION_ROLLING_MASK;
                    answer.insert(name.into(), json!(true));
                    answer.insert("version-rolling.mask".into(), json!(format!("{:08x}", self.version_mask)));
                }
                "subscribe-extranonce" => {
                    answer.insert(name.into(), json!(true));
                }
                "minimum-difficulty" | "info" => {
                    answer.insert(name.into(), json!(false));
                }
                _ => {}
            }
        }
        out.bytes.line(&message::result(request.id, &Value::Object(answer)));
    }

    fn subscribe(&mut self, request: &Request<'_>, now: Now, out: &mut Outbox) {
        if let Some(agent) = request.string(0) {
            let agent: String = agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT_CHARS).collect();
            self.user_agent = agent.into();
        }
        self.subscribed = true;
        self.introduce(now);
        // cpuminer and NerdMiner take the first line for this answer, whatever it is.
        out.bytes.line(&message::subscribed(request.id, self.extranonce1));
        self.begin(now, out);
    }

    fn authorize(&mut self, request: &Request<'_>, now: Now, out: &mut Outbox) {
        let id = request.id;
        let mut refuse = |code, sentence: &str| out.bytes.line(&message::error(id, code, sentence));
        let Some(user) = request.string(0) else {
            return refuse(ErrorCode::Other, "mining.authorize needs a user name");
        };
        let identity = match Identity::parse(&user, self.settings.network) {
            Ok(identity) => Arc::new(identity),
            Err(error) => return refuse(ErrorCode::Unauthorized, &error.to_string()),
        };
        let payout = match self.settings.payout.output_for(&identity) {
            Ok(payout) => payout,
            Err(error) => return refuse(ErrorCode::Unauthorized, &error.to_string()),
        };
        if self.payout.as_ref().is_some_and(|paid| *paid != payout) {
            let sentence = "The blocks of one connection pay one address; open another connection";
            return refuse(ErrorCode::Unauthorized, sentence);
        }
        let first = self.workers.is_empty();
        if self.workers.len() >= MAX_WORKERS && !self.workers.contains_key(&user) {
            return refuse(ErrorCode::Other, "Too many user names on one connection; open another");
        }
        self.payout = Some(payout);
        let news = self.seen(&identity, WorkerChange::Joined);
        let new = self.workers.insert(user, Worker { identity }).is_none();
        out.bytes.line(&message::result(id, &json!(true)));
        if first {
            self.wish = self.wish.or_else(|| password_difficulty(&request.string(1)?));
            self.introduce(now);
        }
        if self.known && new {
            out.news.push(news);
        } else if self.started_ms.is_none() {
            self.begin(now, out);
        }
    }

    fn suggest_difficulty(&mut self, request: &Request<'_>, now: Now, out: &mut Outbox) {
        let wish = request.value(0).and_then(|wish| wish.as_f64().or_else(|| wish.as_str()?.parse().ok()));
        let Some(wish) = wish.and_then(Difficulty::at_most) else {
            let sentence = "mining.suggest_difficulty needs a positive number";
            return out.bytes.line(&message::error(request.id, ErrorCode::Other, sentence));
        };
        out.bytes.line(&message::result(request.id, &json!(true)));
        self.wish = Some(wish);
        // NerdMiner repeats its wish every 30 s, and AxeOS has one that nobody ever set: what was measured
        // knows better.
        if self.remembered.is_none() {
            self.vardiff.restart(wish, now.ms);
            if self.told.is_some_and(|told| told != self.vardiff.difficulty()) {
                self.notify(now, out);
                self.report_workers(WorkerChange::Retargeted, out);
            }
        }
    }

    /// Chooses where the miner starts, from what it said so far; not any more once it has work.
    fn introduce(&mut self, now: Now) {
        if self.started_ms.is_some() {
            return;
        }
        let first = self.workers.values().next();
        let settings = &self.settings;
        self.remembered =
            first.and_then(|worker| settings.memory.difficulty(&worker.identity, &self.user_agent));
        let about = Introduction {
            user_agent: &self.user_agent,
            remembered: self.remembered,
            wish: self.wish,
            hashrate: None,
        };
        let start = Start::choose(&about, settings.network, settings.start);
        self.vardiff = Vardiff::begin(start, settings.limits, now.ms);
    }

    /// The first job goes out as soon as the miner has subscribed and named itself, in any order.
    fn begin(&mut self, now: Now, out: &mut Outbox) {
        self.notify(now, out);
        if self.started_ms.is_none() && self.told.is_some() {
            self.started_ms = Some(now.ms);
        }
    }

    fn notify(&mut self, now: Now, out: &mut Outbox) {
        let Some(job) = self.current.clone().filter(|_| self.subscribed) else { return };
        let Some(payout) = &self.payout else { return };
        let coinbase = match job.coinbase(payout, SERVER_EXTRANONCE_BYTES + MINER_EXTRANONCE_BYTES) {
            Ok(coinbase) => coinbase,
            Err(error) => return out.halt = Some(error),
        };
        let hardest = self.settings.limits.max.min(Difficulty::not_above(job.network_target));
        self.vardiff.set_max(hardest);
        let difficulty = self.vardiff.difficulty();
        if self.told != Some(difficulty) {
            self.told = Some(difficulty);
            out.bytes.line(&message::set_difficulty(difficulty));
        }
        let last = self.sent.newest().map(|last| (last.job.number, last.job.template.prev_hash));
        let clean = last.is_none_or(|(_, prev_hash)| prev_hash != job.template.prev_hash);
        let again = last.is_some_and(|(number, _)| number == job.number);
        self.resent = if again { self.resent.wrapping_add(1) } else { 0 };
        // Miners restart extranonce2 at every notify: a later ntime keeps their work new.
        let fresh = now.unix.max(job.template.time);
        let time = if again { fresh.max(self.notified_time.saturating_add(1)) } else { fresh };
        let id = job.number.get() << 8 | u32::from(self.resent);
        out.bytes.line(&message::notify(id, &job, &coinbase, time, clean));
        self.notified_ms = now.ms;
        self.notified_time = time;
        if clean {
            self.sent.retire_all(now.ms);
        }
        self.sent.add(SentJob::new(id, job, coinbase, difficulty));
    }

    fn submit(&mut self, request: &Request<'_>, now: Now, out: &mut Outbox) {
        let id = request.id;
        if !self.subscribed {
            let sentence = "Send mining.subscribe before mining.submit";
            return out.bytes.line(&message::error(id, ErrorCode::NotSubscribed, sentence));
        }
        let worker = match request.text(0) {
            Some(user) => self.workers.get(user),
            None => request.string(0).and_then(|user| self.workers.get(&user)),
        };
        let Some(identity) = worker.map(|worker| Arc::clone(&worker.identity)) else {
            return refuse(id, None, RejectReason::Unauthorized, out);
        };
        self.make_known(out);
        match self.judge(request, &identity, now) {
            Ok((share, difficulty)) => {
                self.waiting.push_back(Waiting { id: id.into(), hash: share.hash, identity });
                out.shares.push(share);
                if self.vardiff.on_share(difficulty, now.ms).is_some() {
                    self.notify(now, out);
                    self.report_workers(WorkerChange::Retargeted, out);
                }
            }
            Err(reason) => refuse(id, Some(identity), reason, out),
        }
    }

    /// The share of a submit and the difficulty of its job.
    fn judge(
        &mut self,
        request: &Request<'_>,
        identity: &Arc<Identity>,
        now: Now,
    ) -> Result<(AcceptedShare, Difficulty), RejectReason> {
        let Fields { job, extranonce2, time, nonce, version_bits } =
            Fields::read(request).ok_or(RejectReason::Malformed)?;
        let mut miner = [0; MINER_EXTRANONCE_BYTES];
        hex::decode_to_slice(extranonce2, &mut miner).map_err(|_| RejectReason::BadExtranonce)?;
        let job = hex_u32(job).ok_or(RejectReason::UnknownJob)?;
        let (sent, late) = self.sent.find(job, now.ms)?;
        let (template, mask) = (&sent.job.template, self.version_mask);
        let version = match version_bits {
            Some(bits) if bits & !mask != 0 => return Err(RejectReason::BadVersion),
            Some(bits) => (template.version & !mask) | bits,
            None => template.version,
        };
        let root = template.merkle_root(sent.coinbase.txid(&self.extranonce1, &miner));
        let difficulty = sent.difficulty;
        let solved = Submission { time, nonce, version }.judge(
            &sent.job,
            root,
            difficulty.target(),
            mask,
            now.unix,
        )?;
        // On a tip that is past it is work, but no block any more.
        let block = (solved.block && !late)
            .then(|| FoundBlock::new(&sent.job, &solved, &sent.coinbase, &self.extranonce1, &miner))
            .flatten();
        let prev_hash = template.prev_hash;
        if !self.sent.note_share(prev_hash, &solved) {
            return Err(RejectReason::Duplicate);
        }
        let identity = Arc::clone(identity);
        Ok((AcceptedShare { identity, work: difficulty.work(), hash: solved.hash, block }, difficulty))
    }

    /// Reports the workers, once: at the first share, good or bad, or when it stayed.
    fn make_known(&mut self, out: &mut Outbox) {
        if !self.known {
            self.known = true;
            self.report_workers(WorkerChange::Joined, out);
        }
    }

    /// Says nothing of a connection that may still be a probe.
    fn report_workers(&self, change: WorkerChange, out: &mut Outbox) {
        if self.known {
            out.news.extend(self.workers.values().map(|worker| self.seen(&worker.identity, change)));
        }
    }

    fn seen(&self, identity: &Arc<Identity>, change: WorkerChange) -> News {
        News::Worker(WorkerSeen {
            identity: Arc::clone(identity),
            protocol: Protocol::Sv1,
            user_agent: Arc::clone(&self.user_agent),
            difficulty: self.vardiff.difficulty(),
            measured: self.vardiff.measured(),
            change,
        })
    }
}

impl crate::Session for Session {
    fn on_bytes(&mut self, input: &mut [u8], now: Now, out: &mut Outbox) {
        let mut rest = &*input;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, next) = (&rest[..end], &rest[end + 1..]);
            rest = next;
            if self.partial.is_empty() {
                self.on_line(line, now, out);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.on_line(&whole, now, out);
            }
            if out.close.is_some() || out.halt.is_some() {
                return;
            }
        }
        self.partial.extend_from_slice(rest);
        if self.partial.len() > MAX_LINE_BYTES {
            out.close = Some("a line was too long");
        }
    }

    fn on_job(&mut self, job: &Arc<Job>, now: Now, out: &mut Outbox) {
        self.current = Some(Arc::clone(job));
        self.begin(now, out);
    }

    fn on_tick(&mut self, now: Now, out: &mut Outbox) {
        if self.ready() && self.current.is_some() {
            let changed = self.vardiff.on_tick(now.ms).is_some();
            if changed || now.ms.saturating_sub(self.notified_ms) >= NOTIFY_EVERY_MS {
                self.notify(now, out);
            }
            if changed {
                self.report_workers(WorkerChange::Retargeted, out);
            }
        }
        if self.started_ms.is_some_and(|started| now.ms.saturating_sub(started) >= PROBE_MS) {
            self.make_known(out);
        }
    }

    fn on_kept(&mut self, count: usize, kept: bool, out: &mut Outbox) {
        for Waiting { id, hash, identity } in self.waiting.drain(..count.min(self.waiting.len())) {
            if kept {
                message::accepted(&id, &mut out.bytes);
            } else {
                self.sent.forget_share(hash);
                refuse(&id, Some(identity), RejectReason::NotKept, out);
            }
        }
    }

    fn on_close(&mut self, out: &mut Outbox) {
        self.report_workers(WorkerChange::Left, out);
    }

    /// Subscribed and named itself.
    fn ready(&self) -> bool {
        self.subscribed && !self.workers.is_empty()
    }
}

/// user, job id, extranonce2, ntime, nonce and, from miners that roll it, version bits.
struct Fields<'a> {
    job: &'a str,
    extranonce2: &'a str,
    time: u32,
    nonce: u32,
    version_bits: Option<u32>,
}

impl<'a> Fields<'a> {
    fn read(request: &Request<'a>) -> Option<Self> {
        let version_bits = match request.params.get(5) {
            None => None,
            Some(written) if written.get() == "null" => None,
            Some(_) => Some(hex_u32(request.text(5)?)?),
        };
        Some(Self {
            job: request.text(1)?,
            extranonce2: request.text(2)?,
            time: hex_u32(request.text(3)?)?,
            nonce: hex_u32(request.text(4)?)?,
            version_bits,
        })
    }
}

fn refuse(id: &str, identity: Option<Arc<Identity>>, reason: RejectReason, out: &mut Outbox) {
    out.bytes.line(&message::error(id, reason.into(), &reason.to_string()));
    out.news.push(News::Rejected(RejectedShare { identity, reason }));
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
