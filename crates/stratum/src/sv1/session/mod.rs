//! One miner's Sv1 connection as a pure state machine: bytes, a job or the passing of time in, lines and
//! shares out. No socket, no clock.
//!
//! Here: the lines, the jobs and when they go out. What a miner says before it mines is in
//! [`introduction`], its shares in [`submit`].

mod introduction;
mod submit;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use poolbox_accounting::{Difficulty, Identity};
use serde_json::json;

use super::message::{self, ErrorCode, Line, Lines, Request};
use crate::coinbase::CoinbaseError;
use crate::extranonce::Extranonce;
use crate::job::Job;
use crate::payout::PayoutOutput;
use crate::sent::{SentJob, SentJobs};
use crate::session::{NO_ROOM, NOTIFY_EVERY_MS, Now, Outbox, PROBE_MS, SessionSettings};
use crate::sink::{News, Protocol, WorkerChange, WorkerSeen};
use crate::vardiff::{Vardiff, VardiffLimits};
use submit::Waiting;

/// Lines in a row that are not JSON-RPC before the client is taken for something else.
const MAX_GARBAGE: u32 = 3;
/// Bytes in a line.
const MAX_LINE_BYTES: usize = 8 << 10;
/// The first byte of everything that TLS says before it is encrypted.
const TLS_HANDSHAKE: u8 = 0x16;

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    settings: Arc<SessionSettings>,
    extranonce: Extranonce,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    user_agent: Arc<str>,
    subscribed: bool,
    /// When it was given its first job.
    started_ms: Option<u64>,
    /// Its workers were reported: it is a miner and no probe.
    known: bool,
    /// What was reported last as found to fit them.
    reported: Option<Difficulty>,
    /// By user name as the miner writes it.
    workers: BTreeMap<String, Arc<Identity>>,
    /// Whom its coinbases pay: settled by the first user name.
    payout: Option<PayoutOutput>,
    /// The version bits that it may roll as far as we are concerned; the job may allow fewer …
    version_mask: u32,
    /// … and which it was told of.
    told_mask: u32,
    /// The server's, but for what the device demands.
    limits: VardiffLimits,
    vardiff: Vardiff,
    /// What was found to fit the first worker before.
    remembered: Option<Difficulty>,
    /// What it asked for, by password or `mining.suggest_difficulty`.
    wish: Option<Difficulty>,
    told: Option<Difficulty>,
    /// It subscribed or named itself.
    wants_job: bool,
    current: Option<Arc<Job>>,
    sent: SentJobs,
    waiting: VecDeque<Waiting>,
    resent: u8,
    notified_ms: u64,
    notified_time: u32,
    garbage: u32,
}

impl Session {
    /// A connection that was just opened. `extranonce` is unique among the open ones.
    pub fn new(settings: Arc<SessionSettings>, extranonce: Extranonce, now: Now) -> Self {
        let limits = settings.limits;
        let vardiff = Vardiff::new(settings.start, limits, now.ms);
        Self {
            settings,
            extranonce,
            partial: Vec::new(),
            user_agent: Arc::from(""),
            subscribed: false,
            started_ms: None,
            known: false,
            reported: None,
            workers: BTreeMap::new(),
            payout: None,
            version_mask: 0,
            told_mask: 0,
            limits,
            vardiff,
            remembered: None,
            wish: None,
            told: None,
            wants_job: false,
            current: None,
            sent: SentJobs::default(),
            waiting: VecDeque::new(),
            resent: 0,
            notified_ms: now.ms,
            notified_time: 0,
            garbage: 0,
        }
    }

