//! Promise 1: an acknowledged share is on disk. Promise 2: work is credited once.
//!
//! The process is killed, not the machine: that the disk keeps what it synced is SQLite's
//! `synchronous=FULL`, which no test on one machine can show.

#![allow(clippy::unwrap_used)]

mod audit;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use audit::{NETWORK, assert_queue_pays_exactly_the_shares, directory, share, shares};
use poolbox_journal::Journal;

/// Makes this test program the writer that gets killed.
const VICTIM: &str = "POOLBOX_JOURNAL_VICTIM";
const ROUNDS: u32 = 12;

#[test]
fn an_acknowledged_share_survives_kill_nine() {
    if let Some(path) = std::env::var_os(VICTIM) {
        return write_until_killed(path.as_ref());
    }
    let (_directory, path) = directory();
    let mut acknowledged = Vec::new();
    for _ in 0..ROUNDS {
        let before = acknowledged.len();
        acknowledged.extend(run_and_kill(&path));
        assert!(acknowledged.len() > before, "the writer was killed before its first acknowledgement");

        let kept = shares(&path);
        for (seq, hash) in &acknowledged {
            let hash_kept = kept.get(*seq as usize - 1).map(|record| record.share.hash.to_string());
            assert_eq!(hash_kept.as_ref(), Some(hash), "acknowledged share {seq} is not in the journal");
        }
        // Opening and closing queues what the crash left unqueued.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { Journal::open(&path, NETWORK).unwrap().close().await });
        assert_queue_pays_exactly_the_shares(&path);
    }
}

/// Appends from several tasks at once, and prints each share once it is acknowledged.
fn write_until_killed(path: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        // Often, so that kills hit the queueing too.
        let journal = Journal::open_queueing_every(Duration::from_millis(3), path, NETWORK).unwrap();
        let tasks: Vec<_> = ["alice", "bob", "carol"]
            .into_iter()
            .map(|owner| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    for n in nanos().. {
                        let share = share(owner, n, n % 1000 + 1, (n % 61 == 0).then_some(7));
                        let hash = share.hash;
                        let seq = journal.append(vec![share]).await.unwrap();
                        // The blank line ends whatever the test harness was printing.
                        std::io::stdout()
                            .write_all(format!("\nacknowledged {seq} {hash}\n").as_bytes())
                            .unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Starts a writer, kills it a random while after its first acknowledgement; what it acknowledged.
fn run_and_kill(path: &Path) -> Vec<(u64, String)> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_acknowledged_share_survives_kill_nine", "--nocapture"])
        .env(VICTIM, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.by_ref().find(|line| line.starts_with("acknowledged"));
    // Read on while it runs: a full pipe would stop it.
    let rest = std::thread::spawn(move || lines.collect::<Vec<_>>());
    std::thread::sleep(Duration::from_micros(nanos() / 1000 % 60_000));
    victim.kill().unwrap();
    victim.wait().unwrap();
    first.into_iter().chain(rest.join().unwrap()).filter_map(|line| parse(&line)).collect()
}

/// `None` for other lines and for one cut short.
fn parse(line: &str) -> Option<(u64, String)> {
    let (seq, hash) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
    (hash.len() == 64).then(|| (seq.parse().unwrap(), hash.to_owned()))
}

fn nanos() -> u64 {
    u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos())
}
