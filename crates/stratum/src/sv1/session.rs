//! One miner's Sv1 connection as a pure state machine: a line, a job or the passing of time in,
//! lines and shares out. No socket, no clock.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use bitcoin::BlockHash;
use poolbox_accounting::{Difficulty, Identity, Network};
use serde_json::{Value, json};

use super::message::{self, ErrorCode, Line, hex_u32};
use super::sent::{SentJob, SentJobs};
use crate::coinbase::{EXTRANONCE1_BYTES, EXTRANONCE2_BYTES};
use crate::job::Job;
use crate::share::{Extranonce, RejectReason, Submission, VERSION_ROLLING_MASK};
use crate::sink::{AcceptedShare, RejectedShare, WorkerChange, WorkerSeen};
use crate::vardiff::{Vardiff, VardiffLimits};

/// Firmware waits 60 to 120 s for a line; a job goes out at least this often.
const NOTIFY_EVERY_MS: u64 = 40_000;
/// Health probes of firmwares subscribe, authorise, read a job and leave: AxeOS within 5 s. Who stays
/// this long with a job is a miner, even one that has not found a share yet.
const PROBE_MS: u64 = 10_000;
/// Lines in a row that are not JSON-RPC before the client is taken for something else.
const MAX_GARBAGE: u32 = 10;
/// User names on one connection.
const MAX_WORKERS: usize = 64;
/// Longest user agent that is kept.
const MAX_AGENT_CHARS: usize = 64;
const MAX_DIFFICULTY_WISH: usize = 16;

/// What every session of a server has in common.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// For addresses in user names.
    pub network: Network,
    /// Where a miner starts that says nothing about itself.
    pub start: Difficulty,
    /// Between what its difficulty moves.
    pub limits: VardiffLimits,
}

/// The time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that only moves forward.
    pub ms: u64,
    /// Unix seconds.
    pub unix: u32,
}

/// What the session wants done, in order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send this line (without its newline).
    Send(String),
    /// Keep this share, then call [`Session::kept`] with the request's id.
    Keep {
        /// Of the submit that is answered when the share is on disk.
        id: Value,
        /// The share.
        share: Box<AcceptedShare>,
    },
    /// Count a refused share.
    Rejected(RejectedShare),
    /// Note a worker's state.
    Worker(WorkerSeen),
    /// End the connection, for this reason.
    Close(&'static str),
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    settings: Arc<SessionSettings>,
    extranonce1: [u8; EXTRANONCE1_BYTES],
    user_agent: String,
    subscribed: bool,
    /// When it was given its first job.
    started_ms: Option<u64>,
    /// Its workers were reported: it is a miner and no probe.
    known: bool,
    /// By user name as the miner writes it.
    workers: BTreeMap<String, Identity>,
    version_mask: u32,
    vardiff: Vardiff,
    /// The wish of `mining.suggest_difficulty`, so that repeats of it change nothing.
    suggested: Option<Difficulty>,
    told: Option<Difficulty>,
    current: Option<Arc<Job>>,
    sent: SentJobs,
    resent: u8,
    notified_ms: u64,
    notified_time: u32,
    garbage: u32,
    actions: Vec<Action>,
}

impl Session {
    /// A connection that was just opened. `extranonce1` is unique among the open ones.
    pub fn new(settings: Arc<SessionSettings>, extranonce1: [u8; EXTRANONCE1_BYTES], now: Now) -> Self {
        let vardiff = Vardiff::new(settings.start, settings.limits, now.ms);
        Self {
            settings,
            extranonce1,
            user_agent: String::new(),
            subscribed: false,
            started_ms: None,
            known: false,
            workers: BTreeMap::new(),
            version_mask: 0,
            vardiff,
            suggested: None,
            told: None,
            current: None,
            sent: SentJobs::default(),
            resent: 0,
            notified_ms: now.ms,
            notified_time: 0,
            garbage: 0,
            actions: Vec::new(),
        }
    }

