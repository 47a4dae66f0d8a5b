//! The miner as a pool sees it, over Stratum V2.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::time::Duration;

use stratum_core::common_messages_sv2::{MESSAGE_TYPE_RECONNECT, ReconnectOwned};
use stratum_core::mining_sv2::{MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, OpenMiningChannelErrorOwned};

use crate::block::{meets, target};
use crate::miner::Miner;
use crate::scripted_sv1::{EASY, HARDER};
use crate::scripted_sv2::{Conversation, ScriptedPool};

const CHANNEL: u32 = 5;

/// A miner at work on job 1, of easy shares.
fn mining(flags: &[&str]) -> (ScriptedPool, Miner, Conversation) {
    let pool = ScriptedPool::start();
    let miner = Miner::start(&pool.url(), flags);
    let conversation = at_work(&pool);
    (pool, miner, conversation)
}

fn at_work(pool: &ScriptedPool) -> Conversation {
    let mut conversation = pool.accept(CHANNEL);
    conversation.greet(target(EASY));
    conversation.job(1, true);
    conversation.new_block(1);
    conversation
}

#[test]
fn every_share_is_a_new_header_that_meets_its_target() {
    let (_pool, _miner, mut pool) = mining(&["--threads", "3"]);
    // The conversation proves each; all three threads take part.
    let extranonces: HashSet<Vec<u8>> = (0..150).map(|_| pool.accept_share().extranonce).collect();
    assert!((0..3).all(|thread| extranonces.contains(&[0, 0, 0, thread][..])), "{extranonces:?}");
}

#[test]
fn on_a_standard_channel_the_threads_share_the_versions() {
    let (_pool, _miner, mut pool) = mining(&["--threads", "3", "--channel", "standard"]);
    let versions: HashSet<u32> = (0..150).map(|_| pool.accept_share().version & 0x6000).collect();
    assert!(versions.len() >= 3, "{versions:?}");
}

#[test]
fn it_tells_who_it_is_and_how_fast() {
    let pool = ScriptedPool::start();
    let _miner = Miner::start(&pool.url(), &["--threads", "1"]);
    let wishes = pool.accept(CHANNEL).greet(target(EASY));
    assert_eq!((wishes.vendor.as_str(), wishes.firmware.as_str()), ("test", "1.0"));
    assert_eq!(wishes.user, "garage.cpu1");
    assert!(wishes.hashrate > 1000.0 && wishes.hashrate <= 400_000.0, "{}", wishes.hashrate);
}

#[test]
fn versions_are_rolled_only_where_a_job_allows_it() {
    let (_pool, _miner, mut pool) = mining(&["--threads", "2"]);
    let mut rolled = HashSet::new();
    while rolled.len() < 3 {
        rolled.insert(pool.accept_share().version);
    }
    pool.job_with(2, false, false);
    while pool.accept_share().job == 1 {}
    // The conversation refuses a rolled version from now on.
    for _ in 0..20 {
        pool.accept_share();
    }
}

#[test]
fn a_new_target_holds_from_the_next_job_on() {
    let (_pool, _miner, mut pool) = mining(&[]);
    pool.accept_share();
    pool.set_target(target(HARDER));
    // Still the first job: sooner or later one that the new target would not allow.
    while meets(pool.accept_share().hash, HARDER) {}
    pool.job(2, false);
    while pool.accept_share().job == 1 {}
    for _ in 0..20 {
        pool.accept_share();
    }
}

#[test]
fn a_new_extranonce_prefix_holds_from_the_next_job_on() {
    let (_pool, _miner, mut pool) = mining(&[]);
    pool.accept_share();
    pool.set_extranonce_prefix(&[1, 2, 3]);
    pool.accept_share();
    pool.job(2, false);
    while pool.accept_share().job == 1 {}
    for _ in 0..10 {
        assert_eq!(pool.accept_share().job, 2);
    }
}

