//! `poolbox claim`: from an owner's quotes to a Cashu token.
//!
//! Every step can be cut off and run again: what was minted or redeemed is in the wallet, and what
//! was not still waits at the mint.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use cdk::nuts::{CurrencyUnit, SecretKey};
use clap::Args;
use poolbox_accounting::{EpochId, EpochState, Identity, Owner, Sats, Work};
use poolbox_api::Client;
use poolbox_api::mint::{self, ClaimKey, ClaimKeyRequest, Epoch, OwnerQuotes, Status};
use poolbox_service::Misconfigured;
use poolbox_wallet::{Pocket, Purse};
use serde::{Deserialize, Serialize};

use crate::place::Place;

/// What to claim and how to say so.
#[derive(Debug, Args)]
pub struct Options {
    /// Owner part of the miners' user name, as garage in garage.bitaxe.
    owner: String,
    /// File with the owner's secret key (32 bytes, hex), when the owner is a public key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Name of the wallet to mint into; the owner's name unless set.
    #[arg(long, value_name = "NAME")]
    wallet: Option<String>,
    /// Leave redeemed sats in the wallet instead of printing a token.
    #[arg(long)]
    keep: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// Claims for `owner` and leaves everything in the owner's wallet.
    pub fn keeping(owner: &str) -> Self {
        Self { owner: owner.to_owned(), key_file: None, wallet: None, keep: true, json: false }
    }
}

/// What a claim brought.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claimed {
    /// Who claimed.
    pub owner: String,
    /// Ehash minted by this call.
    pub minted: Work,
    /// Ehash redeemed by this call.
    pub redeemed: Work,
    /// Sats that it was redeemed for.
    pub sats: Sats,
    /// Ehash that waits in the wallet for its epoch.
    pub waiting: Vec<Waiting>,
    /// The sats as a token; none when there are none, or when they were kept.
    pub token: Option<String>,
}

/// Ehash that cannot be redeemed yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// Of which epoch.
    pub epoch: EpochId,
    /// How much.
    pub ehash: Work,
    /// Blocks until its reward can be spent; none while no payout ended the epoch.
    pub blocks: Option<u32>,
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let claimed = claim(place, options).await?;
    if options.json {
        println!("{}", serde_json::to_string(&claimed)?);
        return Ok(());
    }
    let Claimed { owner, minted, redeemed, sats, waiting, token } = claimed;
    eprintln!("{owner}: minted {minted}; redeemed {redeemed} for {sats}");
    for Waiting { epoch, ehash, blocks } in waiting {
        match blocks {
            Some(blocks) => eprintln!("{ehash} of epoch {epoch} can be redeemed in {blocks} blocks"),
            None => eprintln!("{ehash} of epoch {epoch} wait for a block of this pool"),
        }
    }
    match token {
        Some(token) => println!("{token}"),
        None if sats > Sats::ZERO => eprintln!("the sats are in the wallet"),
        None => eprintln!("no sats yet; what was minted is in the wallet, claim again later"),
    }
    Ok(())
}

/// Claims everything that `options.owner` can have now.
pub async fn claim(place: &Place, options: &Options) -> anyhow::Result<Claimed> {
    let mint = place.mint()?;
    let status: Status = mint.get(mint::STATUS).await?;
    let owner = owner(&options.owner, &status)?;
    let quotes: OwnerQuotes = mint.get(&format!("{}/{owner}", mint::OWNERS)).await?;
    let key = secret_key(&mint, &quotes, options).await?;
    let purse = Purse::open(&place.wallet(options.wallet.as_deref().unwrap_or(&wallet_name(&owner)))).await?;

    let mut minted = Vec::new();
    for quote in quotes.quotes.iter().filter(|quote| quote.paid > quote.issued) {
        let pocket = purse.pocket(&status.ehash_url, Pocket::ehash_unit(quote.epoch)?).await?;
        minted.push(pocket.mint_locked(&quote.id, key.clone()).await?);
    }
    let sats = purse.pocket(&status.url, CurrencyUnit::Sat).await?;
    let (redeemed, received, waiting) = redeem(&mint, &status, &purse, &sats).await?;
    let token = if options.keep { None } else { sats.spend_all().await? };
    if let Some(token) = &token {
        purse.note_token(token)?;
    }
    Ok(Claimed {
        owner: owner.to_string(),
        minted: minted.into_iter().sum(),
        redeemed,
        sats: received,
        waiting,
        token,
    })
}

/// Redeems the ehash of every settled epoch; lists what has to wait.
async fn redeem(
    mint: &Client,
    status: &Status,
    purse: &Purse,
    sats: &Pocket,
) -> anyhow::Result<(Work, Sats, Vec<Waiting>)> {
    let mut epochs: Vec<Epoch> = mint.get(mint::EPOCHS).await?;
    epochs.sort_by_key(|epoch| epoch.n);
    let into = sats.redeem_quote().await?;
    let (mut redeemed, mut waiting) = (Vec::new(), Vec::new());
    for epoch in epochs {
        let pocket = purse.pocket(&status.ehash_url, Pocket::ehash_unit(epoch.n)?).await?;
        let ehash = Work::from_ehash(pocket.balance().await?);
        if ehash == Work::ZERO {
            continue;
        }
        if epoch.state != EpochState::Settled {
            waiting.push(Waiting { epoch: epoch.n, ehash, blocks: epoch.blocks_to_maturity });
            continue;
        }
        pocket.redeem(ehash, &into).await.with_context(|| format!("{ehash} of epoch {}", epoch.n))?;
        redeemed.push(ehash);
    }
    // Also what an earlier claim redeemed and could not mint any more.
    let received = sats.mint_paid(&into).await?;
    Ok((redeemed.into_iter().sum(), received, waiting))
}

fn owner(text: &str, status: &Status) -> anyhow::Result<Owner> {
    let read = Identity::parse(text, status.network);
    let identity = read.map_err(|error| Misconfigured::new(error.to_string()))?;
    Ok(identity.owner)
}

/// The key that the quotes are locked to: the box's for household names, else the owner's own.
async fn secret_key(mint: &Client, quotes: &OwnerQuotes, options: &Options) -> anyhow::Result<SecretKey> {
    let text = match &options.key_file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Misconfigured::new(format!("--key-file {}: {error}", file.display())))?,
        None if quotes.held_by_box => {
            let request = ClaimKeyRequest { owner: quotes.owner.clone() };
            mint.post::<_, ClaimKey>(mint::CLAIM_KEY, &request).await?.secret_key
        }
        None => {
            let sentence = "this owner is a public key; name the file with its secret key with --key-file";
            return Err(Misconfigured::new(sentence).into());
        }
    };
    let key = SecretKey::from_str(text.trim())
        .map_err(|_| Misconfigured::new("the secret key is not 32 bytes in hex; check --key-file"))?;
    if key.public_key().to_hex() != quotes.pubkey {
        let sentence =
            format!("this is not the key of {}; its quotes are locked to {}", quotes.owner, quotes.pubkey);
        return Err(Misconfigured::new(sentence).into());
    }
    Ok(key)
}

/// A folder name for an owner's wallet.
fn wallet_name(owner: &Owner) -> String {
    owner
        .to_string()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_@.".contains(c) { c } else { '_' })
        .take(80)
        .collect()
}
