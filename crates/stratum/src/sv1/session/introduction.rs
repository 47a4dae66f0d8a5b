//! What a miner says before it mines, in any order: who it is, what it can and what it would like.

use std::sync::Arc;

use bitcoin::Target;
use poolbox_accounting::{Difficulty, Identity};
use serde_json::{Map, Value, json};

use super::Session;
use crate::session::{Now, Outbox};
use crate::share::VERSION_ROLLING_MASK;
use crate::sink::WorkerChange;
use crate::sv1::message::{self, ErrorCode, Lines, Request, hex_u32};
use crate::vardiff::{Introduction, Start, Vardiff, password_difficulty};

/// User names on one connection.
const MAX_WORKERS: usize = 64;
/// Longest user agent that is kept.
const MAX_AGENT_CHARS: usize = 64;

impl Session {
    /// `mining.configure` (BIP 310). What it changes holds at once, also for jobs that were sent before.
    pub(super) fn configure(&mut self, request: &Request<'_>, out: &mut Outbox) {
        let names = request.value(0).and_then(|names| names.as_array().cloned()).unwrap_or_default();
        let options = request.value(1).unwrap_or_default();
        let mut answer = Map::new();
        for name in names.iter().filter_map(Value::as_str) {
            let agreed = match name {
                "version-rolling" => {
                    let mask = self.roll_versions(options.get("version-rolling.mask"));
                    answer.insert("version-rolling.mask".into(), json!(format!("{mask:08x}")));
                    mask != 0
                }
                "minimum-difficulty" => self.demand_difficulty(options.get("minimum-difficulty.value")),
                "subscribe-extranonce" | "info" => true,
                // Each one is to be answered.
                _ => false,
            };
            answer.insert(name.into(), json!(agreed));
        }
        out.bytes.line(&message::result(request.id, &Value::Object(answer)));
    }

    /// The version bits that the miner may roll from now on; fewer when a job comes that allows fewer.
    fn roll_versions(&mut self, wanted: Option<&Value>) -> u32 {
        let wanted = wanted.and_then(Value::as_str).and_then(hex_u32).unwrap_or(u32::MAX);
        self.version_mask = wanted & VERSION_ROLLING_MASK;
        self.told_mask = self.version_mask & self.current.as_ref().map_or(u32::MAX, |job| job.version_mask);
        self.told_mask
    }

    /// The device takes nothing easier than this; 0: it takes anything. Whether it can be had.
    fn demand_difficulty(&mut self, wanted: Option<&Value>) -> bool {
        let usual = self.settings.limits;
        let min = match wanted.and_then(Value::as_f64) {
            Some(0.0) => Some(usual.min),
            Some(wanted) => at_least(wanted).map(|min| min.max(usual.min)),
            None => None,
        };
        let Some(min) = min.filter(|min| *min <= usual.max) else { return false };
        self.limits.min = min;
        self.vardiff.set_min(min);
        true
    }

    /// `mining.subscribe`. A session id of an earlier connection, as cgminer sends one, is not taken up:
    /// with its old extranonce a miner could send the headers again that were credited to it there.
    pub(super) fn subscribe(&mut self, request: &Request<'_>, out: &mut Outbox) {
        if let Some(agent) = request.string(0) {
            let agent: String = agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT_CHARS).collect();
            self.user_agent = agent.into();
        }
        self.subscribed = true;
        // cpuminer and NerdMiner take the first line for this answer, whatever it is.
        out.bytes.line(&message::subscribed(request.id, &self.extranonce));
        self.wants_job = true;
    }

    /// `mining.authorize`.
    pub(super) fn authorize(&mut self, request: &Request<'_>, out: &mut Outbox) {
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
        if self.workers.len() >= MAX_WORKERS && !self.workers.contains_key(&user) {
            return refuse(ErrorCode::Other, "Too many user names on one connection; open another");
        }
        out.bytes.line(&message::result(id, &json!(true)));
        self.payout = Some(payout);
        if self.workers.is_empty() {
            self.wish = self.wish.or_else(|| password_difficulty(&request.string(1)?));
        }
        let joined = self.seen(&identity, WorkerChange::Joined);
        let new = self.workers.insert(user, identity).is_none();
        if self.known && new {
            out.news.push(joined);
        }
        self.wants_job |= self.started_ms.is_none();
    }

    /// `mining.suggest_difficulty`.
    pub(super) fn suggest_difficulty(&mut self, request: &Request<'_>, now: Now, out: &mut Outbox) {
        let wish = request.value(0).and_then(|wish| wish.as_f64().or_else(|| wish.as_str()?.parse().ok()));
        match wish.and_then(Difficulty::at_most) {
            Some(wish) => self.wish_for(request.id, wish, now, out),
            None => {
                let sentence = "mining.suggest_difficulty needs a positive number";
                out.bytes.line(&message::error(request.id, ErrorCode::Other, sentence));
            }
        }
    }

    /// `mining.suggest_target`: the same wish as BFGMiner writes it, 64 hex digits.
    pub(super) fn suggest_target(&mut self, request: &Request<'_>, now: Now, out: &mut Outbox) {
        let mut target = [0; 32];
        let written = request.text(0).and_then(|digits| hex::decode_to_slice(digits, &mut target).ok());
        match written.map(|()| Target::from_be_bytes(target)).filter(|target| *target > Target::ZERO) {
            Some(target) => self.wish_for(request.id, Difficulty::not_above(target), now, out),
            None => {
                let sentence = "mining.suggest_target needs 64 hex digits";
                out.bytes.line(&message::error(request.id, ErrorCode::Other, sentence));
            }
        }
    }

    /// NerdMiner repeats its wish every 30 s, and AxeOS has one that nobody ever set: what was measured
    /// knows better.
    fn wish_for(&mut self, id: &str, wish: Difficulty, now: Now, out: &mut Outbox) {
        out.bytes.line(&message::result(id, &json!(true)));
        self.wish = Some(wish);
        if self.started_ms.is_some() && self.remembered.is_none() {
            self.vardiff.restart(wish, now.ms);
        }
    }

    /// Chooses where the miner starts, from what it has said of itself.
    pub(super) fn choose_start(&mut self, now: Now) {
        let Self { settings, user_agent, .. } = self;
        let first = self.workers.values().next();
        self.remembered = first.and_then(|identity| settings.memory.difficulty(identity, user_agent));
        let about = Introduction { user_agent, remembered: self.remembered, wish: self.wish, hashrate: None };
        let start = Start::choose(&about, settings.network, settings.start);
        self.vardiff = Vardiff::begin(start, self.limits, now.ms);
    }
}

/// The easiest difficulty that is no easier than what was asked for.
fn at_least(wanted: f64) -> Option<Difficulty> {
    let below = Difficulty::at_most(wanted)?;
    let above = if below.as_f64() < wanted { below.harder() } else { below };
    (above.as_f64() >= wanted).then_some(above)
}
