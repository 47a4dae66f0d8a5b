//! Stratum V1 as a miner speaks it: lines in, actions out. No sockets, no clock, no hashing.
//!
//! The protocol is documented by its servers and firmwares only; version rolling is BIP 310.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::protocol::{self, ProtocolError};
use crate::target::Target;
use crate::work::{Coinbase, Job, Root, Solution};

/// Version bits to ask for: those of BIP 320.
const VERSION_MASK: &str = "1fffe000";
/// Jobs whose late shares are still sent while the pool has not said that they are stale.
const MAX_LIVE_JOBS: usize = 16;
/// Longest extranonce2 that is believed.
const MAX_EXTRANONCE2: usize = 64;

/// Who the miner is.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// `owner.worker`.
    pub user: String,
    /// Mostly unused by pools, but for hints as `d=1`.
    pub password: String,
    /// Name and version of the miner.
    pub user_agent: String,
}

/// What to do next; messages are lines.
pub type Action = protocol::Action<String>;

/// Why this connection leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Sv1Error {
    /// Something else than Stratum answers.
    #[error("it does not speak Stratum V1 (it said {0:?}); check host and port")]
    NotStratum(String),
    /// The user is not wanted.
    #[error("the pool refused the user name: {0}")]
    NotAuthorized(String),
    /// A message of the pool that cannot be worked with.
    #[error("the pool sent a {method} that cannot be used: {problem}")]
    Unusable {
        /// Its method.
        method: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// What an outstanding request asked.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Configure,
    Subscribe,
    Authorize,
    Submit,
}

/// The extranonce's pool part, and the size of ours.
#[derive(Clone, Debug)]
struct Extranonce {
    first: Vec<u8>,
    second_size: usize,
}

/// One connection's state.
pub struct Session {
    credentials: Credentials,
    next_id: u64,
    asked: HashMap<u64, Asked>,
    authorized: bool,
    extranonce: Option<Extranonce>,
    version_mask: u32,
    difficulty: f64,
    /// Jobs whose shares are not stale, newest last.
    live: VecDeque<Arc<Job>>,
}

/// `mining.notify`'s parameters, in their order.
#[derive(Deserialize)]
struct Notify(String, String, String, String, Vec<String>, String, String, String, bool);

impl Session {
    /// A connection just made, and the lines to open it with. As firmwares do, nothing is waited for.
    pub fn open(credentials: Credentials) -> (Self, Vec<Action>) {
        let mut session = Self {
            credentials,
            next_id: 1,
            asked: HashMap::new(),
            authorized: false,
            extranonce: None,
            version_mask: 0,
            difficulty: 1.0,
            live: VecDeque::new(),
        };
        let rolling = json!([["version-rolling"], { "version-rolling.mask": VERSION_MASK }]);
        let agent = json!([session.credentials.user_agent]);
        let login = json!([session.credentials.user, session.credentials.password]);
        let greeting = [
            session.request(Asked::Configure, "mining.configure", &rolling),
            session.request(Asked::Subscribe, "mining.subscribe", &agent),
            session.request(Asked::Authorize, "mining.authorize", &login),
        ];
        (session, greeting.map(Action::Send).into())
    }

    /// Takes one line from the pool.
    ///
    /// # Errors
    /// [`Sv1Error`]: the connection is of no use any more.
    pub fn receive(&mut self, line: &str) -> Result<Vec<Action>, Sv1Error> {
        if line.trim().is_empty() {
            return Ok(Vec::new());
        }
        let not_stratum = || Sv1Error::NotStratum(line.chars().take(80).collect());
        let message: Value = serde_json::from_str(line).map_err(|_| not_stratum())?;
        if !message.is_object() {
            return Err(not_stratum());
        }
        match message["method"].as_str() {
            Some(method) => self.called(method, &message["params"], &message["id"]),
            None => self.answered(&message),
        }
    }

    /// The line that submits a share, unless the pool would call it stale.
    pub fn submit(&mut self, share: &Solution) -> Option<String> {
        let job = &share.job;
        if !self.live.iter().any(|live| Arc::ptr_eq(live, job)) {
            return None;
        }
        let word = |number: u32| format!("{number:08x}");
        let mut params = vec![
            self.credentials.user.clone(),
            job.id.clone(),
            hex::encode(&share.extranonce2),
            word(job.time),
            word(share.nonce),
        ];
        if job.version_mask != 0 {
            params.push(word(share.version & job.version_mask));
        }
        Some(self.request(Asked::Submit, "mining.submit", &json!(params)))
    }

