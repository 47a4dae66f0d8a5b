//! Tokens made from the box's own wallets. Their slips are in the mint's books, and so in its backup,
//! until somebody has spent them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use cdk::nuts::{CurrencyUnit, PublicKey};
use poolbox_wallet::{Pocket, Slip, Standing};
use uuid::Uuid;

use super::Open;
use crate::crediting::unix_time;
use crate::ledger::{self, Place};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The wallet holds less.
    #[error("{have} {unit} can be claimed now, and {wanted} were asked for")]
    TooMuch {
        /// Of what.
        unit: CurrencyUnit,
        /// In the wallet.
        have: u64,
        /// Asked for.
        wanted: u64,
    },
    /// The wallet holds none.
    #[error("there is no {0} to claim now")]
    Nothing(CurrencyUnit),
    /// No such token.
    #[error("there is no token {0} that is not spent")]
    Unknown(Uuid),
    /// Somebody has spent it.
    #[error("the token {0} is spent already")]
    Spent(Uuid),
    /// Somebody is spending it.
    #[error("somebody is spending the token {0}, or has spent a part of it")]
    InUse(Uuid),
    /// Only the holder of a key can spend it.
    #[error("the token is locked to {0}; only who has that key can spend it")]
    Locked(PublicKey),
    /// Books, wallet or mint did not do it.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Open<'_> {
    /// Makes a token of `amount` in `unit`, or of all there is, locked to `lock` if there is one
    /// (NUT-11). It is in the books before it is given.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn token(
        &self,
        unit: &CurrencyUnit,
        amount: Option<u64>,
        lock: Option<PublicKey>,
    ) -> Result<Slip, TokenError> {
        let pocket = self.pocket(unit).await?;
        let have = pocket.balance().await?;
        let amount = amount.unwrap_or(have);
        if have == 0 || amount == 0 {
            return Err(TokenError::Nothing(unit.clone()));
        }
        if amount > have {
            return Err(TokenError::TooMuch { unit: unit.clone(), have, wanted: amount });
        }
        let mut slip = pocket.begin_token(amount, lock, unix_time()).await?;
        self.keep(&slip).await?;
        pocket.issue(&mut slip).await?;
        self.keep(&slip).await?;
        let locked = lock.is_some();
        tracing::info!(owner = %self.owner, token = %slip.id, amount, %unit, locked, "token made");
        Ok(slip)
    }

    /// The tokens that nobody has spent, oldest first. Those that are spent are forgotten.
    ///
    /// # Errors
    /// When the books cannot be read or the mint does not answer.
    pub async fn unspent_tokens(&self) -> anyhow::Result<Vec<Slip>> {
        let (mut unspent, mut pockets) = (Vec::new(), HashMap::new());
        for slip in self.slips().await? {
            let pocket = match pockets.entry(slip.unit.clone()) {
                Entry::Occupied(pocket) => pocket.into_mut(),
                Entry::Vacant(place) => place.insert(self.pocket(&slip.unit).await?),
            };
            match pocket.standing(&slip).await? {
                Standing::Unspent | Standing::InUse => unspent.push(slip),
                Standing::Spent => self.forget(&slip).await?,
            }
        }
        // What was begun and cut off is complete now, as its pocket was opened.
        let complete = self.slips().await?;
        unspent.iter_mut().filter(|slip| !slip.is_issued()).for_each(|slip| {
            if let Some(issued) = complete.iter().find(|issued| issued.id == slip.id) {
                *slip = issued.clone();
            }
        });
        Ok(unspent)
    }

    /// Takes a token back: its text is worth nothing then, and the wallet holds the amount again.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn take_back(&self, id: Uuid) -> Result<Slip, TokenError> {
        let slips = self.slips().await?;
        let slip = slips.into_iter().find(|slip| slip.id == id).ok_or(TokenError::Unknown(id))?;
        if let Some(lock) = slip.lock {
            return Err(TokenError::Locked(lock));
        }
        let pocket = self.pocket(&slip.unit).await?;
        match pocket.standing(&slip).await? {
            Standing::Unspent => {}
            Standing::InUse => return Err(TokenError::InUse(id)),
            Standing::Spent => {
                self.forget(&slip).await?;
                return Err(TokenError::Spent(id));
            }
        }
        pocket.take_back(&slip).await?;
        self.forget(&slip).await?;
        tracing::info!(owner = %self.owner, token = %id, "token taken back");
        Ok(slip)
    }

    /// Completes what was begun in `unit` and cut off, and keeps the wallet from spending what is in
    /// tokens.
    pub(super) async fn finish_tokens(&self, unit: &CurrencyUnit, pocket: &Pocket) -> anyhow::Result<()> {
        for mut slip in self.slips().await?.into_iter().filter(|slip| slip.unit == *unit) {
            let complete = slip.is_issued();
            pocket.issue(&mut slip).await?;
            if !complete {
                self.keep(&slip).await?;
            }
        }
        Ok(())
    }

    async fn slips(&self) -> anyhow::Result<Vec<Slip>> {
        let db = self.purses.mint.localstore();
        let mut slips: Vec<Slip> = Vec::new();
        for place in ledger::slips_of(&db, &self.owner).await? {
            slips.extend(ledger::read::<Slip>(&db, &place).await?);
        }
        slips.sort_by_key(|slip| (slip.made_at, slip.id));
        Ok(slips)
    }

    async fn keep(&self, slip: &Slip) -> anyhow::Result<()> {
        let mut tx = self.purses.mint.localstore().begin_transaction().await?;
        ledger::write(&mut tx, &Place::slip(&self.owner, slip.id), slip).await?;
        Ok(tx.commit().await?)
    }

    async fn forget(&self, slip: &Slip) -> anyhow::Result<()> {
        let mut tx = self.purses.mint.localstore().begin_transaction().await?;
        ledger::remove(&mut tx, &Place::slip(&self.owner, slip.id)).await?;
        Ok(tx.commit().await?)
    }
}
