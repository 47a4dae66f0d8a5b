//! A simulated connection: machines that find shares at random times, a network between them and
//! the pool, and the pool's side with nothing but the difficulty and the jobs it sent.

use std::collections::VecDeque;

use poolbox_accounting::Difficulty;
use poolbox_stratum::Vardiff;
use proptest::prelude::RngCore;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// Hashes behind a share of difficulty 1.
const HASHES_AT_ONE: f64 = 4_294_967_296.0;
/// As the pool does: a job at least this often, and shares are accepted for so many jobs.
const JOB_EVERY_MS: f64 = 40_000.0;
const REMEMBERED_JOBS: usize = 128;
const TICK_MS: f64 = 1_000.0;

/// One device behind the connection.
#[derive(Clone, Debug)]
pub struct Machine {
    /// From when (in ms) it makes how many hashes a second.
    pub hashrates: Vec<(f64, f64)>,
    /// From a job's arrival until it works on it.
    pub latency_ms: f64,
    /// No device sends more shares a second, however easy they are.
    pub most_shares: f64,
}

impl Machine {
    pub fn steady(hashrate: f64) -> Self {
        Self { hashrates: vec![(0.0, hashrate)], latency_ms: 200.0, most_shares: 2_000.0 }
    }

    pub fn hashrate(&self, at_ms: f64) -> f64 {
        let now = self.hashrates.iter().rev().find(|(from, _)| *from <= at_ms);
        now.map_or(0.0, |(_, hashrate)| *hashrate)
    }

    fn next_change(&self, at_ms: f64) -> f64 {
        let later = self.hashrates.iter().map(|(from, _)| *from).find(|from| *from > at_ms);
        later.unwrap_or(f64::INFINITY)
    }
}

/// A job as a machine got it.
#[derive(Clone, Copy, Debug)]
struct Job {
    number: u64,
    difficulty: Difficulty,
}

struct Worker {
    machine: Machine,
    /// On their way to it, by arrival.
    arriving: VecDeque<(f64, Job)>,
    job: Option<Job>,
    /// When it finds a share next, or must look again because its hash rate changes.
    due_ms: f64,
    finds: bool,
}

struct Share {
    job: u64,
    /// What its hash really is worth, as a power of two.
    luck: f64,
}

/// What was seen of a connection.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// From when (in ms) which difficulty was set.
    pub difficulties: Vec<(f64, Difficulty)>,
    /// When shares arrived, in ms.
    pub shares: Vec<f64>,
    /// Honest shares that the pool refused.
    pub rejected: usize,
}

impl Record {
    pub fn until(&self, end_ms: f64) -> Vec<(f64, Difficulty)> {
        self.difficulties.iter().copied().filter(|(at, _)| *at < end_ms).collect()
    }
}

/// Machines, network and the pool's side.
pub struct Connection {
    workers: Vec<Worker>,
    vardiff: Vardiff,
    rng: TestRng,
    /// Nothing passes from `.0` to `.1` (ms); then it comes all at once.
    stalls: Vec<(f64, f64)>,
    submitted: VecDeque<(f64, Share)>,
    sent: VecDeque<Job>,
    number: u64,
    notified_ms: f64,
    record: Record,
}

impl Connection {
    pub fn open(machines: Vec<Machine>, vardiff: Vardiff, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let idle = |machine| Worker {
            machine,
            arriving: VecDeque::new(),
            job: None,
            due_ms: f64::INFINITY,
            finds: false,
        };
        let difficulty = vardiff.difficulty();
        Self {
            workers: machines.into_iter().map(idle).collect(),
            vardiff,
            rng: TestRng::from_seed(RngAlgorithm::ChaCha, &bytes),
            stalls: Vec::new(),
            submitted: VecDeque::new(),
            sent: VecDeque::new(),
            number: 0,
            notified_ms: f64::NEG_INFINITY,
            record: Record { difficulties: vec![(0.0, difficulty)], ..Record::default() },
        }
    }

    pub fn with_stalls(mut self, stalls: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.stalls = stalls.into_iter().collect();
        self
    }

