//! What is owed and what backs it, side by side.

use cdk_common::database::DynMintDatabase;
use poolbox_accounting::{EpochId, Sats};

use super::{Balance, Ecash, EcashError, Funds, Method, Treasury};
use crate::ledger::{self, LedgerError, Place, Progress, Settled};

/// Sats owed and held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// What is owed.
    pub ecash: Ecash,
    /// What the on-chain wallet holds.
    pub wallet: Balance,
    /// What the Lightning node holds; none when there should be one that does not run, and nothing
    /// can be said.
    pub lightning: Option<Funds>,
    /// Sent by melts that are not settled yet, with their fees: gone from the wallets, while the
    /// ecash that pays for it is still counted as owed.
    pub in_flight: Sats,
}

/// Why there is no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// What is owed cannot be read.
    #[error(transparent)]
    Ecash(#[from] EcashError),
    /// What was sent cannot be read.
    #[error("ask the treasury's wallet: {0}")]
    Wallet(#[from] cdk_common::payment::Error),
}

impl Statement {
    /// All that is owed.
    pub fn outstanding(&self) -> Sats {
        self.ecash.outstanding()
    }

    /// All that backs it.
    pub fn reserve(&self) -> Sats {
        let lightning = self.lightning.unwrap_or_default().ours;
        [self.wallet.spendable, lightning, self.in_flight].into_iter().sum()
    }

    /// Taken for melts under way, fees at most included. Part of what is owed.
    pub fn pending_out(&self) -> Sats {
        self.ecash.pending.iter().map(|melt| melt.inputs).sum()
    }
}

/// What settled epochs pay, summed up as far as they are settled: nothing in them changes any more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Payable {
    through: u64,
    sats: Sats,
}

impl Treasury {
    /// What is owed and held right now. A payment that leaves between two of the readings can make
    /// it look short for a moment; never the other way round for longer.
    ///
    /// # Errors
    /// [`StatementError`].
    pub async fn statement(&self) -> Result<Statement, StatementError> {
        let ecash = self.ecash().read().await?;
        let node = self.lightning();
        let mut in_flight = Sats::ZERO;
        for melt in &ecash.pending {
            let sent = match melt.method {
                Method::Onchain => self.sent_for(&melt.id).await?,
                Method::Bolt11 | Method::Bolt12 => match node {
                    Some(node) => node.sent_for(melt).await.unwrap_or_default(),
                    None => Sats::ZERO,
                },
            };
            in_flight = [in_flight, sent].into_iter().sum();
        }
        let lightning = match node {
            Some(node) => node.funds().await.ok(),
            None => Some(Funds::default()),
        };
        Ok(Statement { wallet: self.balance().await, lightning, in_flight, ecash })
    }

    /// What holders of settled epochs' ehash can still redeem, after the `redeemed` sats, and what is left of
    /// upstream payments that can be spent.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn claims(&self, db: &DynMintDatabase, redeemed: Sats) -> Result<Sats, LedgerError> {
        let progress: Option<Progress> = ledger::read(db, &Place::progress()).await?;
        let mut of_rounds = Sats::ZERO;
        for round in progress.iter().flat_map(|progress| progress.rounds.live()) {
            let final_ones = round.payments.iter().filter(|payment| payment.is_final);
            let arrived: Sats = final_ones.map(|payment| payment.sats).sum();
            let paid: Option<Sats> = ledger::read(db, &Place::shared(round.id)).await?;
            of_rounds = [of_rounds, arrived.saturating_sub(paid.unwrap_or_default())].into_iter().sum();
        }
        let oldest_live = progress.and_then(|progress| progress.epochs.live().first().map(|epoch| epoch.id));
        let mut payable = self.payable.lock().await;
        for n in payable.through + 1..oldest_live.map_or(1, EpochId::get) {
            let settled: Option<Settled> = ledger::read(db, &Place::settled(EpochId::new(n))).await?;
            let sats = settled.and_then(|settled| settled.rate).map_or(Sats::ZERO, |rate| rate.payable());
            *payable = Payable { through: n, sats: [payable.sats, sats].into_iter().sum() };
        }
        Ok([payable.sats.saturating_sub(redeemed), of_rounds].into_iter().sum())
    }
}
