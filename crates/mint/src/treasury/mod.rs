//! The treasury: the on-chain wallet (cdk-bdk over the node's RPC) that coinbases pay and that
//! backs every sat of ecash. It only answers what it holds; who is owed what is decided elsewhere.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use cdk_bdk::{BatchConfig, BitcoinRpcConfig, CdkBdk, ChainSource, FeeEstimationConfig, PaymentTier};
use cdk_common::Amount;
use cdk_common::common::FeeReserve;
use cdk_common::database::DynKVStore;
use cdk_common::payment::MintPayment;
use poolbox_accounting::{Network, Payout, Sats};
use tokio::sync::RwLock;

use crate::keys::Keys;
use crate::settings::{Credentials, NodeSettings};

/// How often the wallet looks for blocks.
const SYNC_SECONDS: u64 = 2;
/// Confirmations of a payment that is no coinbase.
const CONFIRMATIONS: u32 = 1;
/// Smallest payment in or out, in sats.
const MIN_PAYMENT_SAT: u64 = 1000;
/// Fee rate where the node has no estimate, as on a young chain.
const FALLBACK_SAT_PER_VB: f64 = 2.0;
/// How long its tasks may take to end.
const SHUTDOWN_SECONDS: u64 = 5;
/// Wallet transactions read at once.
const PAGE: usize = 100;

/// What the treasury holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Spendable now.
    pub spendable: Sats,
    /// In coinbases that cannot be spent yet.
    pub immature: Sats,
    /// Height that the wallet followed the chain to.
    pub height: u32,
}

/// The wallet, with the login that it was opened with.
pub struct Treasury {
    node: NodeSettings,
    network: Network,
    keys: Keys,
    dir: PathBuf,
    store: DynKVStore,
    birthday: u32,
    open: RwLock<Open>,
}

struct Open {
    wallet: CdkBdk,
    login: Credentials,
}

impl Treasury {
    /// Opens the wallet in `dir` and starts following the chain. A new wallet reads it from
    /// `birthday` on, for which the node must answer; an old one opens without the node.
    ///
    /// # Errors
    /// When the wallet cannot be opened, or its first address is not the descriptor's.
    pub async fn open(
        node: NodeSettings,
        network: Network,
        keys: Keys,
        dir: PathBuf,
        store: DynKVStore,
        birthday: u32,
    ) -> anyhow::Result<Self> {
        // The cookie of a stopped node is gone; refresh_login comes when it answers.
        let login = node.login.read().unwrap_or_default();
        let wallet = new_wallet(&node, network, &keys, &dir, &store, birthday, &login).await?;
        let expected = keys.coinbase_address()?.to_string();
        let first = match wallet.wallet_addresses(0, 1).await?.items.pop() {
            Some(first) => first.address,
            None => wallet.create_operator_deposit_address().await?,
        };
        if first != expected {
            anyhow::bail!("the treasury's first address is {first} and not the descriptor's {expected}");
        }
        wallet.start().await.context("start the treasury")?;
        let open = RwLock::new(Open { wallet, login });
        Ok(Self { node, network, keys, dir, store, birthday, open })
    }

    /// What it holds, as of the last block it saw.
    pub async fn balance(&self) -> Balance {
        let balance = self.open.read().await.wallet.wallet_balance().await;
        Balance {
            spendable: Sats::new(balance.trusted_spendable_sat),
            immature: Sats::new(balance.immature_sat),
            height: balance.synced_height,
        }
    }

    /// Whether the wallet itself has every one of these coinbases, `maturity` deep.
    ///
    /// # Errors
    /// When its database cannot be read.
    pub async fn holds(&self, payouts: &[Payout], maturity: u32) -> anyhow::Result<bool> {
        let open = self.open.read().await;
        let tip = open.wallet.wallet_balance().await.synced_height;
        if payouts.iter().any(|payout| (tip + 1).saturating_sub(payout.height) < maturity) {
            return Ok(false);
        }
        let mut missing: Vec<&Payout> = payouts.iter().collect();
        let mut seen = 0;
        while !missing.is_empty() {
            let page = open.wallet.wallet_transactions(seen, PAGE).await?;
            if page.items.is_empty() {
                break;
            }
            seen += page.items.len();
            for transaction in page.items {
                let pays = |payout: &&Payout| {
                    transaction.confirmation_height == Some(payout.height)
                        && transaction.received_sat >= payout.reward.get()
                };
                missing.retain(|payout| !pays(payout));
            }
        }
        Ok(missing.is_empty())
    }

    /// Opens the wallet again when the node has another login by now: its cookie is new at each of
    /// its starts, and the wallet keeps the login that it was opened with.
    ///
    /// # Errors
    /// When the login cannot be read or the wallet cannot be opened again.
    pub async fn refresh_login(&self) -> anyhow::Result<()> {
        let login = self.node.login.read()?;
        if self.open.read().await.login == login {
            return Ok(());
        }
        let mut open = self.open.write().await;
        open.wallet.stop().await.context("stop the treasury")?;
        let Self { node, network, keys, dir, store, birthday, .. } = self;
        let wallet = new_wallet(node, *network, keys, dir, store, *birthday, &login).await?;
        wallet.start().await.context("start the treasury again")?;
        *open = Open { wallet, login };
        tracing::info!("the treasury follows the restarted node");
        Ok(())
    }

    /// Ends its tasks.
    pub async fn stop(&self) {
        if let Err(error) = self.open.read().await.wallet.stop().await {
            tracing::warn!(%error, "the treasury did not stop cleanly");
        }
    }
}

/// The wallet's constructor asks the node, blocking, when there is no wallet yet.
async fn new_wallet(
    node: &NodeSettings,
    network: Network,
    keys: &Keys,
    dir: &std::path::Path,
    store: &DynKVStore,
    birthday: u32,
    login: &Credentials,
) -> anyhow::Result<CdkBdk> {
    let source = ChainSource::BitcoinRpc(BitcoinRpcConfig {
        host: node.host.clone(),
        port: node.port,
        user: login.user.clone(),
        password: login.password.clone(),
        wallet_rescan_from_height: Some(birthday),
    });
    let batches = BatchConfig {
        fee_options: vec![PaymentTier::Immediate],
        fee_estimation: FeeEstimationConfig {
            fallback_sat_per_vb: FALLBACK_SAT_PER_VB,
            ..FeeEstimationConfig::default()
        },
        ..BatchConfig::default()
    };
    let mnemonic = keys.treasury_mnemonic().clone();
    let dir = dir.to_string_lossy().into_owned();
    let store = Arc::clone(store);
    let opened = tokio::task::spawn_blocking(move || {
        CdkBdk::new(
            mnemonic,
            network.to_bitcoin(),
            source,
            dir,
            FeeReserve { min_fee_reserve: Amount::from(1), percent_fee_reserve: 0.02 },
            store,
            Some(batches),
            CONFIRMATIONS,
            MIN_PAYMENT_SAT,
            MIN_PAYMENT_SAT,
            SYNC_SECONDS,
            Some(SHUTDOWN_SECONDS),
            None,
        )
    });
    opened.await?.context("open the treasury's wallet")
}
