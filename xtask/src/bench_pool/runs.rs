//! The runs: a server started on its core, the load on another, and the figures of the cases.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::cases::{Case, Run};
use super::report::{Figure, Row};
use super::servers::{Server, Side, Stage, same_server, start};
use super::spread::{Spread, median, spreads};
use crate::rig::{Load, LoadReport, Process, Usage};
use crate::terminal::say;

/// Miners at full speed, and the shares that each has under way.
const FULL_SPEED: (u32, u32) = (50, 64);
/// The rate of the latency run, shares a second from as many connections.
const STEADY: u32 = 1_000;
/// Blocks come no faster than that.
const BETWEEN_BLOCKS: Duration = Duration::from_millis(1_500);
/// The server's memory is given back within this time, or not at all.
const SETTLING: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);
/// A server that uses less than this time in so long has nothing left to do.
const QUIET_CPU: Duration = Duration::from_millis(20);
const QUIET_FOR: Duration = Duration::from_millis(250);
/// Sv1 shares a second, the first that does not need the whole core.
const SV1_RATES: [u32; 3] = [15_000, 7_500, 3_000];
/// Below this part of its core the server was not what limited the run.
const BUSY: f64 = 0.9;

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Whether this is for trying out.
    pub quick: bool,
    throughput_s: u32,
    latency_s: u32,
    idle_s: u32,
    blocks_s: u32,
    /// A part of the connections.
    fewer: u32,
}

impl Pace {
    /// For results.
    pub const FULL: Self =
        Self { quick: false, throughput_s: 10, latency_s: 20, idle_s: 10, blocks_s: 25, fewer: 1 };
    /// For trying out.
    pub const QUICK: Self =
        Self { quick: true, throughput_s: 2, latency_s: 3, idle_s: 4, blocks_s: 6, fewer: 10 };
}

/// The bench, and what it found so far.
pub struct Bench<'a> {
    stage: Stage<'a>,
    pace: Pace,
    found: BTreeMap<(Side, Run), Result<Found, String>>,
}

/// What one run on one side yields.
#[derive(Default)]
struct Found {
    figures: BTreeMap<&'static str, f64>,
    notes: Vec<String>,
    report: Value,
}

impl<'a> Bench<'a> {
    /// Nothing measured yet.
    pub fn new(stage: Stage<'a>, pace: Pace) -> Self {
        Self { stage, pace, found: BTreeMap::new() }
    }

    /// Runs what the cases need. What fails twice is told in its rows and does not stop the rest.
    pub fn run(&mut self, cases: &[&Case]) {
        for side in [Side::Ours, Side::Peer] {
            let mut server: Option<(Run, Server)> = None;
            for run in Run::ALL.into_iter().filter(|run| cases.iter().any(|case| case.run == *run)) {
                say(&format!("{}: {run:?}", side.name()));
                let kept = server.take().filter(|(before, _)| same_server(side, *before, run));
                let mut tried = self.attempt(side, run, kept.map(|(_, server)| server));
                if let Err(error) = &tried {
                    say(&format!("{}: {run:?} is tried once more: {error:#}", side.name()));
                    tried = self.attempt(side, run, None);
                }
                let found = tried.map(|(found, used)| {
                    server = Some((run, used));
                    found
                });
                self.found.insert((side, run), found.map_err(|error| format!("{error:#}")));
            }
        }
    }

    /// One run, on this server or on a new one, which is given back.
    fn attempt(&self, side: Side, run: Run, server: Option<Server>) -> Result<(Found, Server)> {
        let mut server = server.map_or_else(|| start(&self.stage, side, run), Ok)?;
        let found = self.measure(side, run, &mut server).with_context(|| server.last_words())?;
        Ok((found, server))
    }

    /// A case with what was found.
    pub fn row(&self, case: &'static Case) -> Row {
        let figure = |side| -> Figure {
            let found =
                self.found.get(&(side, case.run)).ok_or("was not run")?.as_ref().map_err(Clone::clone)?;
            found.figures.get(case.name).copied().ok_or_else(|| "was not measured".into())
        };
        let mut notes = Vec::new();
        for side in [Side::Ours, Side::Peer] {
            if let Some(Ok(found)) = self.found.get(&(side, case.run)) {
                notes.extend(found.notes.iter().map(|note| format!("{}: {note}", side.name())));
            }
        }
        Row::new(case, figure(Side::Ours), figure(Side::Peer), notes)
    }

    /// What the load generator reported, by side and run.
    pub fn reports(&self) -> Value {
        let mut reports = Map::new();
        for ((side, run), found) in &self.found {
            if let Ok(found) = found {
                reports.insert(format!("{}_{run:?}", side.name()).to_lowercase(), found.report.clone());
            }
        }
        Value::Object(reports)
    }

