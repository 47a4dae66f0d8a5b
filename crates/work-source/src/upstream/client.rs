//! What a client of an upstream pool says and makes of what it hears: a pure state machine, lines in, lines
//! and templates out. No socket; time is told to it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bitcoin::Target;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::job::{Notify, Terms, hex_u32};
use super::message::{self, Line, Refusal, shown};
use super::tally::{Upstream, UpstreamShare};
use super::target::target_of;
use super::{LEAST_EXTRANONCE_BYTES, UpstreamConfig};
use crate::outage::Outage;
use crate::template::Template;

/// The version bits that we would like to change: those that miners roll (BIP 320).
const WANTED_MASK: u32 = 0x1fff_e000;
/// More bytes of extranonce than a coinbase's script has room for.
const MAX_EXTRANONCE_BYTES: usize = 96;
/// Shares that may be on their way at once.
const MAX_UNANSWERED: usize = 4096;
/// How long an answer to a share is waited for.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a pool may take to answer who we are, before it is taken for something else.
const INTRODUCTION: Duration = Duration::from_secs(30);
/// How long the first job waits for a difficulty; then it is 1, as the first pools had it.
const DIFFICULTY: Duration = Duration::from_secs(3);

/// Numbers of our calls; shares follow.
const CONFIGURE: u64 = 1;
const SUBSCRIBE: u64 = 2;
const AUTHORIZE: u64 = 3;
const EXTRANONCE_SUBSCRIBE: u64 = 4;
const FIRST_SHARE: u64 = 10;

/// What is to be done after an event.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Lines to be sent.
    pub text: String,
    /// A better job, or the first of an era.
    pub template: Option<Template>,
    /// The upstream wants us to connect anew, to this port if it says one.
    pub reconnect: Option<Option<u16>>,
}

/// One connection to the upstream.
#[derive(Debug)]
pub struct Client<'a> {
    config: &'a UpstreamConfig,
    host: &'a str,
    tally: &'a Upstream,
    /// Unique in this process.
    session: u64,
    era: u64,
    began: Instant,
    version_mask: u32,
    extranonce: Option<Extranonce>,
    /// Holds from the next job on.
    next_extranonce: Option<Extranonce>,
    authorised: bool,
    difficulty: Option<Target>,
    /// The newest job, and whether a template was made of it.
    notify: Option<(Notify, bool)>,
    next_id: u64,
    unanswered: BTreeMap<u64, Instant>,
}

/// What the upstream puts into our coinbases, and how much is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Extranonce {
    first: Vec<u8>,
    bytes: usize,
}

impl<'a> Client<'a> {
    /// A connection to `host` that was just opened.
    pub fn new(config: &'a UpstreamConfig, host: &'a str, tally: &'a Upstream, now: Instant) -> Self {
        let session = fresh();
        Self {
            config,
            host,
            tally,
            session,
            era: session,
            began: now,
            version_mask: 0,
            extranonce: None,
            next_extranonce: None,
            authorised: false,
            difficulty: None,
            notify: None,
            next_id: FIRST_SHARE,
            unanswered: BTreeMap::new(),
        }
    }

    /// The number of this connection.
    pub const fn session(&self) -> u64 {
        self.session
    }

    /// Shares that were sent and not answered.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Whether one more share may be sent.
    pub fn may_send(&self) -> bool {
        self.unanswered.len() < MAX_UNANSWERED
    }

    /// The first words, all at once, as firmwares say them.
    pub fn greet(&self, out: &mut Outbox) {
        let options = json!({
            "version-rolling.mask": format!("{WANTED_MASK:08x}"),
            "version-rolling.min-bit-count": 2,
        });
        let agent = concat!("poolbox/", env!("CARGO_PKG_VERSION"));
        let UpstreamConfig { user, password, .. } = self.config;
        out.text += &message::call(CONFIGURE, "mining.configure", &json!([["version-rolling"], options]));
        out.text += &message::call(SUBSCRIBE, "mining.subscribe", &json!([agent]));
        out.text += &message::call(AUTHORIZE, "mining.authorize", &json!([user, password]));
    }

    /// A line arrived.
    ///
    /// # Errors
    /// An [`Outage`]: the connection is of no use.
    pub fn on_line(&mut self, line: &[u8], now: Instant, out: &mut Outbox) -> Result<(), Outage> {
        match Line::read(line) {
            None => Err(garbled("a line that is no JSON-RPC")),
            Some(Line::Other) => Ok(()),
            Some(Line::Answer { id, outcome }) => self.on_answer(id, outcome, now, out),
            Some(Line::Call { id, method, params }) => self.on_call(id.as_ref(), &method, &params, now, out),
        }
    }

