//! Lightning: the embedded node (ldk-node through cdk-ldk-node), kept running beside the mint. A node
//! that does not start, or a Bitcoin node that is away, keeps nobody from the rest of the mint: the
//! methods are offered while they work, and the status says why they do not.
//!
//! Five things that were learnt about it, and where each is seen to:
//! 1. From the same words it derives the same on-chain keys as the treasury's wallet: its words are
//!    a child of the seed of their own (`keys.rs`).
//! 2. It announces stored payments again after a restart: payments are booked by their ids
//!    (`payments.rs`).
//! 3. Its stream of events holds eight and drops what nobody takes: payments are found by looking
//!    (`payments.rs`), melts by asking (`reconciling.rs`).
//! 4. Ended without `stop`, it may close its channels by force: the mint stops it on every way out
//!    ([`Lightning::keep`]), and the unit has to give it the time.
//! 5. A peer is found again at once only when it was connected to lastingly: all are
//!    ([`Lightning::connect`]).

mod channels;
mod payments;
mod processor;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context;
use cdk::mint::Mint;
use cdk_common::Amount;
use cdk_common::common::FeeReserve;
use cdk_common::database::DynKVStore;
use cdk_common::payment::MintPayment;
use cdk_ldk_node::{BitcoinRpcConfig, CdkLdkNode, CdkLdkNodeBuilder, ChainSource, GossipSource};
use ldk_node::lightning::ln::channelmanager::PaymentId;
use poolbox_accounting::Network;
use poolbox_service::{Credentials, NodeSettings};
use tokio::sync::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use super::{Method, announce, withdraw};
use crate::health::Health;
use crate::keys::Keys;
use crate::settings::{LightningSettings, Peer};

pub use channels::{Funds, Trouble};

/// What is offered while the node runs.
pub const METHODS: [Method; 2] = [Method::Bolt11, Method::Bolt12];
/// How often payments are looked for.
const EVERY: Duration = Duration::from_millis(500);
/// Rounds between two looks at the node.
const ROUNDS: u32 = 20;
/// How often peers are looked after.
const PEERS_EVERY: Duration = Duration::from_secs(10);

/// What it takes to open the node.
pub struct Opening {
    /// `[lightning]` of the settings.
    pub settings: LightningSettings,
    /// The node whose chain is followed.
    pub node: NodeSettings,
    /// Of the node.
    pub network: Network,
    /// Gives the node's seed.
    pub keys: Keys,
    /// Where it keeps its channels.
    pub dir: PathBuf,
    /// Where it logs.
    pub log: PathBuf,
    /// Where cdk-ldk-node notes what it pays: the mint's database.
    pub store: DynKVStore,
    /// Confirmations that the mint's information names for on-chain payments.
    pub confirmations: u32,
}

/// The node, running or not.
pub struct Lightning {
    opening: Opening,
    health: Arc<Health>,
    open: RwLock<Option<Open>>,
    /// Why it does not run.
    trouble: std::sync::Mutex<String>,
    /// Incoming payments that are dealt with.
    booked: Mutex<HashSet<PaymentId>>,
}

struct Open {
    node: CdkLdkNode,
    login: Credentials,
}

impl Lightning {
    /// A node that [`Self::keep`] starts.
    pub fn new(opening: Opening, health: Arc<Health>) -> Arc<Self> {
        Arc::new(Self {
            opening,
            health,
            open: RwLock::default(),
            trouble: std::sync::Mutex::new("it is starting".to_owned()),
            booked: Mutex::default(),
        })
    }