    fn measure(&self, side: Side, run: Run, server: &mut Server) -> Result<Found> {
        let Pace { throughput_s, latency_s, idle_s, blocks_s, .. } = self.pace;
        let (miners, window) = FULL_SPEED;
        let load = Load {
            url: server.url.clone(),
            authority: server.authority.clone(),
            mode: "throughput",
            channel: if run == Run::Standard { "standard" } else { "extended" },
            connections: miners,
            seconds: throughput_s,
            rate: None,
            window: Some(window),
        };
        let quiet = Load { window: None, connections: self.connections(STEADY), ..load.clone() };
        match run {
            Run::Extended => {
                self.throughput(&load, server, "extended_shares_per_s", "extended_cpu_us_per_share")
            }
            Run::Standard => {
                self.throughput(&load, server, "standard_shares_per_s", "standard_cpu_us_per_share")
            }
            Run::Batched => {
                self.throughput(&load, server, "batched_shares_per_s", "batched_cpu_us_per_share")
            }
            Run::Sv1 => self.sv1(side, &load, server),
            Run::Latency => {
                let rate = Some(quiet.connections);
                self.latency(&Load { mode: "latency", seconds: latency_s, rate, ..quiet }, server)
            }
            Run::Idle => self.idle(&Load { mode: "idle", seconds: idle_s, ..quiet }, server),
            Run::Blocks1000 => {
                let load = Load { mode: "jobs", seconds: blocks_s, ..quiet };
                self.blocks(&load, server, "block_1000_ms").map(|(found, _)| found)
            }
            Run::Blocks5000 => {
                let connections = self.connections(5_000);
                let load = Load { mode: "jobs", seconds: blocks_s, connections, ..quiet };
                let before = server.usage()?;
                let (mut found, peak) = self.blocks(&load, server, "block_5000_ms")?;
                let after = self.usage_after(server)?;
                found.figures.insert("memory_kept_mb", kept_kb(before, after) / 1e3);
                found.notes.push(format!("{:.0} MB at its height", kept_kb(before, peak) / 1e3));
                Ok(found)
            }
        }
    }

    fn connections(&self, wanted: u32) -> u32 {
        wanted / self.pace.fewer
    }

    fn throughput(
        &self,
        load: &Load<'_>,
        server: &mut Server,
        rate: &'static str,
        cpu: &'static str,
    ) -> Result<Found> {
        let before = server.usage()?;
        let report = self.load(load, server)?;
        let used = self.cpu_when_quiet(server)?.saturating_sub(before.cpu);
        let acknowledged = report.figure("acknowledged")?;
        let mut found = Found::of(report)?;
        found.figures.insert(rate, found.number("shares_per_s")?);
        found.figures.insert(cpu, used.as_secs_f64() * 1e6 / acknowledged);
        let busy = used.as_secs_f64() / found.number("seconds")?;
        if busy < BUSY {
            found.notes.push(format!(
                "the server used {:.0} % of its core: the load, or other work on this machine, limits",
                busy * 100.0
            ));
        }
        Ok(found)
    }

    fn latency(&self, load: &Load<'_>, server: &mut Server) -> Result<Found> {
        let mut found = Found::of(self.load(load, server)?)?;
        found.figures.insert("ack_p50_ms", found.number("ack_us.p50")? / 1e3);
        found.figures.insert("ack_p99_ms", found.number("ack_us.p99")? / 1e3);
        Ok(found)
    }

    /// Sv1. The translator acknowledges a share before the pool has seen it, and forgets what is under way
    /// when a miner leaves. So what its programs do at full speed cannot be seen, only what a share costs at
    /// a rate that they keep up with; that is near all they can do, and tells how much one core carries.
    fn sv1(&self, side: Side, load: &Load<'_>, server: &mut Server) -> Result<Found> {
        let (rate, cpu, steady_cpu) =
            ("sv1_shares_per_s", "sv1_cpu_us_per_share", "sv1_steady_cpu_us_per_share");
        let ours = side == Side::Ours;
        let mut found = if ours { self.throughput(load, server, rate, cpu)? } else { Found::default() };
        for steady in SV1_RATES {
            let before = server.usage()?;
            let steady = Load { mode: "latency", rate: Some(steady), window: None, ..load.clone() };
            let report = self.load(&steady, server)?;
            let used = self.cpu_when_quiet(server)?.saturating_sub(before.cpu).as_secs_f64();
            let (acknowledged, seconds) = (report.figure("acknowledged")?, report.figure("seconds")?);
            if used / seconds > BUSY {
                continue;
            }
            let each = used * 1e6 / acknowledged;
            found.figures.insert(steady_cpu, each);
            found.notes.push(format!("steady: {:.0} shares/s", acknowledged / seconds));
            if !ours {
                found.figures.extend([(cpu, each), (rate, 1e6 / each)]);
                found.notes.push("shares/s computed: what one core carries at that cost".into());
                found.report = report.0;
            }
            return Ok(found);
        }
        bail!("it keeps up with none of {SV1_RATES:?} shares/s")
    }

