//! The box's own wallets, one for each owner whose key the box holds. What they hold can be found
//! again from the box's seed (NUT-09); the tokens made from them are in the mint's books.
//!
//! A wallet is opened for a moment, by one task at a time, and closed again.

mod collecting;
mod inside;
mod parts;
mod stakes;
mod tokens;

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Context;
use axum::Router;
use bitcoin::hashes::{Hash, sha256};
use cdk::mint::Mint;
use cdk::nuts::{CurrencyUnit, SecretKey};
use poolbox_accounting::{EpochId, Owner};
use poolbox_wallet::{Connector, Pocket, Purse};
use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};

use crate::keys::Keys;
use crate::units::unit_of;

pub use collecting::Collected;
pub use parts::{OwnPart, parts};
pub use stakes::{Holdings, Stake, stakes};
pub use tokens::TokenError;

/// Most wallets open at a time.
const OPEN: usize = 8;

/// All of them.
pub struct Purses {
    mint: Arc<Mint>,
    keys: Keys,
    folder: PathBuf,
    connector: Connector,
    /// Coinbase maturity, for what has to wait.
    maturity: u32,
    /// Who is using whose wallet.
    owners: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    seats: Semaphore,
}

/// One owner's wallet, in use by one task.
pub struct Open<'a> {
    purses: &'a Purses,
    owner: Owner,
    /// What the owner's quotes are locked to.
    key: SecretKey,
    purse: Purse,
    _turn: OwnedMutexGuard<()>,
    _seat: SemaphorePermit<'a>,
}

impl Purses {
    /// Wallets below `data_dir` for the mint with these public routes.
    ///
    /// # Errors
    /// Never, for our own URL.
    pub fn new(
        mint: Arc<Mint>,
        keys: Keys,
        data_dir: &std::path::Path,
        routes: Router,
        maturity: u32,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            mint,
            keys,
            folder: data_dir.join("purses"),
            connector: inside::connector(routes)?,
            maturity,
            owners: Mutex::default(),
            seats: Semaphore::new(OPEN),
        })
    }

    /// Opens an owner's wallet, when nobody else uses it any more; none when the box does not hold
    /// the owner's key.
    ///
    /// # Errors
    /// When the wallet cannot be used, or was lost and the mint cannot restore it now.
    pub async fn open(&self, owner: &Owner) -> anyhow::Result<Option<Open<'_>>> {
        let (Some(key), Some(seed)) = (self.keys.held_for(owner)?, self.keys.purse_seed(owner)) else {
            return Ok(None);
        };
        let turn = self.turn(owner).lock_owned().await;
        let seat = self.seats.acquire().await.context("the mint is stopping")?;
        // Owners may be longer than names of folders, and are none of a folder listing's business.
        let name = sha256::Hash::hash(owner.to_string().as_bytes()).to_string();
        let purse = Purse::open_with_seed(&self.folder.join(name), seed).await?;
        let purse = purse.through(self.connector.clone());
        let key = SecretKey::from_slice(&key.secret_bytes())?;
        let open = Open { purses: self, owner: owner.clone(), key, purse, _turn: turn, _seat: seat };
        open.restore().await?;
        Ok(Some(open))
    }

    fn turn(&self, owner: &Owner) -> Arc<tokio::sync::Mutex<()>> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|_, turn| turn.strong_count() > 0);
        let known = owners.get(&owner.to_string()).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Arc::default();
            owners.insert(owner.to_string(), Arc::downgrade(&turn));
            turn
        })
    }
}

impl Open<'_> {
    /// Whose it is.
    pub const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The part that holds `unit`. Nothing that is in a token can be spent from it.
    ///
    /// # Errors
    /// When something cut off earlier cannot be finished now.
    pub async fn pocket(&self, unit: &CurrencyUnit) -> anyhow::Result<Pocket> {
        let pocket = self.purse.pocket(inside::URL, unit.clone()).await?;
        self.finish_tokens(unit, &pocket).await?;
        Ok(pocket)
    }

    /// The part that holds sats.
    ///
    /// # Errors
    /// As [`Self::pocket`].
    pub async fn sats(&self) -> anyhow::Result<Pocket> {
        self.pocket(&CurrencyUnit::Sat).await
    }

    /// The part that holds an epoch's ehash.
    ///
    /// # Errors
    /// As [`Self::pocket`].
    pub async fn ehash(&self, epoch: EpochId) -> anyhow::Result<Pocket> {
        self.pocket(&unit_of(epoch)).await
    }

    /// A folder that is younger than its seed: what the seed held before is at the mint.
    async fn restore(&self) -> anyhow::Result<()> {
        if !self.purse.is_incomplete() {
            return Ok(());
        }
        for unit in self.units().await? {
            let unit = CurrencyUnit::from_str(&unit).context("unit of an epoch")?;
            let pocket = self.purse.pocket(inside::URL, unit).await?;
            pocket.restore().await.with_context(|| format!("restore the wallet of {}", self.owner))?;
        }
        self.purse.complete()
    }

    /// Units that the owner can hold.
    async fn units(&self) -> anyhow::Result<Vec<String>> {
        let mut units: Vec<_> = self.stakes().await?.into_iter().map(|stake| stake.epoch.unit()).collect();
        units.push(CurrencyUnit::Sat.to_string());
        Ok(units)
    }
}
