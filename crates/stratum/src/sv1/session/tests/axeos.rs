//! AxeOS (Bitaxe), its older releases and NerdQAxe.

use super::*;

const CONFIGURE: &str = r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"ffffffff"}]}"#;
const SUBSCRIBE: &str = r#"{"id":2,"method":"mining.subscribe","params":["bitaxe/BM1370/v2.9.0"]}"#;
const AUTHORIZE: &str = r#"{"id":3,"method":"mining.authorize","params":["garage.one","x"]}"#;

#[test]
fn axeos_configures_subscribes_and_authorises_without_waiting() {
    let mut session = session();
    let lines = session.say(
        START,
        &[
            CONFIGURE,
            SUBSCRIBE,
            AUTHORIZE,
            r#"{"id":4,"method":"mining.suggest_difficulty","params":[1000]}"#,
            r#"{"id":5,"method":"mining.extranonce.subscribe","params":[]}"#,
        ],
    );
    assert_eq!(lines[0]["result"]["version-rolling.mask"], "1fffe000");
    let expected = [
        "answer 1",
        "answer 2",
        "answer 3",
        "mining.set_difficulty",
        "mining.notify",
        "answer 4",
        "mining.set_difficulty",
        "mining.notify",
        "answer 5",
    ];
    assert_eq!(methods(&lines), expected);
    assert_eq!(lines[6]["params"][0], 512, "a whole power of two, rounded down");
    assert_ne!(lines[4]["params"][0], lines[7]["params"][0]);
}

#[test]
fn axeos_may_send_all_of_it_in_one_piece() {
    let mut session = session();
    let all = [CONFIGURE, SUBSCRIBE, AUTHORIZE].join("\n") + "\n";
    let whole = sent(&session.on_bytes(all.as_bytes(), START));
    let expected = ["answer 1", "answer 2", "answer 3", "mining.set_difficulty", "mining.notify"];
    assert_eq!(methods(&whole), expected);
    // And TCP may cut it anywhere.
    let mut cut = self::session();
    let pieces: Vec<Value> =
        all.as_bytes().chunks(7).flat_map(|piece| sent(&cut.on_bytes(piece, START))).collect();
    assert_eq!(pieces, whole);
}

#[test]
fn older_axeos_and_nerdqaxe_subscribe_first_and_configure_later() {
    for order in [[SUBSCRIBE, CONFIGURE, AUTHORIZE], [SUBSCRIBE, AUTHORIZE, CONFIGURE]] {
        let mut session = session();
        let lines = session.say(START, &order);
        assert_eq!(methods(&lines).len(), 5);
        let job = job_id(notifies(&lines)[0]);
        // Version rolling as agreed, whenever that was.
        assert_eq!(refusal(&roll(&mut session, &job, "1fffe000")), Some(RejectReason::AboveTarget));
        assert_eq!(refusal(&roll(&mut session, &job, "20000000")), Some(RejectReason::BadVersion));
    }
}

