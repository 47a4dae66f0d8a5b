//! The wallet's folder: its seed, its database and who may use them. What is done with the ecash in it
//! is in the pockets, one a unit.

use std::collections::{BTreeMap, HashSet};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use bip39::Mnemonic;
use cdk::mint_url::MintUrl;
use cdk::nuts::{CurrencyUnit, PublicKey, State};
use cdk::wallet::{MintConnector, WalletBuilder};
use cdk_common::database::WalletDatabase;
use cdk_sqlite::WalletSqliteDatabase;
use poolbox_service::{replace_secret, write_secret};

use crate::{Pocket, Slip};

/// A way to a mint other than HTTP.
pub type Connector = Arc<dyn MintConnector + Send + Sync>;
/// In the wallet's folder when everything that its seed ever held at the mint is in its database.
const COMPLETE: &str = "complete";
/// Folder of the slips, one file each.
const SLIPS: &str = "slips";

/// A wallet's folder, opened. One process at a time has it: what another left unfinished is taken
/// up again, and must not be somebody's work in progress.
pub struct Purse {
    store: Arc<WalletSqliteDatabase>,
    seed: [u8; 64],
    folder: PathBuf,
    connector: Option<Connector>,
    _lock: File,
}

impl Purse {
    /// Opens the wallet in `folder`, or makes one with a fresh seed of its own.
    ///
    /// # Errors
    /// When the folder cannot be used, or holds no seed where one should be.
    pub async fn open(folder: &Path) -> anyhow::Result<Self> {
        let lock = lock(folder).await?;
        let seed_file = folder.join("seed");
        if !seed_file.exists() {
            let words = Mnemonic::generate(12).context("make a wallet seed")?;
            write_secret(&seed_file, format!("{words}\n").as_bytes())?;
        }
        let words = std::fs::read_to_string(&seed_file).context("read the wallet seed")?;
        let words = Mnemonic::from_str(words.trim()).map_err(|_| {
            anyhow!("{} does not hold twelve seed words; restore it from a backup", seed_file.display())
        })?;
        Self::unlocked(folder, words.to_seed(""), lock).await
    }

