//! The runs: a server started on its core, the load on another, and the figures of the cases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::cases::{Case, Run};
use super::report::{Figure, Row};
use crate::rig::{
    AUTHORITY, Chain, Load, LoadReport, NewBlock, OurPool, OurSettings, Process, ReferencePool, Rig,
    Translator, Usage,
};
use crate::terminal::{self, say};

/// Miners at full speed, and the shares that each has under way.
const FULL_SPEED: (u32, u32) = (50, 64);
/// The rate of the latency run, shares a second from as many connections.
const STEADY: u32 = 1_000;
/// Blocks come no faster than that.
const BETWEEN_BLOCKS: Duration = Duration::from_millis(1_500);
/// A template is handed out, and its job has arrived, within this time of a new tip; else it is no new
/// block's.
const OF_THE_SAME_BLOCK_US: u64 = 5_000_000;
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

/// Who runs where.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// How many there are.
    pub count: usize,
    /// The server's.
    pub server: Option<usize>,
    /// Everything else's.
    pub load: Option<usize>,
}

impl Cores {
    /// Two of this machine's, if it has two.
    pub fn of_this_machine() -> Self {
        let count = terminal::cores();
        let core = |core| (count > 1).then_some(core);
        Self { count, server: core(0), load: core(1) }
    }
}

/// Every program that takes part; a peer may be missing, with the reason.
pub struct Programs {
    /// poolbox-pool.
    pub pool: PathBuf,
    /// poolbox-miner, the load generator.
    pub miner: PathBuf,
    /// pool_sv2.
    pub reference_pool: Result<PathBuf, String>,
    /// translator_sv2.
    pub translator: Result<PathBuf, String>,
    /// bitcoin-node.
    pub node: PathBuf,
}

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Ours,
    Peer,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
        }
    }
}

/// The bench, and what it found so far.
pub struct Bench<'a> {
    rig: &'a Rig,
    chain: &'a Chain,
    programs: &'a Programs,
    cores: Cores,
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

/// A server under load: one program or several.
struct Server {
    processes: Vec<Process>,
    url: String,
    authority: Option<String>,
}

impl<'a> Bench<'a> {
    /// Nothing measured yet.
    pub fn new(rig: &'a Rig, chain: &'a Chain, programs: &'a Programs, cores: Cores, pace: Pace) -> Self {
        Self { rig, chain, programs, cores, pace, found: BTreeMap::new() }
    }

