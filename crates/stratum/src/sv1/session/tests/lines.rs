//! Lines as anybody might send them.

use super::*;

#[test]
fn ids_are_echoed_as_they_were_written() {
    let (mut session, _) = mining();
    for id in ["7", "-1", "1.50", "1e3", r#""txn""#, r#""""#, r#""\u00e4 \"""#, "null", "[1, 2]", "true"] {
        let out = session.on_line(&format!(r#"{{"id": {id} ,"method":"mining.ping","params":[]}}"#), START);
        assert_eq!(text(&out), format!("{{\"id\":{id},\"result\":\"pong\",\"error\":null}}\n"));
    }
    let absent = session.on_line(r#"{"method":"mining.ping"}"#, START);
    assert!(text(&absent).starts_with(r#"{"id":null,"#));
}

#[test]
fn unknown_methods_get_an_error_without_result_and_never_a_disconnect() {
    let (mut session, _) = mining();
    for nth in 0..50 {
        let line = format!(r#"{{"id":{nth},"method":"mining.nonsense{nth}","params":{{}}}}"#);
        let out = session.on_line(&line, START);
        let answer = sent(&out);
        assert!(answer[0]["result"].is_null() && answer[0]["error"][0] == 20, "{answer:?}");
        assert!(out.close.is_none());
    }
    let answer = session.on_line(r#"{"id":9,"result":"poolbox","error":null}"#, START);
    assert!(answer.bytes.is_empty(), "an answer is not answered");
}

#[test]
fn a_web_browser_is_shown_the_door_and_a_stray_line_is_not_held_against_a_miner() {
    let mut session = session();
    for _ in 0..20 {
        let out = session.on_line("garbage", START);
        assert!(sent(&out).len() == 1 && out.close.is_none());
        session.on_line(r#"{"id":1,"method":"mining.ping","params":[]}"#, START);
    }
    let last = (0..MAX_GARBAGE).map(|_| session.on_line("GET / HTTP/1.1", START)).last().unwrap();
    assert!(last.close.is_some(), "{last:?}");
}

#[test]
fn who_speaks_another_protocol_is_not_waited_for() {
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0xa7; 300]].concat();
    let out = session().on_bytes(&hello, START);
    assert!(out.close.unwrap().contains("TLS") && out.bytes.is_empty(), "{out:?}");
    // Even when one of its bytes happens to end a line.
    let out = session().on_bytes(&hello[..11].iter().copied().chain(*b"\n{").collect::<Vec<_>>(), START);
    assert!(out.close.unwrap().contains("TLS"), "{out:?}");
    let noise: Vec<u8> = (0..64).map(|byte: u8| byte.wrapping_mul(37) | 0x80).collect();
    assert!(session().on_bytes(&noise, START).close.is_some());
    // A line that comes in pieces is.
    let mut session = session();
    for piece in [&b"  {\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"caf\xc3"[..], b"\xa9\""] {
        assert!(session.on_bytes(piece, START).close.is_none());
    }
}

#[test]
fn empty_lines_and_carriage_returns_do_no_harm() {
    let mut session = session();
    for _ in 0..100 {
        let out = session.on_bytes(b"\r\n \n\n", START);
        assert!(out.bytes.is_empty() && out.close.is_none());
    }
    let out = session.on_bytes(b"{\"id\":1,\"method\":\"mining.ping\",\"params\":[]}\r\n", START);
    assert_eq!(sent(&out)[0]["result"], "pong");
}

#[test]
fn a_line_that_is_too_long_ends_the_connection_however_it_comes() {
    let long = format!(r#"{{"id":1,"method":"mining.ping","params":["{}"]}}"#, "x".repeat(MAX_LINE_BYTES));
    let whole = session().on_line(&long, START);
    assert_eq!(whole.close, Some("a line was too long"));
    let mut session = session();
    let pieces: Vec<Outbox> =
        long.as_bytes().chunks(1000).map(|piece| session.on_bytes(piece, START)).collect();
    assert_eq!(pieces.iter().filter(|out| out.close.is_some()).count(), 1, "before its end came");
    assert!(session.0.partial.capacity() <= 2 * MAX_LINE_BYTES);
}

#[test]
fn whoever_asks_a_thousand_times_gets_little_more_than_he_sent() {
    let (mut session, _) = mining();
    let lines = [
        r#"{"id":1,"method":"mining.subscribe","params":[]}"#,
        r#"{"id":1,"method":"mining.authorize","params":["garage"]}"#,
        r#"{"id":1,"method":"mining.suggest_difficulty","params":[2]}"#,
        r#"{"id":1,"method":"mining.configure","params":[["a","b","c","d","e","f","g","h"]]}"#,
        r#"{"id":1,"method":"x"}"#,
        "x",
    ];
    for line in lines {
        let flood = format!(
            "{line}
"
        )
        .repeat(1_000);
        let out = session.on_bytes(flood.as_bytes(), START);
        assert!(out.bytes.len() < 8 * flood.len(), "{line}: {}", out.bytes.len());
    }
}

#[test]
fn nothing_is_held_between_whole_lines() {
    let (mut session, _) = mining();
    session.on_bytes(br#"{"id":1,"method":"#, START);
    session.on_bytes(b"\"mining.ping\"}\n", START);
    assert_eq!(session.0.partial.capacity(), 0);
}

proptest::proptest! {
    /// Nothing a client writes can stop the server or make it forget to answer a call.
    #[test]
    fn any_line_is_survived(lines in proptest::collection::vec(".{0,200}", 1..8), params in ".{0,60}") {
        let (mut session, _) = mining();
        for line in &lines {
            session.on_line(line, START);
        }
        let call = json!({"id": 7, "method": "mining.submit", "params": [params, params, params, params, params]});
        let answer = sent(&session.on_line(&call.to_string(), START));
        proptest::prop_assert!(answer.iter().any(|line| line["id"] == 7));
    }

    /// Nor can the types of what it sends.
    #[test]
    fn any_parameters_are_survived(
        method in proptest::sample::select(vec!["configure", "subscribe", "authorize", "submit", "suggest_difficulty", "suggest_target"]),
        params in proptest::collection::vec(proptest::sample::select(vec!["1", "-1e999", "null", "{}", "[]", "[[]]", "\"\"", "\"x\"", "\"\\ud800\"", "true"]), 0..8),
    ) {
        let (mut session, _) = mining();
        let line = format!(r#"{{"id":7,"method":"mining.{method}","params":[{}]}}"#, params.join(","));
        let out = session.on_line(&line, START);
        proptest::prop_assert!(text(&out).lines().count() >= 1, "{}", line);
    }
}
