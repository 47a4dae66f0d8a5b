//! The mint's Lightning node on the local API.

use poolbox_accounting::Sats;
use serde::{Deserialize, Serialize};

/// Path of [`LightningNode`].
pub const LIGHTNING: &str = "/lightning";
/// Path of the list of [`Unquoted`].
pub const LIGHTNING_UNQUOTED: &str = "/lightning/unquoted";
/// Path that makes a [`LightningAddress`].
pub const LIGHTNING_ADDRESS: &str = "/lightning/address";
/// Path that takes a [`ConnectPeer`].
pub const LIGHTNING_PEERS: &str = "/lightning/peers";
/// Path that takes an [`OpenChannel`].
pub const LIGHTNING_CHANNELS: &str = "/lightning/channels";
/// Path that takes a [`CloseChannel`].
pub const LIGHTNING_CLOSE: &str = "/lightning/channels/close";
/// Path that takes a [`MakeOffer`] and gives an [`Offer`].
pub const LIGHTNING_OFFERS: &str = "/lightning/offers";

/// Whether Lightning works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum LightningState {
    /// The settings have no section `[lightning]`.
    #[default]
    Off,
    /// It works.
    On,
    /// It should work and does not.
    Down {
        /// Why.
        reason: String,
    },
}

/// The Lightning node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LightningNode {
    /// Its key.
    pub node: String,
    /// Where it listens.
    pub listen: String,
    /// Addresses that it announces.
    pub announced: Vec<String>,
    /// What of its funds backs ecash: on-chain, in channels less their reserves, and coming back
    /// from closed channels.
    pub ours: Sats,
    /// What its channels can send.
    pub sendable: Sats,
    /// Reserves that are bound while channels are open.
    pub bound: Sats,
    /// In its on-chain wallet, from which channels are opened.
    pub onchain: Sats,
    /// Nodes it knows.
    pub peers: Vec<LightningPeer>,
    /// Its channels.
    pub channels: Vec<LightningChannel>,
}

/// Another Lightning node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LightningPeer {
    /// Its key.
    pub node: String,
    /// Where it is reached.
    pub address: String,
    /// Whether it is connected.
    pub connected: bool,
}

/// A channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LightningChannel {
    /// Its id, by which it is closed.
    pub channel: String,
    /// The other node's key.
    pub peer: String,
    /// Sats of both sides.
    pub size: Sats,
    /// What can be sent through it.
    pub can_send: Sats,
    /// What can be received through it.
    pub can_receive: Sats,
    /// Whether it can be used now.
    pub usable: bool,
    /// Whether others may route through it.
    pub announced: bool,
    /// Of its funding.
    pub confirmations: u32,
}

/// A payment that arrived without a quote: nobody's ecash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unquoted {
    /// Its hash, hex.
    pub payment_hash: String,
    /// The offer or invoice that was paid, by its id.
    pub request: String,
    /// Millisatoshis.
    pub msat: u64,
    /// When it was noted, Unix seconds.
    pub seen_at: u64,
}

/// An address of the node's on-chain wallet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LightningAddress {
    /// The address.
    pub address: String,
}

/// Asks to connect to a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectPeer {
    /// `KEY@HOST:PORT`.
    pub peer: String,
}

/// Asks to open a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenChannel {
    /// `KEY@HOST:PORT`.
    pub peer: String,
    /// Its size.
    pub sats: Sats,
    /// Whether others may route through it.
    pub announced: bool,
}

/// Asks to close a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CloseChannel {
    /// Its id.
    pub channel: String,
    /// Without the other node, which costs more and takes days.
    pub force: bool,
}

/// Asks for an offer that belongs to no quote.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MakeOffer {
    /// Shown to who pays.
    pub description: String,
}

/// An offer (BOLT12) of any amount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// `lno1…`.
    pub offer: String,
}