#[test]
fn after_a_new_block_only_its_job_is_hashed() {
    let (_pool, _miner, mut pool) = mining(&["--threads", "4"]);
    for round in 2..30 {
        pool.job(round, true);
        pool.accept_share();
        pool.new_block(round);
        while pool.accept_share().job != round {}
        for _ in 0..3 {
            assert_eq!(pool.accept_share().job, round);
        }
    }
}

#[test]
fn it_mines_only_where_the_key_in_the_url_is_the_pools() {
    let pool = ScriptedPool::start();
    let _miner = Miner::start(&format!("{}/{}", pool.url(), pool.key()), &[]);
    at_work(&pool).accept_share();

    let another = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";
    let miner = Miner::start(&format!("{}/{another}", pool.url()), &[]);
    let _conversation = pool.accept(CHANNEL);
    let (status, log) = miner.wait();
    assert_eq!(status, 2);
    let told = "it is not the pool of the URL: its certificate is not signed by the key in the URL";
    assert!(log.lines().last().unwrap().ends_with(told), "{log}");
}

#[test]
fn a_refused_user_name_is_told_in_the_pools_words() {
    let pool = ScriptedPool::start();
    let miner = Miner::start(&pool.url(), &[]);
    let mut conversation = pool.accept(CHANNEL);
    conversation.set_up();
    let (request_id, ..) = conversation.open_request();
    let error_code = "unknown-user".to_owned().try_into().unwrap();
    let error = OpenMiningChannelErrorOwned { request_id, error_code };
    conversation.send(MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, error);
    let (status, log) = miner.wait();
    assert_eq!(status, 2);
    let told = "the pool refused the channel: unknown-user; check the user name and --channel";
    assert_eq!(log.lines().last().unwrap(), format!("poolbox-miner: {}: {told}", pool.url()));
}

#[test]
fn a_port_that_speaks_something_else_is_told() {
    let pool = ScriptedPool::start();
    let miner = Miner::start(&pool.url(), &[]);
    let mut stream = pool.accept_silently();
    stream.read_exact(&mut [0; 64]).unwrap();
    stream.write_all(&b"HTTP/1.1 400 Bad Request\r\n".repeat(20)).unwrap();
    let (status, log) = miner.wait();
    assert_eq!(status, 2);
    let told = "it does not speak Stratum V2 (what it sent cannot be decrypted); check host and port";
    assert!(log.lines().last().unwrap().ends_with(told), "{log}");
}

#[test]
fn it_connects_again_however_a_connection_ends() {
    let (listener, miner, mut pool) = mining(&[]);
    pool.accept_share();
    drop(pool);

    let mut pool = at_work(&listener);
    pool.accept_share();
    pool.close_channel("too many miners");

    let mut pool = at_work(&listener);
    pool.accept_share();
    let new_host = String::new().try_into().unwrap();
    pool.send(MESSAGE_TYPE_RECONNECT, ReconnectOwned { new_host, new_port: 0 });

    // Under the same numbers, but all of this connection's jobs and shares.
    at_work(&listener).accept_share();
    let (status, log) = miner.stop();
    assert_eq!(status, 0, "{log}");
    for told in ["the pool closed the channel: too many miners", "the pool asked to connect again"] {
        assert!(log.contains(&format!("{told}; connecting again in 1 s")), "{log}");
    }
}

#[test]
fn answers_are_counted_and_told_at_the_end() {
    let (_pool, miner, mut pool) = mining(&[]);
    for _ in 0..5 {
        pool.share();
    }
    pool.refuse(4, "difficulty-too-low");
    pool.acknowledge(3, 4);
    // Read before the miner is stopped.
    std::thread::sleep(Duration::from_millis(300));
    let (status, log) = miner.stop();
    assert_eq!(status, 0, "{log}");
    assert!(log.contains("share rejected reason=\"difficulty-too-low\""), "{log}");
    let last = log.lines().last().unwrap();
    assert!(last.contains("stopped") && last.ends_with("accepted=4 rejected=1"), "{last}");
}
