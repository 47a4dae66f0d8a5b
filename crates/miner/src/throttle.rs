//! Hashing no faster than asked, evenly.

use std::time::{Duration, Instant};

use crate::hashrate::Hashrate;

/// Hashing stops this often to sleep: short enough to be smooth, long enough to cost nothing.
const STRIDE: Duration = Duration::from_millis(5);
/// Time lost beyond this (waiting for a job, a busy machine) is not made up for by a burst.
const MAX_LAG: Duration = Duration::from_millis(200);

/// Keeps one thread to its rate.
pub struct Throttle {
    rate: Hashrate,
    /// When the hashes done so far should be done.
    due: Instant,
}

impl Throttle {
    /// At most `rate`, from `now` on.
    pub const fn new(rate: Hashrate, now: Instant) -> Self {
        Self { rate, due: now }
    }

    /// Hashes to do before the next pause.
    pub fn batch(&self) -> u64 {
        (self.rate.per_second() * STRIDE.as_secs_f64()).ceil() as u64
    }

    /// How long to sleep at `now`, after `hashes` more.
    pub fn pause(&mut self, hashes: u64, now: Instant) -> Duration {
        let earliest = now.checked_sub(MAX_LAG).unwrap_or(now);
        let cost = Duration::from_secs_f64(hashes as f64 / self.rate.per_second());
        self.due = self.due.max(earliest) + cost;
        self.due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes done in `time` by a thread that could do `speed` a second.
    fn simulate(throttle: &mut Throttle, from: Instant, time: Duration, speed: f64) -> u64 {
        let (mut now, mut done) = (from, 0);
        while now < from + time {
            done += throttle.batch();
            now += Duration::from_secs_f64(throttle.batch() as f64 / speed);
            now += throttle.pause(throttle.batch(), now);
        }
        done
    }

    #[test]
    fn a_fast_thread_is_held_to_its_rate() {
        let start = Instant::now();
        for rate in ["500", "240k", "3.3M"] {
            let rate: Hashrate = rate.parse().unwrap();
            let done = simulate(&mut Throttle::new(rate, start), start, Duration::from_secs(10), 1e7);
            let expected = rate.per_second() * 10.0;
            assert!((done as f64 / expected - 1.0).abs() < 0.01, "{done} hashes at {rate}");
        }
    }

    #[test]
    fn a_long_wait_is_followed_by_no_burst() {
        let start = Instant::now();
        let mut throttle = Throttle::new("100k".parse().unwrap(), start);
        let later = start + Duration::from_secs(600);
        let done = simulate(&mut throttle, later, Duration::from_secs(1), 1e7);
        assert!(done < 125_000, "{done} hashes in a second");
    }

    #[test]
    fn a_slow_thread_never_sleeps() {
        let start = Instant::now();
        let mut throttle = Throttle::new("1M".parse().unwrap(), start);
        assert_eq!(throttle.pause(1000, start + Duration::from_secs(1)), Duration::ZERO);
    }
}
