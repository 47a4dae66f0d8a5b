//! The threads that hash.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::bench;
use crate::hashrate::Hashrate;
use crate::tally::Tally;
use crate::throttle::Throttle;
use crate::work::{Job, Solution, Units};

/// Hashes between two looks at the job, a few milliseconds' worth.
pub const BATCH: u64 = 1 << 15;
/// How long the nominal hash rate is measured.
const MEASURED: Duration = Duration::from_millis(50);

/// All hashing threads. They end when the sender of jobs is gone.
pub struct Hashers(Vec<JoinHandle<()>>);

struct Hasher {
    number: u64,
    of: u64,
    jobs: watch::Receiver<Option<Arc<Job>>>,
    solutions: mpsc::Sender<Solution>,
    tally: Arc<Tally>,
    throttle: Option<Throttle>,
    runtime: Handle,
}

/// Hashes per second that `threads` threads will do, found out by hashing for a moment.
pub fn nominal_hashrate(threads: NonZeroUsize, max_hashrate: Option<Hashrate>) -> f32 {
    let measure = || bench::measure(MEASURED);
    let threads: Vec<_> = (0..threads.get()).map(|_| thread::spawn(measure)).collect();
    let rates = threads.into_iter().filter_map(|thread| thread.join().ok());
    let possible: f64 = rates.map(|(hashes, time)| Hashrate::over(hashes, time).per_second()).sum();
    max_hashrate.map_or(possible, |max| possible.min(max.per_second())) as f32
}

impl Hashers {
    /// Starts them, `max_hashrate` shared out evenly. They hash the latest of `jobs`, nothing while
    /// that is `None`. Call within a runtime.
    pub fn start(
        threads: NonZeroUsize,
        max_hashrate: Option<Hashrate>,
        jobs: &watch::Receiver<Option<Arc<Job>>>,
        solutions: &mpsc::Sender<Solution>,
        tally: &Arc<Tally>,
    ) -> io::Result<Self> {
        let of = threads.get() as u64;
        let hasher = |number| Hasher {
            number,
            of,
            jobs: jobs.clone(),
            solutions: solutions.clone(),
            tally: Arc::clone(tally),
            throttle: max_hashrate.map(|rate| Throttle::new(rate.shared_by(of), Instant::now())),
            runtime: Handle::current(),
        };
        let spawn = |number| {
            let hasher = hasher(number);
            thread::Builder::new().name(format!("hasher-{number}")).spawn(|| hasher.run())
        };
        (0..of).map(spawn).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for their end.
    pub fn join(self) {
        for thread in self.0 {
            if thread.join().is_err() {
                tracing::error!("a hashing thread broke");
            }
        }
    }
}

impl Hasher {
    fn run(mut self) {
        loop {
            let job = self.jobs.borrow_and_update().clone();
            if let Some(job) = job {
                self.hash(&job);
            }
            // At once when there is a new job already.
            if self.runtime.block_on(self.jobs.changed()).is_err() {
                return;
            }
        }
    }

    /// Hashes its part of `job`, until that is done or there is another.
    fn hash(&mut self, job: &Arc<Job>) {
        let batch = self.throttle.as_ref().map_or(BATCH, Throttle::batch).min(BATCH);
        for mut unit in Units::new(Arc::clone(job), self.number, self.of) {
            let mut next = unit.nonces.start;
            while next < unit.nonces.end {
                if self.jobs.has_changed().unwrap_or(true) {
                    return;
                }
                let from = next;
                let to = unit.nonces.end.min(from + batch);
                next = to;
                if let Some(nonce) = unit.search.find(from..to, &job.target) {
                    next = u64::from(nonce) + 1;
                    let extranonce2 = unit.extranonce2.clone();
                    let share = Solution { job: Arc::clone(job), extranonce2, version: unit.version, nonce };
                    if self.solutions.blocking_send(share).is_err() {
                        return;
                    }
                }
                self.tally.hashed(next - from);
                if let Some(throttle) = &mut self.throttle {
                    thread::sleep(throttle.pause(next - from, Instant::now()));
                }
            }
        }
        tracing::debug!(job = job.id, thread = self.number, "nothing left to hash; waiting for the next job");
    }
}