    /// Takes all whole lines and keeps what is left.
    fn take(&mut self, input: &[u8], now: Now, out: &mut Outbox) {
        let mut rest = input;
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
            if out.close.is_some() {
                return;
            }
        }
        self.partial.extend_from_slice(rest);
        out.close = if self.partial.len() > MAX_LINE_BYTES {
            Some("a line was too long")
        } else {
            foreign(&self.partial)
        };
    }

    /// A line arrived, without its newline.
    fn on_line(&mut self, line: &[u8], now: Now, out: &mut Outbox) {
        if line.len() > MAX_LINE_BYTES {
            out.close = Some("a line was too long");
            return;
        }
        out.messages += 1;
        match Line::parse(line) {
            Line::Request(request) => {
                self.garbage = 0;
                self.on_request(&request, now, out);
            }
            Line::Response => self.garbage = 0,
            Line::Empty => {}
            Line::Garbage => {
                self.garbage += 1;
                let many = self.garbage >= MAX_GARBAGE;
                out.close = foreign(line).or(many.then_some("it does not speak Stratum"));
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
            "mining.subscribe" => self.subscribe(request, out),
            "mining.authorize" => self.authorize(request, out),
            "mining.suggest_difficulty" => self.suggest_difficulty(request, now, out),
            "mining.suggest_target" => self.suggest_target(request, now, out),
            "mining.extranonce.subscribe" => out.bytes.line(&message::result(id, &json!(true))),
            "mining.ping" => out.bytes.line(&message::result(id, &json!("pong"))),
            // How AxeOS answers a ping.
            "pong" => {}
            method => {
                let sentence = format!("Unknown method {}", method.chars().take(40).collect::<String>());
                out.bytes.line(&message::error(id, ErrorCode::Other, &sentence));
            }
        }
    }

    /// What the bytes at hand led to is told once: a job to who subscribed, and a difficulty that changed,
    /// with a job for which it holds: miners apply it to the next job only.
    fn catch_up(&mut self, now: Now, out: &mut Outbox) {
        let changed = self.told.is_some_and(|told| told != self.vardiff.difficulty());
        if std::mem::take(&mut self.wants_job) || changed {
            self.notify(now, out);
        }
        if changed {
            self.report_workers(WorkerChange::Retargeted, out);
        }
    }

    /// Sends the newest job, and before it the difficulty when that is news. The first goes out as soon as
    /// the miner has subscribed and named itself, in any order.
    fn notify(&mut self, now: Now, out: &mut Outbox) {
        let Some(job) = self.current.clone().filter(|_| self.subscribed) else { return };
        let Some(payout) = &self.payout else { return };
        let coinbase = match job.coinbase(payout, self.extranonce.layout().bytes()) {
            Ok(coinbase) => coinbase,
            Err(CoinbaseError::NoRoom) => return out.close = Some(NO_ROOM),
            Err(error) => return out.halt = Some(error),
        };
        if self.started_ms.is_none() {
            self.choose_start(now);
        }
        let hardest = self.limits.max.min(Difficulty::not_above(job.hardest));
        self.vardiff.set_max(hardest);
        let difficulty = self.vardiff.difficulty();
        if self.told != Some(difficulty) {
            self.told = Some(difficulty);
            out.bytes.line(&message::set_difficulty(difficulty));
        }
        let mask = self.version_mask & job.version_mask;
        if mask != self.told_mask {
            self.told_mask = mask;
            out.bytes.line(&message::set_version_mask(mask));
        }
        let last = self.sent.newest().map(|last| &last.job);
        let clean = last.is_none_or(|last| !last.template.is_beside(&job.template));
        let same_block = last.is_some_and(|last| last.template.prev_hash == job.template.prev_hash);
        let again = last.is_some_and(|last| last.number == job.number);
        self.resent = if again { self.resent.wrapping_add(1) } else { 0 };
        // Miners restart extranonce2 at every notify, and another template may say the same: a later ntime
        // keeps their work new.
        let fresh = now.unix.max(job.template.time);
        let time = if same_block { fresh.max(self.notified_time.saturating_add(1)) } else { fresh };
        let id = job.number.get() << 8 | u32::from(self.resent);
        out.bytes.line(&message::notify(id, &job, &coinbase, time, clean));
        self.started_ms.get_or_insert(now.ms);
        self.notified_ms = now.ms;
        self.notified_time = time;
        if clean {
            self.sent.retire_all(now.ms);
        }
        self.sent.add(SentJob::new(id, job, coinbase, difficulty));
    }

    /// Reports the workers, once: at the first share, good or bad, or when it stayed.
    fn make_known(&mut self, out: &mut Outbox) {
        if !self.known {
            self.known = true;
            self.report_workers(WorkerChange::Joined, out);
        }
    }

    /// Says nothing of a connection that may still be a probe.
    fn report_workers(&mut self, change: WorkerChange, out: &mut Outbox) {
        if self.known {
            self.reported = self.vardiff.measured();
            out.news.extend(self.workers.values().map(|identity| self.seen(identity, change)));
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
        self.take(input, now, out);
        if out.close.is_none() {
            self.catch_up(now, out);
        }
    }

    fn on_job(&mut self, job: &Arc<Job>, now: Now, out: &mut Outbox) {
        self.current = Some(Arc::clone(job));
        self.notify(now, out);
    }

    fn on_tick(&mut self, now: Now, out: &mut Outbox) {
        let Some(started_ms) = self.started_ms else { return };
        self.vardiff.on_tick(now.ms);
        self.catch_up(now, out);
        if now.ms.saturating_sub(self.notified_ms) >= NOTIFY_EVERY_MS {
            self.notify(now, out);
        }
        if now.ms.saturating_sub(started_ms) >= PROBE_MS {
            self.make_known(out);
        }
        if self.reported != self.vardiff.measured() {
            self.report_workers(WorkerChange::Retargeted, out);
        }
    }

    fn on_kept(&mut self, count: usize, kept: bool, out: &mut Outbox) {
        self.answer(count, kept, out);
    }

    fn on_close(&mut self, out: &mut Outbox) {
        self.report_workers(WorkerChange::Left, out);
    }

    /// Subscribed and named itself.
    fn ready(&self) -> bool {
        self.subscribed && !self.workers.is_empty()
    }
}

/// What speaks so, when a line, or the beginning of one that may never end, shows that it is not Stratum.
fn foreign(beginning: &[u8]) -> Option<&'static str> {
    let text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    match beginning.trim_ascii_start().first() {
        Some(&TLS_HANDSHAKE) => Some("it speaks TLS, for which there is another port"),
        Some(b'{') | None => None,
        Some(_) if beginning.iter().all(text) => None,
        Some(_) => Some("it does not speak Stratum"),
    }
}
