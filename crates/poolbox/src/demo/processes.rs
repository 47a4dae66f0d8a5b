//! The processes of the demo's box: started in order, watched, stopped in reverse.

use std::ffi::OsString;

use anyhow::{Context, bail};
use tokio::process::Command;

use super::child::{Child, Program};
use super::devnet::Devnet;
use super::payee;
use super::setup::Ready;

/// The user name of the miner of Sv1: a name of the house, whose owner claims.
const FIRST_USER: &str = "garage.one";
/// The worker of the miner of Sv2, whose owner is an address that the mint pays by itself.
const SECOND_WORKER: &str = "two";
/// Together a block every ten seconds at devnet's first difficulty.
const GENTLE: &str = "240k";
const NODE: &str = "node";
/// File in the node's folder while it runs.
const RUNNING: &str = "running";
/// Has the node find every block again that it ever wrote.
const REINDEX: &str = "-reindex";

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
        let data_dir = format!("-datadir={}", self.ready.node_dir().display());
        let mut program =
            Program { name: NODE, path: self.ready.node.clone(), arguments: vec![data_dir.into()] };
        let running = self.ready.node_dir().join(RUNNING);
        if running.exists() {
            // It was killed, and wrote its blocks but not their index: no peer here has them for it.
            program.arguments.push(REINDEX.into());
        }
        std::fs::write(&running, "").with_context(|| format!("write {}", running.display()))?;
        let mut node = program.start(&self.ready.place.logs())?;
        node.add_argument_for_restarts(REINDEX);
        self.children.push(node);
        Ok(())
    }

    /// Makes the mint's seed at the first start, then starts mint, pool and dashboard.
    pub async fn start_mint_and_pool(&mut self) -> anyhow::Result<()> {
        let mut init = Command::new(self.ready.program("poolbox-mint"));
        init.arg("init").arg("--config").arg(self.ready.settings("mint")).kill_on_drop(true);
        let output = init.output().await.context("start poolbox-mint init")?;
        if !output.status.success() {
            bail!("poolbox-mint init: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        for name in ["mint", "pool", "dashboard"] {
            let path = self.ready.program(&format!("poolbox-{name}"));
            let arguments = vec!["--config".into(), self.ready.settings(name).into()];
            self.children.push(Program { name, path, arguments }.start(&self.ready.place.logs())?);
        }
        Ok(())
    }

    /// Starts the miners anew: gently, or as fast as the machine can.
    pub async fn start_miners(&mut self, full_speed: bool) -> anyhow::Result<()> {
        for miner in self.miners.drain(..) {
            miner.stop().await;
        }
        let payee = payee::address(&self.ready.place)?;
        let miners = [
            ("miner-one", FIRST_USER.to_owned(), self.ready.stratum_v1()),
            ("miner-two", format!("{payee}.{SECOND_WORKER}"), self.ready.stratum_v2()?),
        ];
        for (name, user, url) in miners {
            let mut arguments: Vec<OsString> =
                ["--url", &url, "--user", &user, "--threads", "1"].map(OsString::from).into();
            if !full_speed {
                arguments.extend(["--max-hashrate", GENTLE].map(OsString::from));
            }
            let program = Program { name, path: self.ready.program("poolbox-miner"), arguments };
            self.miners.push(program.start(&self.ready.place.logs())?);
        }
        Ok(())
    }

    /// Keeps every process running. Returns when one cannot be kept: why the demo cannot go on.
    pub async fn watch(&mut self) -> anyhow::Error {
        loop {
            let children = self.children.iter_mut().chain(&mut self.miners);
            let endings: Vec<_> =
                children.map(|child| Box::pin(async { (child.ended().await, child) })).collect();
            if endings.is_empty() {
                return std::future::pending().await;
            }
            let ((status, child), ..) = futures::future::select_all(endings).await;
            let name = child.name();
            let again = match status {
                Ok(status) => child.start_again(status).map(|()| status),
                Err(error) => Err(error.into()),
            };
            match again {
                Ok(status) => eprintln!("         {name} ended ({status}) and was started again"),
                Err(error) => return error,
            }
            if name == NODE {
                // Should it have lost its first block, it needs a new one before it gives work.
                let devnet = self.devnet.clone();
                tokio::spawn(async move { devnet.ready().await });
            }
        }
    }

    /// Says what runs where.
    pub fn announce(&self) {
        let Ready { place, ports, .. } = &self.ready;
        let mint = format!("http://127.0.0.1:{}", ports.mint);
        eprintln!();
        eprintln!("The box runs on devnet. Ctrl-C stops it; the next start goes on with this chain.");
        eprintln!("  miners    {}   any user name, as garage.bitaxe", self.ready.stratum_v1());
        if let Ok(url) = self.ready.stratum_v2() {
            eprintln!("            {url}");
        }
        eprintln!("  wallets   {mint}             every unit: {mint}/ehash");
        let state = place.root().display();
        eprintln!("  look      {}   in a browser", self.ready.dashboard());
        eprintln!(
            "            {}  encrypted: the browser asks about the certificate",
            self.ready.dashboard_tls()
        );
        eprintln!("            poolbox --state {state} status");
        eprintln!("            poolbox --state {state} logs --follow");
        eprintln!("  claim     poolbox --state {state} claim garage");
        eprintln!("  payouts   poolbox --state {state} payouts");
    }

    /// Stops everything, the last started first.
    pub async fn stop(self) {
        for child in self.miners.into_iter().chain(self.children.into_iter().rev()) {
            let is_node = child.name() == NODE;
            if child.stop().await && is_node {
                // Kept when it cannot be removed: the next start then only reads more.
                let _ = std::fs::remove_file(self.ready.node_dir().join(RUNNING));
            }
        }
    }
}
