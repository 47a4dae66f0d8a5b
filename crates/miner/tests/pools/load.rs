//! The load generator as a pool sees it.

use std::process::Output;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::block::target;
use crate::miner::{run, run_limited};
use crate::scripted_sv1::{self, EASIEST};
use crate::scripted_sv2::{Conversation, ScriptedPool};

const CONNECTIONS: u32 = 3;

/// Runs the generator over [`CONNECTIONS`] connections.
fn load(url: &str, mode: &str, flags: &[&str]) -> Output {
    let connections = CONNECTIONS.to_string();
    let fixed = ["load", "--url", url, "--connections", &connections, "--mode", mode, "--seconds", "1"];
    run(&[&fixed, flags].concat())
}

fn report(output: &Output) -> Value {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Lets each connection begin with job 1 and then serves it in a thread of its own.
fn serve<T: Send + 'static>(
    pool: &ScriptedPool,
    serve: impl Fn(&mut Conversation) -> T + Copy + Send + 'static,
) -> Vec<thread::JoinHandle<T>> {
    let start = |number| {
        let mut conversation = pool.accept(number + 1);
        thread::spawn(move || {
            let wishes = conversation.greet(target(EASIEST));
            assert_eq!(wishes.user, format!("load.{number}"));
            assert_eq!(wishes.hashrate, 0.0);
            conversation.job(1, true);
            conversation.new_block(1);
            serve(&mut conversation)
        })
    };
    (0..CONNECTIONS).map(start).collect()
}

/// The generator's run and what became of each connection.
fn under_load<T: Send + 'static>(
    mode: &'static str,
    flags: &'static [&'static str],
    each: impl Fn(&mut Conversation) -> T + Copy + Send + 'static,
) -> (Output, Vec<T>) {
    let pool = ScriptedPool::start();
    let url = pool.url();
    let generator = thread::spawn(move || load(&url, mode, flags));
    let served = serve(&pool, each).into_iter().map(|thread| thread.join().unwrap()).collect();
    (generator.join().unwrap(), served)
}

/// Acknowledges each share by itself until the generator is gone; how many there were.
fn accept_all(conversation: &mut Conversation) -> u64 {
    let mut count = 0;
    while let Some(share) = conversation.try_share() {
        conversation.acknowledge(share.sequence, 1);
        count += 1;
    }
    count
}

#[test]
fn throughput_counts_what_the_pool_acknowledged() {
    for channel in ["extended", "standard"] {
        let flags: &'static [&str] = if channel == "extended" { &[] } else { &["--channel", "standard"] };
        let (output, served) = under_load("throughput", flags, accept_all);
        let report = report(&output);
        assert!(served.iter().all(|&count| count > 64), "{served:?}");
        assert_eq!(report["acknowledged"], served.iter().sum::<u64>());
        assert_eq!(report["submitted"], report["acknowledged"]);
        assert_eq!((&report["protocol"], &report["mode"]), (&"sv2".into(), &"throughput".into()));
        assert_eq!((&report["connections"], &report["stale"]), (&3.into(), &0.into()));
        assert_eq!(report["rejected"], serde_json::json!({}));
        let number = |value: &Value| value.as_f64().unwrap();
        let seconds = number(&report["seconds"]);
        assert!((1.0..1.5).contains(&seconds));
        assert!(number(&report["shares_per_s"]) * seconds <= number(&report["acknowledged"]) + 1.0);
        let times: Vec<f64> =
            ["p50", "p90", "p99", "max"].iter().map(|name| number(&report["ack_us"][name])).collect();
        assert!(times[0] > 0.0 && times.is_sorted(), "{times:?}");
        assert!(number(&report["generator_cpu_us_per_share"]) > 0.0);
        assert!(number(&report["connect_ms"]) > 0.0);
    }
}

#[test]
fn an_acknowledgement_ends_the_wait_of_all_shares_that_it_covers() {
    let (output, served) = under_load("throughput", &["--window", "8"], |conversation| {
        let mut shares = 0;
        // No more than eight ever wait: a pool that acknowledges at eight is never at a loss.
        while conversation.try_share().is_some() {
            shares += 1;
            if shares % 8 == 0 {
                conversation.acknowledge(shares - 1, 8);
            }
        }
        u64::from(shares)
    });
    assert_eq!(report(&output)["acknowledged"], served.iter().sum::<u64>());
}

#[test]
fn latency_sends_at_its_rate_spread_over_all_connections() {
    let (output, served) = under_load("latency", &["--rate", "300"], |conversation| {
        let mut waits = Vec::new();
        while let Some(share) = conversation.try_share() {
            thread::sleep(Duration::from_millis(2));
            waits.push(Instant::now());
            conversation.acknowledge(share.sequence, 1);
        }
        waits.len() as u64
    });
    let report = report(&output);
    assert!(served.iter().all(|&count| count.abs_diff(100) <= 1), "{served:?}");
    assert_eq!(report["acknowledged"], served.iter().sum::<u64>());
    let fastest = report["ack_us"]["p50"].as_f64().unwrap();
    assert!(fastest >= 2000.0, "{fastest}");
}