    fn request(&mut self, asked: Asked, method: &str, params: &Value) -> String {
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, asked);
        json!({ "id": id, "method": method, "params": params }).to_string()
    }

    /// A request or a notification of the pool.
    fn called(&mut self, method: &str, params: &Value, id: &Value) -> Result<Vec<Action>, Sv1Error> {
        match method {
            "mining.notify" => return self.notified(params),
            "mining.set_difficulty" => {
                // Applies from the next job on.
                let difficulty = params[0].as_f64().unwrap_or(f64::NAN);
                if Target::of_difficulty(difficulty).is_none() {
                    return Err(unusable("mining.set_difficulty", format!("difficulty {}", params[0])));
                }
                self.difficulty = difficulty;
            }
            "mining.set_version_mask" => {
                let mask = params[0].as_str().and_then(parse_word);
                let problem = || unusable("mining.set_version_mask", format!("mask {}", params[0]));
                self.version_mask = mask.ok_or_else(problem)?;
            }
            "mining.set_extranonce" => {
                self.extranonce = Some(read_extranonce("mining.set_extranonce", &params[0], &params[1])?);
            }
            "client.show_message" => return Ok(vec![Action::Show(text(&params[0]))]),
            "client.reconnect" => return Ok(vec![Action::Reconnect]),
            "client.get_version" => {
                return Ok(vec![reply(id, json!(self.credentials.user_agent), Value::Null)]);
            }
            "mining.ping" => return Ok(vec![reply(id, json!("pong"), Value::Null)]),
            _ if id.is_null() => {}
            _ => return Ok(vec![reply(id, Value::Null, json!([-3, "Method not found", null]))]),
        }
        Ok(Vec::new())
    }

    /// The pool's answer to a request of ours; answers to nothing are ignored.
    fn answered(&mut self, message: &Value) -> Result<Vec<Action>, Sv1Error> {
        let Some(asked) = message["id"].as_u64().and_then(|id| self.asked.remove(&id)) else {
            return Ok(Vec::new());
        };
        let result = &message["result"];
        match asked {
            Asked::Configure => {
                let granted = result["version-rolling"] == true;
                let mask = result["version-rolling.mask"].as_str().and_then(parse_word);
                self.version_mask = mask.filter(|_| granted).unwrap_or(0);
                Ok(Vec::new())
            }
            Asked::Subscribe => {
                self.extranonce = Some(read_extranonce("mining.subscribe answer", &result[1], &result[2])?);
                Ok(Vec::new())
            }
            Asked::Authorize if *result == true => {
                self.authorized = true;
                let waiting = self.live.back().map(|job| Action::Hash(Arc::clone(job)));
                Ok(std::iter::once(Action::Authorized).chain(waiting).collect())
            }
            Asked::Authorize => Err(Sv1Error::NotAuthorized(reason(&message["error"]))),
            Asked::Submit if *result == true => Ok(vec![Action::Accepted(1)]),
            Asked::Submit => Ok(vec![Action::Rejected(reason(&message["error"]))]),
        }
    }

    /// A job: hashed at once, or when the user is authorized.
    fn notified(&mut self, params: &Value) -> Result<Vec<Action>, Sv1Error> {
        let notify =
            Notify::deserialize(params).map_err(|error| unusable("mining.notify", error.to_string()))?;
        let clean = notify.8;
        let job = Arc::new(self.job(notify).map_err(|problem| unusable("mining.notify", problem))?);
        if clean {
            self.live.clear();
        } else if self.live.len() == MAX_LIVE_JOBS {
            self.live.pop_front();
        }
        self.live.push_back(Arc::clone(&job));
        Ok(if self.authorized { vec![Action::Hash(job)] } else { Vec::new() })
    }

    fn job(&self, notify: Notify) -> Result<Job, String> {
        let Notify(id, previous, first, second, path, version, bits, time, _) = notify;
        let extranonce = self.extranonce.as_ref().ok_or("it came before the subscription")?;
        let word =
            |name: &str, digits: &str| parse_word(digits).ok_or_else(|| format!("{name}: no 32-bit number"));
        let hash = |name: &str, digits: &str| -> Result<[u8; 32], String> {
            let mut hash = [0; 32];
            hex::decode_to_slice(digits, &mut hash).map_err(|error| format!("{name}: {error}"))?;
            Ok(hash)
        };
        let bytes =
            |name: &str, digits: &str| hex::decode(digits).map_err(|error| format!("{name}: {error}"));
        // Sv1 sends the previous hash as eight words, each turned round.
        let mut previous = hash("the previous hash", &previous)?;
        previous.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
        Ok(Job {
            id,
            version: word("the version", &version)?,
            version_mask: self.version_mask,
            previous,
            root: Root::Coinbase(Coinbase {
                prefix: [bytes("the coinbase", &first)?, extranonce.first.clone()].concat(),
                extranonce2_size: extranonce.second_size,
                suffix: bytes("the coinbase", &second)?,
                merkle_path: path
                    .iter()
                    .map(|node| hash("the merkle path", node))
                    .collect::<Result<_, _>>()?,
            }),
            time: word("the time", &time)?,
            bits: word("the bits", &bits)?,
            target: Target::of_difficulty(self.difficulty).ok_or("its difficulty is no number")?,
            difficulty: self.difficulty,
        })
    }
}

impl protocol::Session for Session {
    type Message = String;

    fn receive(&mut self, line: String) -> Result<Vec<Action>, ProtocolError> {
        Ok(Self::receive(self, &line)?)
    }

    fn submit(&mut self, share: &Solution) -> Option<String> {
        Self::submit(self, share)
    }
}

fn reply(id: &Value, result: Value, error: Value) -> Action {
    Action::Send(json!({ "id": id, "result": result, "error": error }).to_string())
}

const fn unusable(method: &'static str, problem: String) -> Sv1Error {
    Sv1Error::Unusable { method, problem }
}

fn parse_word(digits: &str) -> Option<u32> {
    u32::from_str_radix(digits, 16).ok()
}

fn read_extranonce(method: &'static str, first: &Value, size: &Value) -> Result<Extranonce, Sv1Error> {
    let first = first.as_str().and_then(|digits| hex::decode(digits).ok());
    let size =
        size.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|&size| size <= MAX_EXTRANONCE2);
    match (first, size) {
        (Some(first), Some(second_size)) => Ok(Extranonce { first, second_size }),
        _ => Err(unusable(method, "its extranonce is not hex digits and a size up to 64".into())),
    }
}

/// Errors are `[code, "reason", null]`; some pools send objects or plain text.
pub fn reason(error: &Value) -> String {
    let said = [&error[1], &error["message"], error].into_iter().find(|value| value.is_string());
    said.map_or_else(|| "no reason given".into(), text)
}

/// What a pool says, fit for a log line.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
#[path = "sv1_tests.rs"]
mod tests;
