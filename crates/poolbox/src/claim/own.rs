//! Claiming with a wallet on this machine, for owners that are public keys: the box does not have
//! their secret.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail};
use cdk::nuts::{CurrencyUnit, PublicKey, SecretKey};
use poolbox_accounting::{EpochState, Sats, Work};
use poolbox_api::Client;
use poolbox_api::mint::{
    self, ClaimRequest, Claimed, Epoch, OwnerAccount, OwnerRound, Status, TakenBack, Token, Waiting, Waits,
};
use poolbox_service::Misconfigured;
use poolbox_wallet::{Pocket, Purse, Slip, Standing, fragments};

use super::unix_time;

/// The owner's own wallet, opened.
pub struct Own {
    mint: Client,
    status: Status,
    account: OwnerAccount,
    key: SecretKey,
    purse: Purse,
}

/// The key that the owner's quotes are locked to.
pub fn read_key(file: &Path, account: &OwnerAccount) -> anyhow::Result<SecretKey> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Misconfigured::new(format!("--key-file {}: {error}", file.display())))?;
    let key = SecretKey::from_str(text.trim())
        .map_err(|_| Misconfigured::new("the secret key is not 32 bytes in hex; check --key-file"))?;
    if key.public_key().to_hex() != account.pubkey {
        let OwnerAccount { owner, pubkey, .. } = account;
        let sentence = format!("this is not the key of {owner}; its quotes are locked to {pubkey}");
        return Err(Misconfigured::new(sentence).into());
    }
    Ok(key)
}

impl Own {
    /// Opens the wallet in `folder`, or makes one.
    pub async fn open(
        mint: Client,
        status: Status,
        account: OwnerAccount,
        key: SecretKey,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        Ok(Self { mint, status, account, key, purse: Purse::open(folder).await? })
    }

    /// Mints and redeems what can be; makes the token that `request` asks for, if it is one.
    pub async fn claim(&self, request: Option<&ClaimRequest>) -> anyhow::Result<Claimed> {
        let lock = match request.and_then(|request| request.lock.as_deref()) {
            Some(lock) => Some(PublicKey::from_hex(lock.trim()).map_err(|_| {
                Misconfigured::new("--lock is no public key; copy the 66 hex digits that the wallet shows")
            })?),
            None => None,
        };
        let mut minted = Vec::new();
        for quote in self.account.quotes.iter().filter(|quote| quote.paid > quote.issued) {
            let pocket = self.pocket(&Pocket::ehash_unit(quote.epoch)?).await?;
            minted.push(pocket.mint_locked(&quote.id, self.key.clone()).await?);
        }
        let (redeemed, of_ehash, waiting) = self.redeem().await?;
        let sats = [of_ehash, self.mint_rounds().await?].into_iter().sum();
        let token = match request {
            Some(request) => self.token(request, lock).await?,
            None => None,
        };
        let minted = minted.into_iter().sum();
        let owner = self.account.owner.clone();
        Ok(Claimed { owner, minted, redeemed, sats, waiting, trouble: None, token })
    }

    /// Mints what rounds of mode proxy paid.
    async fn mint_rounds(&self) -> anyhow::Result<Sats> {
        let owed = |round: &&OwnerRound| round.paid.unwrap_or_default() > round.issued;
        let mut minted = Vec::new();
        for round in self.account.rounds.iter().filter(owed) {
            let pocket = self.pocket(&CurrencyUnit::Sat).await?;
            pocket.mint_locked(&round.quote, self.key.clone()).await?;
            minted.push(round.paid.unwrap_or_default().saturating_sub(round.issued));
        }
        Ok(minted.into_iter().sum())
    }

    async fn token(&self, request: &ClaimRequest, lock: Option<PublicKey>) -> anyhow::Result<Option<Token>> {
        let unit = request.epoch.map_or(Ok(CurrencyUnit::Sat), Pocket::ehash_unit)?;
        let pocket = self.pocket(&unit).await?;
        let have = pocket.balance().await?;
        let amount = request.amount.unwrap_or(have);
        if amount > have || (amount == 0 && request.amount.is_some()) {
            bail!("{have} {unit} can be claimed now, and {amount} were asked for; ask for less");
        }
        if amount == 0 {
            return Ok(None);
        }
        let slip = self.purse.make_token(&pocket, amount, lock, unix_time()).await?;
        self.shown(&slip).map(Some)
    }

