//! The node's RPC as far as found blocks need it. Calls are blocking inside and awaited outside; the
//! login is read anew after every failure, so that a node's restart is survived.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::BlockHash;
use bitcoincore_rpc::jsonrpc;
use bitcoincore_rpc::{Auth, Client, Error, RpcApi};
use serde::Deserialize;

/// How to reach the node's RPC.
#[derive(Clone, Debug)]
pub struct RpcConfig {
    /// Such as `http://127.0.0.1:8332`.
    pub url: String,
    /// Who we are.
    pub login: RpcLogin,
}

/// Where user and password are found.
#[derive(Clone, Debug)]
pub enum RpcLogin {
    /// The node's own cookie, new at each of its starts.
    Cookie(PathBuf),
    /// A user and a file whose only line is the password.
    Password {
        /// `rpcuser`, or the name in `rpcauth`.
        user: String,
        /// The file.
        file: PathBuf,
    },
}

/// A call that gave no answer. Worth another try, unless [`fatal`](Self::fatal).
#[derive(Debug, thiserror::Error)]
#[error("the node's RPC at {url}: {reason}")]
pub struct RpcError {
    url: String,
    reason: String,
    code: Option<i32>,
}

/// The block, or what the node is asked about, is unknown to it.
const NOT_FOUND: i32 = -5;
/// A height above the chain's.
const OUT_OF_RANGE: i32 = -8;
/// The block cannot be decoded.
const UNDECODABLE: i32 = -22;

impl RpcError {
    /// Whether the node can never accept this block.
    pub fn fatal(&self) -> bool {
        self.code == Some(UNDECODABLE)
    }
}

/// A connection to the node that is made anew after every failure.
#[derive(Clone)]
pub struct Rpc {
    config: Arc<RpcConfig>,
    client: Arc<Mutex<Option<Arc<Client>>>>,
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Header {
    confirmations: i64,
}

impl Rpc {
    /// Connects at the first call.
    pub fn new(config: RpcConfig) -> Self {
        Self { config: Arc::new(config), client: Arc::default() }
    }

    /// Confirmations of a block: none when the node does not know it, negative when it is not on the
    /// active chain.
    pub async fn confirmations(&self, hash: BlockHash) -> Result<Option<i64>, RpcError> {
        let header =
            self.call(move |client| client.call::<Header>("getblockheader", &[hash.to_string().into()]));
        known(header.await, NOT_FOUND).map(|header| header.map(|header| header.confirmations))
    }

    /// The block at `height` on the active chain; none when the chain is shorter.
    pub async fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, RpcError> {
        known(self.call(move |client| client.get_block_hash(u64::from(height))).await, OUT_OF_RANGE)
    }

    /// Submits a serialised block. The answer is the node's own word, none for success.
    pub async fn submit(&self, block: Arc<[u8]>) -> Result<Option<String>, RpcError> {
        self.call(move |client| {
            let hex = bitcoin::hex::DisplayHex::to_lower_hex_string(&*block);
            client.call::<Option<String>>("submitblock", &[hex.into()])
        })
        .await
    }

    async fn call<T, F>(&self, call: F) -> Result<T, RpcError>
    where
        T: Send + 'static,
        F: FnOnce(&Client) -> bitcoincore_rpc::Result<T> + Send + 'static,
    {
        let rpc = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let client = rpc.client()?;
            call(&client).map_err(|error| {
                let code = code(&error);
                if code.is_none() {
                    *rpc.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                (error.to_string(), code)
            })
        });
        let answer = answer.await.unwrap_or_else(|error| Err((error.to_string(), None)));
        answer.map_err(|(reason, code)| RpcError { url: self.config.url.clone(), reason, code })
    }

    fn client(&self) -> Result<Arc<Client>, (String, Option<i32>)> {
        let mut place = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*place {
            return Ok(Arc::clone(client));
        }
        let auth = self.config.login.read().map_err(|reason| (reason, None))?;
        let client = Client::new(&self.config.url, auth).map_err(|error| (error.to_string(), None))?;
        let client = Arc::new(client);
        *place = Some(Arc::clone(&client));
        Ok(client)
    }
}

impl RpcLogin {
    fn read(&self) -> Result<Auth, String> {
        let (user, file) = match self {
            Self::Cookie(file) => (None, file),
            Self::Password { user, file } => (Some(user), file),
        };
        let text = fs::read_to_string(file)
            .map_err(|error| format!("{} cannot be read ({error}); is the node running?", file.display()))?;
        let text = text.trim();
        match user {
            Some(user) => Ok(Auth::UserPass(user.clone(), text.to_owned())),
            None => text
                .split_once(':')
                .map(|(user, password)| Auth::UserPass(user.to_owned(), password.to_owned()))
                .ok_or_else(|| format!("{} is no cookie; name the node's .cookie", file.display())),
        }
    }
}

/// The node's own error number, when the node answered.
fn code(error: &Error) -> Option<i32> {
    match error {
        Error::JsonRpc(jsonrpc::Error::Rpc(answer)) => Some(answer.code),
        _ => None,
    }
}

/// Turns the error that says «there is none» into none.
fn known<T>(answer: Result<T, RpcError>, unknown: i32) -> Result<Option<T>, RpcError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code == Some(unknown) => Ok(None),
        Err(error) => Err(error),
    }
}
