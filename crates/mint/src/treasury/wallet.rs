//! How cdk-bdk's wallet is set up.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cdk_bdk::{BatchConfig, BitcoinRpcConfig, CdkBdk, ChainSource, FeeEstimationConfig, PaymentTier};
use cdk_common::Amount;
use cdk_common::common::FeeReserve;
use poolbox_accounting::Network;
use poolbox_service::Credentials;

use super::{Opening, leftovers};
use crate::crediting::unix_time;

/// Smallest payment in or out, in sats.
pub(super) const MIN_PAYMENT_SAT: u64 = 1000;

/// How often the wallet looks for blocks.
const SYNC_SECONDS: u64 = 2;
/// How often it looks for payments to make.
const BATCH_POLL: Duration = Duration::from_secs(2);
/// Fee rate where the node has no estimate, as on a young chain.
const FALLBACK_SAT_PER_VB: f64 = 2.0;
/// Coins that a quote counts on. cdk-bdk's 24 would refuse a payment out of many small coins that the
/// wallet can well make; a transaction of so many inputs is still one that nodes relay.
const QUOTE_COINS: usize = 1_000;
/// How long its tasks may take to end.
const SHUTDOWN_SECONDS: u64 = 5;

/// Opens the wallet. The constructor asks the node, blocking, when there is no wallet yet.
///
/// # Errors
/// When the wallet cannot be opened, or a new one cannot reach the node.
pub(super) async fn open(opening: &Opening, login: &Credentials) -> anyhow::Result<CdkBdk> {
    leftovers::forget_unsent(&opening.dir, &opening.store, unix_time()).await?;
    let node = &opening.node;
    let source = ChainSource::BitcoinRpc(BitcoinRpcConfig {
        host: node.host.clone(),
        port: node.port,
        user: login.user.clone(),
        password: login.password.clone(),
        wallet_rescan_from_height: Some(opening.birthday),
    });
    let batches = batches(opening.network);
    let network = opening.network.to_bitcoin();
    let mnemonic = opening.keys.treasury_mnemonic().clone();
    let dir = opening.dir.to_string_lossy().into_owned();
    let store = Arc::clone(&opening.store);
    let confirmations = opening.settings.confirmations;
    let opened = tokio::task::spawn_blocking(move || {
        CdkBdk::new(
            mnemonic,
            network,
            source,
            dir,
            // Above the estimate, which is padded already; what is not spent is given back.
            FeeReserve { min_fee_reserve: Amount::from(1), percent_fee_reserve: 0.02 },
            store,
            Some(batches),
            confirmations,
            MIN_PAYMENT_SAT,
            MIN_PAYMENT_SAT,
            SYNC_SECONDS,
            Some(SHUTDOWN_SECONDS),
            None,
        )
    });
    opened.await?.context("open the treasury's wallet")
}

/// Two ways to be paid, of which the wallet chooses: at once, or cheaper with the next transaction
/// that goes out within six blocks. Payments that wait together share one transaction.
fn batches(network: Network) -> BatchConfig {
    let target_block_time = Duration::from_secs(match network {
        Network::Devnet | Network::Regtest => 10,
        _ => 600,
    });
    let deadline = |tier| BatchConfig::deadline_for_target_blocks(tier, target_block_time);
    BatchConfig {
        poll_interval: BATCH_POLL,
        target_block_time,
        standard_deadline: deadline(PaymentTier::Standard),
        economy_deadline: deadline(PaymentTier::Economy),
        fee_options: vec![PaymentTier::Immediate, PaymentTier::Standard],
        fee_estimation: FeeEstimationConfig {
            fallback_sat_per_vb: FALLBACK_SAT_PER_VB,
            quote_max_input_count: QUOTE_COINS,
            ..FeeEstimationConfig::default()
        },
        ..BatchConfig::default()
    }
}