#[test]
fn jobs_are_noted_when_a_new_block_arrives_and_only_then() {
    let now = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let before = now();
    let (output, _) = under_load("jobs", &[], |conversation| {
        thread::sleep(Duration::from_millis(200));
        conversation.job(2, false);
        conversation.job(3, true);
        conversation.new_block(3);
        assert!(conversation.try_share().is_none());
    });
    let report = report(&output);
    let [job] = &report["jobs"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!(job["n"], CONNECTIONS);
    let times: Vec<u64> =
        ["first_us", "p50_us", "last_us"].iter().map(|name| job[name].as_u64().unwrap()).collect();
    assert!(times.is_sorted() && times[0] > before && times[2] < now(), "{times:?}");
}

#[test]
fn shares_of_the_block_before_are_stale_and_others_are_rejected_with_their_reason() {
    let (output, served) = under_load("throughput", &["--window", "16"], |conversation| {
        let (mut accepted, mut stale, mut rejected) = (0u64, 0u64, 0u64);
        let mut block = 1;
        while let Some(share) = conversation.try_share() {
            if conversation.block_of(share.job) < block {
                stale += 1;
                conversation.refuse(share.sequence, "invalid-job-id");
            } else if share.sequence % 10 == 9 {
                rejected += 1;
                conversation.refuse(share.sequence, "difficulty-too-low");
            } else {
                accepted += 1;
                conversation.acknowledge(share.sequence, 1);
            }
            if share.sequence == 50 {
                conversation.job(2, true);
                conversation.new_block(2);
                block = 2;
            }
        }
        (accepted, stale, rejected)
    });
    let report = report(&output);
    let sum = |of: fn(&(u64, u64, u64)) -> u64| served.iter().map(of).sum::<u64>();
    assert_eq!(report["acknowledged"], sum(|counts| counts.0));
    assert_eq!(report["stale"], sum(|counts| counts.1));
    assert_eq!(report["rejected"], serde_json::json!({ "difficulty-too-low": sum(|counts| counts.2) }));
    assert_eq!(report["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn idle_holds_the_connections_and_sends_nothing() {
    let (output, served) = under_load("idle", &[], accept_all);
    assert_eq!(report(&output)["submitted"], 0);
    assert_eq!(served, [0, 0, 0]);
}

#[test]
fn a_pool_that_hangs_up_is_a_failure_told_in_a_sentence() {
    let (output, _) = under_load("idle", &[], |_| thread::sleep(Duration::from_millis(300)));
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.lines().last().unwrap().ends_with("of 3: the pool closed it"), "{told}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_pool_that_accepts_nothing_is_a_failure_told_in_a_sentence() {
    let (output, _) = under_load("latency", &["--rate", "30"], |conversation| {
        while let Some(share) = conversation.try_share() {
            conversation.refuse(share.sequence, "unknown-user");
        }
    });
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    let last = told.lines().last().unwrap();
    assert!(
        last.ends_with("none of 30 shares was accepted; 30 were refused with \"unknown-user\""),
        "{told}"
    );
}

#[test]
fn stratum_v1_is_loaded_too() {
    let pool = scripted_sv1::ScriptedPool::start();
    let url = pool.url();
    let generator = thread::spawn(move || load(&url, "throughput", &["--password", "d=1"]));
    let serve = |number: u32| {
        let mut conversation = pool.accept();
        thread::spawn(move || {
            conversation.greet_as(&format!("load.{number}"), Some(scripted_sv1::MASK));
            conversation.set_difficulty(EASIEST);
            conversation.notify("1", true);
            let mut count = 0u64;
            while conversation.try_accept_share().is_some() {
                count += 1;
            }
            count
        })
    };
    let served: Vec<_> = (0..CONNECTIONS).map(serve).collect();
    let served: Vec<u64> = served.into_iter().map(|thread| thread.join().unwrap()).collect();
    let report = report(&generator.join().unwrap());
    assert!(served.iter().all(|&count| count > 64), "{served:?}");
    assert_eq!(
        (&report["protocol"], &report["acknowledged"]),
        (&"sv1".into(), &served.iter().sum::<u64>().into())
    );
}

#[test]
fn too_few_open_files_are_told_before_anything_is_opened() {
    let arguments = "load --url stratum+tcp://127.0.0.1:1 --connections 100 --mode idle --seconds 1";
    let output = run_limited("ulimit -n 64", arguments);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    let sentence = "100 connections need 132 open files, but only 64 are allowed; raise `ulimit -n`";
    assert!(told.contains(sentence), "{told}");
}