    /// Lives through `hours`.
    pub fn run(mut self, hours: f64) -> Record {
        let (end, mut tick) = (hours * 3_600_000.0, 0.0);
        self.notify(0.0);
        loop {
            let found = self.workers.iter().map(Worker::next_ms).fold(f64::INFINITY, f64::min);
            let arrived = self.submitted.front().map_or(f64::INFINITY, |(at, _)| *at);
            let now = found.min(arrived).min(tick);
            if now >= end {
                return self.record;
            }
            if now == tick {
                tick += TICK_MS;
                let changed = self.vardiff.on_tick(now as u64);
                self.follow(changed, now);
                if now - self.notified_ms >= JOB_EVERY_MS {
                    self.notify(now);
                }
            } else if now == arrived {
                self.receive(now);
            } else {
                self.work(now);
            }
        }
    }

    /// Whatever is due at the machines.
    fn work(&mut self, now: f64) {
        for worker in &mut self.workers {
            if worker.next_ms() > now {
                continue;
            }
            if let Some((at, job)) = worker.arriving.front().copied()
                && at <= now
            {
                worker.arriving.pop_front();
                worker.job = Some(job);
            } else if worker.finds
                && let Some(job) = worker.job
            {
                let luck = f64::from(job.difficulty.log2()) - uniform(&mut self.rng).log2();
                let at = pass(&self.stalls, now);
                self.submitted.push_back((at, Share { job: job.number, luck }));
            }
            worker.draw(now, &mut self.rng);
        }
    }

    fn receive(&mut self, now: f64) {
        let Some((_, share)) = self.submitted.pop_front() else { return };
        let job = self.sent.iter().rev().find(|job| job.number == share.job).copied();
        let Some(job) = job.filter(|job| share.luck >= f64::from(job.difficulty.log2())) else {
            self.record.rejected += 1;
            return;
        };
        self.record.shares.push(now);
        let changed = self.vardiff.on_share(job.difficulty, now as u64);
        self.follow(changed, now);
    }

    fn follow(&mut self, changed: Option<Difficulty>, now: f64) {
        if let Some(difficulty) = changed {
            assert_eq!(difficulty, self.vardiff.difficulty());
            self.record.difficulties.push((now, difficulty));
            self.notify(now);
        }
    }

    /// Sends a job with the present difficulty.
    fn notify(&mut self, now: f64) {
        self.number += 1;
        self.notified_ms = now;
        let job = Job { number: self.number, difficulty: self.vardiff.difficulty() };
        self.sent.push_back(job);
        if self.sent.len() > REMEMBERED_JOBS {
            self.sent.pop_front();
        }
        for worker in &mut self.workers {
            worker.arriving.push_back((pass(&self.stalls, now) + worker.machine.latency_ms, job));
        }
    }
}

impl Worker {
    /// When something happens to it.
    fn next_ms(&self) -> f64 {
        self.arriving.front().map_or(f64::INFINITY, |(at, _)| *at).min(self.due_ms)
    }

    /// Chance has no memory: the next share can be drawn anew at any time.
    fn draw(&mut self, now: f64, rng: &mut TestRng) {
        let Some(job) = self.job else { return };
        let a_ms = self.machine.hashrate(now) / (job.difficulty.as_f64() * HASHES_AT_ONE) / 1_000.0;
        let share = now + (-uniform(rng).ln() / a_ms).max(1_000.0 / self.machine.most_shares);
        let change = self.machine.next_change(now);
        (self.due_ms, self.finds) = if share < change { (share, true) } else { (change, false) };
    }
}

/// When something sent at `now` is through.
fn pass(stalls: &[(f64, f64)], now: f64) -> f64 {
    stalls.iter().find(|(from, to)| (*from..*to).contains(&now)).map_or(now, |(_, to)| *to)
}

/// Above 0, up to 1.
fn uniform(rng: &mut TestRng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// Shares a minute of so many hashes a second.
pub fn per_minute(hashrate: f64, difficulty: Difficulty) -> f64 {
    60.0 * hashrate / (difficulty.as_f64() * HASHES_AT_ONE)
}
