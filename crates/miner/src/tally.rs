//! What was done so far, counted by all threads, and the lines that say so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::hashrate::Hashrate;

/// How often a summary is logged.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counters since the start.
pub struct Tally {
    started: Instant,
    hashes: AtomicU64,
    accepted: AtomicU64,
    rejected: AtomicU64,
    /// Bits of the current difficulty.
    difficulty: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        let zero = AtomicU64::default;
        let started = Instant::now();
        Self { started, hashes: zero(), accepted: zero(), rejected: zero(), difficulty: zero() }
    }
}

impl Tally {
    /// `hashes` more were done.
    pub fn hashed(&self, hashes: u64) {
        self.hashes.fetch_add(hashes, Ordering::Relaxed);
    }

    /// The pool took so many more shares.
    pub fn accepted(&self, shares: u64) {
        self.accepted.fetch_add(shares, Ordering::Relaxed);
    }

    /// The pool refused a share.
    pub fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Shares are now found at this difficulty.
    pub fn set_difficulty(&self, difficulty: f64) {
        self.difficulty.store(difficulty.to_bits(), Ordering::Relaxed);
    }

    /// Says what came of it all.
    pub fn log_total(&self) {
        self.log(Hashrate::over(self.hashes.load(Ordering::Relaxed), self.started.elapsed()), "stopped");
    }

    fn log(&self, hashrate: Hashrate, message: &str) {
        tracing::info!(
            %hashrate,
            difficulty = f64::from_bits(self.difficulty.load(Ordering::Relaxed)),
            accepted = self.accepted.load(Ordering::Relaxed),
            rejected = self.rejected.load(Ordering::Relaxed),
            "{message}"
        );
    }
}

/// Logs a summary every ten seconds, for ever.
pub async fn report(tally: Arc<Tally>) {
    let mut last = (Instant::now(), 0);
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = (Instant::now(), tally.hashes.load(Ordering::Relaxed));
        tally.log(Hashrate::over(now.1 - last.1, now.0 - last.0), "mining");
        last = now;
    }
}
