//! Conversations with pools as they are, and with some that mean harm.

use proptest::prelude::*;

use super::*;
use crate::upstream::UpstreamJob;
use crate::upstream::job::fixture::notify;

/// The template that an event led to.
type Offered = Result<Option<Template>, Outage>;

fn config() -> UpstreamConfig {
    UpstreamConfig {
        url: "stratum+tcp://pool:1".into(),
        user: "me.box".into(),
        password: "x".into(),
        ca_file: None,
    }
}

/// A client and all that it said and offered.
struct Talk<'a> {
    client: Client<'a>,
    tally: &'a Upstream,
    now: Instant,
    out: Outbox,
}

impl<'a> Talk<'a> {
    fn new(config: &'a UpstreamConfig, tally: &'a Upstream) -> Self {
        let now = Instant::now();
        Self { client: Client::new(config, "pool", tally, now), tally, now, out: Outbox::default() }
    }

    fn hear(&mut self, line: &Value) -> Offered {
        self.client.on_line(line.to_string().as_bytes(), self.now, &mut self.out)?;
        Ok(self.out.template.take())
    }

    fn answer(&mut self, id: u64, result: Value) -> Offered {
        self.hear(&json!({"id": id, "result": result, "error": null}))
    }

    fn told(&mut self, method: &str, params: Value) -> Offered {
        self.hear(&json!({"id": null, "method": method, "params": params}))
    }

    fn waits(&mut self, seconds: u64) -> Offered {
        self.now += Duration::from_secs(seconds);
        self.client.on_tick(self.now, &mut self.out)?;
        Ok(self.out.template.take())
    }

    /// Everything but a job was said, with extranonces of 4 and 8 bytes.
    fn introduced(config: &'a UpstreamConfig, tally: &'a Upstream) -> Self {
        let mut talk = Self::new(config, tally);
        assert_eq!(
            talk.answer(1, json!({"version-rolling": true, "version-rolling.mask": "1fffe000"})),
            Ok(None)
        );
        assert_eq!(talk.answer(2, json!([[], "01020304", 8])), Ok(None));
        assert_eq!(talk.answer(3, json!(true)), Ok(None));
        assert_eq!(talk.told("mining.set_difficulty", json!([512])), Ok(None));
        talk
    }

    fn job(&mut self, id: &str, clean: bool) -> Template {
        self.told("mining.notify", notify(id, 12, clean)).unwrap().unwrap()
    }
}

fn of(template: &Template) -> &UpstreamJob {
    template.upstream.as_ref().unwrap()
}

fn tally() -> Upstream {
    Upstream::new(&config())
}