    /// Redeems the ehash of every settled epoch; lists what has to wait.
    async fn redeem(&self) -> anyhow::Result<(Work, Sats, Vec<Waiting>)> {
        let mut epochs: Vec<Epoch> = self.mint.get(mint::EPOCHS).await?;
        epochs.sort_by_key(|epoch| epoch.n);
        let sats = self.pocket(&CurrencyUnit::Sat).await?;
        let into = sats.redeem_quote().await?;
        let (mut redeemed, mut waiting) = (Vec::new(), Vec::new());
        for epoch in epochs {
            let pocket = self.pocket(&Pocket::ehash_unit(epoch.n)?).await?;
            let ehash = Work::from_ehash(pocket.balance().await?);
            if ehash == Work::ZERO {
                continue;
            }
            if epoch.state != EpochState::Settled {
                waiting.push(Waiting { epoch: epoch.n, ehash, waits: waits(&epoch) });
                continue;
            }
            pocket.redeem(ehash, &into).await.with_context(|| format!("{ehash} of epoch {}", epoch.n))?;
            redeemed.push(ehash);
        }
        // Also what an earlier claim redeemed and could not mint any more.
        let received = sats.mint_paid(&into).await?;
        sats.tidy().await?;
        Ok((redeemed.into_iter().sum(), received, waiting))
    }

    /// The tokens that nobody has spent, oldest first. Those that are spent are forgotten.
    pub async fn tokens(&self) -> anyhow::Result<Vec<Token>> {
        let mut unspent = Vec::new();
        for slip in self.purse.slips()? {
            let pocket = self.pocket(&slip.unit).await?;
            match pocket.standing(&slip).await? {
                Standing::Unspent | Standing::InUse => unspent.push(slip.id),
                Standing::Spent => self.purse.throw_away(&slip)?,
            }
        }
        // Read again: what was cut off is complete now.
        let slips = self.purse.slips()?.into_iter().filter(|slip| unspent.contains(&slip.id));
        slips.map(|slip| self.shown(&slip)).collect()
    }

    /// Takes a token back.
    pub async fn take_back(&self, id: &str) -> anyhow::Result<TakenBack> {
        let slip = self.purse.slips()?.into_iter().find(|slip| slip.id.to_string() == id);
        let slip = slip.ok_or_else(|| {
            Misconfigured::new(format!("there is no token {id}; poolbox tokens lists those not spent"))
        })?;
        let amount = self.pocket(&slip.unit).await?.take_back(&slip).await?;
        self.purse.throw_away(&slip)?;
        Ok(TakenBack { id: id.to_owned(), unit: slip.unit.to_string(), amount })
    }

    async fn pocket(&self, unit: &CurrencyUnit) -> anyhow::Result<Pocket> {
        self.purse.pocket(self.url(unit), unit.clone()).await
    }

    fn url(&self, unit: &CurrencyUnit) -> &str {
        if *unit == CurrencyUnit::Sat { &self.status.url } else { &self.status.ehash_url }
    }

    fn shown(&self, slip: &Slip) -> anyhow::Result<Token> {
        let text = slip.token(self.url(&slip.unit))?;
        Ok(Token {
            id: slip.id.to_string(),
            unit: slip.unit.to_string(),
            amount: slip.amount,
            lock: slip.lock.map(|lock| lock.to_string()),
            made_at: slip.made_at,
            fragments: fragments(&text)?,
            text,
        })
    }
}

/// What the ehash of an epoch that is not settled waits for.
fn waits(epoch: &Epoch) -> Waits {
    match (epoch.state, epoch.blocks_to_maturity) {
        (EpochState::Provisional, _) => Waits::Confirmations,
        (_, Some(0)) => Waits::Booking,
        (_, Some(blocks)) => Waits::Maturity { blocks },
        (_, None) => Waits::Block,
    }
}
