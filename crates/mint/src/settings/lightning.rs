//! `[lightning]`: the embedded Lightning node. Without the section there is none.

use std::net::SocketAddr;
use std::str::FromStr;

use ldk_node::bitcoin::secp256k1::PublicKey;
use ldk_node::lightning::ln::msgs::SocketAddress;
use poolbox_service::Misconfigured;
use serde::Deserialize;

/// The Lightning node's usual port.
const PORT: u16 = 9735;

/// Another Lightning node and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its key.
    pub node: PublicKey,
    /// Where it listens.
    pub address: SocketAddress,
}

/// How the Lightning node shows itself to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightningSettings {
    /// Where it listens for peers.
    pub listen: SocketAddr,
    /// Addresses that are announced with public channels; none keeps it private.
    pub announce: Vec<SocketAddress>,
    /// Peers that it stays connected to.
    pub peers: Vec<Peer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLightning {
    listen: Option<SocketAddr>,
    #[serde(default)]
    announce: Vec<String>,
    #[serde(default)]
    peers: Vec<String>,
}

impl RawLightning {
    pub(super) fn check(self) -> Result<LightningSettings, Misconfigured> {
        let address = |text: &String| {
            SocketAddress::from_str(text).map_err(|_| {
                Misconfigured::new(format!(
                    "lightning.announce holds \"{text}\", which is no address; write HOST:PORT"
                ))
            })
        };
        let peer = |text: &String| {
            text.parse().map_err(|NoPeer| {
                Misconfigured::new(format!(
                    "lightning.peers holds \"{text}\", which is no peer; write KEY@HOST:PORT"
                ))
            })
        };
        Ok(LightningSettings {
            listen: self.listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], PORT))),
            announce: self.announce.iter().map(address).collect::<Result<_, _>>()?,
            peers: self.peers.iter().map(peer).collect::<Result<_, _>>()?,
        })
    }
}

/// The text names no peer: `KEY@HOST:PORT` does.
#[derive(Debug, thiserror::Error)]
#[error("write KEY@HOST:PORT")]
pub struct NoPeer;

impl FromStr for Peer {
    type Err = NoPeer;

    fn from_str(text: &str) -> Result<Self, NoPeer> {
        let (node, address) = text.trim().split_once('@').ok_or(NoPeer)?;
        Ok(Self {
            node: PublicKey::from_str(node).map_err(|_| NoPeer)?,
            address: SocketAddress::from_str(address).map_err(|_| NoPeer)?,
        })
    }
}
