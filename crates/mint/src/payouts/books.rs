//! Accounts and payouts in the mint's books, and which owners a settled epoch owes.

use cdk_common::database::DynMintDatabase;
use poolbox_accounting::{EpochId, Network, Owner, RoundId, Sats};
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::payout::Payout;
use super::rule::Target;
use crate::ledger::{self, Credit, LedgerError, Part, Place, Settled, SharedOut};

/// How far payouts are counted, and settled epochs were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Number of the last payout.
    pub last: u64,
    /// Number of the last epoch whose owners were credited here.
    pub epoch: u64,
    /// Number of the last round of mode proxy whose owners were.
    #[serde(default)]
    pub round: u64,
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
            let sats = rate.redeem(credit.paid).unwrap_or_default();
            owed.extend(self.payee(&credit.owner, sats).map(|owner| (owner, sats)));
        }
        Ok(Some(owed))
    }

    /// The same of a round of mode proxy; none when it is not shared out.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn shared_out(&self, round: RoundId) -> Result<Option<Vec<(Owner, Sats)>>, LedgerError> {
        if ledger::read::<SharedOut>(&self.db, &Place::shared_out(round)).await?.is_none() {
            return Ok(None);
        }
        let mut owed = Vec::new();
        for place in ledger::parts_in(&self.db, round).await? {
            let Some(part) = ledger::read::<Part>(&self.db, &place).await? else { continue };
            let sats = part.paid.unwrap_or_default();
            owed.extend(self.payee(&part.owner, sats).map(|owner| (owner, sats)));
        }
        Ok(Some(owed))
    }

    /// An owner whom somebody may have to pay these sats.
    fn payee(&self, owner: &str, sats: Sats) -> Option<Owner> {
        let owner = self.owner(owner)?;
        let is_paid = Target::of(&owner).is_some() || matches!(owner, Owner::Household(_));
        (sats > Sats::ZERO && is_paid).then_some(owner)
    }

    fn owner(&self, text: &str) -> Option<Owner> {
        Owner::parse(text, self.network).ok()
    }
}
