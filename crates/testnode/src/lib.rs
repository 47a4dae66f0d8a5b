//! Real servers for tests: a bitcoin-node with a private chain, and a redis-server. Each lives in a
//! temporary directory and ends on drop.
//!
//! A development dependency only. Whatever goes wrong here is a failed test, so it panics with a
//! sentence instead of returning errors.
#![allow(clippy::expect_used, clippy::panic, reason = "a failure here is the failure of a test")]

mod process;
mod redis;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use poolbox_accounting::Network;
use serde_json::Value;
use tempfile::TempDir;

pub use process::free_port;
pub use redis::TestRedis;

/// Pays to anyone; what `mine` mines to.
const ANYONE_CAN_SPEND: &str = "raw(51)#8lvh9jxk";

/// Nonces tried before `mine` gives up on a block; devnet needs about 4.8 million.
const MAX_TRIES: &str = "400000000";

/// How long the node may take to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running (or killed) bitcoin-node with its own chain, RPC and mining IPC, and no peers.
///
/// A new chain consists of the genesis block: the node is in initial block download and gives no
/// templates until the first [`mine`](Self::mine).
pub struct TestNode {
    network: Network,
    directory: TempDir,
    rpc_port: u16,
    child: Option<Child>,
}

impl TestNode {
    /// A node on devnet: a private signet with real difficulty. The node's own miner needs some
    /// seconds a block there.
    pub fn devnet() -> Self {
        Self::start(Network::Devnet)
    }

    /// A node on regtest, where every second hash is a block.
    pub fn regtest() -> Self {
        Self::start(Network::Regtest)
    }

    fn start(network: Network) -> Self {
        // Not $TMPDIR: the path of a unix socket may have 107 bytes.
        let directory =
            tempfile::Builder::new().prefix("pbx").tempdir_in("/tmp").expect("/tmp should be writable");
        let mut node = Self { network, directory, rpc_port: 0, child: None };
        // Another process can take the free port between its choice and the node's bind.
        for _ in 0..3 {
            node.rpc_port = free_port();
            node.write_config();
            if node.spawn() {
                return node;
            }
        }
        panic!("bitcoin-node does not start; the end of its log:\n{}", node.log_tail());
    }

    /// Starts the node again after [`kill9`](Self::kill9) or [`stop`](Self::stop), with the same
    /// chain and ports. A running node is stopped first.
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.spawn(), "bitcoin-node does not restart; the end of its log:\n{}", self.log_tail());
    }

    /// Ends the node the hard way, as a power cut would (SIGKILL).
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// Ends the node by its RPC `stop` and waits for the process.
    pub fn stop(&mut self) {
        if self.child.is_some() {
            self.cli(&["stop"]);
        }
        if let Some(mut child) = self.child.take() {
            child.wait().expect("our own child can be waited for");
        }
    }

    /// The network, [`Network::Devnet`] or [`Network::Regtest`].
    pub fn network(&self) -> Network {
        self.network
    }

    /// The node's data directory.
    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// The directory of this network below the data directory.
    pub fn network_dir(&self) -> PathBuf {
        self.data_dir().join(self.network.core_name())
    }

    /// The unix socket of the mining IPC.
    pub fn socket(&self) -> PathBuf {
        self.network_dir().join("node.sock")
    }

    /// Where the RPC listens, `http://127.0.0.1:<port>`.
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rpc_port)
    }

    /// The file with the RPC's `user:password`. The node writes a new one at each start.
    pub fn cookie_file(&self) -> PathBuf {
        self.network_dir().join(".cookie")
    }

    /// Runs one bitcoin-cli command. The answer is JSON where it parses as such, else a string.
    pub fn cli(&self, args: &[&str]) -> Value {
        self.try_cli(args).unwrap_or_else(|reason| panic!("bitcoin-cli {}: {reason}", args.join(" ")))
    }

    /// Like [`cli`](Self::cli), but a refusal of the node is a value: what bitcoin-cli printed.
    pub fn try_cli(&self, args: &[&str]) -> Result<Value, String> {
        let output = self.run_cli(args);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Mines `blocks` blocks whose coinbases anyone can spend; returns their hashes.
    pub fn mine(&self, blocks: u32) -> Vec<String> {
        block_hashes(&self.cli(&["generatetodescriptor", &blocks.to_string(), ANYONE_CAN_SPEND, MAX_TRIES]))
    }

    /// Mines `blocks` blocks that pay `address`; returns their hashes.
    pub fn mine_to(&self, address: &str, blocks: u32) -> Vec<String> {
        block_hashes(&self.cli(&["generatetoaddress", &blocks.to_string(), address, MAX_TRIES]))
    }

    /// The height of the chain.
    pub fn height(&self) -> u64 {
        self.cli(&["getblockcount"]).as_u64().expect("getblockcount answers with a number")
    }

    /// The hash of the chain's tip, in hex as the node prints it.
    pub fn tip(&self) -> String {
        self.cli(&["getbestblockhash"]).as_str().expect("getbestblockhash answers with a string").to_owned()
    }

    fn write_config(&self) {
        let challenge = if self.network == Network::Devnet { "signetchallenge=51\n" } else { "" };
        let chain = self.network.core_name();
        let config = format!(
            "chain={chain}\n[{chain}]\n{challenge}ipcbind=unix\nserver=1\nrpcport={}\nrpcbind=127.0.0.1\n\
             rpcallowip=127.0.0.1\nlisten=0\nconnect=0\ndbcache=4\nfallbackfee=0.0001\n",
            self.rpc_port
        );
        std::fs::write(self.data_dir().join("bitcoin.conf"), config).expect("the directory is our own");
    }

    /// True when the node answers; false when it ended by itself (a port already taken).
    fn spawn(&mut self) -> bool {
        let child = process::quiet(&process::bitcoin_node())
            .arg(self.data_dir_arg())
            .spawn()
            .expect("BITCOIN_NODE should name an executable");
        self.child = Some(child);
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&mut self) -> bool {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            let ended = match &mut self.child {
                Some(child) => child.try_wait().expect("our own child can be waited for").is_some(),
                None => true,
            };
            if ended {
                self.child = None;
                return false;
            }
            if self.socket().exists() && self.run_cli(&["getblockchaininfo"]).status.success() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("bitcoin-node does not answer; the end of its log:\n{}", self.log_tail());
    }

    fn run_cli(&self, args: &[&str]) -> Output {
        Command::new(process::bitcoin_cli())
            .arg(self.data_dir_arg())
            .arg("-rpcclienttimeout=0")
            .args(args)
            .output()
            .expect("bitcoin-cli should lie beside BITCOIN_NODE")
    }

    fn data_dir_arg(&self) -> String {
        format!("-datadir={}", self.data_dir().display())
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.network_dir().join("debug.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        // Nothing on this chain is worth a graceful stop.
        self.kill9();
    }
}

fn block_hashes(answer: &Value) -> Vec<String> {
    let hashes = answer.as_array().expect("generate answers with a list");
    hashes.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
