//! Accounts and payouts in the mint's books, and which owners a settled epoch owes.

use cdk_common::database::DynMintDatabase;
use poolbox_accounting::{EpochId, Network, Owner, Sats};
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::payout::Payout;
use super::rule::Target;
use crate::ledger::{self, Credit, LedgerError, Place, Settled};

/// How far payouts are counted, and settled epochs were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Number of the last payout.
    pub last: u64,
    /// Number of the last epoch whose owners were credited here.
    pub epoch: u64,
}

/// The books, as far as payouts go.
#[derive(Clone)]
pub struct Books {
    db: DynMintDatabase,
    network: Network,
}

impl Books {
    /// In the mint's database.
    pub const fn new(db: DynMintDatabase, network: Network) -> Self {
        Self { db, network }
    }

    /// Every account.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn accounts(&self) -> Result<Vec<(Owner, Account)>, LedgerError> {
        let mut accounts = Vec::new();
        for place in ledger::accounts(&self.db).await? {
            let Some(account) = ledger::read::<Account>(&self.db, &place).await? else { continue };
            match self.owner(&account.owner) {
                Some(owner) => accounts.push((owner, account)),
                None => tracing::warn!(owner = account.owner, "an account of nobody that this network knows"),
            }
        }
        Ok(accounts)
    }

    /// How far things are counted.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn counts(&self) -> Result<Counts, LedgerError> {
        Ok(ledger::read(&self.db, &Place::payouts()).await?.unwrap_or_default())
    }

    /// Writes accounts, the payouts that changed with them, and the counts, all or nothing.
    ///
    /// # Errors
    /// [`LedgerError`]; what was written then is only known to the database.
    pub async fn write(
        &self,
        accounts: &[(&Owner, &Account)],
        ended: Option<&Payout>,
        counts: Counts,
    ) -> Result<(), LedgerError> {
        let mut tx = self.db.begin_transaction().await?;
        let mut written = Ok(());
        for (owner, account) in accounts {
            written = written.and(ledger::write(&mut tx, &Place::account(owner), account).await);
            if let Some(payout) = &account.payout {
                written = written.and(ledger::write(&mut tx, &Place::payout(payout.n), payout).await);
            }
        }
        if let Some(payout) = ended {
            written = written.and(ledger::write(&mut tx, &Place::payout(payout.n), payout).await);
        }
        written = written.and(ledger::write(&mut tx, &Place::payouts(), &counts).await);
        match written {
            Ok(()) => Ok(tx.commit().await?),
            Err(error) => {
                tx.rollback().await?;
                Err(error)
            }
        }
    }

    /// One payout.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn payout(&self, n: u64) -> Result<Option<Payout>, LedgerError> {
        ledger::read(&self.db, &Place::payout(n)).await
    }

    /// What a settled epoch owes to owners whom somebody may have to pay; none when it is not
    /// settled. Holders of keys mint for themselves.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn owed(&self, epoch: EpochId) -> Result<Option<Vec<(Owner, Sats)>>, LedgerError> {
        let Some(settled) = ledger::read::<Settled>(&self.db, &Place::settled(epoch)).await? else {
            return Ok(None);
        };
        let Some(rate) = settled.rate else { return Ok(Some(Vec::new())) };
        let mut owed = Vec::new();
        for place in ledger::credits_in(&self.db, epoch).await? {
            let Some(credit) = ledger::read::<Credit>(&self.db, &place).await? else { continue };
            let Some(owner) = self.owner(&credit.owner) else { continue };
            let sats = rate.redeem(credit.paid).unwrap_or_default();
            if sats > Sats::ZERO && (Target::of(&owner).is_some() || matches!(owner, Owner::Household(_))) {
                owed.push((owner, sats));
            }
        }
        Ok(Some(owed))
    }

    fn owner(&self, text: &str) -> Option<Owner> {
        Owner::parse(text, self.network).ok()
    }
}
