//! How a box ends: killed at any moment, by Ctrl-C, by its time limit. Nothing acknowledged is lost,
//! nothing is credited twice, nobody is left behind.
#![allow(clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use std::time::Duration;

use rig::Rig;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

/// Several times what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn work_survives_kill_nine_of_every_process_and_is_credited_once() {
    let rig = Rig::new();
    let demo = rig.demo(&[]);
    let mut before = rig.until("work is credited", PATIENCE, |now| credited(now) > Some(0));
    let (pool, mint, node) = ("poolbox-pool", "poolbox-mint", "bitcoin-node");
    for victims in [vec![pool], vec![mint], vec![pool, mint], vec![node], vec![mint, pool, node]] {
        for pid in victims.iter().flat_map(|victim| rig.pids(victim)) {
            kill_process(pid, Signal::KILL).unwrap();
        }
        before = rig.until(&format!("mining goes on without {victims:?}"), PATIENCE, |now| {
            journalled(now) > journalled(&before) && credited(now) > credited(&before)
        });
    }
    let stopped = demo.stopped();
    assert_eq!((stopped.status, stopped.stdout.as_str()), (Some(0), ""), "{stopped:?}");
    assert_eq!(rig.processes(), []);
    let acknowledged = acknowledged_to_miners(&rig);

    let again = rig.demo(&[]);
    // Were anything doubled or lost, the two would differ for ever.
    let now = rig.until("the queue is drained", PATIENCE, |now| {
        journalled(now).is_some() && credited(now) == journalled(now) && now["mint"]["queue"]["waiting"] == 0
    });
    assert!(journalled(&now) >= journalled(&before), "{now:#}");
    assert_eq!(now["mint"]["halted"], Value::Null);
    assert!(now["mint"]["ehash"]["issued"].as_u64() <= credited(&now), "{now:#}");
    assert_eq!(again.stopped().status, Some(0));
    let on_disk = on_disk_at_start(&rig);
    let said = |process, text| rig.poolbox(&["logs", "--service", process, "--grep", text]).stdout;
    assert!(
        0 < acknowledged && acknowledged <= on_disk,
        "{acknowledged} acknowledged, {on_disk} on disk:\n{}{}{}",
        said("miner-one", "accepted="),
        said("miner-two", "accepted="),
        said("pool", "pool started")
    );
}

#[test]
fn ctrl_c_during_the_start_leaves_nothing_running() {
    let rig = Rig::new();
    let demo = rig.demo(&["--until", "settled", "--json"]);
    while rig.pids("bitcoin-node").is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let stopped = demo.stopped();
    assert_eq!(stopped.status, Some(1), "{stopped:?}");
    assert!(stopped.stderr.contains("stopped before it was done"), "{stopped:?}");
    let summary: Value = serde_json::from_str(&stopped.stdout).unwrap();
    assert_eq!(summary["steps"]["settled_s"], Value::Null);
    assert_eq!(rig.processes(), []);
}

#[test]
fn past_its_time_limit_the_demo_says_what_is_missing() {
    let rig = Rig::new();
    let late = rig.demo(&["--until", "settled", "--timeout", "3"]).ended_within(PATIENCE);
    assert_eq!(late.status, Some(1), "{late:?}");
    let reason = late.stderr.lines().last().unwrap();
    assert!(reason.starts_with("poolbox: not done after 3 s: "), "{reason}");
    assert!(reason.contains("(see ") && reason.contains("the logs are in "), "{reason}");
    assert_eq!(rig.processes(), []);
}

fn journalled(status: &Value) -> Option<u64> {
    status["pool"]["journal"]["work_ehash"].as_u64()
}

fn credited(status: &Value) -> Option<u64> {
    status["mint"]["ehash"]["credited"].as_u64()
}

/// Shares that the pool acknowledged, as every miner that ran counted them.
fn acknowledged_to_miners(rig: &Rig) -> u64 {
    ["miner-one", "miner-two"]
        .map(|miner| values(rig, miner, "stopped", "accepted=").iter().sum::<u64>())
        .iter()
        .sum()
}

/// Shares that the pool found in its journal when it was started last.
fn on_disk_at_start(rig: &Rig) -> u64 {
    *values(rig, "pool", "pool started", "shares=").last().unwrap()
}

/// The values of a field in the log lines that contain `text`.
fn values(rig: &Rig, process: &str, text: &str, field: &str) -> Vec<u64> {
    let shown = rig.poolbox(&["logs", "--service", process, "--grep", text, "--lines", "1000000"]).stdout;
    let words = shown.split_whitespace().filter_map(|word| word.strip_prefix(field));
    words.map(|value| value.parse().unwrap()).collect()
}
