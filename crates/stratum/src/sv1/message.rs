//! The lines of Stratum V1: JSON-RPC as miners really write it.

use bitcoin::hashes::Hash;
use poolbox_accounting::Difficulty;
use serde_json::{Value, json};

use crate::RejectReason;
use crate::coinbase::EXTRANONCE2_BYTES;
use crate::job::Job;

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
            RejectReason::Stale => Self::JobNotFound,
            RejectReason::Duplicate => Self::Duplicate,
            RejectReason::AboveTarget => Self::LowDifficulty,
            RejectReason::Unauthorized => Self::Unauthorized,
            RejectReason::BadTime
            | RejectReason::BadVersion
            | RejectReason::Malformed
            | RejectReason::NotKept => Self::Other,
        }
    }
}

/// What a line turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// A call. The id is echoed verbatim, whatever its type.
    Request { id: Value, method: String, params: Vec<Value> },
    /// An answer to something the server sent.
    Response,
    /// Not JSON-RPC.
    Garbage,
}

impl Line {
    pub(super) fn parse(line: &str) -> Self {
        let Ok(Value::Object(mut object)) = serde_json::from_str(line) else { return Self::Garbage };
        let id = object.remove("id").unwrap_or(Value::Null);
        match (object.remove("method"), object.remove("params")) {
            (Some(Value::String(method)), params) => {
                let params = match params {
                    Some(Value::Array(params)) => params,
                    _ => Vec::new(),
                };
                Self::Request { id, method, params }
            }
            (None, _) if object.contains_key("result") || object.contains_key("error") => Self::Response,
            _ => Self::Garbage,
        }
    }
}

pub(super) fn result(id: &Value, result: &Value) -> String {
    json!({ "id": id, "result": result, "error": null }).to_string()
}

pub(super) fn error(id: &Value, code: ErrorCode, message: &str) -> String {
    json!({ "id": id, "result": null, "error": [code as u32, message, null] }).to_string()
}

/// The answer to `mining.subscribe`. AxeOS's probe looks for "mining.notify" in it.
pub(super) fn subscribed(id: &Value, extranonce1: [u8; 4]) -> String {
    let session = hex::encode(extranonce1);
    let subscriptions = json!([["mining.set_difficulty", session], ["mining.notify", session]]);
    result(id, &json!([subscriptions, session, EXTRANONCE2_BYTES]))
}

pub(super) fn set_difficulty(difficulty: Difficulty) -> String {
    let number = difficulty.as_f64();
    // Older firmware reads integers only: write whole numbers without a fraction.
    let number = if difficulty >= Difficulty::ONE { json!(number as u64) } else { json!(number) };
    json!({ "id": null, "method": "mining.set_difficulty", "params": [number] }).to_string()
}

pub(super) fn notify(id: &str, job: &Job, time: u32, clean: bool) -> String {
    let template = &job.template;
    let merkle: Vec<String> =
        template.merkle_path.iter().map(|node| hex::encode(node.to_byte_array())).collect();
    json!({
        "id": null,
        "method": "mining.notify",
        "params": [
            id,
            hex::encode(word_swapped(template.prev_hash)),
            hex::encode(job.coinbase.prefix()),
            hex::encode(job.coinbase.suffix()),
            merkle,
            format!("{:08x}", template.version),
            format!("{:08x}", template.bits.to_consensus()),
            format!("{time:08x}"),
            clean,
        ],
    })
    .to_string()
}

/// Stratum V1 writes the previous hash as eight 32-bit words, each with its bytes turned round.
fn word_swapped(hash: bitcoin::BlockHash) -> [u8; 32] {
    let mut bytes: [u8; 32] = hash.to_byte_array();
    bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    bytes
}

/// A 32-bit number in hex; NerdMiner does not pad with zeros.
pub(super) fn hex_u32(value: &Value) -> Option<u32> {
    let text = value.as_str()?;
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
        assert_eq!(hex_u32(&json!("1f")), Some(31));
        assert_eq!(hex_u32(&json!("0x1f")), Some(31));
        for wrong in [json!(""), json!("+1"), json!("123456789"), json!("xyz"), json!(1), json!(null)] {
            assert_eq!(hex_u32(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(Line::parse(r#"{"id":1,"result":true,"error":null}"#), Line::Response);
        for garbage in ["", "GET / HTTP/1.1", "[]", "{}", r#"{"method":7}"#] {
            assert_eq!(Line::parse(garbage), Line::Garbage, "{garbage}");
        }
        let request = Line::parse(r#"{"id":"txn","method":"mining.get_transactions","params":{}}"#);
        assert!(matches!(request, Line::Request { id, .. } if id == json!("txn")));
    }
}
