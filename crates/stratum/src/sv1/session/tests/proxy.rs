//! Jobs of an upstream pool: smaller extranonces, its version bits, and shares that go on to it.

use bitcoin::consensus::encode;
use poolbox_work_source::Template;
use poolbox_work_source::upstream::{UpstreamJob, UpstreamShare};
use tokio::sync::watch;

use super::*;
use crate::extranonce::Extranonces;
use crate::share::VERSION_ROLLING_MASK;

/// A template whose upstream takes nearly every hash.
fn easy(room: usize, mask: u32) -> Template {
    let template = fixture::upstream_template(room, mask);
    let upstream = template.upstream.as_deref().cloned().unwrap();
    let upstream = UpstreamJob { target: Difficulty::FREE.target(), ..upstream };
    Template { upstream: Some(Arc::new(upstream)), ..template }
}

fn in_era(template: &Template, era: u64) -> Template {
    let upstream = UpstreamJob { era, ..template.upstream.as_deref().cloned().unwrap() };
    Template {
        upstream: Some(Arc::new(upstream)),
        id: poolbox_work_source::TemplateId::fresh(),
        ..template.clone()
    }
}

/// A session whose every hash is a share, on `template`; what it was told.
fn mining_for(template: Template) -> (Talk, Vec<Value>) {
    let free = VardiffLimits { min: Difficulty::FREE, max: Difficulty::FREE };
    let settings = SessionSettings { payout: PayoutPolicy::Upstream, ..settings(free) };
    let job = job_of(1, template);
    let extranonces = Extranonces::upstream(watch::channel(Some(Arc::clone(&job))).1);
    let mut talk = Talk(Session::new(Arc::new(settings), extranonces.next().unwrap(), START));
    talk.on_job(job, START);
    let lines = talk.say(
        START,
        &[
            r#"{"id":0,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}"#,
            r#"{"id":1,"method":"mining.subscribe","params":["test"]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["garage.one","x"]}"#,
        ],
    );
    (talk, lines)
}

fn submit(talk: &mut Talk, now: Now, job: &str, extranonce2: &str, bits: u32) -> Outbox {
    let time = START.unix;
    talk.on_line(
        &format!(
            r#"{{"id":4,"method":"mining.submit","params":["garage.one","{job}","{extranonce2}","{time:08x}","1","{bits:08x}"]}}"#
        ),
        now,
    )
}

fn forwarded(out: Outbox) -> (UpstreamShare, bitcoin::BlockHash) {
    let [share] = <[AcceptedShare; 1]>::try_from(out.shares).unwrap();
    assert!(share.block.is_none());
    (*share.upstream.unwrap(), share.hash)
}

#[test]
fn what_the_upstream_reckons_from_a_share_is_the_hash_that_the_miner_found() {
    for (room, miner) in [(4, "beef"), (6, "beef"), (8, "deadbeef"), (20, "deadbeef")] {
        let template = easy(room, u32::MAX);
        let (mut talk, lines) = mining_for(template.clone());
        let subscribed = &lines[1]["result"];
        assert_eq!(subscribed[2], miner.len() / 2, "{room}");
        let (share, hash) =
            forwarded(submit(&mut talk, START, &job_id(lines.last().unwrap()), miner, 0x2000));
        assert_eq!(share.extranonce2.len(), room);
        let ours = format!("{}{miner}", subscribed[1].as_str().unwrap());
        assert!(hex::encode(&share.extranonce2).ends_with(&ours), "{share:?}");
        let upstream = &share.job;
        assert_eq!(Some(upstream), template.upstream.as_ref());
        let bytes = [&upstream.coinbase_prefix, &*share.extranonce2, &upstream.coinbase_suffix].concat();
        let coinbase: bitcoin::Transaction = encode::deserialize(&bytes).unwrap();
        let header = template.header(coinbase.compute_txid(), share.version, share.time, share.nonce);
        assert_eq!(header.block_hash(), hash);
    }
}

