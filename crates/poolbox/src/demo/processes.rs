//! The processes of the demo's box: started in order, watched, stopped in reverse.

use std::process::ExitStatus;

use anyhow::{Context, anyhow, bail};
use tokio::process::Command;

use super::child::Child;
use super::devnet::Devnet;
use super::setup::Ready;

/// The two miners: names as an owner would type them.
pub const MINERS: [(&str, &str); 2] = [("miner-one", "garage.one"), ("miner-two", "attic.two")];
/// Together a block every ten seconds at devnet's first difficulty.
const GENTLE: &str = "240k";

/// Every process of the box.
pub struct Processes {
    /// Files and ports.
    pub ready: Ready,
    /// The node's RPC.
    pub devnet: Devnet,
    /// In the order they were started.
    children: Vec<Child>,
    miners: Vec<Child>,
}

impl Processes {
    /// None is started yet.
    pub fn new(ready: Ready) -> Self {
        let devnet = Devnet::new(&ready);
        Self { ready, devnet, children: Vec::new(), miners: Vec::new() }
    }

    /// Starts the node; it does not answer yet.
    pub fn start_node(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.ready.node);
        command.arg(format!("-datadir={}", self.ready.node_dir().display()));
        self.start("node", command)
    }

    /// Makes the mint's seed at the first start, then starts mint and pool.
    pub async fn start_mint_and_pool(&mut self) -> anyhow::Result<()> {
        let mut init = Command::new(self.ready.program("poolbox-mint"));
        init.arg("init").arg("--config").arg(self.ready.settings("mint")).kill_on_drop(true);
        let output = init.output().await.context("start poolbox-mint init")?;
        if !output.status.success() {
            bail!("poolbox-mint init: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        for process in ["mint", "pool"] {
            let mut command = Command::new(self.ready.program(&format!("poolbox-{process}")));
            command.arg("--config").arg(self.ready.settings(process));
            self.start(process, command)?;
        }
        Ok(())
    }

    /// Starts the miners anew: gently, or as fast as the machine can.
    pub async fn start_miners(&mut self, full_speed: bool) -> anyhow::Result<()> {
        for miner in self.miners.drain(..) {
            miner.stop().await;
        }
        for (name, user) in MINERS {
            let mut command = Command::new(self.ready.program("poolbox-miner"));
            let url = format!("stratum+tcp://127.0.0.1:{}", self.ready.stratum_port);
            command.args(["--url", &url, "--user", user, "--threads", "1"]);
            if !full_speed {
                command.args(["--max-hashrate", GENTLE]);
            }
            self.miners.push(Child::start(name, command, &self.ready.place.logs())?);
        }
        Ok(())
    }

    fn start(&mut self, name: &'static str, command: Command) -> anyhow::Result<()> {
        self.children.push(Child::start(name, command, &self.ready.place.logs())?);
        Ok(())
    }

    /// Returns when a process ends that should run: why the demo cannot go on.
    pub async fn watch(&mut self) -> anyhow::Error {
        let all = self.children.iter_mut().chain(&mut self.miners);
        let waits: Vec<_> = all.map(|child| Box::pin(async { (child.name, child.wait().await) })).collect();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        let ((name, status), ..) = futures::future::select_all(waits).await;
        let status = status.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string());
        let log = self.ready.place.logs().join(format!("{name}.log"));
        let last = std::fs::read_to_string(&log).unwrap_or_default();
        let last = last.lines().last().unwrap_or("it wrote nothing").to_owned();
        anyhow!("{name} ended ({status}): {last}; its log is {}", log.display())
    }

    /// Says what runs where.
    pub fn announce(&self) {
        let Ready { place, stratum_port, mint_port, .. } = &self.ready;
        eprintln!();
        eprintln!("The box runs on devnet. Ctrl-C stops it; the next start goes on with this chain.");
        eprintln!("  miners    stratum+tcp://127.0.0.1:{stratum_port}   any user name, as garage.bitaxe");
        eprintln!(
            "  wallets   http://127.0.0.1:{mint_port}             every unit: http://127.0.0.1:{mint_port}/ehash"
        );
        let state = place.root().display();
        eprintln!("  look      poolbox --state {state} status");
        eprintln!("            poolbox --state {state} logs --follow");
        eprintln!("  claim     poolbox --state {state} claim garage");
    }

    /// Stops everything, the last started first.
    pub async fn stop(self) {
        for child in self.miners.into_iter().chain(self.children.into_iter().rev()) {
            child.stop().await;
        }
    }
}
