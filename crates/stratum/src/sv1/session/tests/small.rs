//! cpuminer and NerdMiner: what counts is the first line, and how long lines are.

use super::*;

#[test]
fn cpuminer_and_nerdminer_get_the_subscribe_answer_as_their_first_line() {
    let mut session = session();
    let lines = session.say(
        START,
        &[
            r#"{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}"#,
            r#"{"id": 2, "method": "mining.authorize", "params": ["garage", ""]}"#,
        ],
    );
    assert_eq!(methods(&lines), ["answer 1", "answer 2", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(lines[0]["result"][1], "aabbccdd");
    assert_eq!(lines[0]["result"][2], 8, "within its 1 to 100 bytes, and cgminer's 2 to 16");
}

#[test]
fn cpuminer_gives_every_share_the_same_id_and_every_one_is_answered() {
    let (mut session, job) = mining_freely();
    for nonce in 0..3 {
        assert!(kept(&session.submit(START, &job, 0, nonce)).is_some(), "no version is needed");
    }
    let wrong = session.submit(START, &job, 0, 0);
    assert_eq!(methods(&sent(&wrong)), ["answer 4"]);
    let answers = sent(&session.on_kept(3, true));
    assert_eq!(methods(&answers), ["answer 4"; 3]);
    assert!(answers.iter().all(|answer| answer["result"] == true && answer["error"].is_null()));
}

#[test]
fn nerdminer_may_repeat_its_wish_for_ever() {
    let (mut session, _) = mining();
    let wish = r#"{"id":3,"method":"mining.suggest_difficulty","params":[0.00015]}"#;
    for second in (0..600).step_by(30) {
        assert_eq!(methods(&session.say(at(second), &[wish])), ["answer 3"]);
    }
}

#[test]
fn nerdminer_writes_its_nonce_without_leading_zeros() {
    let (mut session, job) = mining_freely();
    for nonce in ["0", "f", "1f", "deadbeef"] {
        let params = format!(r#"["garage.one","{job}","0000000000000000","65540000","{nonce}"]"#);
        let share =
            session.on_line(&format!(r#"{{"id":5,"method":"mining.submit","params":{params}}}"#), START);
        assert!(kept(&share).is_some(), "{nonce}");
    }
}

#[test]
fn nerdminer_has_room_for_80_characters_of_user_name_and_20_of_password() {
    let worker = "w".repeat(80 - "garage.".len());
    let mut session = session();
    let line = |user: &str| {
        format!(r#"{{"id":2,"method":"mining.authorize","params":["{user}","x,d=0.00390625,abcde"]}}"#)
    };
    let refused = session.say(START, &[&line(&format!("garage.{worker}"))]);
    assert!(refused[0]["error"][1].as_str().unwrap().contains("up to 63 characters"), "{refused:?}");
    // The longest address and a label.
    let address = "tb1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqp3mvzv";
    let user = format!("{address}.{}", "w".repeat(80 - address.len() - 1));
    let lines = session.say(START, &[&line(&user), r#"{"id":1,"method":"mining.subscribe","params":[]}"#]);
    assert_eq!(lines[0]["result"], true, "{lines:?}");
    assert_eq!(lines[2]["params"][0].to_string(), "0.00390625");
}

#[test]
fn nerdminer_can_hold_the_longest_job_in_its_4_kib_document() {
    // A full block of small transactions, and the longest script that is paid.
    let mut template = fixture::template();
    template.merkle_path = vec![bitcoin::hashes::Hash::from_byte_array([0x5a; 32]); 14];
    let mut settings = settings(WIDE);
    let script = bitcoin::ScriptBuf::from_bytes([vec![0x51, 0x20], vec![0x5a; 32]].concat());
    settings.payout = PayoutPolicy::Pool(crate::PayoutOutput::new(script));
    let mut session = Talk::idle(settings);
    session.on_job(fixture::job(template), START);
    let out = together([
        session.on_line(r#"{"id":1,"method":"mining.subscribe","params":["NerdMinerV2"]}"#, START),
        session.on_line(r#"{"id":2,"method":"mining.authorize","params":["garage","x"]}"#, START),
    ]);
    let notify = text(&out).lines().last().unwrap();
    // ArduinoJson takes 16 bytes for each value and copies each string.
    let values = notify.matches(',').count() + notify.matches(['[', '{']).count();
    assert!(notify.contains("mining.notify") && notify.len() + 16 * values < 4096, "{}", notify.len());
    assert!(text(&out).lines().all(|line| line.len() < 4096));
}
