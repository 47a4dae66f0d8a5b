//! The node's RPC, as far as pages tell of it: where its chain stands, how far it has come, who it is.

use std::time::Duration;

use anyhow::{Context, bail};
use poolbox_service::NodeSettings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::feed::now;

/// A busy node answers late; a page never waits for it.
const TIMEOUT: Duration = Duration::from_secs(8);

/// What the node says of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeState {
    /// As `Satoshi:31.0.0`.
    pub version: String,
    /// Height of its tip.
    pub height: u32,
    /// Height of the best header it knows.
    pub headers: u32,
    /// How much of the chain it has checked, from 0 to 1, as it estimates it.
    pub progress: f64,
    /// Whether it is still catching up with the chain.
    pub syncing: bool,
    /// Whether old blocks are removed.
    pub pruned: bool,
    /// What its files take, in bytes.
    pub disk_bytes: u64,
    /// Its peers.
    pub peers: u32,
    /// Header time of its tip, Unix seconds.
    pub tip_time: u64,
    /// When it started, Unix seconds; none where it may not be asked for that.
    pub started_at: Option<u64>,
}

/// Asks the node.
#[derive(Clone, Debug)]
pub struct Node {
    settings: NodeSettings,
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

#[derive(Deserialize)]
struct Chain {
    blocks: u32,
    headers: u32,
    verificationprogress: f64,
    initialblockdownload: bool,
    pruned: bool,
    size_on_disk: u64,
    time: u64,
}

#[derive(Deserialize)]
struct Network {
    subversion: String,
    connections: u32,
}

impl Node {
    /// A node that is reached as `settings` say.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(settings: NodeSettings) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("set up the client of the node's RPC")?;
        Ok(Self { settings, http })
    }

    /// Where the node stands.
    ///
    /// # Errors
    /// When it does not answer or refuses.
    pub async fn state(&self) -> anyhow::Result<NodeState> {
        let chain: Chain = self.call("getblockchaininfo").await?;
        let network: Network = self.call("getnetworkinfo").await?;
        let uptime: Option<u64> = self.call("uptime").await.ok();
        Ok(NodeState {
            version: network.subversion.trim_matches('/').to_owned(),
            height: chain.blocks,
            headers: chain.headers,
            progress: chain.verificationprogress.clamp(0.0, 1.0),
            syncing: chain.initialblockdownload,
            pruned: chain.pruned,
            disk_bytes: chain.size_on_disk,
            peers: network.connections,
            tip_time: chain.time,
            started_at: uptime.map(|uptime| now().saturating_sub(uptime)),
        })
    }

    async fn call<T: DeserializeOwned>(&self, method: &str) -> anyhow::Result<T> {
        // What is below the first sentence names files, and pages show the first.
        let login = self.settings.login.read().context("the node's login cannot be read")?;
        let url = format!("http://{}:{}/", self.settings.host, self.settings.port);
        let body = serde_json::json!({ "jsonrpc": "1.0", "id": "dashboard", "method": method, "params": [] });
        let sent = self.http.post(url).basic_auth(login.user, Some(login.password)).json(&body).send().await;
        // Without the address: the sentence is for people.
        let answer = sent.map_err(|_| anyhow::anyhow!("the node does not answer"))?;
        if answer.status() == reqwest::StatusCode::UNAUTHORIZED {
            bail!("the node refuses the login; check [node] in the dashboard's settings");
        }
        let bytes = answer.bytes().await.context("the node's answer broke off")?;
        let answer: Answer<T> = serde_json::from_slice(&bytes).context("the node's answer cannot be read")?;
        match (answer.result, answer.error) {
            (Some(result), _) => Ok(result),
            (None, Some(refusal)) => bail!("the node says: {}", refusal.message),
            (None, None) => bail!("the node's answer is empty"),
        }
    }
}
