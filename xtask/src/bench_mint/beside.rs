//! Whether mining is slowed: the pool's acknowledgements under a steady load, first alone, then while a
//! mint on the same machine credits a long journal.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::bench;
use crate::failure::run as run_command;
use crate::rig::{Chain, Load, LoadReport, Network, OurPool, OurSettings, Rig};
use crate::setup::Ready;
use crate::terminal::as_stderr;
use crate::workspace::cargo;

/// Miners, each with an Sv2 channel.
const MINERS: u32 = 200;
/// Shares a second of all of them.
const RATE: u32 = 500;
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures both.
pub fn measure(ready: &Ready, quick: bool) -> Result<Value> {
    let build = ["build", "--release", "--package", "poolbox-pool", "--package", "poolbox-miner"];
    run_command(cargo(build).stdout(as_stderr()?))?;
    let rig = Rig::new()?;
    let chain = Chain::start(&rig, "node", &ready.node, Network::Regtest, None)?;
    let seconds = if quick { 5 } else { 15 };
    let alone = acknowledgements(ready, &rig, &chain, "alone", seconds)?;
    let mut mint = Crediting::start(ready, quick)?;
    let with_mint = acknowledgements(ready, &rig, &chain, "with_mint", seconds)?;
    let still = mint.still_credits()?;
    mint.stop()?;
    Ok(
        json!({ "miners": MINERS, "shares_per_s": RATE, "alone": alone, "with_mint": with_mint, "mint_credited_throughout": still }),
    )
}

fn acknowledgements(ready: &Ready, rig: &Rig, chain: &Chain, name: &str, seconds: u32) -> Result<Value> {
    let program = |name: &str| ready.workspace.target.join("release").join(name);
    let settings = OurSettings { program: &program("poolbox-pool"), name, free_shares: true, core: None };
    let pool = OurPool::start(rig, chain, settings)?;
    let load = Load {
        url: format!("stratum2+tcp://127.0.0.1:{}", pool.stratum_v2),
        authority: Some(pool.authority.clone()),
        mode: "latency",
        channel: "extended",
        connections: MINERS,
        seconds,
        rate: Some(RATE),
        window: None,
    };
    let mut running = load.start(rig, &program("poolbox-miner"), None)?;
    load.wait_until_connected(&mut running, PATIENCE)?;
    let report = LoadReport::of(running)?;
    let ms = |name: &str| report.figure(name).map(|figure| (figure / 10.0).round() / 100.0);
    Ok(
        json!({ "ack_p50_ms": ms("ack_us.p50")?, "ack_p99_ms": ms("ack_us.p99")?, "refused": report.refused() }),
    )
}

/// The mint's bench while it credits.
struct Crediting(Child);

impl Crediting {
    /// Starts it and waits until the mint credits.
    fn start(ready: &Ready, quick: bool) -> Result<Self> {
        let mut command = bench(ready, quick, &["--only", "credits"]);
        if !quick {
            // Long enough that the mint credits all the while.
            command.args(["--shares", "6000000"]);
        }
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start the bench")?;
        let lines = BufReader::new(child.stderr.take().context("the bench has no output")?).lines();
        let mut told = lines.map_while(Result::ok);
        if !told.any(|line| line.contains("bench mint: crediting")) {
            bail!("the mint's bench ended before the mint credited");
        }
        // What else it says must not make it wait.
        std::thread::spawn(move || told.for_each(drop));
        Ok(Self(child))
    }

    fn still_credits(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// Waits for its end: a mint that is left behind would be nobody's.
    fn stop(mut self) -> Result<()> {
        self.0.wait().context("wait for the mint's bench")?;
        Ok(())
    }
}
