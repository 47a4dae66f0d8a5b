//! When jobs go out, and with which difficulty.

use super::*;

#[test]
fn a_quiet_chain_still_sends_a_job_before_any_firmware_gives_up() {
    let (mut session, first) = mining();
    let mut last = 0;
    for second in 1..=600 {
        for notify in notifies(&sent(&session.on_tick(at(second)))) {
            assert!(second - last <= 45, "{last} to {second}");
            assert_ne!(job_id(notify), first);
            assert_eq!(notify["params"][8], false);
            last = second;
        }
    }
    assert!(last > 555);
}

#[test]
fn a_share_is_never_asked_to_be_harder_than_a_block() {
    let mut session = session();
    let mut template = fixture::template();
    template.bits = bitcoin::CompactTarget::from_consensus(0x1e03_77ae);
    session.on_job(fixture::job(template), START);
    let lines = session.say(
        START,
        &[
            r#"{"id":1,"method":"mining.subscribe","params":[]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["garage","d=1000000"]}"#,
        ],
    );
    assert_eq!(lines[2]["params"][0].to_string(), "0.0009765625");
}

#[test]
fn a_new_block_is_one_line_when_the_difficulty_fits() {
    let (mut session, _) = mining();
    let lines = sent(&session.on_job(job_of(2, next_block()), at(1)));
    assert_eq!(methods(&lines), ["mining.notify"]);
    assert_eq!(lines[0]["params"][8], true);
}

#[test]
fn changes_of_mind_within_one_read_are_told_once() {
    let (mut session, _) = mining();
    let wish = |difficulty: u64| {
        format!("{{\"id\":5,\"method\":\"mining.suggest_difficulty\",\"params\":[{difficulty}]}}\n")
    };
    let wishes: String = (0..20).map(|log2| wish(1 << log2)).collect();
    let lines = sent(&session.on_bytes(wishes.as_bytes(), at(1)));
    assert_eq!(methods(&lines[..20]), ["answer 5"; 20]);
    assert_eq!(methods(&lines[20..]), ["mining.set_difficulty", "mining.notify"]);
    assert_eq!(lines[20]["params"][0], 1 << 19);
    // And back again within one read: nothing is news.
    let back = sent(&session.on_bytes((wish(1) + &wish(1 << 19)).as_bytes(), at(2)));
    assert_eq!(methods(&back), ["answer 5"; 2]);
}

#[test]
fn a_flood_of_shares_is_answered_with_few_retargets_each_before_its_job() {
    // A thousand times too fast for where it began.
    let free = VardiffLimits { min: Difficulty::FREE, max: Difficulty::MIN };
    let (mut session, job) = mining_at(free);
    let mut told = Vec::new();
    let mut nonce = 0;
    for tenth in 1..=100 {
        let now = Now { ms: tenth * 100, unix: START.unix };
        let share = |nonce: u32| {
            format!(
                "{{\"id\":4,\"method\":\"mining.submit\",\"params\":[\"garage.one\",\"{job}\",\"0000000000000000\",\"65540000\",\"{nonce:x}\"]}}\n"
            )
        };
        let lines: String = (0..10).map(|nth| share(nonce + nth)).collect();
        nonce += 10;
        let out = session.on_bytes(lines.as_bytes(), now);
        assert!(out.shares.len() >= 9, "the old job's shares still count");
        told.extend(sent(&out));
    }
    assert!(told.len() <= 4, "{told:?}");
    for pair in told.chunks(2) {
        assert_eq!(methods(pair), ["mining.set_difficulty", "mining.notify"]);
    }
}

#[test]
fn nothing_is_sent_before_the_handshake_whatever_happens() {
    let mut session = session();
    let out = together([
        session.on_job(job_of(2, next_block()), at(1)),
        session.on_tick(at(100)),
        session.on_line(r#"{"id":2,"method":"mining.authorize","params":["garage","x"]}"#, at(101)),
        session.on_tick(at(200)),
    ]);
    assert_eq!(methods(&sent(&out)), ["answer 2"]);
}
