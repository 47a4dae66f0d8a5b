//! `poolbox-miner bench`: what this machine hashes.

// The result is the command's output.
#![allow(clippy::print_stdout)]

use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde::Serialize;

use crate::hash::{Header, Search};
use crate::hashers::BATCH;
use crate::hashrate::Hashrate;
use crate::options::BenchOptions;
use crate::target::Target;

#[derive(Serialize)]
struct Measured {
    seconds: u32,
    threads: Vec<f64>,
    total: f64,
}

/// Hashes on every thread for the time asked and prints the rates.
pub fn run(options: &BenchOptions) -> anyhow::Result<()> {
    let time = Duration::from_secs(options.seconds.into());
    let threads: Vec<_> = (0..options.threads.get()).map(|_| thread::spawn(move || measure(time))).collect();
    let rates = threads
        .into_iter()
        .map(|thread| thread.join().map_err(|_| anyhow!("a hashing thread broke")))
        .collect::<anyhow::Result<Vec<(u64, Duration)>>>()?;
    let rate = |&(hashes, time): &(u64, Duration)| Hashrate::over(hashes, time);
    if options.json {
        let threads: Vec<f64> = rates.iter().map(|measured| rate(measured).per_second().round()).collect();
        let total = threads.iter().sum();
        println!("{}", serde_json::to_string(&Measured { seconds: options.seconds, threads, total })?);
        return Ok(());
    }
    for (number, measured) in rates.iter().enumerate() {
        println!("thread {number}  {}", rate(measured));
    }
    println!("together  {}", Hashrate::over(rates.iter().map(|(hashes, _)| hashes).sum(), time));
    Ok(())
}

/// Hashes that no target ends, for `time`: how many, and in how long.
pub fn measure(time: Duration) -> (u64, Duration) {
    let header = Header { version: 0, previous: [0; 32], merkle_root: [0; 32], time: 0, bits: 0 };
    let mut search = Search::new(&header);
    let started = Instant::now();
    let mut hashes = 0;
    while started.elapsed() < time {
        let from = hashes % (1 << 32);
        // Asked for and used, so that the compiler cannot leave the work out.
        std::hint::black_box(search.find(from..from + BATCH, &Target::UNREACHABLE));
        hashes += BATCH;
    }
    (hashes, started.elapsed())
}
