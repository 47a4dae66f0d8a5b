//! Conversations as the firmwares hold them, and the rules that no miner may lose a share by.

use poolbox_accounting::Network;

use super::*;
use crate::job::fixture;
use crate::payout::PayoutPolicy;
use crate::session::{NoMemory, Session as _};
use crate::vardiff::VardiffLimits;

const START: Now = Now { ms: 0, unix: 1_700_000_500 };
const EXTRANONCE1: [u8; 4] = [0xaa, 0xbb, 0xcc, 0xdd];

/// A session, and what it wants done after each event.
struct Talk(Session);

impl Talk {
    fn with(&mut self, event: impl FnOnce(&mut Session, &mut Outbox)) -> Outbox {
        let mut out = Outbox::default();
        event(&mut self.0, &mut out);
        out
    }

    fn on_line(&mut self, line: &str, now: Now) -> Outbox {
        self.with(|session, out| session.on_bytes(format!("{line}\n").into_bytes().as_mut(), now, out))
    }

    fn on_job(&mut self, job: Arc<Job>, now: Now) -> Outbox {
        self.with(|session, out| session.on_job(&job, now, out))
    }

    fn on_tick(&mut self, now: Now) -> Outbox {
        self.with(|session, out| session.on_tick(now, out))
    }

    fn on_kept(&mut self, count: usize, kept: bool) -> Outbox {
        self.with(|session, out| session.on_kept(count, kept, out))
    }

    fn on_close(&mut self) -> Outbox {
        self.with(Session::on_close)
    }
}

/// One after the other.
fn together(outs: impl IntoIterator<Item = Outbox>) -> Outbox {
    let mut all = Outbox::default();
    for mut out in outs {
        all.bytes.append(&mut out.bytes);
        all.shares.append(&mut out.shares);
        all.news.append(&mut out.news);
        all.close = all.close.or(out.close);
    }
    all
}

fn at(seconds: u64) -> Now {
    Now { ms: seconds * 1_000, unix: START.unix + seconds as u32 }
}

fn new_session() -> Talk {
    let settings = SessionSettings {
        network: Network::Devnet,
        payout: PayoutPolicy::Pool(fixture::payout()),
        start: Difficulty::MIN,
        limits: VardiffLimits { min: Difficulty::MIN, max: Difficulty::MAX },
        memory: Arc::new(NoMemory),
    };
    Talk(Session::new(Arc::new(settings), EXTRANONCE1, START))
}

fn session() -> Talk {
    let mut session = new_session();
    let out = session.on_job(fixture::job(fixture::template()), START);
    assert!(out.bytes.is_empty(), "nothing before the handshake");
    session
}

/// The lines a session sends for the lines a miner sends.
fn say(session: &mut Talk, now: Now, lines: &[&str]) -> Vec<Value> {
    lines.iter().flat_map(|line| sent(&session.on_line(line, now))).collect()
}

