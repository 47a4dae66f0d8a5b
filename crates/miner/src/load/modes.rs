//! What is sent when.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::load::options::{LoadOptions, Mode};
use crate::load::report::Report;
use crate::load::swarm::Swarm;
use crate::load::talker::Talker;

/// How long answers are waited for after the end.
const DRAIN: Duration = Duration::from_secs(5);
/// The longest that the network is waited for at once.
const LONGEST: Duration = Duration::from_millis(500);

/// What was measured between start and end.
pub struct Measured {
    /// How long that was.
    pub time: Duration,
    /// Processor time that the generator used.
    pub cpu: Duration,
    /// Shares that were acknowledged.
    pub acknowledged: u64,
    /// How long it took to connect.
    pub connecting: Duration,
    /// When the generator's clock was started, since 1970.
    pub epoch: Duration,
}

/// Connects, puts the load on, waits for the last answers.
pub fn measure<T: Talker>(options: &LoadOptions, talker: impl Fn(usize) -> T) -> anyhow::Result<Report> {
    let mut swarm = Swarm::open(options, talker)?;
    let connecting = swarm.elapsed();
    tracing::info!(connections = swarm.len(), milliseconds = connecting.as_millis(), "connected");
    // Blocks found meanwhile reached only those who were there.
    swarm.tally.blocks.clear();
    swarm.prepare();
    let (start, cpu) = (swarm.elapsed(), cpu_time());
    let end = start + options.time();
    match options.mode {
        Mode::Throughput => throughput(&mut swarm, options.window, end)?,
        Mode::Latency => latency(&mut swarm, options.rate, start, end)?,
        // Awake all the time: on loopback it is the sender that pays for waking a reader, as no network does.
        Mode::Jobs => idle(&mut swarm, end, Duration::ZERO)?,
        Mode::Idle => idle(&mut swarm, end, LONGEST)?,
    }
    let measured = Measured {
        time: swarm.elapsed() - start,
        cpu: cpu_time() - cpu,
        acknowledged: swarm.tally.acknowledged,
        connecting,
        epoch: swarm.epoch(),
    };
    let last = swarm.elapsed() + DRAIN;
    while swarm.waiting() > 0 && swarm.elapsed() < last {
        swarm.turn(Duration::from_millis(50))?;
    }
    Ok(Report::new(options, &measured, swarm.tally))
}

/// Each connection sends as fast as its shares are answered.
fn throughput<T: Talker>(swarm: &mut Swarm<T>, window: u32, end: Duration) -> anyhow::Result<()> {
    for number in 0..swarm.len() {
        swarm.fill(number, window)?;
    }
    while let Some(left) = end.checked_sub(swarm.elapsed()) {
        swarm.turn(left.min(LONGEST))?;
        swarm.top_up(window)?;
    }
    Ok(())
}

/// All connections in turn send one share each, `rate` a second in all, answered or not.
fn latency<T: Talker>(swarm: &mut Swarm<T>, rate: u32, start: Duration, end: Duration) -> anyhow::Result<()> {
    let due = |share: u64| start + Duration::from_nanos(share * 1_000_000_000 / u64::from(rate));
    let mut share = 0;
    loop {
        let now = swarm.elapsed();
        if now >= end {
            return Ok(());
        }
        while due(share) <= now {
            swarm.submit(share as usize % swarm.len(), 1)?;
            share += 1;
        }
        swarm.turn(due(share).min(end).saturating_sub(swarm.elapsed()))?;
    }
}

/// Nothing is sent but what the protocol asks for.
fn idle<T: Talker>(swarm: &mut Swarm<T>, end: Duration, rest: Duration) -> anyhow::Result<()> {
    while let Some(left) = end.checked_sub(swarm.elapsed()) {
        swarm.turn(left.min(rest))?;
    }
    Ok(())
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}
