//! What the operator does with the Lightning node, and what it holds.

use ldk_node::{ChannelDetails, LightningBalance, Node, NodeError, PendingSweepBalance};
use poolbox_accounting::Sats;
use poolbox_api::mint as api;

use super::Lightning;
use crate::settings::Peer;

/// Why the node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It does not run.
    #[error("Lightning does not run: {0}")]
    Down(String),
    /// It refused.
    #[error("the Lightning node refused: {0}")]
    Refused(#[from] NodeError),
    /// No channel of that name.
    #[error("there is no channel {0}; `poolbox lightning channels` lists them")]
    NoChannel(String),
    /// The task broke.
    #[error("the Lightning node broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// What the node holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Funds {
    /// Ours beyond doubt: in its on-chain wallet, in channels less their reserves, and coming back
    /// from closed channels.
    pub ours: Sats,
    /// Of it, what channels can send.
    pub sendable: Sats,
    /// Ours, but bound while channels are open.
    pub bound: Sats,
}

impl Lightning {
    /// Asks the node, whose calls block.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Node) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let node = self.open.read().await.as_ref().map(|open| open.node.node());
        let Some(node) = node else {
            return Err(Trouble::Down(self.trouble().await.unwrap_or_default()));
        };
        Ok(tokio::task::spawn_blocking(move || call(&node)).await??)
    }

    /// What the node holds. Nothing can be said while it does not run.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn funds(&self) -> Result<Funds, Trouble> {
        self.ask(|node| Ok(funds(node))).await
    }

    /// All about the node.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn info(&self) -> Result<api::LightningNode, Trouble> {
        let Funds { ours, sendable, bound } = self.funds().await?;
        let (listen, announce) = (self.opening.settings.listen, self.opening.settings.announce.clone());
        self.ask(move |node| {
            let peers = node.list_peers().into_iter();
            Ok(api::LightningNode {
                node: node.node_id().to_string(),
                listen: listen.to_string(),
                announced: announce.iter().map(ToString::to_string).collect(),
                ours,
                sendable,
                bound,
                onchain: Sats::new(node.list_balances().spendable_onchain_balance_sats),
                peers: peers
                    .map(|peer| api::LightningPeer {
                        node: peer.node_id.to_string(),
                        address: peer.address.to_string(),
                        connected: peer.is_connected,
                    })
                    .collect(),
                channels: node.list_channels().iter().map(channel).collect(),
            })
        })
        .await
    }

    /// An address of the node's on-chain wallet, from which channels are opened.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn address(&self) -> Result<String, Trouble> {
        self.ask(|node| Ok(node.onchain_payment().new_address()?.to_string())).await
    }

    /// Opens a channel of `sats` to `peer`, paid from the node's on-chain wallet.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn open_channel(&self, peer: Peer, sats: Sats, announced: bool) -> Result<(), Trouble> {
        self.connect(peer.clone()).await?;
        let Peer { node: id, address } = peer;
        self.ask(move |node| {
            let opened = match announced {
                true => node.open_announced_channel(id, address, sats.get(), None, None),
                false => node.open_channel(id, address, sats.get(), None, None),
            };
            opened.map(drop)
        })
        .await?;
        tracing::info!(peer = %id, %sats, announced, "Lightning channel opening");
        Ok(())
    }

    /// Closes a channel; by force when the peer is gone, which costs more and takes days.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn close_channel(&self, id: &str, force: bool) -> Result<(), Trouble> {
        let wanted = id.to_owned();
        let found = self.ask(move |node| {
            let channels = node.list_channels();
            let Some(channel) = channels.iter().find(|channel| channel.channel_id.to_string() == wanted)
            else {
                return Ok(false);
            };
            let (name, peer) = (&channel.user_channel_id, channel.counterparty_node_id);
            match force {
                true => node.force_close_channel(name, peer, None)?,
                false => node.close_channel(name, peer)?,
            }
            Ok(true)
        });
        if !found.await? {
            return Err(Trouble::NoChannel(id.chars().take(64).collect()));
        }
        tracing::info!(channel = id, force, "Lightning channel closing");
        Ok(())
    }

    /// An offer (BOLT12) of any amount that belongs to no quote: what is paid to it is noted, and is
    /// nobody's ecash.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn standing_offer(&self, description: String) -> Result<String, Trouble> {
        self.ask(move |node| {
            Ok(node.bolt12_payment().receive_variable_amount(&description, None)?.to_string())
        })
        .await
    }
}

fn channel(channel: &ChannelDetails) -> api::LightningChannel {
    api::LightningChannel {
        channel: channel.channel_id.to_string(),
        peer: channel.counterparty_node_id.to_string(),
        size: Sats::new(channel.channel_value_sats),
        can_send: Sats::new(channel.outbound_capacity_msat / 1000),
        can_receive: Sats::new(channel.inbound_capacity_msat / 1000),
        usable: channel.is_usable,
        announced: channel.is_announced,
        confirmations: channel.confirmations.unwrap_or_default(),
    }
}

/// Counts what is ours. A payment on its way out is ours until it has arrived.
fn funds(node: &Node) -> Funds {
    let balances = node.list_balances();
    let mut ours = balances.spendable_onchain_balance_sats;
    for balance in &balances.lightning_balances {
        ours += match balance {
            LightningBalance::ClaimableOnChannelClose {
                amount_satoshis,
                outbound_payment_htlc_rounded_msat,
                ..
            } => amount_satoshis + outbound_payment_htlc_rounded_msat / 1000,
            LightningBalance::MaybeTimeoutClaimableHTLC {
                amount_satoshis, outbound_payment: true, ..
            }
            | LightningBalance::ClaimableAwaitingConfirmations { amount_satoshis, .. }
            | LightningBalance::ContentiousClaimable { amount_satoshis, .. } => *amount_satoshis,
            // Whether these become ours is open.
            LightningBalance::MaybeTimeoutClaimableHTLC { .. }
            | LightningBalance::MaybePreimageClaimableHTLC { .. }
            | LightningBalance::CounterpartyRevokedOutputClaimable { .. } => 0,
        };
    }
    for sweep in &balances.pending_balances_from_channel_closures {
        ours += match sweep {
            PendingSweepBalance::PendingBroadcast { amount_satoshis, .. }
            | PendingSweepBalance::BroadcastAwaitingConfirmation { amount_satoshis, .. } => *amount_satoshis,
            // Counted by the on-chain wallet from here on.
            PendingSweepBalance::AwaitingThresholdConfirmations { .. } => 0,
        };
    }
    let channels = node.list_channels();
    let reserves: u64 =
        channels.iter().map(|channel| channel.unspendable_punishment_reserve.unwrap_or_default()).sum();
    let sendable: u64 = channels
        .iter()
        .filter(|channel| channel.is_usable)
        .map(|channel| channel.outbound_capacity_msat / 1000)
        .sum();
    Funds {
        ours: Sats::new(ours.saturating_sub(reserves)),
        sendable: Sats::new(sendable),
        bound: Sats::new(reserves + balances.total_anchor_channels_reserve_sats),
    }
}
