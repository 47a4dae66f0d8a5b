//! What is credited, and what is not.

use super::*;

#[test]
fn a_share_is_answered_only_when_it_is_kept_and_is_not_accepted_twice() {
    let (mut session, job) = mining();
    let nonce = easy_shares(1)[0];
    let out = session.submit(START, &job, 0, nonce);
    assert!(sent(&out).is_empty(), "no answer before it is on disk");
    let share = kept(&out).unwrap();
    assert_eq!(share.work, Difficulty::MIN.work());
    assert_eq!(refusal(&session.submit(START, &job, 0, nonce)), Some(RejectReason::Duplicate));
    let answer = sent(&session.on_kept(1, true));
    assert_eq!((&answer[0]["id"], &answer[0]["result"]), (&json!(4), &json!(true)));
}

#[test]
fn a_share_that_could_not_be_kept_may_be_sent_again() {
    let (mut session, job) = mining();
    let nonce = easy_shares(1)[0];
    let out = session.submit(START, &job, 0, nonce);
    assert!(kept(&out).is_some());
    let out = session.on_kept(1, false);
    assert_eq!(refusal(&out), Some(RejectReason::NotKept));
    assert!(kept(&session.submit(START, &job, 0, nonce)).is_some());
}

#[test]
fn a_job_keeps_the_difficulty_it_was_sent_with() {
    let (mut session, job) = mining();
    let nonce = easy_shares(1)[0];
    let wish = r#"{"id":3,"method":"mining.suggest_difficulty","params":[1048576]}"#;
    let lines = session.say(at(1), &[wish]);
    let harder = job_id(&lines[2]);
    let share = session.submit(at(1), &job, 0, nonce);
    assert_eq!(kept(&share).map(|share| share.work), Some(Difficulty::MIN.work()));
    assert_eq!(refusal(&session.submit(at(1), &harder, 0, nonce)), Some(RejectReason::AboveTarget));
}

#[test]
fn a_new_block_makes_jobs_stale_and_a_refreshed_template_does_not() {
    let (mut session, job) = mining();
    let nonces = easy_shares(3);
    let refreshed = sent(&session.on_job(job_of(2, fixture::template()), at(1)));
    assert_eq!(refreshed[0]["params"][8], false);
    assert!(kept(&session.submit(at(1), &job, 0, nonces[0])).is_some());

    let clean = sent(&session.on_job(job_of(3, next_block()), at(2)));
    assert_eq!(clean[0]["params"][8], true);
    let late = session.submit(at(3), &job, 0, nonces[1]);
    assert!(kept(&late).is_some_and(|share| share.block.is_none()), "found before the miner could know");
    assert_eq!(refusal(&session.submit(at(3), &job, 0, nonces[0])), Some(RejectReason::Duplicate));
    assert_eq!(refusal(&session.submit(at(4), &job, 0, nonces[2])), Some(RejectReason::Stale));
}

#[test]
fn the_same_header_is_one_share_whatever_job_id_it_is_sent_under() {
    let (mut session, first) = mining();
    let nonce = easy_shares(1)[0];
    let second = job_id(notifies(&session.wait(1..=45))[0]);
    assert!(kept(&session.submit(at(46), &first, 0, nonce)).is_some());
    let repeat = session.submit(at(46), &second, 0, nonce);
    assert_eq!(refusal(&repeat), Some(RejectReason::Duplicate));
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
        (good.replace(r#""1"]"#, r#""1",7]"#), RejectReason::Malformed),
        (good.replace(r#""1"]"#, r#""1",null]"#), RejectReason::AboveTarget),
    ] {
        let line = format!(r#"{{"id":4,"method":"mining.submit","params":{params}}}"#);
        assert_eq!(refusal(&session.on_line(&line, START)), Some(reason), "{line}");
    }
}

#[test]
fn who_has_not_subscribed_is_told_so() {
    let mut session = session();
    let share = r#"{"id":4,"method":"mining.submit","params":["garage.one","1","00","0","0"]}"#;
    assert_eq!(session.say(START, &[share])[0]["error"][0], 25);
}
