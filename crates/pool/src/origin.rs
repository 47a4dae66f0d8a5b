//! Where jobs come from and how else the node can be reached, as set.

use std::path::PathBuf;

use poolbox_service::Misconfigured;
use poolbox_work_source::WorkSource;
use poolbox_work_source::blocks::{RpcConfig, RpcLogin};
use poolbox_work_source::core_ipc::{self, CoreIpcConfig};
use poolbox_work_source::tdp::{self, AuthorityKey, TdpConfig};
use poolbox_work_source::upstream::{self, Upstream, UpstreamConfig};
use serde::Deserialize;

/// `[node]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawNode {
    ipc_socket: Option<PathBuf>,
    rpc_host: Option<String>,
    rpc_port: Option<u16>,
    cookie_file: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
}

/// `[template_provider]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTemplateProvider {
    address: String,
    authority_key: Option<String>,
}

/// `[upstream]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawUpstream {
    url: String,
    user: String,
    #[serde(default = "usual_password")]
    password: String,
    ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for RawUpstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawUpstream")
            .field("url", &self.url)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What miners write where a pool has no passwords.
fn usual_password() -> String {
    "x".to_owned()
}

/// Where jobs come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The node's mining IPC, at this socket.
    Node(PathBuf),
    /// A template provider.
    TemplateProvider(TdpConfig),
    /// An upstream pool.
    Upstream(UpstreamConfig),
}

/// A source that was started.
#[derive(Debug)]
pub struct Started {
    /// Where jobs come from.
    pub source: WorkSource,
    /// Where shares go as well, in mode proxy.
    pub upstream: Option<Upstream>,
}

impl From<WorkSource> for Started {
    fn from(source: WorkSource) -> Self {
        Self { source, upstream: None }
    }
}

impl Origin {
    /// Reads the sections of a mode with a node of its own: exactly one of them gives jobs.
    ///
    /// # Errors
    /// [`Misconfigured`], naming the key.
    pub fn check(node: &RawNode, provider: Option<RawTemplateProvider>) -> Result<Self, Misconfigured> {
        match (&node.ipc_socket, provider) {
            (Some(socket), None) => Ok(Self::Node(socket.clone())),
            (None, Some(RawTemplateProvider { address, authority_key })) => {
                let key = authority_key.map(|key| key.parse::<AuthorityKey>()).transpose();
                let key = key.map_err(|error| {
                    Misconfigured::new(format!("template_provider.authority_key: {error}"))
                })?;
                Ok(Self::TemplateProvider(TdpConfig::new(address, key)))
            }
            (None, None) => Err(Misconfigured::new(
                "nothing gives jobs: set node.ipc_socket, or [template_provider] with its address",
            )),
            (Some(_), Some(_)) => Err(Misconfigured::new(
                "node.ipc_socket and [template_provider] would both give jobs; remove one of them",
            )),
        }
    }

    /// Reads the section of mode proxy: nothing else gives jobs.
    ///
    /// # Errors
    /// [`Misconfigured`], naming the key.
    pub fn check_upstream(
        node: &RawNode,
        provider: Option<&RawTemplateProvider>,
        upstream: Option<RawUpstream>,
    ) -> Result<Self, Misconfigured> {
        let wrong = |sentence: &str| Err(Misconfigured::new(sentence));
        if node.ipc_socket.is_some() {
            return wrong(
                "node.ipc_socket has no use in mode = \"proxy\", where jobs come from [upstream]; remove one of them",
            );
        }
        if provider.is_some() {
            return wrong(
                "[template_provider] has no use in mode = \"proxy\", where jobs come from [upstream]; remove one of them",
            );
        }
        let Some(RawUpstream { url, user, password, ca_file }) = upstream else {
            return wrong(
                "[upstream] is missing: mode = \"proxy\" needs the url and the user of the pool that it mines for",
            );
        };
        let config = UpstreamConfig { url, user, password, ca_file };
        config.check().map_err(|error| Misconfigured::new(format!("upstream.{error}")))?;
        Ok(Self::Upstream(config))
    }

    /// Starts it. What is not there yet is waited for.
    ///
    /// # Errors
    /// [`Misconfigured`] when waiting would be in vain.
    pub fn start(&self) -> Result<Started, Misconfigured> {
        match self {
            Self::Node(socket) => core_ipc::start(CoreIpcConfig::new(socket.clone()))
                .map(Started::from)
                .map_err(|error| Misconfigured::new(format!("node.ipc_socket: {error}"))),
            Self::TemplateProvider(config) => tdp::start(config.clone())
                .map(Started::from)
                .map_err(|error| Misconfigured::new(format!("template_provider.address: {error}"))),
            Self::Upstream(config) => upstream::start(config.clone())
                .map(|(source, upstream)| Started { source, upstream: Some(upstream) })
                .map_err(|error| Misconfigured::new(format!("upstream: {error}"))),
        }
    }
}

impl RawNode {
    /// The node's RPC, the second way for found blocks; none when it is not set.
    ///
    /// # Errors
    /// [`Misconfigured`] when only a part of it is set.
    pub fn rpc(self) -> Result<Option<RpcConfig>, Misconfigured> {
        let login = match (self.cookie_file, self.user, self.password_file) {
            (Some(cookie), None, None) => Some(RpcLogin::Cookie(cookie)),
            (None, Some(user), Some(file)) => Some(RpcLogin::Password { user, file }),
            (None, None, None) => None,
            _ => {
                return Err(Misconfigured::new(
                    "[node] takes either cookie_file, or user and password_file; give one of the two",
                ));
            }
        };
        match (self.rpc_port, login) {
            (Some(port), Some(login)) => {
                let host = self.rpc_host.unwrap_or_else(|| "127.0.0.1".to_owned());
                Ok(Some(RpcConfig { url: format!("http://{host}:{port}"), login }))
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err(Misconfigured::new(
                "node.rpc_port needs cookie_file, or user and password_file, beside it",
            )),
            (None, Some(_)) => Err(Misconfigured::new("node.rpc_port is missing beside the RPC's login")),
        }
    }
}