    /// Why it does not run; none while it does.
    pub async fn trouble(&self) -> Option<String> {
        let running = self.open.read().await.is_some();
        (!running).then(|| self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Starts the node, again and again if it must be, books what it receives, and stops it at the
    /// end.
    pub async fn keep(self: Arc<Self>, mint: Arc<Mint>, stop: CancellationToken) {
        let peers = tokio::spawn(Arc::clone(&self).keep_peers());
        let (mut round, mut complaint) = (0_u32, None);
        while !stop.is_cancelled() {
            if round.is_multiple_of(ROUNDS) {
                self.tend(&mint).await;
            }
            round = round.wrapping_add(1);
            let trouble = self.book_payments(&mint).await.err().map(|error| format!("{error:#}"));
            if let Some(reason) = trouble.as_ref().filter(|_| trouble != complaint) {
                tracing::warn!(reason, "incoming Lightning payments are not booked");
            }
            complaint = trouble;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        peers.abort();
        self.close().await;
    }

    /// Connects the peers of the settings whenever they are not.
    async fn keep_peers(self: Arc<Self>) {
        loop {
            for peer in &self.opening.settings.peers {
                if let Err(trouble) = self.connect(peer.clone()).await {
                    tracing::debug!(%trouble, peer = %peer.node, "the peer is not connected");
                }
            }
            tokio::time::sleep(PEERS_EVERY).await;
        }
    }

    /// Brings the node up, or up again after the Bitcoin node's login changed.
    async fn tend(&self, mint: &Mint) {
        let login = self.opening.node.login.read().ok();
        let open_with = self.open.read().await.as_ref().map(|open| open.login.clone());
        if open_with.is_some() && login.is_some() && open_with != login {
            tracing::info!("the Lightning node follows the restarted node");
            self.close().await;
        }
        if self.open.read().await.is_none() {
            match self.start().await {
                Ok(()) => {
                    tracing::info!("the Lightning node is up");
                    self.tell(announce(mint, &METHODS, self.opening.confirmations).await);
                }
                Err(error) => {
                    self.complain(format!("{error:#}"));
                    self.tell(withdraw(mint, &METHODS).await);
                }
            }
        }
    }

    fn complain(&self, reason: String) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *trouble != reason {
            tracing::warn!(reason, "Lightning does not run; it is tried again");
        }
        *trouble = reason;
    }

    fn tell(&self, written: Result<(), cdk::Error>) {
        if let Err(error) = written {
            tracing::warn!(%error, "the mint's information does not say what Lightning can do");
        }
    }

    async fn start(&self) -> anyhow::Result<()> {
        let Opening { settings, node, network, keys, dir, log, store, .. } = &self.opening;
        let login = node.login.read()?;
        // The node would look for it only when the first block comes.
        crate::node::Node::new(node.clone()).height().await?;
        let source = ChainSource::BitcoinRpc(BitcoinRpcConfig {
            host: node.host.clone(),
            port: node.port,
            user: login.user.clone(),
            password: login.password.clone(),
        });
        let mut builder = CdkLdkNodeBuilder::new(
            network.to_bitcoin(),
            source,
            GossipSource::P2P,
            dir.to_string_lossy().into_owned(),
            // Routing costs at most so much; what is not spent is given back.
            FeeReserve { min_fee_reserve: Amount::from(2), percent_fee_reserve: 0.02 },
            vec![settings.listen.into()],
            store.clone(),
        )
        .with_seed(keys.lightning_mnemonic().clone())
        .with_log_dir_path(log.to_string_lossy().into_owned());
        if !settings.announce.is_empty() {
            builder = builder.with_announcement_address(settings.announce.clone());
        }
        let node = tokio::task::spawn_blocking(move || builder.build()).await?;
        let node = node.context("build the Lightning node")?;
        node.start().await.context("start the Lightning node")?;
        *self.open.write().await = Some(Open { node, login });
        Ok(())
    }

    async fn close(&self) {
        if let Some(open) = self.open.write().await.take() {
            match open.node.stop().await {
                Ok(()) => tracing::info!("the Lightning node has stopped"),
                Err(error) => tracing::warn!(%error, "the Lightning node did not stop cleanly"),
            }
            "it is starting again"
                .clone_into(&mut self.trouble.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Connects to a peer, lastingly; nothing happens when it is connected.
    ///
    /// # Errors
    /// [`Trouble`] when the node does not run or the peer does not answer.
    pub async fn connect(&self, peer: Peer) -> Result<(), Trouble> {
        self.ask(move |node| {
            let there = node.list_peers();
            if there.iter().any(|known| known.node_id == peer.node && known.is_connected) {
                return Ok(());
            }
            node.connect(peer.node, peer.address, true)
        })
        .await
    }
}
