//! The wallet's folder, and its pockets: one a unit.

use std::fs::DirBuilder;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use bip39::Mnemonic;
use cdk::amount::{Amount, SplitTarget};
use cdk::mint_url::MintUrl;
use cdk::nuts::{CurrencyUnit, PaymentMethod, SecretKey};
use cdk::wallet::{ReceiveOptions, SendOptions, Wallet, WalletBuilder};
use cdk_common::wallet::{KeysetLoadPolicy, MintQuote};
use cdk_sqlite::WalletSqliteDatabase;
use poolbox_accounting::{EpochId, Sats, Work};
use poolbox_service::write_secret;

/// The payment method of quotes that mining pays for.
const METHOD: &str = "ehash";

/// A wallet's folder, opened. One process at a time has it: what another left unfinished is taken
/// up again, and must not be somebody's work in progress.
pub struct Purse {
    store: Arc<WalletSqliteDatabase>,
    seed: [u8; 64],
    folder: PathBuf,
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
        Ok(Self { store: Arc::new(store), seed, folder: folder.to_owned(), _lock: lock })
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
        let wallet = wallet.without_rate_limiting().build().context("open the wallet")?;
        let report = wallet.recover_incomplete_sagas().await.context("finish what was cut off")?;
        ensure!(
            report.failed == 0,
            "{} cut-off operations of the wallet cannot be finished yet",
            report.failed
        );
        Ok(Pocket(wallet))
    }

    /// Writes a token down before it is shown: it is money that the wallet no longer has.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn note_token(&self, token: &str) -> anyhow::Result<()> {
        let path = self.folder.join("tokens");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let mut file = file.with_context(|| format!("open {}", path.display()))?;
        writeln!(file, "{token}")
            .and_then(|()| file.sync_all())
            .with_context(|| format!("write {}", path.display()))
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

/// The wallet of one unit.
pub struct Pocket(Wallet);

impl Pocket {
    /// The unit of an epoch.
    ///
    /// # Errors
    /// Never for an epoch of ours.
    pub fn ehash_unit(epoch: EpochId) -> anyhow::Result<CurrencyUnit> {
        CurrencyUnit::from_str(&epoch.unit()).map_err(|error| anyhow!("unit {}: {error}", epoch.unit()))
    }

    /// What it holds.
    ///
    /// # Errors
    /// When the wallet's database cannot be read.
    pub async fn balance(&self) -> anyhow::Result<u64> {
        Ok(self.0.total_balance().await.context("read the wallet's balance")?.to_u64())
    }

    /// Mints what may be minted of a quote that is locked to `key` (NUT-20).
    ///
    /// # Errors
    /// When the mint does not answer or refuses, as for a wrong key.
    pub async fn mint_locked(&self, quote: &str, key: SecretKey) -> anyhow::Result<Work> {
        self.refresh().await?;
        let mut known =
            self.0.fetch_mint_quote(quote, Some(method())).await.context("look the quote up at the mint")?;
        known.secret_key = Some(key);
        self.0.localstore.add_mint_quote(known).await.context("note the quote in the wallet")?;
        Ok(Work::from_ehash(self.mint(quote).await?))
    }

    /// The quote that redeemed ehash is paid into: one and the same for the wallet's life, so that
    /// nothing paid is ever forgotten.
    ///
    /// # Errors
    /// When the mint does not answer.
    pub async fn redeem_quote(&self) -> anyhow::Result<String> {
        self.refresh().await?;
        let known = self.0.localstore.get_mint_quotes().await.context("read the wallet's quotes")?;
        let of_this = |quote: &&MintQuote| {
            quote.mint_url == self.0.mint_url && quote.unit == self.0.unit && quote.payment_method == method()
        };
        if let Some(quote) = known.iter().find(of_this) {
            return Ok(quote.id.clone());
        }
        // Required by the wallet, without meaning for a quote that is paid by melts of any size.
        let amount = Some(Amount::from(1));
        let quote =
            self.0.mint_quote(method(), amount, None, None).await.context("ask the mint for a sat quote")?;
        Ok(quote.id)
    }

    /// Mints what was paid into one of this wallet's quotes and is not minted yet.
    ///
    /// # Errors
    /// When the mint does not answer or refuses.
    pub async fn mint_paid(&self, quote: &str) -> anyhow::Result<Sats> {
        let quote = self.0.check_mint_quote_status(quote).await.context("look the quote up at the mint")?;
        if quote.amount_paid == quote.amount_issued {
            return Ok(Sats::ZERO);
        }
        Ok(Sats::new(self.mint(&quote.id).await?))
    }

    /// Redeems `amount` of this epoch's ehash into a sat quote at the same mint (a NUT-05 melt).
    ///
    /// # Errors
    /// When the mint does not answer or refuses, as before the epoch is settled.
    pub async fn redeem(&self, amount: Work, into: &str) -> anyhow::Result<()> {
        self.refresh().await?;
        let extra = serde_json::json!({ "amount": amount.ehash() }).to_string();
        let quote = self
            .0
            .melt_quote(method(), into, None, Some(extra))
            .await
            .context("ask what the ehash is worth")?;
        let prepared =
            self.0.prepare_melt(&quote.id, Default::default()).await.context("prepare to redeem")?;
        prepared.confirm().await.context("redeem")?;
        Ok(())
    }

    /// Puts everything it holds into a token, as text.
    ///
    /// # Errors
    /// When the wallet cannot make the token.
    pub async fn spend_all(&self) -> anyhow::Result<Option<String>> {
        let balance = Amount::from(self.balance().await?);
        if balance == Amount::ZERO {
            return Ok(None);
        }
        let prepared =
            self.0.prepare_send(balance, SendOptions::default()).await.context("prepare a token")?;
        let token = prepared.confirm(None).await.context("make a token")?;
        Ok(Some(token.to_string()))
    }

    /// Takes a token in: swaps it for ecash that only this wallet can spend.
    ///
    /// # Errors
    /// When the mint does not answer, or the token is spent or not the mint's.
    pub async fn receive(&self, token: &str) -> anyhow::Result<Sats> {
        self.refresh().await?;
        let amount = self.0.receive(token, ReceiveOptions::default()).await.context("receive the token")?;
        Ok(Sats::new(amount.to_u64()))
    }

    /// Every epoch brings a keyset; the wallet would look for new ones once an hour.
    async fn refresh(&self) -> anyhow::Result<()> {
        self.0.keysets(KeysetLoadPolicy::Refresh).await.context("ask the mint for its keysets")?;
        Ok(())
    }

    async fn mint(&self, quote: &str) -> anyhow::Result<u64> {
        let proofs = self.0.mint(quote, SplitTarget::default(), None).await.context("mint the quote")?;
        Ok(proofs.iter().map(|proof| proof.amount.to_u64()).sum())
    }
}

fn method() -> PaymentMethod {
    PaymentMethod::Custom(METHOD.into())
}
