//! The node's RPC as the mint needs it: where the chain's tip is, and one block after the other.
//! Calls are blocking inside and awaited outside; a new login is read when the node refuses the old.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bitcoin::block::Header;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Block, BlockHash};
use bitcoincore_rpc::{Auth, Client, RpcApi, jsonrpc};
use poolbox_service::NodeSettings;
use serde::Deserialize;

/// Bitcoin Core's error code for what it does not have.
const NOT_FOUND: i32 = -5;

/// A connection to the node that is made anew after every failure.
#[derive(Clone)]
pub struct Node {
    settings: Arc<NodeSettings>,
    client: Arc<Mutex<Option<Arc<Client>>>>,
}

/// Where a block stands, from `getblockheader`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Standing {
    /// Negative when the block is not on the active chain.
    pub confirmations: i64,
    /// Its height.
    pub height: u32,
    /// Header time, Unix seconds.
    pub time: u32,
    /// The block before it; none for the first.
    #[serde(rename = "previousblockhash")]
    pub previous: Option<BlockHash>,
    /// The block after it on the active chain.
    #[serde(rename = "nextblockhash")]
    pub next: Option<BlockHash>,
}

impl Node {
    /// A node that is reached as `settings` say. Connects at the first call.
    pub fn new(settings: NodeSettings) -> Self {
        Self { settings: Arc::new(settings), client: Arc::default() }
    }

    /// The node's name of its chain.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn chain(&self) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Info {
            chain: String,
        }
        Ok(self.call(|client| client.call::<Info>("getblockchaininfo", &[])).await?.chain)
    }

    /// Height of the tip.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn height(&self) -> anyhow::Result<u32> {
        self.call(|client| client.call("getblockcount", &[])).await
    }

    /// Hash of the block at `height` on the active chain.
    ///
    /// # Errors
    /// When the node does not answer or has no such block.
    pub async fn hash_at(&self, height: u32) -> anyhow::Result<BlockHash> {
        self.call(move |client| client.get_block_hash(u64::from(height))).await
    }

    /// Where the block `hash` stands; none when the node has never heard of it.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn standing(&self, hash: BlockHash) -> anyhow::Result<Option<Standing>> {
        let ask = move |client: &Client| client.call("getblockheader", &[hash.to_string().into()]);
        self.call(move |client| match ask(client) {
            Err(bitcoincore_rpc::Error::JsonRpc(jsonrpc::Error::Rpc(error))) if error.code == NOT_FOUND => {
                Ok(None)
            }
            answer => answer.map(Some),
        })
        .await
    }

    /// The header of the block `hash`.
    ///
    /// # Errors
    /// When the node does not answer or does not know the block.
    pub async fn header(&self, hash: BlockHash) -> anyhow::Result<Header> {
        self.call(move |client| client.get_block_header(&hash)).await
    }

    /// Tells the node of a header, as a peer would: it then knows the block's place, though not the
    /// block.
    ///
    /// # Errors
    /// When the node does not answer, or does not know the block before it.
    pub async fn submit_header(&self, header: Header) -> anyhow::Result<()> {
        let header = serialize_hex(&header);
        self.call(move |client| client.call::<()>("submitheader", &[header.into()])).await
    }

    /// The block `hash`, whole.
    ///
    /// # Errors
    /// When the node does not answer, or pruned the block.
    pub async fn block(&self, hash: BlockHash) -> anyhow::Result<Block> {
        self.call(move |client| client.get_block(&hash)).await
    }

    async fn call<T, F>(&self, call: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Client) -> bitcoincore_rpc::Result<T> + Send + 'static,
    {
        let node = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let client = node.client()?;
            let answer = call(&client);
            if answer.is_err() {
                *node.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            Ok::<_, anyhow::Error>(answer?)
        });
        let NodeSettings { host, port, .. } = &*self.settings;
        answer.await?.with_context(|| format!("ask the node at {host}:{port}"))
    }

    fn client(&self) -> anyhow::Result<Arc<Client>> {
        let mut place = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*place {
            return Ok(Arc::clone(client));
        }
        let login = self.settings.login.read()?;
        let url = format!("http://{}:{}", self.settings.host, self.settings.port);
        let client = Arc::new(Client::new(&url, Auth::UserPass(login.user, login.password))?);
        *place = Some(Arc::clone(&client));
        Ok(client)
    }
}