    /// Whether the miner subscribed and named itself.
    pub fn ready(&self) -> bool {
        self.subscribed && !self.workers.is_empty()
    }

    /// A line arrived.
    pub fn on_line(&mut self, line: &str, now: Now) -> Vec<Action> {
        match Line::parse(line) {
            Line::Request { id, method, params } => {
                self.garbage = 0;
                self.on_request(&id, &method, &params, now);
            }
            Line::Response => self.garbage = 0,
            Line::Garbage => {
                self.garbage += 1;
                if self.garbage >= MAX_GARBAGE {
                    self.actions.push(Action::Close("it does not speak Stratum"));
                } else {
                    let sentence = "Not a JSON-RPC request; this port speaks Stratum V1";
                    self.send(message::error(&Value::Null, ErrorCode::Other, sentence));
                }
            }
        }
        mem::take(&mut self.actions)
    }

    /// The newest job changed.
    pub fn on_job(&mut self, job: Arc<Job>, now: Now) -> Vec<Action> {
        self.current = Some(job);
        self.begin(now);
        mem::take(&mut self.actions)
    }

    /// Time passed; call about once a second.
    pub fn on_tick(&mut self, now: Now) -> Vec<Action> {
        if self.ready() && self.current.is_some() {
            let changed = self.vardiff.on_tick(now.ms).is_some();
            if changed || now.ms.saturating_sub(self.notified_ms) >= NOTIFY_EVERY_MS {
                self.notify(now);
            }
            if changed {
                self.report_workers(WorkerChange::Retargeted);
            }
        }
        if self.started_ms.is_some_and(|started| now.ms.saturating_sub(started) >= PROBE_MS) {
            self.make_known();
        }
        mem::take(&mut self.actions)
    }

    /// The share of request `id` is on disk, or could not be kept (`hash` tells which it was).
    pub fn kept(&mut self, id: &Value, hash: BlockHash, identity: &Identity, kept: bool) -> Vec<Action> {
        if kept {
            self.send(message::result(id, &json!(true)));
        } else {
            self.sent.forget_share(hash);
            self.refuse(id, Some(identity.clone()), RejectReason::NotKept);
        }
        mem::take(&mut self.actions)
    }

    /// The connection ended.
    pub fn on_close(&mut self) -> Vec<Action> {
        self.report_workers(WorkerChange::Left);
        mem::take(&mut self.actions)
    }

    fn on_request(&mut self, id: &Value, method: &str, params: &[Value], now: Now) {
        match method {
            "mining.submit" => self.submit(id, params, now),
            "mining.configure" => self.configure(id, params),
            "mining.subscribe" => self.subscribe(id, params, now),
            "mining.authorize" => self.authorize(id, params, now),
            "mining.suggest_difficulty" => self.suggest_difficulty(id, params, now),
            "mining.extranonce.subscribe" => self.send(message::result(id, &json!(true))),
            "mining.ping" => self.send(message::result(id, &json!("pong"))),
            // AxeOS answers our own pings with a method of this name.
            "pong" => {}
            _ => {
                let sentence = format!("Unknown method {}", method.chars().take(40).collect::<String>());
                self.send(message::error(id, ErrorCode::Other, &sentence));
            }
        }
    }

