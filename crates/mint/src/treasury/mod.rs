//! The treasury: the on-chain wallet (cdk-bdk over the node's RPC) that coinbases pay and that
//! backs every sat of ecash. It says what it holds and what is owed, and pays what melts ask for;
//! whether that is as it should be is for the invariants.

mod ecash;
mod leftovers;
pub mod lightning;
mod methods;
mod onchain;
mod receiving;
mod reconciling;
mod statement;
mod wallet;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use cdk_bdk::{CdkBdk, WalletTransaction};
use cdk_common::QuoteId;
use cdk_common::database::DynKVStore;
use cdk_common::payment::{MintPayment, PaymentIdentifier};
use poolbox_accounting::{Network, Payout, Sats};
use poolbox_service::{Credentials, NodeSettings};
use tokio::sync::{Mutex, RwLock, RwLockReadGuard};

pub use ecash::{Ecash, EcashError, EcashReader, Melted, PendingMelt, Received};
pub use leftovers::handing_over;
pub use lightning::{Funds, Lightning, Trouble};
pub use methods::{Method, announce, withdraw};
pub use onchain::{Onchain, Unpayable};
pub use receiving::Arrived;
pub use reconciling::Reconciling;
pub use statement::{Statement, StatementError};

use self::statement::Payable;
use crate::keys::Keys;
use crate::settings::TreasurySettings;

/// Wallet transactions read at once.
const PAGE: usize = 100;

/// What the treasury's wallet holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Spendable now, with the change of our own payments.
    pub spendable: Sats,
    /// In coinbases that cannot be spent yet.
    pub immature: Sats,
    /// Height that the wallet followed the chain to.
    pub height: u32,
}

/// What it takes to open the treasury.
pub struct Opening {
    /// The node whose chain is followed.
    pub node: NodeSettings,
    /// Of the node.
    pub network: Network,
    /// Gives the wallet's seed.
    pub keys: Keys,
    /// The mint's data directory.
    pub dir: PathBuf,
    /// Where cdk-bdk notes what it pays: the mint's database.
    pub store: DynKVStore,
    /// Block from which a new wallet reads the chain.
    pub birthday: u32,
    /// Reads what is owed.
    pub ecash: EcashReader,
    /// `[treasury]` of the settings.
    pub settings: TreasurySettings,
    /// The Lightning node, if there is one.
    pub lightning: Option<Arc<Lightning>>,
}

/// The wallet, with the login that it was opened with.
pub struct Treasury {
    opening: Opening,
    open: RwLock<Open>,
    payable: Mutex<Payable>,
}

struct Open {
    wallet: CdkBdk,
    login: Credentials,
}

impl Treasury {
    /// Opens the wallet and starts following the chain. A new wallet reads it from the birthday on,
    /// for which the node must answer; an old one opens without the node.
    ///
    /// # Errors
    /// When the wallet cannot be opened, or its first address is not the descriptor's.
    pub async fn open(opening: Opening) -> anyhow::Result<Self> {
        // The cookie of a stopped node is gone; refresh_login comes when it answers.
        let login = opening.node.login.read().unwrap_or_default();
        let wallet = wallet::open(&opening, &login).await?;
        let expected = opening.keys.coinbase_address()?.to_string();
        let first = match wallet.wallet_addresses(0, 1).await?.items.pop() {
            Some(first) => first.address,
            None => wallet.create_operator_deposit_address().await?,
        };
        if first != expected {
            anyhow::bail!("the treasury's first address is {first} and not the descriptor's {expected}");
        }
        wallet.start().await.context("start the treasury")?;
        let open = RwLock::new(Open { wallet, login });
        Ok(Self { opening, open, payable: Mutex::default() })
    }

    /// What the wallet holds, as of the last block it saw.
    pub async fn balance(&self) -> Balance {
        let balance = self.open.read().await.wallet.wallet_balance().await;
        Balance {
            spendable: Sats::new(balance.trusted_spendable_sat),
            immature: Sats::new(balance.immature_sat),
            height: balance.synced_height,
        }
    }

    /// Reads what is owed.
    pub const fn ecash(&self) -> &EcashReader {
        &self.opening.ecash
    }

    /// The Lightning node, if there is one.
    pub const fn lightning(&self) -> Option<&Arc<Lightning>> {
        self.opening.lightning.as_ref()
    }

    /// Whether the wallet itself has every one of these coinbases, `maturity` deep.
    ///
    /// # Errors
    /// When its database cannot be read.
    pub async fn holds(&self, payouts: &[Payout], maturity: u32) -> anyhow::Result<bool> {
        let tip = self.balance().await.height;
        if payouts.iter().any(|payout| (tip + 1).saturating_sub(payout.height) < maturity) {
            return Ok(false);
        }
        let mut missing: Vec<&Payout> = payouts.iter().collect();
        self.each_transaction(|transaction| {
            let pays = |payout: &&Payout| {
                transaction.confirmation_height == Some(payout.height)
                    && transaction.received_sat >= payout.reward.get()
            };
            missing.retain(|payout| !pays(payout));
            !missing.is_empty()
        })
        .await?;
        Ok(missing.is_empty())
    }

    /// What a melt that cdk-bdk was asked to pay has cost, with its share of the fee; nothing while
    /// no transaction pays it.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn sent_for(&self, melt: &QuoteId) -> Result<Sats, cdk_common::payment::Error> {
        let melt = PaymentIdentifier::QuoteId(melt.clone());
        let payment = self.open.read().await.wallet.check_outgoing_payment(&melt).await?;
        Ok(Sats::new(payment.total_spent.value()))
    }

    /// Shows the wallet's transactions, newest first, for as long as `look` wants more.
    async fn each_transaction(
        &self,
        mut look: impl FnMut(&WalletTransaction) -> bool + Send,
    ) -> anyhow::Result<()> {
        let open = self.open.read().await;
        let mut seen = 0;
        loop {
            let page = open.wallet.wallet_transactions(seen, PAGE).await?;
            seen += page.items.len();
            if page.items.is_empty() || !page.items.iter().all(&mut look) {
                return Ok(());
            }
        }
    }

    /// The wallet, which is not opened anew as long as the guard lives.
    async fn wallet(&self) -> RwLockReadGuard<'_, CdkBdk> {
        RwLockReadGuard::map(self.open.read().await, |open| &open.wallet)
    }

    /// Opens the wallet again when the node has another login by now: its cookie is new at each of
    /// its starts, and the wallet keeps the login that it was opened with. Also when a payment is
    /// under way: opening broadcasts it again, since a node that was away may have missed it.
    ///
    /// # Errors
    /// When the login cannot be read or the wallet cannot be opened again.
    pub async fn refresh_login(&self) -> anyhow::Result<()> {
        let login = self.opening.node.login.read()?;
        let paying = self.ecash().pending().await?.iter().any(|melt| melt.method == Method::Onchain);
        if self.open.read().await.login == login && !paying {
            return Ok(());
        }
        let mut open = self.open.write().await;
        open.wallet.stop().await.context("stop the treasury")?;
        let wallet = wallet::open(&self.opening, &login).await?;
        wallet.start().await.context("start the treasury again")?;
        *open = Open { wallet, login };
        tracing::info!("the treasury follows the node again");
        Ok(())
    }

    /// Ends its tasks.
    pub async fn stop(&self) {
        if let Err(error) = self.open.read().await.wallet.stop().await {
            tracing::warn!(%error, "the treasury did not stop cleanly");
        }
    }
}
