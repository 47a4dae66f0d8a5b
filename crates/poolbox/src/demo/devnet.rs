//! The demo's node: private signet whose blocks need no signature, spoken to through bitcoin-cli.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::process::Command;

use super::setup::Ready;

/// Pays anyone: the first block's reward is nobody's in particular.
const ANYONE: &str = "raw(51)#8lvh9jxk";
/// More hashes than the first block can need.
const TRIES: &str = "400000000";
const POLL: Duration = Duration::from_millis(100);

/// Calls the node.
#[derive(Clone)]
pub struct Devnet {
    cli: PathBuf,
    data_dir: PathBuf,
}

impl Devnet {
    /// The node of this demo.
    pub fn new(ready: &Ready) -> Self {
        Self { cli: ready.node.with_file_name("bitcoin-cli"), data_dir: ready.node_dir() }
    }

    /// Waits until the node answers and has a first block; returns its version.
    pub async fn ready(&self) -> anyhow::Result<String> {
        let info = loop {
            match self.call(&["getblockchaininfo"]).await {
                Ok(info) => break info,
                Err(_) => tokio::time::sleep(POLL).await,
            }
        };
        if info["blocks"] == 0 {
            // Ends initial block download, in which the node gives no templates.
            self.call(&["generatetodescriptor", "1", ANYONE, TRIES]).await.context("mine the first block")?;
        }
        let network = self.call(&["getnetworkinfo"]).await?;
        Ok(network["subversion"].as_str().unwrap_or_default().trim_matches('/').replace("Satoshi:", ""))
    }

    async fn call(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let data_dir = format!("-datadir={}", self.data_dir.display());
        let output = Command::new(&self.cli).arg(data_dir).args(arguments).kill_on_drop(true).output().await;
        let output = output.with_context(|| format!("start {}", self.cli.display()))?;
        if !output.status.success() {
            bail!("{}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(serde_json::from_str(text.trim()).unwrap_or_else(|_| Value::from(text.trim())))
    }
}