    /// BIP 310. Extensions may come in any order; those unknown here are not answered.
    fn configure(&mut self, id: &Value, params: &[Value]) {
        let names = params.first().and_then(Value::as_array).cloned().unwrap_or_default();
        let mut answer = serde_json::Map::new();
        for name in names.iter().filter_map(Value::as_str) {
            match name {
                "version-rolling" => {
                    let wanted = params.get(1).and_then(|options| options.get("version-rolling.mask"));
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
        self.send(message::result(id, &Value::Object(answer)));
    }

    fn subscribe(&mut self, id: &Value, params: &[Value], now: Now) {
        if let Some(agent) = params.first().and_then(Value::as_str) {
            self.user_agent = agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT_CHARS).collect();
        }
        self.subscribed = true;
        // cpuminer and NerdMiner take the first line for this answer, whatever it is.
        self.send(message::subscribed(id, self.extranonce1));
        self.begin(now);
    }

    fn authorize(&mut self, id: &Value, params: &[Value], now: Now) {
        let Some(user) = params.first().and_then(Value::as_str) else {
            return self.send(message::error(id, ErrorCode::Other, "mining.authorize needs a user name"));
        };
        let identity = match Identity::parse(user, self.settings.network) {
            Ok(identity) => identity,
            Err(error) => return self.send(message::error(id, ErrorCode::Unauthorized, &error.to_string())),
        };
        let first = self.workers.is_empty();
        if self.workers.len() >= MAX_WORKERS && !self.workers.contains_key(user) {
            let sentence = "Too many user names on one connection; open another";
            return self.send(message::error(id, ErrorCode::Other, sentence));
        }
        let news = self.seen(&identity, WorkerChange::Joined);
        let new = self.workers.insert(user.to_owned(), identity).is_none();
        self.send(message::result(id, &json!(true)));
        if let Some(wish) = params.get(1).and_then(Value::as_str).and_then(password_difficulty)
            && first
        {
            self.vardiff.restart(wish, now.ms);
        }
        if self.known && new {
            self.actions.push(news);
        } else if self.started_ms.is_none() {
            self.begin(now);
        }
    }

    fn suggest_difficulty(&mut self, id: &Value, params: &[Value], now: Now) {
        let wish = params.first().and_then(|wish| wish.as_f64().or_else(|| wish.as_str()?.parse().ok()));
        let Some(wish) = wish.and_then(Difficulty::at_most) else {
            return self.send(message::error(
                id,
                ErrorCode::Other,
                "mining.suggest_difficulty needs a positive number",
            ));
        };
        self.send(message::result(id, &json!(true)));
        // NerdMiner repeats its wish every 30 s; only a new one starts over.
        if self.suggested.replace(wish) != Some(wish) {
            self.vardiff.restart(wish, now.ms);
            if self.told.is_some_and(|told| told != self.vardiff.difficulty()) {
                self.notify(now);
                self.report_workers(WorkerChange::Retargeted);
            }
        }
    }

    /// The first job goes out as soon as the miner has subscribed and named itself, in any order.
    fn begin(&mut self, now: Now) {
        self.notify(now);
        if self.started_ms.is_none() && self.told.is_some() {
            self.started_ms = Some(now.ms);
        }
    }

    fn notify(&mut self, now: Now) {
        let Some(job) = self.current.clone().filter(|_| self.ready()) else { return };
        let hardest = self.settings.limits.max.min(Difficulty::not_above(job.network_target));
        self.vardiff.set_max(hardest);
        let difficulty = self.vardiff.difficulty();
        if self.told != Some(difficulty) {
            self.told = Some(difficulty);
            self.send(message::set_difficulty(difficulty));
        }
        let last = self.sent.newest().map(|last| (last.number, last.template.prev_hash));
        let clean = last.is_none_or(|(_, prev_hash)| prev_hash != job.template.prev_hash);
        let again = last.is_some_and(|(number, _)| number == job.number);
        self.resent = if again { self.resent.wrapping_add(1) } else { 0 };
        // Miners restart extranonce2 at every notify: a later ntime keeps their work new.
        let fresh = now.unix.max(job.template.time);
        let time = if again { fresh.max(self.notified_time.saturating_add(1)) } else { fresh };
        let id = format!("{:x}{:02x}", job.number, self.resent);
        self.send(message::notify(&id, &job, time, clean));
        self.notified_ms = now.ms;
        self.notified_time = time;
        if clean {
            self.sent.retire_all(now.ms);
        }
        self.sent.add(id, job, difficulty);
    }

    fn submit(&mut self, id: &Value, params: &[Value], now: Now) {
        if !self.subscribed {
            let sentence = "Send mining.subscribe before mining.submit";
            return self.send(message::error(id, ErrorCode::NotSubscribed, sentence));
        }
        let user = params.first().and_then(Value::as_str);
        let Some(identity) = user.and_then(|user| self.workers.get(user)).cloned() else {
            return self.refuse(id, None, RejectReason::Unauthorized);
        };
        self.make_known();
        let Some(submission) = self.read_submission(params) else {
            return self.refuse(id, Some(identity), RejectReason::Malformed);
        };
        let sent = params.get(1).and_then(Value::as_str).and_then(|job| self.sent.get(job, now.ms));
        let Some(SentJob { job, difficulty, late }) = sent else {
            return self.refuse(id, Some(identity), RejectReason::Stale);
        };
        let mut solved = match submission.judge(&job, difficulty, self.version_mask, now.unix) {
            Ok(solved) => solved,
            Err(reason) => return self.refuse(id, Some(identity), reason),
        };
        if !self.sent.note_share(&job, solved.hash) {
            return self.refuse(id, Some(identity), RejectReason::Duplicate);
        }
        // On a tip that is past it is work, but no block any more.
        solved.block &= !late;
        let share = AcceptedShare {
            identity,
            work: difficulty.work(),
            solved,
            job,
            extranonce: submission.extranonce,
        };
        self.actions.push(Action::Keep { id: id.clone(), share: Box::new(share) });
        if self.vardiff.on_share(difficulty, now.ms).is_some() {
            self.notify(now);
            self.report_workers(WorkerChange::Retargeted);
        }
    }

    /// user, job id, extranonce2, ntime, nonce and, from miners that roll it, version bits.
    fn read_submission(&self, params: &[Value]) -> Option<Submission> {
        let extranonce2 = params.get(2)?.as_str()?;
        let mut miner = [0; EXTRANONCE2_BYTES];
        hex::decode_to_slice(extranonce2, &mut miner).ok()?;
        let version_bits = match params.get(5) {
            None | Some(Value::Null) => None,
            Some(bits) => Some(hex_u32(bits)?),
        };
        Some(Submission {
            extranonce: Extranonce { server: self.extranonce1, miner },
            time: hex_u32(params.get(3)?)?,
            nonce: hex_u32(params.get(4)?)?,
            version_bits,
        })
    }

    fn refuse(&mut self, id: &Value, identity: Option<Identity>, reason: RejectReason) {
        self.send(message::error(id, reason.into(), &reason.to_string()));
        self.actions.push(Action::Rejected(RejectedShare { identity, reason }));
    }

    /// Reports the workers, once: at the first share, good or bad, or when it stayed.
    fn make_known(&mut self) {
        if !self.known {
            self.known = true;
            self.report_workers(WorkerChange::Joined);
        }
    }

    /// Says nothing of a connection that may still be a probe.
    fn report_workers(&mut self, change: WorkerChange) {
        if self.known {
            let seen: Vec<Action> =
                self.workers.values().map(|identity| self.seen(identity, change)).collect();
            self.actions.extend(seen);
        }
    }

    fn seen(&self, identity: &Identity, change: WorkerChange) -> Action {
        let (identity, user_agent) = (identity.clone(), self.user_agent.clone());
        Action::Worker(WorkerSeen { identity, user_agent, difficulty: self.vardiff.difficulty(), change })
    }

    fn send(&mut self, line: String) {
        self.actions.push(Action::Send(line));
    }
}

/// A starting difficulty in the password: `d=` or `diff=` anywhere, separated by comma, semicolon or space.
fn password_difficulty(password: &str) -> Option<Difficulty> {
    let parts = password.split([',', ';', ' ']);
    let wish =
        parts.filter_map(|part| part.strip_prefix("d=").or_else(|| part.strip_prefix("diff="))).next()?;
    let wish: String = wish.chars().take(MAX_DIFFICULTY_WISH).collect();
    wish.parse().ok().and_then(Difficulty::at_most)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
