//! How fast jobs reach the miners: times from a template's arrival to each write, and to the last.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use poolbox_api::pool::{self, Times};
use poolbox_stratum::Job;

/// Parts of a doubling that are told apart, as a power of two: eighths.
const PARTS_LOG2: u32 = 3;
const PARTS: usize = 1 << PARTS_LOG2;
/// Times up to 2^36 microseconds, 19 hours, are told apart.
const DOUBLINGS: usize = 36 - PARTS_LOG2 as usize;
const BUCKETS: usize = PARTS * (DOUBLINGS + 1);

/// A distribution of times: buckets an eighth of their time wide.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    count: u64,
    sum_us: u64,
    max_us: u64,
}

impl Histogram {
    /// No time yet.
    pub const fn new() -> Self {
        Self { buckets: [0; BUCKETS], count: 0, sum_us: 0, max_us: 0 }
    }

    /// One more.
    pub fn add(&mut self, time_us: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket(time_us)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(time_us);
        self.max_us = self.max_us.max(time_us);
    }

    /// How many there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, in microseconds.
    pub const fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// How many were shorter than 2^`log2` microseconds, which must be eight or more.
    pub fn below(&self, log2: u32) -> u64 {
        self.buckets.iter().take(bucket(1 << log2)).sum()
    }

    /// The time that `permille` of a thousand were no longer than.
    fn quantile_us(&self, permille: u64) -> u64 {
        let rank = (self.count * permille).div_ceil(1000).max(1);
        let mut passed = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            passed += count;
            if passed >= rank {
                return longest(index).min(self.max_us);
            }
        }
        self.max_us
    }

    /// In short.
    pub fn times(&self) -> Times {
        Times {
            count: self.count,
            p50_us: self.quantile_us(500),
            p99_us: self.quantile_us(990),
            max_us: self.max_us,
        }
    }
}

/// The bucket of a time: the first eight hold one microsecond each.
const fn bucket(time_us: u64) -> usize {
    if time_us < PARTS as u64 {
        return time_us as usize;
    }
    let doubling = time_us.ilog2() - PARTS_LOG2;
    let part = (time_us >> doubling) as usize - PARTS;
    let bucket = PARTS * (doubling as usize + 1) + part;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The longest time of a bucket.
const fn longest(bucket: usize) -> u64 {
    if bucket < PARTS {
        return bucket as u64;
    }
    let (doubling, part) = (bucket / PARTS - 1, bucket % PARTS);
    (((PARTS + part + 1) as u64) << doubling) - 1
}

/// The newest job and how long it took so far.
#[derive(Clone, Copy, Debug)]
struct Newest {
    made: Instant,
    last_us: u64,
}

/// Takes note of every job that was written.
#[derive(Debug)]
pub struct Latency(Mutex<Seen>);

/// The distributions since the start.
#[derive(Clone, Debug)]
pub struct Seen {
    /// To each miner.
    pub each: Histogram,
    /// To the last miner of each job but the newest.
    last: Histogram,
    newest: Option<Newest>,
}

impl Latency {
    /// None was written yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Seen { each: Histogram::new(), last: Histogram::new(), newest: None }))
    }

    /// A job was written to one miner, so long after it was made.
    pub fn written(&self, job: &Job) {
        self.seen().written(job.made, job.made.elapsed());
    }

    /// What was noted so far.
    pub fn so_far(&self) -> Seen {
        self.seen().clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn written(&mut self, made: Instant, after: Duration) {
        let time_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.each.add(time_us);
        match &mut self.newest {
            Some(newest) if newest.made == made => newest.last_us = newest.last_us.max(time_us),
            // A slow miner is still written the one before.
            Some(newest) if newest.made > made => {}
            newest => {
                if let Some(complete) = newest.replace(Newest { made, last_us: time_us }) {
                    self.last.add(complete.last_us);
                }
            }
        }
    }

    /// In short; the newest job counts as complete.
    pub fn times(&self) -> pool::Latency {
        let mut last = self.last.clone();
        if let Some(newest) = self.newest {
            last.add(newest.last_us);
        }
        pool::Latency { each: self.each.times(), last: last.times() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_bucket_within_an_eighth_of_it() {
        let times = (0..40).flat_map(|log2| [0, 1, 2, 3].map(|more| (1u64 << log2) + (more << log2) / 4));
        for time in times.chain(0..5000) {
            let longest = longest(bucket(time));
            let end_of_scale = time >> 36 > 0;
            assert!(end_of_scale || (time..=time + time / 8).contains(&longest), "{time}: {longest}");
        }
        for index in 1..BUCKETS {
            assert_eq!(bucket(longest(index)), index);
            assert_eq!(bucket(longest(index - 1) + 1), index);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_times() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.times(), Times::default());
        (1..=1000).for_each(|time| histogram.add(time));
        let Times { count, p50_us, p99_us, max_us } = histogram.times();
        assert_eq!((count, max_us, histogram.sum_us()), (1000, 1000, 500_500));
        assert!((500..=562).contains(&p50_us) && (990..=1000).contains(&p99_us), "{p50_us} {p99_us}");
        assert_eq!((histogram.below(3), histogram.below(9), histogram.below(20)), (7, 511, 1000));
        histogram.add(u64::MAX);
        assert_eq!(histogram.times().max_us, u64::MAX);
    }

    #[test]
    fn the_last_miner_of_each_job_is_told_apart() {
        let Latency(seen) = Latency::new();
        let mut seen = seen.into_inner().unwrap();
        let first = Instant::now();
        let second = first + Duration::from_secs(30);
        for (job, after_ms) in [(first, 1), (first, 5), (first, 3), (second, 2), (first, 31_000), (second, 1)]
        {
            seen.written(job, Duration::from_millis(after_ms));
        }
        let times = seen.times();
        assert_eq!((times.each.count, times.each.max_us), (6, 31_000_000));
        assert_eq!((times.last.count, times.last.max_us), (2, 5000));
    }
}