    /// Sends a share of a job of this connection.
    pub fn on_share(&mut self, share: &UpstreamShare, now: Instant, out: &mut Outbox) {
        let id = self.next_id;
        self.next_id += 1;
        self.unanswered.insert(id, now);
        let UpstreamShare { job, extranonce2, time, nonce, version } = share;
        let mut params = vec![
            json!(self.config.user),
            json!(job.id),
            json!(hex::encode(extranonce2)),
            json!(format!("{time:08x}")),
            json!(format!("{nonce:08x}")),
        ];
        if job.version_mask != 0 {
            params.push(json!(format!("{:08x}", version & job.version_mask)));
        }
        out.text += &message::call(id, "mining.submit", &Value::Array(params));
    }

    /// Time passed; called about once a second.
    ///
    /// # Errors
    /// An [`Outage`] when it does not answer who we are.
    pub fn on_tick(&mut self, now: Instant, out: &mut Outbox) -> Result<(), Outage> {
        let since = now.saturating_duration_since(self.began);
        if since >= INTRODUCTION && !(self.authorised && self.extranonce.is_some()) {
            return Err(Outage::UpstreamSilent(self.config.url.clone()));
        }
        while let Some(oldest) = self.unanswered.first_entry()
            && now.saturating_duration_since(*oldest.get()) >= ANSWER
        {
            oldest.remove();
            self.tally.unanswered();
        }
        self.offer(now, out)
    }