/// A share with six parameters that no hash makes good.
fn roll(session: &mut Talk, job: &str, bits: &str) -> Outbox {
    let params = format!(r#"["garage.one","{job}","0000000000000000","65540000","00000000","{bits}"]"#);
    session.on_line(&format!(r#"{{"id":9,"method":"mining.submit","params":{params}}}"#), START)
}

#[test]
fn axeos_rolls_the_bits_of_the_mask_it_was_given_and_no_others() {
    let (mut session, job) = mining_freely();
    assert_eq!(refusal(&roll(&mut session, &job, "00002000")), Some(RejectReason::BadVersion), "not yet");
    let narrow = CONFIGURE.replace("ffffffff", "0000ffff");
    let answer = session.say(START, &[&narrow]);
    assert_eq!(answer[0]["result"]["version-rolling.mask"], "0000e000");
    // From now on, also for the job that it has.
    let rolled = roll(&mut session, &job, "00002000");
    let header = |bits: u32| {
        let job = fixture::job(fixture::template());
        let coinbase = job.coinbase(&fixture::payout(), 12).unwrap();
        let root = job.template.merkle_root(coinbase.txid(&EXTRANONCE1, &[0; 8]));
        job.template.header_with_root(root, job.template.version | bits, 0x6554_0000, 0).block_hash()
    };
    assert_eq!(kept(&rolled).unwrap().hash, header(0x2000));
    assert_eq!(refusal(&roll(&mut session, &job, "10000000")), Some(RejectReason::BadVersion));
    // The same nonce with other bits is another share; without bits, or with none of them, it is one.
    assert!(kept(&roll(&mut session, &job, "00004000")).is_some());
    assert_eq!(kept(&roll(&mut session, &job, "00000000")).unwrap().hash, header(0));
    assert_eq!(refusal(&session.submit_at(START, &job, 0x6554_0000)), Some(RejectReason::Duplicate));
}

impl Talk {
    /// Five parameters, nonce 0.
    fn submit_at(&mut self, now: Now, job: &str, time: u32) -> Outbox {
        let params = format!(r#"["garage.one","{job}","0000000000000000","{time:08x}","00000000"]"#);
        self.on_line(&format!(r#"{{"id":9,"method":"mining.submit","params":{params}}}"#), now)
    }
}

#[test]
fn axeos_takes_a_fraction_as_its_difficulty() {
    let mut session = session();
    let lines = session.say(START, &[SUBSCRIBE, &AUTHORIZE.replace("\"x\"", "\"d=0.3\"")]);
    assert_eq!(lines[2]["params"][0].to_string(), "0.25");
}

#[test]
fn axeos_never_sees_a_job_id_again_nor_the_same_work_under_another() {
    let (mut session, first) = mining();
    let mut ids = vec![first];
    let mut work = Vec::new();
    let mut note = |lines: &[Value]| {
        for notify in notifies(lines) {
            ids.push(job_id(notify));
            work.push(notify["params"].as_array().unwrap()[1..].to_vec());
        }
    };
    for round in 0..20 {
        // Wishes, and refreshed templates that say the same, all within one second.
        let wish = format!(r#"{{"id":5,"method":"mining.suggest_difficulty","params":[{}]}}"#, 1 << round);
        note(&session.say(at(1), &[&wish]));
        note(&sent(&session.on_job(job_of(2 + round, fixture::template()), at(1))));
    }
    // Reminders of a quiet chain.
    note(&session.wait(2..=900));
    assert!(ids.len() > 60, "{}", ids.len());
    for (at, id) in ids.iter().enumerate() {
        assert!(!ids[at.saturating_sub(16)..at].contains(id), "{id} again");
    }
    for (at, job) in work.iter().enumerate() {
        assert!(!work[..at].contains(job), "identical work");
    }
}

#[test]
fn the_probe_of_axeos_sees_notify_in_its_one_read_and_makes_no_worker() {
    let mut session = session();
    let both = format!("{SUBSCRIBE}\n{AUTHORIZE}\n");
    let answer = session.on_bytes(both.as_bytes(), START);
    // It reads 1,023 bytes at most, once: what it looks for is in the first line.
    let read = &text(&answer)[..answer.bytes.len().min(1023)];
    assert!(read.lines().next().unwrap().contains("mining.notify"), "{read}");
    assert_eq!(methods(&sent(&answer)).last().unwrap(), "mining.notify", "it was given a job");
    let mut all = together([answer].into_iter().chain((1..=5).map(|second| session.on_tick(at(second)))));
    all = together([all, session.on_close()]);
    assert!(news(&all).is_empty(), "{all:?}");
}

#[test]
fn the_pong_of_axeos_is_a_method_and_needs_no_answer() {
    let (mut session, _) = mining();
    let pong = session.on_line(r#"{"id":7,"method":"pong","params":[]}"#, START);
    assert!(pong.bytes.is_empty() && pong.close.is_none());
    let ping = session.say(START, &[r#"{"id":8,"method":"mining.ping","params":[]}"#]);
    assert_eq!(ping[0]["result"], "pong");
}