#[test]
fn a_job_is_offered_when_all_that_belongs_to_it_is_known_in_any_order() {
    let (config, tally) = (config(), tally());
    let steps: [fn(&mut Talk<'_>) -> Offered; 4] = [
        |talk| talk.answer(2, json!([[], "01020304", 8])),
        |talk| talk.answer(3, json!(true)),
        |talk| talk.told("mining.set_difficulty", json!([0.5])),
        |talk| talk.told("mining.notify", notify("a", 12, true)),
    ];
    for first in 0..4 {
        let mut talk = Talk::new(&config, &tally);
        for offset in 0..4 {
            let template = steps[(first + offset) % 4](&mut talk).unwrap();
            assert_eq!(template.is_some(), offset == 3, "{first} {offset}");
        }
    }
    assert_eq!(tally.status().difficulty, Some(0.5));
}

#[test]
fn a_pool_that_tells_no_difficulty_is_taken_at_one() {
    let (config, tally) = (config(), tally());
    let mut talk = Talk::new(&config, &tally);
    talk.answer(2, json!([[], "", 4])).unwrap();
    talk.answer(3, json!(true)).unwrap();
    assert_eq!(talk.told("mining.notify", notify("a", 4, true)), Ok(None));
    let template = talk.waits(3).unwrap().unwrap();
    assert_eq!((of(&template).target, of(&template).version_mask), (target_of(1.0).unwrap(), 0));
    assert_eq!(talk.waits(1), Ok(None), "once");
}

#[test]
fn eras_end_with_clean_jobs_new_blocks_and_other_extranonces() {
    let (config, tally) = (config(), tally());
    let mut talk = Talk::introduced(&config, &tally);
    let first = talk.job("a", true);
    let beside = talk.job("b", false);
    assert!(first.is_beside(&beside));
    let clean = talk.job("c", true);
    assert!(!clean.is_beside(&beside) && clean.prev_hash == beside.prev_hash);
    talk.told("mining.set_extranonce", json!(["0a0b", 10])).unwrap();
    let moved = talk.job("d", false);
    assert!(!moved.is_beside(&clean));
    assert!(of(&moved).coinbase_prefix.ends_with(&[0x0a, 0x0b]) && of(&moved).extranonce_bytes == 10);
    let other = Talk::introduced(&config, &tally).job("a", true);
    assert!(!other.is_beside(&first), "of another connection");
    assert_ne!(of(&other).session, of(&first).session);
}

#[test]
fn a_difficulty_holds_from_the_next_job_on_and_a_mask_at_once() {
    let (config, tally) = (config(), tally());
    let mut talk = Talk::introduced(&config, &tally);
    let first = talk.job("a", true);
    assert_eq!(of(&first).target, target_of(512.0).unwrap());
    assert_eq!(talk.told("mining.set_difficulty", json!(["1000.5"])), Ok(None));
    assert_eq!(of(&talk.job("b", false)).target, target_of(1000.5).unwrap());
    let again = talk.told("mining.set_version_mask", json!(["ffff0000"])).unwrap().unwrap();
    assert_eq!((&*of(&again).id, of(&again).version_mask), ("b", 0x1fff_0000));
    assert!(again.is_beside(&first), "miners need not throw anything away");
    assert_eq!(talk.told("mining.set_version_mask", json!(["ffff0000"])), Ok(None), "no news");
}

#[test]
fn shares_are_sent_as_the_protocol_has_them_and_their_answers_counted() {
    let (config, tally) = (config(), tally());
    let mut talk = Talk::introduced(&config, &tally);
    let job = talk.job("a\"b", true).upstream.unwrap();
    let share =
        UpstreamShare { job, extranonce2: vec![0xee; 8], time: 0x6553_f101, nonce: 7, version: 0x2abc_e000 };
    let mut queue = tally.join(talk.client.session());
    for _ in 0..4 {
        tally.submit(share.clone());
        let share = queue.try_recv().unwrap();
        talk.out.text.clear();
        talk.client.on_share(&share, talk.now, &mut talk.out);
    }
    let said: Value = serde_json::from_str(&talk.out.text).unwrap();
    let params = json!(["me.box", "a\"b", "eeeeeeeeeeeeeeee", "6553f101", "00000007", "0abce000"]);
    assert_eq!(said, json!({"id": FIRST_SHARE + 3, "method": "mining.submit", "params": params}));
    talk.answer(FIRST_SHARE, json!(true)).unwrap();
    talk.hear(&json!({"id": FIRST_SHARE + 1, "result": null, "error": [21, "Job not found", null]})).unwrap();
    talk.answer(FIRST_SHARE + 2, json!(false)).unwrap();
    // Twice, or never asked for.
    talk.answer(FIRST_SHARE, json!(true)).unwrap();
    talk.answer(999, json!(true)).unwrap();
    talk.waits(60).unwrap();
    let status = talk.tally.status();
    assert_eq!((status.accepted, status.waiting, talk.client.unanswered()), (1, 0, 0));
    let counted: Vec<_> = status.rejected.into_iter().collect();
    let expected = ["other", "stale", "unanswered"].map(|reason| (reason.to_owned(), 1));
    assert_eq!(counted, expected);
}

#[test]
fn what_makes_a_connection_useless_says_why() {
    let (config, tally) = (config(), tally());
    let talk = || Talk::new(&config, &tally);
    let refused = talk().hear(&json!({"id": 3, "result": null, "error": [24, "No such address", null]}));
    let outage = refused.unwrap_err();
    assert_eq!(
        outage,
        Outage::UpstreamUnauthorised { user: "me.box".into(), reason: "No such address".into() }
    );
    assert!(talk().answer(3, json!(false)).is_err());
    assert_eq!(talk().answer(2, json!([[], "00", 3])), Err(Outage::UpstreamRoom { bytes: 3, least: 4 }));
    for wrong in [json!([[], "0", 4]), json!([[], "00", 1e9]), json!([]), json!(true)] {
        assert!(matches!(talk().answer(2, wrong), Err(Outage::UpstreamGarbled(_))));
    }
    for wrong in [json!([0]), json!([-1]), json!(["x"]), json!([]), json!({})] {
        let told = Talk::introduced(&config, &tally).told("mining.set_difficulty", wrong);
        assert!(matches!(told, Err(Outage::UpstreamGarbled(_))));
    }
    assert!(matches!(talk().waits(30), Err(Outage::UpstreamSilent(_))));
    assert_eq!(Talk::introduced(&config, &tally).waits(3600), Ok(None), "its silence is for the socket");
}

#[test]
fn calls_are_answered_and_nobody_leads_us_to_another_host() {
    let (config, tally) = (config(), tally());
    let mut talk = Talk::introduced(&config, &tally);
    talk.out.text.clear();
    talk.hear(&json!({"id": 9, "method": "mining.ping", "params": []})).unwrap();
    talk.hear(&json!({"id": "x", "method": "mining.dance", "params": []})).unwrap();
    talk.hear(&json!({"id": null, "method": "mining.dance", "params": null})).unwrap();
    let lines: Vec<Value> = talk.out.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["result"], &lines[1]["error"][0], lines.len()), (&json!("pong"), &json!(20), 2));
    let mut reconnect = |params: Value| {
        talk.told("client.reconnect", params).unwrap();
        talk.out.reconnect.take()
    };
    assert_eq!(reconnect(json!(["evil.example", 3333])), None);
    assert_eq!(reconnect(json!(["POOL", "3334", 5])), Some(Some(3334)));
    assert_eq!(reconnect(json!([])), Some(None));
    assert_eq!(reconnect(json!(["", 700_000])), Some(None));
}

proptest! {
    /// Good lines with bytes changed, removed or repeated.
    #[test]
    fn no_upstream_makes_us_panic(
        lines in prop::collection::vec((0usize..6, any::<prop::sample::Index>(), any::<u8>(), 0usize..3), 1..20),
    ) {
        let (config, tally) = (config(), tally());
        let mut talk = Talk::introduced(&config, &tally);
        let good = [
            json!({"method": "mining.notify", "params": notify("a", 12, true)}),
            json!({"method": "mining.set_difficulty", "params": [3.5]}),
            json!({"method": "mining.set_extranonce", "params": ["aabb", 9]}),
            json!({"method": "mining.set_version_mask", "params": ["00ffe000"]}),
            json!({"method": "client.reconnect", "params": ["pool", 1]}),
            json!({"id": 2, "result": [[], "00", 8], "error": [1, "x"]}),
        ];
        for (which, at, byte, how) in lines {
            let mut line = good[which].to_string().into_bytes();
            let at = at.index(line.len());
            match how {
                0 => line[at] = byte,
                1 => line.truncate(at),
                _ => line.insert(at, byte),
            }
            let _ = talk.client.on_line(&line, talk.now, &mut talk.out);
        }
    }
}
