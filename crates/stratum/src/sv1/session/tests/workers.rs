//! Who a miner is, and from when on it is one.

use super::*;

#[test]
fn a_worker_joins_with_its_first_share_good_or_bad() {
    let good = easy_shares(1)[0];
    for nonce in [good, good + 1] {
        let (mut session, job) = mining();
        let out = session.submit(at(1), &job, 0, nonce);
        assert!(kept(&out).is_some() != refusal(&out).is_some());
        assert_eq!(news(&out), [(WorkerChange::Joined, "one".to_owned())]);
        assert!(matches!(out.news[0], News::Worker(_)), "before its share is counted");
        assert!(news(&session.submit(at(1), &job, 0, nonce)).is_empty(), "once");
        assert_eq!(news(&session.on_close()), [(WorkerChange::Left, "one".to_owned())]);
    }
}

#[test]
fn a_worker_that_stays_joins_before_its_first_share() {
    let (mut session, _) = mining();
    let joined: Vec<_> = (1..=30)
        .filter(|&second| {
            news(&session.on_tick(at(second))).iter().any(|(change, _)| *change == WorkerChange::Joined)
        })
        .collect();
    assert_eq!(joined, [10]);
    let second = r#"{"id":3,"method":"mining.authorize","params":["garage.two","x"]}"#;
    assert_eq!(news(&session.on_line(second, at(31))), [(WorkerChange::Joined, "two".to_owned())]);
    assert_eq!(news(&session.on_close()).len(), 2, "and leaves with the first");
}

#[test]
fn who_waits_without_a_job_is_no_worker_yet() {
    let mut session = Talk::idle(settings(WIDE));
    let lines = [
        r#"{"id":1,"method":"mining.subscribe","params":["test"]}"#,
        r#"{"id":2,"method":"mining.authorize","params":["garage.one","x"]}"#,
    ];
    let out = together([
        session.on_line(lines[0], START),
        session.on_line(lines[1], START),
        session.on_tick(at(60)),
        session.on_job(fixture::job(fixture::template()), at(60)),
        session.on_tick(at(69)),
    ]);
    assert!(news(&out).is_empty(), "{out:?}");
    assert_eq!(news(&session.on_tick(at(70))).len(), 1);
}

#[test]
fn a_wrong_address_is_refused_with_a_sentence_and_may_be_corrected() {
    let mut session = session();
    let authorize = |user: &str| format!(r#"{{"id":2,"method":"mining.authorize","params":["{user}","x"]}}"#);
    for (wrong, sentence) in [
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig", "another network"),
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsy.rig", "checksum"),
    ] {
        let answer = session.say(START, &[&authorize(wrong)]);
        assert!(answer[0]["result"].is_null() && answer[0]["error"][0] == 24);
        assert!(answer[0]["error"][1].as_str().unwrap().contains(sentence), "{answer:?}");
    }
    assert!(!session.0.ready());
    let share = r#"{"id":4,"method":"mining.submit","params":["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig","1","00","0","0"]}"#;
    session.say(START, &[r#"{"id":1,"method":"mining.subscribe","params":[]}"#]);
    assert_eq!(session.say(START, &[share])[0]["error"][0], 24);
    let right = session.say(START, &[&authorize("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx.rig")]);
    assert_eq!(methods(&right), ["answer 2", "mining.set_difficulty", "mining.notify"]);
}

#[test]
fn a_password_may_carry_the_starting_difficulty() {
    for (password, difficulty) in [
        ("x, d=300", "256"),
        ("d=0.002", "0.001953125"),
        ("th=64 worker=7", "64"),
        ("x", "0.000244140625"),
        ("", "0.000244140625"),
    ] {
        let mut session = session();
        let authorize = format!(r#"{{"id":2,"method":"mining.authorize","params":["garage","{password}"]}}"#);
        let subscribe = r#"{"id":1,"method":"mining.subscribe","params":[]}"#;
        let lines = session.say(START, &[subscribe, &authorize]);
        assert_eq!(lines[2]["params"][0].to_string(), difficulty, "{password}");
    }
    // It may also be missing.
    let mut session = session();
    let lines = session.say(START, &[r#"{"id":2,"method":"mining.authorize","params":["garage"]}"#]);
    assert_eq!(lines[0]["result"], true);
}

#[test]
fn a_share_counts_for_the_name_it_was_sent_under() {
    let (mut session, job) = mining_freely();
    session.say(START, &[r#"{"id":3,"method":"mining.authorize","params":["attic.\u0074wo","x"]}"#]);
    for (user, owner) in [("garage.one", "garage"), ("attic.two", "attic"), (r"attic.tw\u006f", "attic")] {
        let nonce = user.len();
        let params = format!(r#"["{user}","{job}","0000000000000000","65540000","{nonce:x}"]"#);
        let share =
            session.on_line(&format!(r#"{{"id":4,"method":"mining.submit","params":{params}}}"#), START);
        assert_eq!(kept(&share).unwrap().identity.owner.to_string(), owner);
    }
}

#[test]
fn in_solo_one_connection_mines_for_one_address() {
    let mut solo = settings(WIDE);
    solo.payout = PayoutPolicy::Solo(Network::Devnet);
    let mut session = Talk::idle(solo);
    let authorize = |user: &str| format!(r#"{{"id":2,"method":"mining.authorize","params":["{user}","x"]}}"#);
    let refused = session.say(START, &[&authorize("garage.rig")]);
    assert!(refused[0]["error"][1].as_str().unwrap().contains("must be a bitcoin address"), "{refused:?}");
    let own = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
    for worker in ["one", "two"] {
        assert_eq!(session.say(START, &[&authorize(&format!("{own}.{worker}"))])[0]["result"], true);
    }
    let other = "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7";
    let refused = session.say(START, &[&authorize(other)]);
    assert!(refused[0]["error"][1].as_str().unwrap().contains("open another connection"), "{refused:?}");
}

#[test]
fn one_connection_has_only_so_many_names() {
    let (mut session, _) = mining();
    let authorize =
        |nth: usize| format!(r#"{{"id":2,"method":"mining.authorize","params":["garage.w{nth}","x"]}}"#);
    let refused: Vec<_> =
        (1..100).filter(|&nth| session.say(START, &[&authorize(nth)])[0]["result"].is_null()).collect();
    assert_eq!(refused, (64..100).collect::<Vec<_>>());
    assert_eq!(session.say(START, &[&authorize(1)])[0]["result"], true, "a known one may come again");
}