    /// Runs what the cases need. What fails is told in its rows and does not stop the rest.
    pub fn run(&mut self, cases: &[&Case]) {
        for side in [Side::Ours, Side::Peer] {
            let mut server: Option<(Run, Server)> = None;
            for run in Run::ALL.into_iter().filter(|run| cases.iter().any(|case| case.run == *run)) {
                say(&format!("{}: {run:?}", side.name()));
                let kept = server.take().filter(|(before, _)| same_server(side, *before, run));
                let started = kept.map_or_else(|| self.start(side, run), |(_, server)| Ok(server));
                let found = started.and_then(|mut started| {
                    let found = self.measure(side, run, &mut started);
                    server = found.is_ok().then_some((run, started));
                    found
                });
                if let Err(error) = &found {
                    say(&format!("{}: {run:?}: {error:#}", side.name()));
                }
                self.found.insert((side, run), found.map_err(|error| format!("{error:#}")));
            }
        }
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

    fn start(&self, side: Side, run: Run) -> Result<Server> {
        let name = format!("{}-{run:?}", side.name()).to_lowercase();
        match side {
            Side::Ours => self.start_ours(run, &name),
            Side::Peer => self.start_peer(run, &name),
        }
    }

    fn start_ours(&self, run: Run, name: &str) -> Result<Server> {
        let program = &self.programs.pool;
        let settings = OurSettings { program, name, free_shares: true, core: self.cores.server };
        let pool = OurPool::start(self.rig, self.chain, settings)?;
        Ok(if run == Run::Sv1 {
            let url = format!("stratum+tcp://127.0.0.1:{}", pool.stratum_v1);
            Server { processes: vec![pool.process], url, authority: None }
        } else {
            let url = format!("stratum2+tcp://127.0.0.1:{}", pool.stratum_v2);
            Server { processes: vec![pool.process], url, authority: Some(pool.authority) }
        })
    }

    fn start_peer(&self, run: Run, name: &str) -> Result<Server> {
        let installed = |program: &'a Result<PathBuf, String>| -> Result<&'a Path> {
            program.as_deref().map_err(|why| anyhow::anyhow!("{why}"))
        };
        let batch = if run == Run::Batched { 10 } else { 1 };
        let program = installed(&self.programs.reference_pool)?;
        let core = self.cores.server;
        let pool = ReferencePool::start(self.rig, self.chain, program, name, batch, core)?;
        if run != Run::Sv1 {
            let url = format!("stratum2+tcp://127.0.0.1:{}", pool.port);
            return Ok(Server { processes: vec![pool.process], url, authority: Some(AUTHORITY.into()) });
        }
        let program = installed(&self.programs.translator)?;
        // Nobody's hash rate: the pool then asks for next to no work for a share.
        let translator = Translator::start(self.rig, program, (pool.port, AUTHORITY), 1e-6, core)?;
        let url = format!("stratum+tcp://127.0.0.1:{}", translator.port);
        Ok(Server { processes: vec![pool.process, translator.process], url, authority: None })
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
        let mut generator = load.start(self.rig, &self.programs.miner, self.cores.load)?;
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
        let mut generator = load.start(self.rig, &self.programs.miner, self.cores.load)?;
        load.wait_until_connected(&mut generator, PATIENCE)?;
        let (mut peak, mut mined) = (server.usage()?, Instant::now());
        while generator.ended()?.is_none() {
            server.must_run()?;
            peak = peak.larger(server.usage()?);
            if mined.elapsed() >= BETWEEN_BLOCKS {
                mined = Instant::now();
                self.chain.mine(1)?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let report = LoadReport::of(generator)?;
        let spreads = spreads(&self.chain.new_blocks()?, &report.jobs(), u64::from(load.connections));
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

    fn load(&self, load: &Load<'_>, server: &mut Server) -> Result<LoadReport> {
        let mut generator = load.start(self.rig, &self.programs.miner, self.cores.load)?;
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

/// Memory is measured on fresh servers, and settings differ for some runs.
fn same_server(side: Side, before: Run, next: Run) -> bool {
    let fresh = matches!(next, Run::Idle | Run::Blocks5000 | Run::Sv1);
    let other_settings = side == Side::Peer && (next == Run::Batched || before == Run::Batched);
    !(fresh || other_settings || before == Run::Sv1)
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

impl Server {
    fn must_run(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::must_run)
    }

    fn usage(&self) -> Result<Usage> {
        let mut all = Usage { cpu: Duration::ZERO, resident_kb: 0 };
        for process in &self.processes {
            let used = process.usage()?;
            all = Usage { cpu: all.cpu + used.cpu, resident_kb: all.resident_kb + used.resident_kb };
        }
        Ok(all)
    }
}

fn kept_kb(before: Usage, after: Usage) -> f64 {
    after.resident_kb.saturating_sub(before.resident_kb) as f64
}

/// How a new block spread: microseconds from the template to the first and last connection, and from the
/// node's new tip to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spread {
    first_us: u64,
    last_us: u64,
    from_tip_us: u64,
}

/// Matches jobs with the blocks that caused them. A job that did not reach everybody counts not at all.
fn spreads(blocks: &[NewBlock], jobs: &[(u64, u64, u64)], connections: u64) -> Vec<Spread> {
    let spread = |&(reached, first, last): &(u64, u64, u64)| {
        let block = blocks.iter().rev().find(|block| block.tip_us <= first)?;
        let whole = reached >= connections && last.saturating_sub(block.tip_us) < OF_THE_SAME_BLOCK_US;
        // A part of the template may be handed out after the first job went out: both count from there.
        whole.then(|| Spread {
            first_us: first.saturating_sub(block.template_us),
            last_us: last.saturating_sub(block.template_us),
            from_tip_us: last - block.tip_us,
        })
    };
    jobs.iter().filter_map(spread).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_belongs_to_the_block_before_it() {
        let block = |tip_us, template_us| NewBlock { tip_us, template_us };
        let blocks = [block(1_000, 9_000), block(2_000_000, 2_008_000)];
        let jobs = [(3, 10_000, 12_000), (2, 2_009_000, 2_010_000), (3, 2_009_000, 2_011_000), (3, 500, 900)];
        assert_eq!(
            spreads(&blocks, &jobs, 3),
            [
                Spread { first_us: 1_000, last_us: 3_000, from_tip_us: 11_000 },
                Spread { first_us: 1_000, last_us: 3_000, from_tip_us: 11_000 },
            ]
        );
        // A refresh long after the block is none of it.
        assert_eq!(spreads(&blocks, &[(3, 9_000_000, 9_000_100)], 3), []);
    }

    #[test]
    fn memory_is_measured_on_fresh_servers() {
        assert!(same_server(Side::Peer, Run::Extended, Run::Standard));
        assert!(!same_server(Side::Ours, Run::Latency, Run::Idle));
        assert!(!same_server(Side::Peer, Run::Blocks5000, Run::Batched));
        assert!(same_server(Side::Ours, Run::Blocks5000, Run::Batched));
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