    /// Opens the wallet in `folder`, or makes one, whose seed is kept elsewhere.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn open_with_seed(folder: &Path, seed: [u8; 64]) -> anyhow::Result<Self> {
        Self::unlocked(folder, seed, lock(folder).await?).await
    }

    async fn unlocked(folder: &Path, seed: [u8; 64], lock: File) -> anyhow::Result<Self> {
        let database = folder.join("wallet.sqlite");
        let store = WalletSqliteDatabase::new(&database)
            .await
            .with_context(|| format!("open the wallet {}", database.display()))?;
        let folder = folder.to_owned();
        Ok(Self { store: Arc::new(store), seed, folder, connector: None, _lock: lock })
    }

    /// Reaches the mint through `connector` instead of over HTTP.
    #[must_use]
    pub fn through(mut self, connector: Connector) -> Self {
        self.connector = Some(connector);
        self
    }

    /// Whether ecash of its seed may be at the mint that its database does not know: its folder is
    /// younger than its seed. [`Pocket::restore`] every unit, then call [`Self::complete`].
    pub fn is_incomplete(&self) -> bool {
        !self.folder.join(COMPLETE).exists()
    }

    /// Notes that everything of its seed is in its database.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn complete(&self) -> anyhow::Result<()> {
        let path = self.folder.join(COMPLETE);
        File::create(&path)
            .and_then(|file| file.sync_all())
            .with_context(|| format!("write {}", path.display()))
    }

    /// What it can spend, by unit, without asking the mint.
    ///
    /// # Errors
    /// When its database cannot be read.
    pub async fn balances(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let proofs = self.store.get_proofs(None, None, Some(vec![State::Unspent]), None).await;
        let mut balances = BTreeMap::new();
        for proof in proofs.context("read the wallet's ecash")? {
            let balance: &mut u64 = balances.entry(proof.unit.to_string()).or_default();
            *balance = balance.saturating_add(proof.proof.amount.to_u64());
        }
        Ok(balances)
    }

    /// Units in which something was begun and cut off; opening their pockets finishes it.
    ///
    /// # Errors
    /// When the wallet's database cannot be read.
    pub async fn interrupted(&self) -> anyhow::Result<HashSet<CurrencyUnit>> {
        let begun = self.store.get_incomplete_sagas().await.context("read what the wallet has begun")?;
        Ok(begun.into_iter().map(|saga| saga.unit).collect())
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The part of the wallet that holds `unit` of the mint at `url`, with what an earlier run left
    /// unfinished brought to its end.
    ///
    /// # Errors
    /// When the mint does not answer, or a cut-off operation cannot be finished yet.
    pub async fn pocket(&self, url: &str, unit: CurrencyUnit) -> anyhow::Result<Pocket> {
        let url: MintUrl = url.parse().with_context(|| format!("mint URL {url}"))?;
        let wallet =
            WalletBuilder::new().mint_url(url).unit(unit).localstore(self.store.clone()).seed(self.seed);
        // The mint's limits are its own business: this wallet talks to the box it stands in.
        let wallet = wallet.without_rate_limiting();
        let wallet = match &self.connector {
            Some(connector) => wallet.shared_client(connector.clone()).use_http_subscription(),
            None => wallet,
        };
        let pocket = Pocket::new(wallet.build().context("open the wallet")?);
        pocket.recover().await?;
        for mut slip in self.slips()?.into_iter().filter(|slip| slip.unit == pocket.wallet().unit) {
            if slip.is_issued() {
                pocket.set_aside(&slip).await?;
            } else {
                pocket.issue(&mut slip).await?;
                self.keep(&slip)?;
            }
        }
        Ok(pocket)
    }

    /// Makes a token of `amount` from a pocket of this wallet, and keeps its slip in the folder.
    ///
    /// # Errors
    /// When the wallet holds less, the mint does not answer, or the disk refuses.
    pub async fn make_token(
        &self,
        pocket: &Pocket,
        amount: u64,
        lock: Option<PublicKey>,
        now: u64,
    ) -> anyhow::Result<Slip> {
        let mut slip = pocket.begin_token(amount, lock, now).await?;
        self.keep(&slip)?;
        pocket.issue(&mut slip).await?;
        self.keep(&slip)?;
        Ok(slip)
    }

    /// Tokens made from this wallet whose slips were not thrown away, oldest first.
    ///
    /// # Errors
    /// When the disk refuses or a slip is damaged.
    pub fn slips(&self) -> anyhow::Result<Vec<Slip>> {
        let folder = self.folder.join(SLIPS);
        let mut slips: Vec<Slip> = Vec::new();
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            slips.push(serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))?);
        }
        slips.sort_by_key(|slip| (slip.made_at, slip.id));
        Ok(slips)
    }

    /// Throws a slip away, as its token is spent or was taken back.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn throw_away(&self, slip: &Slip) -> anyhow::Result<()> {
        let path = self.slip(slip);
        std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
    }

    fn slip(&self, slip: &Slip) -> PathBuf {
        self.folder.join(SLIPS).join(format!("{}.json", slip.id))
    }

    /// Written whole or not at all: it is money that the wallet no longer has.
    fn keep(&self, slip: &Slip) -> anyhow::Result<()> {
        let folder = self.folder.join(SLIPS);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("make {}", folder.display()))?;
        replace_secret(&self.slip(slip), &serde_json::to_vec(slip)?)
    }
}

/// Makes the folder and waits until no other process uses it.
async fn lock(folder: &Path) -> anyhow::Result<File> {
    // Ecash is whoever's who can read it.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("make the wallet folder {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).context("lock the wallet")?;
    tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await?.context("lock the wallet")
}
