//! The lines of Stratum V1 as a client reads and writes them.

use serde_json::{Value, json};

/// Longest text of the upstream that is shown.
const MAX_SHOWN_CHARS: usize = 120;

/// What a line turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// An answer to what we said under this number.
    Answer { id: u64, outcome: Result<Value, Refusal> },
    /// A call of the upstream. With an id it wants an answer.
    Call { id: Option<Value>, method: String, params: Value },
    /// Nothing of interest.
    Other,
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Option<i64>,
    /// As the upstream says it, fit to be shown.
    pub text: String,
}

impl Line {
    /// Reads a line; none when it is no JSON-RPC.
    pub fn read(line: &[u8]) -> Option<Self> {
        if line.trim_ascii().is_empty() {
            return Some(Self::Other);
        }
        let Value::Object(mut parts) = serde_json::from_slice(line).ok()? else { return None };
        let id = parts.remove("id").filter(|id| !id.is_null());
        if let Some(Value::String(method)) = parts.remove("method") {
            let params = parts.remove("params").unwrap_or(Value::Null);
            return Some(Self::Call { id, method, params });
        }
        let error = parts.remove("error").filter(|error| !error.is_null());
        let result = parts.remove("result");
        if error.is_none() && result.is_none() {
            return None;
        }
        // Some write numbers as text.
        let id = id.and_then(|id| id.as_u64().or_else(|| id.as_str()?.parse().ok()));
        let Some(id) = id else { return Some(Self::Other) };
        let outcome = match error {
            Some(error) => Err(Refusal::read(&error)),
            None => Ok(result.unwrap_or(Value::Null)),
        };
        Some(Self::Answer { id, outcome })
    }
}

impl Refusal {
    /// An error as a list, an object or a text.
    fn read(error: &Value) -> Self {
        let code = error.get(0).or_else(|| error.get("code")).and_then(Value::as_i64);
        let text = error.get(1).or_else(|| error.get("message")).unwrap_or(error);
        Self { code, text: text.as_str().map_or_else(|| shown(&text.to_string()), shown) }
    }

    /// An answer that says no and not why.
    pub fn bare() -> Self {
        Self { code: None, text: "no reason given".into() }
    }
}

/// A text of the upstream as it may stand in logs.
pub fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN_CHARS).collect()
}

/// A call of ours, with its newline.
pub fn call(id: u64, method: &str, params: &Value) -> String {
    json!({ "id": id, "method": method, "params": params }).to_string() + "\n"
}

/// An answer of ours.
pub fn answer(id: &Value, result: &Value) -> String {
    json!({ "id": id, "result": result, "error": null }).to_string() + "\n"
}

/// An answer to what we do not know.
pub fn unknown(id: &Value) -> String {
    json!({ "id": id, "result": null, "error": [20, "Unknown method", null] }).to_string() + "\n"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(line: &str) -> Refusal {
        match Line::read(line.as_bytes()) {
            Some(Line::Answer { id: 7, outcome: Err(refusal) }) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_told_apart() {
        let answer = Line::read(br#"{"id":"7","result":true,"error":null}"#);
        assert_eq!(answer, Some(Line::Answer { id: 7, outcome: Ok(json!(true)) }));
        let call = Line::read(br#"{"id":null,"method":"mining.notify","params":[1]}"#);
        let expected = Line::Call { id: None, method: "mining.notify".into(), params: json!([1]) };
        assert_eq!(call, Some(expected));
        assert_eq!(Line::read(b" \r"), Some(Line::Other));
        for garbage in ["[]", "{}", "HTTP/1.1 400 Bad Request", "{\"id\":1}", "\u{16}\u{3}"] {
            assert_eq!(Line::read(garbage.as_bytes()), None, "{garbage}");
        }
    }

    #[test]
    fn errors_are_understood_in_every_form() {
        let list = refused(r#"{"id":7,"result":null,"error":[21,"Job not\u001b found",null]}"#);
        assert_eq!(list, Refusal { code: Some(21), text: "Job not found".into() });
        let object = refused(r#"{"id":7,"error":{"code":-1,"message":"no"}}"#);
        assert_eq!(object, Refusal { code: Some(-1), text: "no".into() });
        assert_eq!(refused(r#"{"id":7,"error":"stale"}"#).text, "stale");
        assert_eq!(refused(r#"{"id":7,"error":true}"#).text, "true");
        let long = format!(r#"{{"id":7,"error":"{}"}}"#, "x".repeat(5000));
        assert_eq!(refused(&long).text.len(), MAX_SHOWN_CHARS);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:a-z0-9.-]{0,80}") {
            let _ = Line::read(&line);
            let _ = Line::read(text.as_bytes());
        }
    }
}
