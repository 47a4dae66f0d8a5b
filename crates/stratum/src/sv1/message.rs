//! The lines of Stratum V1: JSON-RPC as miners really write it.

use std::fmt::Write;

use bitcoin::hashes::Hash;
use poolbox_accounting::Difficulty;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::coinbase::Coinbase;
use crate::extranonce::Extranonce;
use crate::job::Job;
use crate::share::RejectReason;

/// Longest id of a call, as it is written: it is kept until the answer goes out.
const MAX_ID_BYTES: usize = 128;

/// Error codes that miners know from the first Stratum servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorCode {
    Other = 20,
    JobNotFound = 21,
    Duplicate = 22,
    LowDifficulty = 23,
    Unauthorized = 24,
    NotSubscribed = 25,
}

impl From<RejectReason> for ErrorCode {
    fn from(reason: RejectReason) -> Self {
        match reason {
            RejectReason::Stale | RejectReason::UnknownJob => Self::JobNotFound,
            RejectReason::Duplicate => Self::Duplicate,
            RejectReason::AboveTarget => Self::LowDifficulty,
            RejectReason::Unauthorized => Self::Unauthorized,
            RejectReason::BadTime
            | RejectReason::BadVersion
            | RejectReason::BadExtranonce
            | RejectReason::Malformed
            | RejectReason::NotKept => Self::Other,
        }
    }
}

/// A call. Nothing of it is copied: most lines are shares.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// As it was written, to be echoed verbatim whatever its type.
    pub id: &'a str,
    /// The method's name.
    pub method: String,
    /// The parameters, each as it was written.
    pub params: Vec<&'a RawValue>,
}

/// What a line turned out to be.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// A call.
    Request(Request<'a>),
    /// An answer to something the server sent.
    Response,
    /// Nothing, as some send it to show that they live.
    Empty,
    /// Not JSON-RPC.
    Garbage,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Self {
        if line.trim_ascii().is_empty() {
            return Self::Empty;
        }
        let Ok(parts) = serde_json::from_slice::<Parts<'a>>(line) else { return Self::Garbage };
        let Some(method) = parts.method else {
            let answers = parts.result.is_some() || parts.error.is_some();
            return if answers { Self::Response } else { Self::Garbage };
        };
        let Ok(method) = serde_json::from_str::<String>(method.get()) else { return Self::Garbage };
        // Some send an object where a list belongs: the method says what it misses.
        let params = parts.params.and_then(|params| serde_json::from_str(params.get()).ok());
        let id = parts.id.map_or("null", RawValue::get);
        if id.len() > MAX_ID_BYTES {
            return Self::Garbage;
        }
        Self::Request(Request { id, method, params: params.unwrap_or_default() })
    }
}

impl<'a> Request<'a> {
    /// A parameter that is a plain string.
    pub fn text(&self, index: usize) -> Option<&'a str> {
        let written = self.params.get(index)?.get();
        let text = written.strip_prefix('"')?.strip_suffix('"')?;
        (!text.contains('\\')).then_some(text)
    }

    /// Any parameter.
    pub fn value(&self, index: usize) -> Option<Value> {
        serde_json::from_str(self.params.get(index)?.get()).ok()
    }

    /// A parameter that is a string, whatever is in it.
    pub fn string(&self, index: usize) -> Option<String> {
        serde_json::from_str(self.params.get(index)?.get()).ok()
    }
}

/// Lines to be sent; each call adds one.
pub(super) trait Lines {
    fn line(&mut self, line: &str);
}

impl Lines for Vec<u8> {
    fn line(&mut self, line: &str) {
        self.extend_from_slice(line.as_bytes());
        self.push(b'\n');
    }
}