    /// Memory before, with everybody connected, and after.
    fn idle(&self, load: &Load<'_>, server: &mut Server) -> Result<Found> {
        let before = server.usage()?;
        let mut generator = self.generate(load)?;
        load.wait_until_connected(&mut generator, PATIENCE)?;
        let mut peak = before;
        while generator.ended()?.is_none() {
            server.must_run()?;
            peak = peak.larger(server.usage()?);
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut found = Found::of(LoadReport::of(generator)?)?;
        let after = self.usage_after(server)?;
        let each = kept_kb(before, peak) / f64::from(load.connections);
        found.figures.insert("memory_kb_per_connection", each);
        let (base, kept) = (before.resident_kb as f64 / 1e3, kept_kb(before, after) / 1e3);
        found.notes.push(format!("{base:.1} MB before, {kept:.1} MB kept after"));
        Ok(found)
    }

    /// Mines blocks while the load watches, and gives the server's largest usage as well.
    fn blocks(&self, load: &Load<'_>, server: &mut Server, name: &'static str) -> Result<(Found, Usage)> {
        let mut generator = self.generate(load)?;
        load.wait_until_connected(&mut generator, PATIENCE)?;
        let (mut peak, mut mined) = (server.usage()?, Instant::now());
        while generator.ended()?.is_none() {
            server.must_run()?;
            peak = peak.larger(server.usage()?);
            if mined.elapsed() >= BETWEEN_BLOCKS {
                mined = Instant::now();
                self.stage.chain.mine(1)?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let report = LoadReport::of(generator)?;
        let spreads = spreads(&self.stage.chain.new_blocks()?, &report.jobs(), u64::from(load.connections));
        let mut found = Found::of(report)?;
        let ms = |of: fn(&Spread) -> u64| median(spreads.iter().map(|s| of(s) as f64 / 1e3).collect());
        let last = ms(|spread| spread.last_us).context("no new block reached every connection")?;
        found.figures.insert(name, last);
        let worst = spreads.iter().map(|spread| spread.last_us).max().unwrap_or_default() as f64 / 1e3;
        found.notes.push(format!(
            "median of {} blocks; worst {worst:.1} ms; first connection after {:.1} ms; from the node's new tip {:.1} ms",
            spreads.len(),
            ms(|spread| spread.first_us).unwrap_or_default(),
            ms(|spread| spread.from_tip_us).unwrap_or_default(),
        ));
        Ok((found, peak))
    }

    fn generate(&self, load: &Load<'_>) -> Result<Process> {
        load.start(self.stage.rig, &self.stage.programs.miner, self.stage.cores.load)
    }

    fn load(&self, load: &Load<'_>, server: &mut Server) -> Result<LoadReport> {
        let mut generator = self.generate(load)?;
        while generator.ended()?.is_none() {
            server.must_run()?;
            std::thread::sleep(Duration::from_millis(50));
        }
        LoadReport::of(generator)
    }

    /// The time on cores that the server has used once it has nothing left to do.
    fn cpu_when_quiet(&self, server: &mut Server) -> Result<Duration> {
        let start = Instant::now();
        let mut last = server.usage()?.cpu;
        loop {
            std::thread::sleep(QUIET_FOR);
            server.must_run()?;
            let now = server.usage()?.cpu;
            if now.saturating_sub(last) <= QUIET_CPU || start.elapsed() > PATIENCE {
                return Ok(now);
            }
            last = now;
        }
    }

    fn usage_after(&self, server: &mut Server) -> Result<Usage> {
        std::thread::sleep(SETTLING);
        server.must_run()?;
        server.usage()
    }
}

impl Found {
    fn of(report: LoadReport) -> Result<Self> {
        let (refused, submitted) = (report.refused(), report.figure("submitted")?);
        let mut found = Self { report: report.0, ..Self::default() };
        if refused > 0 {
            found.notes.push(format!("{refused} of {submitted} shares refused"));
        }
        Ok(found)
    }

    fn number(&self, name: &str) -> Result<f64> {
        LoadReport(self.report.clone()).figure(name)
    }
}

fn kept_kb(before: Usage, after: Usage) -> f64 {
    after.resident_kb.saturating_sub(before.resident_kb) as f64
}
