//! What the tests stand on: a real node, the real `poolbox-pool` and `poolbox-miner` as child processes,
//! and a miner written out by hand. Whatever is left running when a test ends is ended.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure here is the failure of a test"
)]
#![allow(dead_code, reason = "each test file uses its part")]

mod miner;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use poolbox_accounting::Network;
use poolbox_api::pool::{self, Status};
use poolbox_api::{Client, ClientError};
use poolbox_testnode::TestNode;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use miner::Miner;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Pays the public key one, which is everybody's.
const EVERYBODYS: &str = "wpkh(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)";

/// A pool, running or not, in a directory of its own.
pub struct Pool {
    dir: TempDir,
    child: Option<Child>,
}

impl Pool {
    /// A pool on `node` in mode pool. `settings` come first in its settings file.
    pub fn new(node: &TestNode, settings: &str) -> Self {
        let settings = format!("coinbase_descriptor_file = 'descriptor'\n{settings}");
        Self::with(node, &settings, &format!("ipc_socket = '{}'", node.socket().display()))
    }

    /// The same in mode solo.
    pub fn solo(node: &TestNode, settings: &str) -> Self {
        let settings = format!("mode = 'solo'\n{settings}");
        Self::with(node, &settings, &format!("ipc_socket = '{}'", node.socket().display()))
    }

    /// One whose jobs come from a template provider.
    pub fn on_provider(node: &TestNode, address: &str, authority_key: &str) -> Self {
        let provider =
            format!("[template_provider]\naddress = '{address}'\nauthority_key = '{authority_key}'");
        Self::with(node, "coinbase_descriptor_file = 'descriptor'", &provider)
    }

    /// One in mode proxy, as `user` of the pool at `url`; more of `[upstream]` may follow `user`.
    pub fn proxy(node: &TestNode, settings: &str, url: &str, user: &str) -> Self {
        let (user, more) = user.split_once('\n').unwrap_or((user, ""));
        let upstream = format!("[upstream]\nurl = '{url}'\nuser = '{user}'\npassword = 'hunter2'\n{more}");
        Self::with(node, &format!("mode = 'proxy'\n{settings}"), &upstream)
    }

    /// `settings` come first, `source` last, after what `[node]` has anyhow.
    fn with(node: &TestNode, settings: &str, source: &str) -> Self {
        // Not $TMPDIR: the path of a unix socket may have 107 bytes.
        let dir = tempfile::Builder::new().prefix("pbp").tempdir_in("/tmp").unwrap();
        std::fs::write(dir.path().join("descriptor"), EVERYBODYS).unwrap();
        let network: Network = node.network();
        let text = format!(
            "network = '{network}'\ndata_dir = '{}'\nlog_file = '{}'\n{settings}\n\
             [stratum_v1]\nlisten = '127.0.0.1:0'\n[stratum_v2]\nlisten = '127.0.0.1:0'\n\
             [node]\nrpc_port = {}\ncookie_file = '{}'\n{source}\n",
            dir.path().join("data").display(),
            dir.path().join("log").display(),
            node.rpc_url().rsplit(':').next().unwrap(),
            node.cookie_file().display(),
        );
        std::fs::write(dir.path().join("pool.toml"), text).unwrap();
        Self { dir, child: None }
    }

    /// Where it keeps its files.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Has it listen for Sv1 miners where it does now, also when it is started again.
    pub fn keep_address(&self, status: &Status) {
        let path = self.dir.path().join("pool.toml");
        let address = status.stratum_v1.strip_prefix("stratum+tcp://").unwrap();
        let text = std::fs::read_to_string(&path).unwrap().replacen("127.0.0.1:0", address, 1);
        std::fs::write(path, text).unwrap();
    }

    /// Starts it and waits until it answers.
    pub async fn start(&mut self) -> Status {
        let mut command = Command::new(env!("CARGO_BIN_EXE_poolbox-pool"));
        command.args(["--config", "pool.toml"]).current_dir(self.dir.path()).env_remove("POOLBOX_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        self.until("the pool answers", |_| true).await
    }

    /// Starts it and waits until it has work.
    pub async fn start_with_work(&mut self) -> Status {
        self.start().await;
        self.until("the pool has work", |status| status.job.is_some()).await
    }

    /// Ends it the hard way.
    pub fn kill_nine(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        child.wait().unwrap()
    }

    /// What it says of itself.
    pub async fn status(&self) -> Result<Status, ClientError> {
        Client::new(self.data().join("pool.sock"))?.get(pool::STATUS).await
    }

    /// Asks until the answer is yes.
    pub async fn until(&self, what: &str, mut ask: impl FnMut(&Status) -> bool) -> Status {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if let Ok(status) = &status
                && ask(status)
            {
                return status.clone();
            }
            if Instant::now() > deadline {
                panic!("not within {PATIENCE:?}: {what}; {status:#?}; its log:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Its page of metrics, with the head of the answer.
    pub fn metrics(&self) -> String {
        let mut stream = UnixStream::connect(self.data().join("pool.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: pool\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// What it wrote into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A new connection to its Sv1 port.
    pub async fn miner(&self) -> Miner {
        let url = self.status().await.unwrap().stratum_v1;
        Miner::connect(url.strip_prefix("stratum+tcp://").unwrap()).await
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // A test failed; it may be ending this moment.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A running `poolbox-miner`, ended on drop.
pub struct RealMiner(Child);

impl RealMiner {
    /// Mines with one thread at `hashrate`, such as `500k`.
    pub fn start(url: &str, user: &str, hashrate: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(bin_dir().join("poolbox-miner"));
        command.args(["--url", url, "--user", user, "--threads", "1", "--max-hashrate", hashrate]);
        command.args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("POOLBOX_BIN_DIR holds poolbox-miner"))
    }
}

impl Drop for RealMiner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bin_dir() -> PathBuf {
    match std::env::var_os("POOLBOX_BIN_DIR") {
        Some(path) => path.into(),
        None => {
            panic!("POOLBOX_BIN_DIR is not set: run `cargo xtask test`, which builds what the tests need")
        }
    }
}

/// Names of the files in a directory.
pub fn files(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}
