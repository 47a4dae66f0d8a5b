//! The miner as a pool sees it, over Stratum V1.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::block::meets;
use crate::miner::{Miner, run};
use crate::scripted_sv1::{Conversation, EASY, HARDER, MASK, ScriptedPool};

/// A miner at work on job `1`, of easy shares.
fn mining(flags: &[&str], mask: Option<u32>) -> (ScriptedPool, Miner, Conversation) {
    let pool = ScriptedPool::start();
    let miner = Miner::start(&pool.url(), flags);
    let mut conversation = pool.accept();
    conversation.greet(mask);
    conversation.set_difficulty(EASY);
    conversation.notify("1", true);
    (pool, miner, conversation)
}

#[test]
fn every_share_is_a_new_header_that_meets_its_target() {
    let (_pool, _miner, mut pool) = mining(&["--threads", "3"], None);
    // The conversation proves each; all three threads take part.
    let extranonces: HashSet<String> = (0..150).map(|_| pool.accept_share().extranonce2).collect();
    let threads = ["0000000000000000", "0000000000000001", "0000000000000002"];
    assert!(threads.iter().all(|&thread| extranonces.contains(thread)), "{extranonces:?}");
}

#[test]
fn version_bits_are_rolled_within_the_mask() {
    let (_pool, _miner, mut pool) = mining(&["--threads", "2"], Some(MASK));
    let mut rolled = HashSet::new();
    while rolled.len() < 3 {
        rolled.insert(pool.accept_share().version_bits.unwrap());
    }
    pool.set_version_mask(0x0000_6000);
    pool.notify("2", true);
    let mut rolled = HashSet::new();
    while rolled.len() < 3 {
        let share = pool.accept_share();
        if share.job == "2" {
            rolled.insert(share.version_bits.unwrap());
        }
    }
}

#[test]
fn a_new_difficulty_holds_from_the_next_job_on() {
    let (_pool, _miner, mut pool) = mining(&[], None);
    pool.accept_share();
    pool.set_difficulty(HARDER);
    pool.barrier();
    // Still the first job: sooner or later one that the new difficulty would not allow.
    while meets(pool.accept_share().hash, HARDER) {}
    pool.notify("2", false);
    while pool.accept_share().job == "1" {}
    for _ in 0..20 {
        pool.accept_share();
    }
}

#[test]
fn no_share_of_a_stale_job_is_sent() {
    let (_pool, _miner, mut pool) = mining(&["--threads", "4"], None);
    for round in 2..30 {
        pool.accept_share();
        pool.notify(&round.to_string(), true);
        pool.barrier();
        assert_eq!(pool.share().job, round.to_string());
    }
}

#[test]
fn a_new_extranonce_holds_from_the_next_job_on() {
    let (_pool, _miner, mut pool) = mining(&[], Some(MASK));
    pool.accept_share();
    pool.set_extranonce(&[9, 9], 3);
    pool.barrier();
    pool.accept_share();
    pool.notify("2", true);
    pool.barrier();
    for _ in 0..10 {
        assert_eq!(pool.accept_share().job, "2");
    }
}

#[test]
fn unknown_requests_get_an_error_and_mining_goes_on() {
    let (_pool, _miner, mut pool) = mining(&[], None);
    pool.send(&json!({ "id": 77, "method": "mining.dance", "params": [] }));
    pool.send(&json!({ "id": null, "method": "mining.rest", "params": [] }));
    let answer = loop {
        let message = pool.receive();
        if message["method"] != "mining.submit" {
            break message;
        }
    };
    assert_eq!(answer, json!({ "id": 77, "result": null, "error": [-3, "Method not found", null] }));
    pool.accept_share();
}

#[test]
fn it_connects_again_and_says_so() {
    let (listener, miner, mut pool) = mining(&[], None);
    pool.accept_share();
    drop(pool);
    let mut pool = listener.accept();
    pool.greet(Some(MASK));
    pool.set_difficulty(EASY);
    pool.notify("1", true);
    // Under the same job id, but all of this connection's extranonce, job and mask.
    pool.accept_share();
    let (status, log) = miner.stop();
    assert_eq!(status, 0, "{log}");
    assert!(log.contains("connecting again in 1 s"), "{log}");
}

#[test]
fn answers_are_counted_and_told_at_the_end() {
    let (_pool, miner, mut pool) = mining(&[], None);
    pool.send(&json!({ "id": null, "method": "client.show_message", "params": ["Your roof is on fire"] }));
    let (first, second, third) = (pool.share(), pool.share(), pool.share());
    // Out of order, each with its own id.
    pool.send(&json!({ "id": third.id, "result": null, "error": [23, "Low difficulty share", null] }));
    pool.send(&json!({ "id": first.id, "result": true, "error": null }));
    pool.send(&json!({ "id": second.id, "result": true, "error": null }));
    pool.barrier();
    let (status, log) = miner.stop();
    assert_eq!(status, 0, "{log}");
    assert!(log.contains("the pool says: Your roof is on fire"), "{log}");
    assert!(log.contains("share rejected reason=\"Low difficulty share\""), "{log}");
    let last = log.lines().last().unwrap();
    assert!(last.contains("stopped") && last.ends_with("accepted=2 rejected=1"), "{last}");
}

#[test]
fn a_refused_user_name_is_told_in_the_pools_words() {
    let pool = ScriptedPool::start();
    let miner = Miner::start(&pool.url(), &[]);
    let mut pool_side = pool.accept();
    pool_side.expect("mining.configure");
    pool_side.expect("mining.subscribe");
    let authorize = pool_side.expect("mining.authorize");
    let sentence = "user name \"garage.cpu1\" is not usable; use letters";
    pool_side.send(&json!({ "id": authorize["id"], "result": null, "error": [24, sentence, null] }));
    let (status, log) = miner.wait();
    assert_eq!(status, 2);
    let told = format!("poolbox-miner: {}: the pool refused the user name: {sentence}", pool.url());
    assert_eq!(log.lines().last(), Some(told.as_str()));
}

#[test]
fn a_port_that_speaks_something_else_is_told() {
    let pool = ScriptedPool::start();
    let miner = Miner::start(&pool.url(), &[]);
    // Open until the miner ended: closing what has not read everything would take the text back.
    let mut port = pool.accept();
    port.send_text("HTTP/1.1 400 Bad Request\r\n");
    let (status, log) = miner.wait();
    assert_eq!(status, 2);
    let told = "it does not speak Stratum V1 (it said \"HTTP/1.1 400 Bad Request\"); check host and port";
    assert!(log.lines().last().unwrap().ends_with(told), "{log}");
}

#[test]
fn a_wrong_url_is_refused_before_anything_else() {
    let output = run(&["--url", "https://pool.example", "--user", "garage"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("write it as stratum+tcp://HOST:PORT"), "{told}");
}

#[test]
fn bench_measures_every_thread() {
    let output = run(&["bench", "--seconds", "1", "--threads", "2", "--json"]);
    let measured: Value = serde_json::from_slice(&output.stdout).unwrap();
    let threads: Vec<f64> = serde_json::from_value(measured["threads"].clone()).unwrap();
    assert_eq!(threads.len(), 2);
    assert!(threads.iter().all(|&rate| rate > 0.0));
    assert_eq!(measured["total"], threads.iter().sum::<f64>());
}