    fn on_answer(
        &mut self,
        id: u64,
        outcome: Result<Value, Refusal>,
        now: Instant,
        out: &mut Outbox,
    ) -> Result<(), Outage> {
        match id {
            CONFIGURE => {
                let granted = outcome.ok().and_then(|granted| mask(granted.get("version-rolling.mask")));
                self.set_mask(granted.unwrap_or_default(), now, out)
            }
            SUBSCRIBE => {
                let said =
                    outcome.map_err(|refusal| garbled(&format!("no subscription: {}", refusal.text)))?;
                // One that was set meanwhile is newer.
                if self.extranonce.is_none() {
                    self.extranonce = Some(extranonce(said.get(1), said.get(2))?);
                }
                self.offer(now, out)
            }
            AUTHORIZE => {
                let said =
                    outcome.and_then(|said| if said == json!(true) { Ok(()) } else { Err(Refusal::bare()) });
                if let Err(Refusal { text: reason, .. }) = said {
                    return Err(Outage::UpstreamUnauthorised { user: self.config.user.clone(), reason });
                }
                self.authorised = true;
                out.text += &message::call(EXTRANONCE_SUBSCRIBE, "mining.extranonce.subscribe", &json!([]));
                self.offer(now, out)
            }
            id if self.unanswered.remove(&id).is_some() => {
                match outcome {
                    Ok(Value::Bool(true)) => self.tally.accepted(),
                    Ok(_) => self.tally.rejected(&Refusal::bare()),
                    Err(refusal) => self.tally.rejected(&refusal),
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_call(
        &mut self,
        id: Option<&Value>,
        method: &str,
        params: &Value,
        now: Instant,
        out: &mut Outbox,
    ) -> Result<(), Outage> {
        match method {
            "mining.notify" => return self.on_notify(params, now, out),
            "mining.set_difficulty" => return self.on_difficulty(params, now, out),
            "mining.set_extranonce" => {
                self.next_extranonce = Some(extranonce(params.get(0), params.get(1))?);
            }
            "mining.set_version_mask" => {
                let mask = mask(params.get(0)).ok_or_else(|| garbled("a version mask that is no mask"))?;
                return self.set_mask(mask, now, out);
            }
            "client.reconnect" => self.on_reconnect(params, out),
            "client.show_message" => {
                let said = params.get(0).and_then(Value::as_str).map(shown).unwrap_or_default();
                tracing::info!(said, "the upstream pool says");
            }
            "mining.ping" => {
                if let Some(id) = id {
                    out.text += &message::answer(id, &json!("pong"));
                }
            }
            "client.get_version" => {
                if let Some(id) = id {
                    out.text += &message::answer(id, &json!(concat!("poolbox/", env!("CARGO_PKG_VERSION"))));
                }
            }
            _ => {
                if let Some(id) = id {
                    out.text += &message::unknown(id);
                }
            }
        }
        Ok(())
    }

    fn on_notify(&mut self, params: &Value, now: Instant, out: &mut Outbox) -> Result<(), Outage> {
        let notify = Notify::read(params).map_err(garbled)?;
        let last = self.notify.as_ref().map(|(last, _)| last.prev_hash);
        let moved = match self.next_extranonce.take() {
            Some(next) if self.extranonce.as_ref() != Some(&next) => {
                self.extranonce = Some(next);
                true
            }
            _ => false,
        };
        // The first of a connection has an era of its own already.
        if last.is_some() && (notify.clean || moved || last != Some(notify.prev_hash)) {
            self.era = fresh();
        }
        self.notify = Some((notify, false));
        self.offer(now, out)
    }

    /// Holds from the next job on, as the protocol says; the first job may come before it.
    fn on_difficulty(&mut self, params: &Value, now: Instant, out: &mut Outbox) -> Result<(), Outage> {
        let difficulty = params.get(0).and_then(|said| said.as_f64().or_else(|| said.as_str()?.parse().ok()));
        let target = difficulty.and_then(target_of);
        let (Some(difficulty), Some(target)) = (difficulty, target) else {
            return Err(garbled("a difficulty that is no positive number"));
        };
        self.tally.set_difficulty(difficulty);
        self.difficulty = Some(target);
        self.offer(now, out)
    }

    fn set_mask(&mut self, mask: u32, now: Instant, out: &mut Outbox) -> Result<(), Outage> {
        let mask = mask & WANTED_MASK;
        if std::mem::replace(&mut self.version_mask, mask) != mask
            && let Some((_, told)) = &mut self.notify
        {
            // It holds at once: the same job again, with it.
            *told = false;
        }
        self.offer(now, out)
    }

    /// Only to another port of the same machine: whoever can write a line into this connection could
    /// otherwise take the miners elsewhere.
    fn on_reconnect(&self, params: &Value, out: &mut Outbox) {
        let host = params.get(0).and_then(Value::as_str).unwrap_or_default();
        if host.is_empty() || host.eq_ignore_ascii_case(self.host) {
            let port = params.get(1);
            let port = port.and_then(|port| port.as_u64().or_else(|| port.as_str()?.parse().ok()));
            out.reconnect = Some(port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0));
        } else {
            tracing::warn!(
                host = shown(host),
                "the upstream pool wants us to go to another host, which is ignored; if it moved, set upstream.url"
            );
        }
    }

    /// Makes a template of the newest job as soon as all is known that belongs to it.
    fn offer(&mut self, now: Instant, out: &mut Outbox) -> Result<(), Outage> {
        let (Some(extranonce), true) = (&self.extranonce, self.authorised) else { return Ok(()) };
        let waited = now.saturating_duration_since(self.began) >= DIFFICULTY;
        let target = match self.difficulty {
            Some(target) => target,
            None if waited => target_of(1.0).unwrap_or(Target::MAX),
            None => return Ok(()),
        };
        let Some((notify, told @ false)) = &mut self.notify else { return Ok(()) };
        let terms = Terms {
            extranonce1: &extranonce.first,
            extranonce_bytes: extranonce.bytes,
            target,
            version_mask: self.version_mask,
            session: self.session,
            era: self.era,
        };
        out.template = Some(notify.template(&terms).map_err(garbled)?);
        *told = true;
        Ok(())
    }
}

/// A number that nothing in this process had before.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn garbled(what: &str) -> Outage {
    Outage::UpstreamGarbled(what.to_owned())
}

fn mask(written: Option<&Value>) -> Option<u32> {
    written.and_then(Value::as_str).and_then(hex_u32)
}

fn extranonce(first: Option<&Value>, bytes: Option<&Value>) -> Result<Extranonce, Outage> {
    let first = first.and_then(Value::as_str).and_then(|digits| hex::decode(digits).ok());
    let bytes = bytes.and_then(Value::as_u64).and_then(|bytes| usize::try_from(bytes).ok());
    let usable =
        |first: &Vec<u8>, bytes: usize| bytes <= MAX_EXTRANONCE_BYTES && first.len() <= MAX_EXTRANONCE_BYTES;
    match (first, bytes) {
        (Some(_), Some(bytes)) if bytes < LEAST_EXTRANONCE_BYTES => {
            Err(Outage::UpstreamRoom { bytes, least: LEAST_EXTRANONCE_BYTES })
        }
        (Some(first), Some(bytes)) if usable(&first, bytes) => Ok(Extranonce { first, bytes }),
        _ => Err(garbled("an extranonce that cannot be used")),
    }
}

#[cfg(test)]
mod tests;
