//! The first miners there were: cgminer and BFGMiner.

use super::*;

#[test]
fn cgminer_that_asks_for_its_old_session_gets_a_fresh_one() {
    let mut session = session();
    let line = r#"{"id": 0, "method": "mining.subscribe", "params": ["cgminer/4.12.0", "11223344"]}"#;
    let answer = session.say(START, &[line]);
    // It sees that its extranonce is another, and begins anew: what was credited to the old one cannot be
    // sent again.
    assert_eq!(answer[0]["result"][1], "aabbccdd");
    assert_eq!(answer[0]["result"][0][1], serde_json::json!(["mining.notify", "aabbccdd"]));
    assert!(answer[0]["error"].is_null());
}

#[test]
fn no_extranonce_returns_while_the_server_runs() {
    let extranonces = Arc::new(crate::Extranonces::new());
    let port = crate::sv1::Sv1::new(Arc::new(settings(WIDE)), extranonces);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1_000 {
        use crate::server::Protocol;
        assert!(
            seen.insert(port.open(START).unwrap().extranonce.server().to_vec()),
            "one that a closed connection had"
        );
    }
}

#[test]
fn cgminer_sends_without_an_id_what_needs_no_answer() {
    let (mut session, _) = mining();
    let lines = session.say(START, &[r#"{"method":"mining.extranonce.subscribe","params":[]}"#]);
    assert!(lines[0]["id"].is_null() && lines[0]["result"] == true);
}

#[test]
fn old_cgminer_asks_for_multi_version_and_is_told_no() {
    let mut session = session();
    let out = session.on_line(r#"{"id": 1, "method": "mining.multi_version", "params": [1]}"#, START);
    let answer = sent(&out);
    assert!(answer[0]["result"].is_null() && answer[0]["error"][0] == 20);
    assert!(out.close.is_none());
}

#[test]
fn bfgminer_asks_for_transactions_with_a_string_as_id() {
    let (mut session, job) = mining();
    let line = format!(r#"{{"params":["{job}"],"id":"txlist{job}","method":"mining.get_transactions"}}"#);
    let out = session.on_line(&line, START);
    let answer = sent(&out);
    assert_eq!(answer[0]["id"], format!("txlist{job}"));
    assert!(answer[0]["result"].is_null() && !answer[0]["error"].is_null() && out.close.is_none());
}

#[test]
fn bfgminer_wishes_for_a_target() {
    let mut session = session();
    let target =
        |digits: &str| format!(r#"{{"id":3,"method":"mining.suggest_target","params":["{digits:0<64}"]}}"#);
    let lines = session.say(
        START,
        &[
            r#"{"id":1,"method":"mining.subscribe","params":["bfgminer/5.5.0"]}"#,
            &target("0000000000007fff"),
            r#"{"id":2,"method":"mining.authorize","params":["garage","x"]}"#,
        ],
    );
    assert_eq!(methods(&lines)[1..4], ["answer 3", "answer 2", "mining.set_difficulty"]);
    assert_eq!(lines[3]["params"][0], 131_072, "rounded down");
    for nonsense in ["", "0", "zz", "00000000ffff00"] {
        let line = target("").replace(&"0".repeat(64), nonsense);
        let answer = session.say(START, &[&line]);
        assert!(answer[0]["result"].is_null() && answer[0]["error"][0] == 20, "{nonsense}");
    }
    assert!(session.say(START, &[&target("")])[0]["result"].is_null(), "nothing meets zero");
}