#[test]
fn what_is_too_easy_for_the_upstream_or_too_late_stays_here() {
    let (mut talk, lines) = mining_for(fixture::upstream_template(8, u32::MAX));
    let out = submit(&mut talk, START, &job_id(lines.last().unwrap()), "00000000", 0);
    assert!(out.shares[0].upstream.is_none() && out.shares[0].block.is_none());

    let template = easy(8, u32::MAX);
    let (mut talk, lines) = mining_for(template.clone());
    let job = job_id(lines.last().unwrap());
    let renewed = sent(&talk.on_job(job_of(2, in_era(&template, 2)), START));
    assert_eq!(renewed.last().unwrap()["params"][8], true, "earlier jobs are over on the same tip too");
    let out = submit(&mut talk, START, &job, "00000000", 0);
    assert!(out.shares[0].upstream.is_none(), "it is work, but over there it would be stale");
    let stale = submit(&mut talk, at(5), &job, "00000001", 0);
    assert!(stale.shares.is_empty());
    forwarded(submit(&mut talk, at(5), &job_id(renewed.last().unwrap()), "00000001", 0));
    let beside = sent(&talk.on_job(job_of(3, in_era(&template, 2)), at(6)));
    assert_eq!(beside.last().unwrap()["params"][8], false);
}

#[test]
fn nobody_rolls_version_bits_that_the_upstream_did_not_grant() {
    let narrow = 0x00ff_e000;
    let (mut talk, lines) = mining_for(easy(8, narrow));
    assert_eq!(lines[0]["result"]["version-rolling.mask"], "00ffe000");
    let job = job_id(lines.last().unwrap());
    let out = submit(&mut talk, START, &job, "00000000", 0x0100_0000);
    assert!(out.shares.is_empty() && !out.news.is_empty());
    forwarded(submit(&mut talk, START, &job, "00000000", 0x0000_2000));
    // A job that grants more, and one that grants nothing.
    for (number, mask, told) in [(2, u32::MAX, VERSION_ROLLING_MASK), (3, 0, 0)] {
        let lines = sent(&talk.on_job(job_of(number, in_era(&easy(8, mask), number)), START));
        assert_eq!(lines[0]["method"], "mining.set_version_mask");
        assert_eq!(lines[0]["params"][0], format!("{told:08x}"));
        let out = submit(&mut talk, START, &job_id(lines.last().unwrap()), "00000000", 0x0100_0000);
        assert_eq!(out.shares.is_empty(), told == 0);
    }
}

#[test]
fn only_a_connection_that_was_promised_more_than_there_is_now_ends() {
    let (mut wide, _) = mining_for(easy(8, u32::MAX));
    assert_eq!(wide.on_job(job_of(2, in_era(&easy(12, u32::MAX), 2)), START).close, None);
    let out = wide.on_job(job_of(3, in_era(&easy(7, u32::MAX), 3)), START);
    assert!(out.close.is_some() && out.halt.is_none());
    let (mut narrow, lines) = mining_for(easy(4, u32::MAX));
    assert_eq!(lines[1]["result"][2], 2);
    for (number, room) in [(2, 4), (3, 7), (4, 8), (5, 30)] {
        let out = narrow.on_job(job_of(number, in_era(&easy(room, u32::MAX), number)), START);
        assert!(out.close.is_none(), "{room}");
        forwarded(submit(&mut narrow, START, &job_id(sent(&out).last().unwrap()), "0000", 0));
    }
}

#[test]
fn shares_are_never_harder_than_the_upstreams() {
    let template = fixture::upstream_template(8, u32::MAX);
    let target = Difficulty::from_log2(4).unwrap().target();
    let upstream = UpstreamJob { target, ..template.upstream.as_deref().cloned().unwrap() };
    let limits = VardiffLimits { min: Difficulty::MIN, max: Difficulty::MAX };
    let settings =
        SessionSettings { payout: PayoutPolicy::Upstream, start: Difficulty::MAX, ..settings(limits) };
    let job = job_of(1, Template { upstream: Some(Arc::new(upstream)), ..template });
    let extranonces = Extranonces::upstream(watch::channel(Some(Arc::clone(&job))).1);
    let mut talk = Talk(Session::new(Arc::new(settings), extranonces.next().unwrap(), START));
    talk.on_job(job, START);
    let lines = talk.say(
        START,
        &[
            r#"{"id":1,"method":"mining.subscribe","params":["test"]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["garage.one","x"]}"#,
        ],
    );
    let told = lines.iter().find(|line| line["method"] == "mining.set_difficulty").unwrap();
    assert_eq!(told["params"][0], 16);
}
