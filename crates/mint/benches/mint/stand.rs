//! What is measured: a node on regtest, a journal, and the mint as a child process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use poolbox_accounting::{Identity, Mode, Network, Owner, Work};
use poolbox_api::{Client, mint as api};
use poolbox_journal::{Journal, NewShare};
use poolbox_testnode::TestNode;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// How long a step may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(120);

/// The stand; everything ends with it.
pub struct Stand {
    pub node: TestNode,
    dir: TempDir,
    port: u16,
    mint: Option<Child>,
    /// Where a block pays the mint.
    pub address: String,
}

impl Stand {
    /// A node with a few blocks, and a mint that is initialised and not started.
    pub fn new() -> Result<Self> {
        let node = TestNode::regtest();
        node.mine(3);
        let dir = tempfile::Builder::new().prefix("pbb").tempdir_in("/tmp")?;
        let port = poolbox_service::free_port()?;
        let settings = format!(
            "network = 'regtest'\ndata_dir = '{dir}/mint'\njournal = '{dir}/journal'\nlisten = '127.0.0.1:{port}'\n\
             [node]\nrpc_port = {rpc}\ncookie_file = '{cookie}'\n[epochs]\nconfirmations = 1\n",
            dir = dir.path().display(),
            rpc = node.rpc_url().rsplit(':').next().context("the node's URL has no port")?,
            cookie = node.cookie_file().display(),
        );
        std::fs::write(dir.path().join("mint.toml"), settings)?;
        let mut stand = Self { node, dir, port, mint: None, address: String::new() };
        ensure!(stand.command().arg("init").status()?.success(), "poolbox-mint init failed");
        let descriptor = std::fs::read_to_string(stand.path("mint/coinbase.descriptor"))?;
        let derived = stand.node.cli(&["deriveaddresses", descriptor.trim(), "[0,0]"]);
        stand.address = derived[0].as_str().context("the descriptor has no address")?.to_owned();
        Ok(stand)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The pool's journal; every group of shares goes to the queue at once.
    pub fn journal(&self) -> Result<Journal> {
        Ok(Journal::open_queueing_every(Duration::ZERO, self.path("journal"), Network::Regtest)?)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_poolbox-mint"));
        command.arg("--config").arg(self.path("mint.toml")).env("POOLBOX_LOG", "warn");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts the mint; it answers when this returns.
    pub async fn start(&mut self) -> Result<()> {
        self.mint = Some(self.command().spawn().context("start poolbox-mint")?);
        self.until("the mint answers", PATIENCE, async |stand| Ok(stand.status().await.is_ok())).await
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        Ok(Client::new(self.path("mint/mint.sock"))?.get(path).await?)
    }

    pub async fn status(&self) -> Result<api::Status> {
        self.get(api::STATUS).await
    }

    /// Waits until `condition` holds.
    pub async fn until(
        &self,
        what: &str,
        patience: Duration,
        condition: impl AsyncFn(&Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !condition(self).await? {
            if Instant::now() > deadline {
                bail!("waited {} s in vain until {what}", patience.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// User and system time that the mint has used, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let pid = self.mint.as_ref().context("the mint does not run")?.id();
        let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|ticks| ticks.parse::<f64>().ok());
        // utime and stime, in hundredths of a second on every Linux.
        Ok((ticks(11).context("no utime")? + ticks(12).context("no stime")?) / 100.0)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if let Some(mut mint) = self.mint.take() {
            let _ = mint.kill();
            let _ = mint.wait();
        }
    }
}

/// A share of `owner`, the `n`-th, worth `ehash`; one that solves a block has its height and hash.
pub fn share(owner: &Arc<Identity>, n: u64, ehash: u64, block: Option<(u32, BlockHash)>) -> NewShare {
    NewShare {
        identity: Arc::clone(owner),
        work: Work::from_ehash(ehash),
        hash: block.map_or_else(|| BlockHash::hash(&n.to_be_bytes()), |(_, hash)| hash),
        at_ms: 1_700_000_000_000 + n,
        block_height: block.map(|(height, _)| height),
        mode: Mode::Pool,
    }
}

/// A miner of an owner.
pub fn miner(owner: &str) -> Result<Arc<Identity>> {
    let owner = Owner::parse(owner, Network::Regtest).with_context(|| format!("owner {owner}"))?;
    Ok(Arc::new(Identity { owner, worker: "rig".to_owned() }))
}
