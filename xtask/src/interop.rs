//! `cargo xtask interop`: the pool together with programs that were not written here. Each check starts real
//! programs on devnet and tells what it saw.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lexopt::{Arg, ValueExt};
use serde_json::{Map, Value, json};

use crate::build_log::BuildLog;
use crate::failure::{bad_flag, usage};
use crate::rig::{AUTHORITY, Chain, Launch, Network, OurPool, OurSettings, Process, Rig, Translator, wait};
use crate::setup::Ready;
use crate::terminal::{LiveLine, say, spoken};
use crate::workspace::cargo;
use crate::{cache, peers, setup};

const HELP: &str = "\
cargo xtask interop [--json] [--only CHECK]…

The pool together with programs that were not written here, on devnet. Says what each check saw; fails
when one does. --json prints an object on standard output as well. Under ten minutes, not counting what
is built first. The checks:
";

/// What a check is told.
struct Stage<'a> {
    rig: &'a Rig,
    chain: &'a Chain,
    pool: &'a OurPool,
    miner: &'a Path,
    root: &'a Path,
}

/// One check: gives what it saw, or fails.
#[derive(Debug)]
struct Check {
    name: &'static str,
    what: &'static str,
    run: fn(&Stage<'_>) -> Result<Value>,
}

const CHECKS: [Check; 2] = [
    Check {
        name: "translator",
        what: "an Sv1 miner behind translator_sv2 finds shares and blocks at our Sv2 port",
        run: translator,
    },
    Check {
        name: "roles-logic",
        what: "a miner on the older, independent stack roles_logic_sv2 5.0.0 finds shares at our Sv2 port",
        run: roles_logic,
    },
];

/// Runs the command.
pub fn run(arguments: &[OsString]) -> Result<()> {
    let Some((chosen, json)) = parse(arguments)? else {
        print!("{HELP}");
        CHECKS.iter().for_each(|check| println!("  {:12} {}", check.name, check.what));
        return Ok(());
    };
    let ready = setup::everything()?;
    ready.workspace.build_binaries(&[])?;
    let start = Instant::now();
    let rig = Rig::new()?;
    let (mut seen, mut failed) = (Map::new(), Vec::new());
    for check in chosen {
        say(&format!("{}: {}", check.name, check.what));
        match stage_and_run(&rig, &ready, check) {
            Ok(saw) => {
                say(&format!("{}: passed: {saw}", check.name));
                seen.insert(check.name.into(), json!({ "passed": true, "saw": saw }));
            }
            Err(error) => {
                say(&format!("{}: FAILED: {error:#}", check.name));
                failed.push(check.name);
                seen.insert(check.name.into(), json!({ "passed": false, "error": format!("{error:#}") }));
            }
        }
    }
    if json {
        println!("{}", Value::Object(seen));
    }
    if !failed.is_empty() {
        bail!("failed: {}; {}", failed.join(", "), rig.keep());
    }
    say(&format!("all passed, in {}.", spoken(start.elapsed())));
    Ok(())
}

/// Each check has a node and a pool of its own: what one leaves behind means nothing to the next.
fn stage_and_run(rig: &Rig, ready: &Ready, check: &Check) -> Result<Value> {
    let binaries = ready.workspace.binaries();
    let chain = Chain::start(rig, &format!("node-{}", check.name), &ready.node, Network::Devnet, None)?;
    let name = format!("pool-{}", check.name);
    let program = &binaries.join("poolbox-pool");
    let pool =
        OurPool::start(rig, &chain, OurSettings { program, name: &name, free_shares: false, core: None })?;
    let miner = &binaries.join("poolbox-miner");
    (check.run)(&Stage { rig, chain: &chain, pool: &pool, miner, root: &ready.workspace.root })
}

/// Shares that the translator must bring.
const SHARES: u64 = 20;
/// Hashes a second of the miner behind it: some shares a second, and a block every few.
const MINER_SPEED: &str = "3M";
/// What the translator tells the pool of each miner, hashes a second: a share is then a million hashes.
const TOLD_SPEED: f64 = 1e5;

fn translator(stage: &Stage<'_>) -> Result<Value> {
    let program = peers::TRANSLATOR.install()?;
    let upstream = (stage.pool.stratum_v2, stage.pool.authority.as_str());
    let mut translator = Translator::start(stage.rig, &program, upstream, TOLD_SPEED, None)?;
    let url = format!("stratum+tcp://127.0.0.1:{}", translator.port);
    let words = ["--url", &url, "--user", "interop.sv1", "--threads", "1", "--max-hashrate", MINER_SPEED];
    let mut miner = stage.start("miner", stage.miner, &words, false)?;
    let saw = wait("shares and a block through the translator", Duration::from_secs(180), || {
        translator.process.must_run()?;
        miner.must_run()?;
        let saw = Saw::of(&stage.pool.status()?)?;
        Ok((saw.accepted >= SHARES && saw.blocks > 0).then_some(saw))
    })?;
    ensure!(saw.journalled >= saw.accepted, "{} shares accepted, {} on disk", saw.accepted, saw.journalled);
    ensure!(saw.sv2 > 0, "no worker came over Sv2");
    Ok(saw.json(stage.chain.height()?))
}

fn roles_logic(stage: &Stage<'_>) -> Result<Value> {
    let client = build_client(stage.root)?;
    let address = format!("127.0.0.1:{}", stage.pool.stratum_v2);
    // Whoever asks for another authority must not take us for it.
    let words = ["--address", &address, "--authority", AUTHORITY, "--seconds", "10"];
    let (status, text) = stage.start("roles-logic-stranger", &client, &words, true)?.result()?;
    let stranger: Value = serde_json::from_str(&text).context("the client printed no JSON")?;
    ensure!(
        !status.success() && stranger["opened"] == 0,
        "another authority's certificate was taken: {stranger}"
    );

    let authority = &stage.pool.authority;
    let words = ["--address", &address, "--authority", authority, "--shares", "4", "--rounds", "3"];
    let more = ["--hash-rate", "100000", "--seconds", "120"];
    let mut client = stage.start("roles-logic", &client, &[&words[..], &more].concat(), true)?;
    let mut mined = Instant::now();
    while client.ended()?.is_none() {
        if mined.elapsed() > Duration::from_secs(5) {
            stage.chain.mine(1)?;
            mined = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let (status, text) = client.result()?;
    let told: Value = serde_json::from_str(&text).context("the client printed no JSON")?;
    ensure!(status.success(), "not every channel had shares accepted: {told}");
    let saw = Saw::of(&stage.pool.status()?)?;
    let accepted = told["accepted"].as_u64().unwrap_or_default();
    ensure!(
        saw.accepted >= accepted,
        "the client was told of {accepted} shares, the pool of {}",
        saw.accepted
    );
    ensure!(saw.journalled >= accepted, "{accepted} shares acknowledged, {} on disk", saw.journalled);
    Ok(json!({ "client": told, "pool": saw.json(stage.chain.height()?) }))
}

impl Stage<'_> {
    fn start(&self, name: &str, program: &Path, words: &[&str], result: bool) -> Result<Process> {
        let arguments = words.iter().map(OsString::from).collect();
        self.rig.start(Launch { name, program, arguments, environment: &[], core: None, result })
    }
}

/// What our pool's status tells.
struct Saw {
    accepted: u64,
    rejected: u64,
    journalled: u64,
    /// Blocks that became the node's tip.
    blocks: usize,
    /// Workers that speak Sv2.
    sv2: usize,
}

impl Saw {
    fn of(status: &Value) -> Result<Self> {
        let workers = status["workers"].as_array().context("the status lists no workers")?;
        let blocks = status["blocks"].as_array().context("the status lists no blocks")?;
        let rejected = |worker: &Value| -> u64 {
            let reasons = worker["rejected"].as_object();
            reasons.map_or(0, |reasons| reasons.values().filter_map(Value::as_u64).sum())
        };
        Ok(Self {
            accepted: workers.iter().filter_map(|worker| worker["accepted"].as_u64()).sum(),
            rejected: workers.iter().map(rejected).sum(),
            journalled: status["journal"]["shares"].as_u64().context("the status tells no journal")?,
            blocks: blocks.iter().filter(|block| block["confirmed"] == true).count(),
            sv2: workers.iter().filter(|worker| worker["protocol"] == "sv2").count(),
        })
    }

    fn json(&self, height: u64) -> Value {
        let Self { accepted, rejected, journalled, blocks, sv2 } = self;
        json!({
            "accepted": accepted, "rejected": rejected, "journalled": journalled, "blocks": blocks,
            "sv2_workers": sv2, "height": height,
        })
    }
}

/// The client lives beside the workspace with a Cargo.lock of its own: its stack is another generation.
fn build_client(root: &Path) -> Result<PathBuf> {
    let name = "roles-logic-client";
    let folder = cache::folder()?.join("interop");
    let _lock = cache::lock(&folder.join(".lock"), "another build of interop clients is under way")?;
    let target = folder.join("target");
    let mut build = cargo(["build", "--release", "--locked", "--manifest-path"]);
    build.arg(root.join("interop").join(name).join("Cargo.toml")).env("CARGO_TARGET_DIR", &target);
    let (start, mut line) = (Instant::now(), LiveLine::new());
    let mut log = BuildLog::create(folder.join(format!("{name}.log")), name)?;
    log.record(build, |_| line.show(&format!("{name}: building, {}", spoken(start.elapsed()))))?;
    Ok(target.join("release").join(name))
}

fn parse(arguments: &[OsString]) -> Result<Option<(Vec<&'static Check>, bool)>> {
    let bad = |error: lexopt::Error| bad_flag(&error, "interop");
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut only, mut json, mut help) = (Vec::new(), false, false);
    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => help = true,
            Arg::Long("json") => json = true,
            Arg::Long("only") => only.push(parser.value().and_then(|value| value.string()).map_err(bad)?),
            other => return Err(bad(other.unexpected())),
        }
    }
    if let Some(name) = only.iter().find(|name| !CHECKS.iter().any(|check| check.name == *name)) {
        let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        return Err(usage(format!("--only {name}: there is no such check; use {}.", names.join(", "))));
    }
    let wanted = |check: &&Check| only.is_empty() || only.iter().any(|name| name == check.name);
    Ok((!help).then(|| (CHECKS.iter().filter(wanted).collect(), json)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<(Vec<&'static Check>, bool)>> {
        parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn all_checks_run_unless_some_are_chosen() {
        assert_eq!(parsed("").unwrap().unwrap().0.len(), CHECKS.len());
        let (chosen, json) = parsed("--json --only roles-logic").unwrap().unwrap();
        assert_eq!((chosen.len(), chosen[0].name, json), (1, "roles-logic", true));
        assert!(parsed("--help").unwrap().is_none());
        let error = parsed("--only roles").unwrap_err().to_string();
        assert_eq!(error, "--only roles: there is no such check; use translator, roles-logic.");
    }

    #[test]
    fn the_status_is_summed_up() {
        let status = json!({
            "journal": {"shares": 9},
            "workers": [
                {"accepted": 5, "rejected": {"stale": 1, "duplicate": 2}, "protocol": "sv2"},
                {"accepted": 4, "rejected": {}, "protocol": "sv1"},
            ],
            "blocks": [{"confirmed": true}, {"confirmed": false}],
        });
        let saw = Saw::of(&status).unwrap();
        assert_eq!((saw.accepted, saw.rejected, saw.journalled, saw.blocks, saw.sv2), (9, 3, 9, 1, 1));
    }
}