fn sent(out: &Outbox) -> Vec<Value> {
    let text = std::str::from_utf8(&out.bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn methods(lines: &[Value]) -> Vec<String> {
    let name = |line: &Value| {
        line["method"].as_str().map_or_else(|| format!("answer {}", line["id"]), str::to_owned)
    };
    lines.iter().map(name).collect()
}

/// Subscribed and authorised; the id of the first job.
fn mining() -> (Talk, String) {
    let mut session = session();
    let lines = say(
        &mut session,
        START,
        &[
            r#"{"id":1,"method":"mining.subscribe","params":["test"]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["garage.one","x"]}"#,
        ],
    );
    let job = lines.last().unwrap()["params"][0].as_str().unwrap().to_owned();
    (session, job)
}

fn submit(session: &mut Talk, now: Now, job: &str, extranonce2: u64, nonce: u32) -> Outbox {
    let time = START.unix;
    let line = format!(
        r#"{{"id":4,"method":"mining.submit","params":["garage.one","{job}","{extranonce2:016x}","{time:08x}","{nonce:x}"]}}"#
    );
    session.on_line(&line, now)
}

/// The `count` first shares of the fixture's job for this connection at the easiest difficulty.
fn shares(count: usize) -> Vec<u32> {
    let job = fixture::job(fixture::template());
    let root =
        job.template.merkle_root(job.coinbase(&fixture::payout(), 12).unwrap().txid(&EXTRANONCE1, &[0; 8]));
    let (target, version) = (Difficulty::MIN.target(), job.template.version);
    let judge = |nonce| {
        Submission { time: START.unix, nonce, version }.judge(&job, root, target, 0, START.unix).is_ok()
    };
    (0..).filter(|&nonce| judge(nonce)).take(count).collect()
}

fn kept(out: &Outbox) -> Option<&AcceptedShare> {
    out.shares.first()
}

fn news(out: &Outbox) -> Vec<(WorkerChange, String)> {
    let seen = |news: &News| match news {
        News::Worker(seen) => Some((seen.change, seen.identity.worker.clone())),
        News::Rejected(_) => None,
    };
    out.news.iter().filter_map(seen).collect()
}

fn refusal(out: &Outbox) -> Option<RejectReason> {
    out.news.iter().find_map(|news| match news {
        News::Rejected(share) => Some(share.reason),
        News::Worker(_) => None,
    })
}

#[test]
fn axeos_configures_subscribes_and_authorises_without_waiting() {
    let mut session = session();
    let lines = say(
        &mut session,
        START,
        &[
            r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"ffffffff"}]}"#,
            r#"{"id":2,"method":"mining.subscribe","params":["bitaxe/BM1370/v2.9.0"]}"#,
            r#"{"id":3,"method":"mining.authorize","params":["garage.bitaxe","x"]}"#,
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
    let (first, second) = (&lines[4]["params"], &lines[7]["params"]);
    assert_ne!(first[0], second[0]);
    assert_ne!(first[7], second[7], "a new job id never means identical work");
}

#[test]
fn older_axeos_and_nerdqaxe_subscribe_first_and_configure_later() {
    let mut session = session();
    let lines = say(
        &mut session,
        START,
        &[
            r#"{"id":1,"method":"mining.subscribe","params":["NerdQAxe"]}"#,
            r#"{"id":2,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}"#,
            r#"{"id":3,"method":"mining.authorize","params":["garage","x"]}"#,
        ],
    );
    assert_eq!(methods(&lines)[..3], ["answer 1", "answer 2", "answer 3"]);
    assert_eq!(methods(&lines)[3..], ["mining.set_difficulty", "mining.notify"]);
}

#[test]
fn the_probe_of_axeos_sees_notify_in_the_first_line_and_makes_no_worker() {
    let mut session = session();
    let subscribe = r#"{"id":1,"method":"mining.subscribe","params":["bitaxe"]}"#;
    let actions = session.on_line(subscribe, START);
    let line = std::str::from_utf8(&actions.bytes).unwrap().lines().next().unwrap();
    assert!(line.contains("mining.notify") && line.len() < 1023, "{line}");
    let authorise = r#"{"id":2,"method":"mining.authorize","params":["garage.bitaxe","x"]}"#;
    let mut actions = session.on_line(authorise, START);
    assert_eq!(methods(&sent(&actions)).last().unwrap(), "mining.notify", "it was given a job");
    actions = together([actions].into_iter().chain((1..=5).map(|second| session.on_tick(at(second)))));
    actions = together([actions, session.on_close()]);
    assert!(news(&actions).is_empty(), "{actions:?}");
}

#[test]
fn a_worker_joins_with_its_first_share_good_or_bad() {
    let good = shares(1)[0];
    for nonce in [good, good + 1] {
        let (mut session, job) = mining();
        let actions = submit(&mut session, at(1), &job, 0, nonce);
        assert!(kept(&actions).is_some() != refusal(&actions).is_some());
        assert_eq!(news(&actions), [(WorkerChange::Joined, "one".to_owned())]);
        assert!(matches!(actions.news[0], News::Worker(_)), "before its share is counted");
        assert!(news(&submit(&mut session, at(1), &job, 0, nonce)).is_empty(), "once");
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
    let mut session = new_session();
    let lines = [
        r#"{"id":1,"method":"mining.subscribe","params":["test"]}"#,
        r#"{"id":2,"method":"mining.authorize","params":["garage.one","x"]}"#,
    ];
    let actions = together([
        session.on_line(lines[0], START),
        session.on_line(lines[1], START),
        session.on_tick(at(60)),
        session.on_job(fixture::job(fixture::template()), at(60)),
        session.on_tick(at(69)),
    ]);
    assert!(news(&actions).is_empty(), "{actions:?}");
    assert_eq!(news(&session.on_tick(at(70))).len(), 1);
}

#[test]
fn cpuminer_and_nerdminer_get_the_subscribe_answer_as_their_first_line() {
    let mut session = session();
    let lines = say(
        &mut session,
        START,
        &[
            r#"{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}"#,
            r#"{"id": 2, "method": "mining.authorize", "params": ["garage", ""]}"#,
        ],
    );
    assert_eq!(methods(&lines), ["answer 1", "answer 2", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(lines[0]["result"][1], "aabbccdd");
    assert_eq!(lines[0]["result"][2], 8);
}

#[test]
fn nerdminer_may_repeat_its_wish_for_ever() {
    let (mut session, _) = mining();
    let wish = r#"{"id":3,"method":"mining.suggest_difficulty","params":[0.00015]}"#;
    for second in 0..5 {
        assert_eq!(methods(&say(&mut session, at(second), &[wish])), ["answer 3"]);
    }
}

#[test]
fn unknown_methods_and_odd_ids_get_an_error_and_stay_connected() {
    let mut session = session();
    let lines = say(
        &mut session,
        START,
        &[
            r#"{"id":"txn","method":"mining.get_transactions","params":["1"]}"#,
            r#"{"id":null,"method":"mining.multi_version","params":[1]}"#,
            r#"{"id":9,"result":"poolbox","error":null}"#,
        ],
    );
    assert_eq!(lines[0]["id"], "txn");
    assert!(lines.iter().all(|line| line["result"].is_null() && line["error"][0] == 20), "{lines:?}");
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_web_browser_is_shown_the_door_and_a_stray_line_is_not_held_against_a_miner() {
    let mut session = session();
    for _ in 0..20 {
        let actions = session.on_line("garbage", START);
        assert!(sent(&actions).len() == 1 && actions.close.is_none());
        session.on_line(r#"{"id":1,"method":"mining.ping","params":[]}"#, START);
    }
    let last = (0..MAX_GARBAGE).map(|_| session.on_line("GET / HTTP/1.1", START)).last().unwrap();
    assert!(last.close.is_some(), "{last:?}");
}

#[test]
fn a_wrong_address_is_refused_with_a_sentence() {
    let mut session = session();
    let line = r#"{"id":2,"method":"mining.authorize","params":["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig","x"]}"#;
    let lines = say(&mut session, START, &[line]);
    assert!(lines[0]["error"][1].as_str().unwrap().contains("another network"), "{lines:?}");
}

#[test]
fn a_password_may_carry_the_starting_difficulty() {
    let mut session = session();
    let lines = say(
        &mut session,
        START,
        &[
            r#"{"id":1,"method":"mining.subscribe","params":[]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["garage","x, d=300"]}"#,
        ],
    );
    assert_eq!(lines[2]["params"][0], 256);
}

#[test]
fn a_share_is_answered_only_when_it_is_kept_and_is_not_accepted_twice() {
    let (mut session, job) = mining();
    let nonce = shares(1)[0];
    let actions = submit(&mut session, START, &job, 0, nonce);
    assert!(sent(&actions).is_empty(), "no answer before it is on disk");
    let share = kept(&actions).unwrap();
    assert_eq!(share.work, Difficulty::MIN.work());
    assert_eq!(refusal(&submit(&mut session, START, &job, 0, nonce)), Some(RejectReason::Duplicate));
    let answer = sent(&session.on_kept(1, true));
    assert_eq!((&answer[0]["id"], &answer[0]["result"]), (&json!(4), &json!(true)));
}

#[test]
fn a_share_that_could_not_be_kept_may_be_sent_again() {
    let (mut session, job) = mining();
    let nonce = shares(1)[0];
    let actions = submit(&mut session, START, &job, 0, nonce);
    assert!(kept(&actions).is_some());
    let actions = session.on_kept(1, false);
    assert_eq!(refusal(&actions), Some(RejectReason::NotKept));
    assert!(kept(&submit(&mut session, START, &job, 0, nonce)).is_some());
}

#[test]
fn a_job_keeps_the_difficulty_it_was_sent_with() {
    let (mut session, job) = mining();
    let nonce = shares(1)[0];
    let wish = r#"{"id":3,"method":"mining.suggest_difficulty","params":[1048576]}"#;
    let lines = say(&mut session, at(1), &[wish]);
    let harder = lines[2]["params"][0].as_str().unwrap().to_owned();
    let share = submit(&mut session, at(1), &job, 0, nonce);
    assert_eq!(kept(&share).map(|share| share.work), Some(Difficulty::MIN.work()));
    assert_eq!(refusal(&submit(&mut session, at(1), &harder, 0, nonce)), Some(RejectReason::AboveTarget));
}

#[test]
fn a_new_block_makes_jobs_stale_and_a_refreshed_template_does_not() {
    let (mut session, job) = mining();
    let nonces = shares(3);
    let job_of =
        |number, template| Arc::new(Job::new(crate::JobNumber::starting_at(number), Arc::new(template)));

    let refreshed = sent(&session.on_job(job_of(2, fixture::template()), at(1)));
    assert_eq!(refreshed[0]["params"][8], false);
    assert!(kept(&submit(&mut session, at(1), &job, 0, nonces[0])).is_some());

    let mut next = fixture::template();
    next.prev_hash = bitcoin::hashes::Hash::from_byte_array([0x99; 32]);
    let clean = sent(&session.on_job(job_of(3, next), at(2)));
    assert_eq!(clean[0]["params"][8], true);
    let late = submit(&mut session, at(3), &job, 0, nonces[1]);
    assert!(kept(&late).is_some_and(|share| !share.block.is_some()), "found before the miner could know");
    assert_eq!(refusal(&submit(&mut session, at(3), &job, 0, nonces[0])), Some(RejectReason::Duplicate));
    assert_eq!(refusal(&submit(&mut session, at(4), &job, 0, nonces[2])), Some(RejectReason::Stale));
}

#[test]
fn the_same_header_is_one_share_whatever_job_id_it_is_sent_under() {
    let (mut session, first) = mining();
    let nonce = shares(1)[0];
    let again: Vec<Value> = (1..=45).flat_map(|second| sent(&session.on_tick(at(second)))).collect();
    let second = again.iter().find(|line| line["method"] == "mining.notify").unwrap()["params"][0].clone();
    assert!(kept(&submit(&mut session, at(46), &first, 0, nonce)).is_some());
    let repeat = submit(&mut session, at(46), second.as_str().unwrap(), 0, nonce);
    assert_eq!(refusal(&repeat), Some(RejectReason::Duplicate));
}

#[test]
fn a_share_is_never_asked_to_be_harder_than_a_block() {
    let mut session = session();
    let mut template = fixture::template();
    template.bits = bitcoin::CompactTarget::from_consensus(0x1e03_77ae);
    session.on_job(fixture::job(template), START);
    let lines = say(
        &mut session,
        START,
        &[
            r#"{"id":1,"method":"mining.subscribe","params":[]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["garage","d=1000000"]}"#,
        ],
    );
    assert_eq!(lines[2]["params"][0].to_string(), "0.0009765625");
}

#[test]
fn a_quiet_chain_still_sends_a_job_before_any_firmware_gives_up() {
    let (mut session, first) = mining();
    let quiet: Vec<Value> = (1..=45).flat_map(|second| sent(&session.on_tick(at(second)))).collect();
    let notify = quiet.iter().find(|line| line["method"] == "mining.notify").unwrap();
    assert_ne!(notify["params"][0], first.as_str());
    assert_eq!(notify["params"][8], false);
}

#[test]
fn malformed_shares_are_refused_one_by_one() {
    let (mut session, job) = mining();
    let good = format!(r#"["garage.one","{job}","0000000000000000","65540000","1"]"#);
    for (params, reason) in [
        ("[]".to_owned(), RejectReason::Unauthorized),
        (good.replace("garage.one", "stranger"), RejectReason::Unauthorized),
        (good.replace("0000000000000000", "00"), RejectReason::BadExtranonce),
        (good.replace("65540000", "zz"), RejectReason::Malformed),
        (good.replace("65540000", "1"), RejectReason::BadTime),
        (good.replace(&job, "nope"), RejectReason::UnknownJob),
        (good.replace(r#""1"]"#, r#""1","20000000"]"#), RejectReason::BadVersion),
    ] {
        let line = format!(r#"{{"id":4,"method":"mining.submit","params":{params}}}"#);
        assert_eq!(refusal(&session.on_line(&line, START)), Some(reason), "{line}");
    }
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
}