pub(super) fn result(id: &str, result: &Value) -> String {
    format!(r#"{{"id":{id},"result":{result},"error":null}}"#)
}

/// The answer to a share that counts: most of what is ever sent.
pub(super) fn accepted(id: &str, lines: &mut Vec<u8>) {
    for part in [r#"{"id":"#, id, ",\"result\":true,\"error\":null}\n"] {
        lines.extend_from_slice(part.as_bytes());
    }
}

pub(super) fn error(id: &str, code: ErrorCode, message: &str) -> String {
    let error = json!([code as u32, message, null]);
    format!(r#"{{"id":{id},"result":null,"error":{error}}}"#)
}

/// The answer to `mining.subscribe`. AxeOS's probe looks for "mining.notify" in it.
pub(super) fn subscribed(id: &str, extranonce: &Extranonce) -> String {
    let session = hex::encode(extranonce.server());
    let subscriptions = json!([["mining.set_difficulty", session], ["mining.notify", session]]);
    result(id, &json!([subscriptions, session, extranonce.layout().miner_bytes()]))
}

pub(super) fn set_difficulty(difficulty: Difficulty) -> String {
    let number = difficulty.as_f64();
    // Older firmware reads integers only: write whole numbers without a fraction.
    let number = if difficulty >= Difficulty::ONE { json!(number as u64) } else { json!(number) };
    json!({ "id": null, "method": "mining.set_difficulty", "params": [number] }).to_string()
}

/// The version bits that the miner may roll from now on (BIP 310).
pub(super) fn set_version_mask(mask: u32) -> String {
    json!({ "id": null, "method": "mining.set_version_mask", "params": [format!("{mask:08x}")] }).to_string()
}

pub(super) fn notify(id: u32, job: &Job, coinbase: &Coinbase, time: u32, clean: bool) -> String {
    let fixed = coinbase.sv1_fields(|| fixed_fields(job, coinbase));
    format!(r#"{{"id":null,"method":"mining.notify","params":["{id:x}",{fixed},"{time:08x}",{clean}]}}"#)
}

/// What a job's `mining.notify` has in common for all miners with the same coinbase.
fn fixed_fields(job: &Job, coinbase: &Coinbase) -> String {
    let template = &job.template;
    let mut text = format!(
        r#""{}","{}","{}",["#,
        hex::encode(word_swapped(template.prev_hash)),
        hex::encode(coinbase.prefix()),
        hex::encode(coinbase.suffix()),
    );
    for (nth, node) in template.merkle_path.iter().enumerate() {
        let comma = if nth > 0 { "," } else { "" };
        // Writing to a string does not fail.
        let _ = write!(text, r#"{comma}"{}""#, hex::encode(node.to_byte_array()));
    }
    let _ = write!(text, r#"],"{:08x}","{:08x}""#, template.version, template.bits.to_consensus());
    text
}

/// Stratum V1 writes the previous hash as eight 32-bit words, each with its bytes turned round.
fn word_swapped(hash: bitcoin::BlockHash) -> [u8; 32] {
    let mut bytes: [u8; 32] = hash.to_byte_array();
    bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    bytes
}

/// A 32-bit number in hex; NerdMiner does not pad with zeros.
pub(super) fn hex_u32(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulties_are_written_exactly() {
        let write = |log2| {
            let line: Value =
                serde_json::from_str(&set_difficulty(Difficulty::from_log2(log2).unwrap())).unwrap();
            line["params"][0].to_string()
        };
        assert_eq!(write(-12), "0.000244140625");
        assert_eq!(write(0), "1");
        assert_eq!(write(10), "1024");
    }

    #[test]
    fn numbers_need_not_be_padded_but_must_be_hex() {
        assert_eq!(hex_u32("1f"), Some(31));
        assert_eq!(hex_u32("0x1f"), Some(31));
        for wrong in ["", "+1", "123456789", "xyz"] {
            assert_eq!(hex_u32(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lines_are_told_apart() {
        assert!(matches!(Line::parse(br#"{"id":1,"result":true,"error":null}"#), Line::Response));
        for empty in ["", "\r", " "] {
            assert!(matches!(Line::parse(empty.as_bytes()), Line::Empty));
        }
        let endless = format!(r#"{{"id":"{}","method":"mining.ping"}}"#, "9".repeat(MAX_ID_BYTES));
        for garbage in [&endless, "GET / HTTP/1.1", "[]", "{}", r#"{"method":7}"#] {
            assert!(matches!(Line::parse(garbage.as_bytes()), Line::Garbage), "{garbage}");
        }
        let line = br#"{"id" : "t\u0078n","method":"mining.get_transactions","params":{}}"#;
        let Line::Request(request) = Line::parse(line) else { panic!() };
        assert_eq!((request.id, request.params.len()), (r#""t\u0078n""#, 0), "echoed as it was written");
    }
}
