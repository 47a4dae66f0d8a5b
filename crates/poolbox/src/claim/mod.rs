//! `poolbox claim`: from an owner's work to a Cashu token.
//!
//! Every step can be cut off and run again: what was minted or redeemed is in a wallet, what was not
//! still waits at the mint, and a token whose text got lost is among those of `poolbox tokens`.

mod own;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use poolbox_accounting::{EpochId, Identity, Sats, Work};
use poolbox_api::mint::{self, ClaimRequest, Claimed, OwnerAccount, Status, Token, Waiting, owner_path};
use poolbox_service::Misconfigured;
use serde::Serialize;

use crate::place::Place;
use crate::qr;

pub use own::Own;

/// What to claim and how to say so.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    whose: Whose,
    /// Claim ehash of this epoch instead of sats.
    #[arg(long, value_name = "EPOCH", value_parser = epoch)]
    ehash: Option<EpochId>,
    /// How many sats, or how much ehash; all there is unless set.
    #[arg(long, value_name = "N")]
    amount: Option<u64>,
    /// Public key that alone can spend the token; the receiving wallet shows it (P2PK, 66 hex digits).
    #[arg(long, value_name = "PUBKEY")]
    lock: Option<String>,
    /// Mint and redeem what can be, and make no token.
    #[arg(long, conflicts_with_all = ["ehash", "amount", "lock", "qr"])]
    keep: bool,
    /// Show the token as a QR code, an animated one when it is long.
    #[arg(long)]
    qr: bool,
    /// Print the result as JSON.
    #[arg(long, conflicts_with = "qr")]
    json: bool,
}

/// Whose ecash.
#[derive(Debug, Args)]
pub struct Whose {
    /// Owner part of the miners' user name, as garage in garage.bitaxe.
    pub owner: String,
    /// File with the owner's secret key (32 bytes, hex), when the owner is a public key.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Name of the wallet on this machine to mint into, when the owner is a public key; the owner's
    /// name unless set.
    #[arg(long, value_name = "NAME")]
    pub wallet: Option<String>,
}

/// Where an owner's ecash is claimed.
pub enum Claimant {
    /// At the box, which holds the owner's key.
    Box(String),
    /// On this machine, with the key from a file.
    Own(Box<Own>),
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let claimed = claim(place, options).await?;
    if options.json {
        println!("{}", serde_json::to_string(&Summary::from(claimed))?);
        return Ok(());
    }
    let Claimed { owner, minted, redeemed, sats, waiting, trouble, token } = claimed;
    eprintln!("{owner}: minted {minted}; redeemed {redeemed}; {sats} came in");
    for waiting in waiting {
        eprintln!("{} of epoch {} {}", waiting.ehash, waiting.epoch, waiting.waits);
    }
    if let Some(trouble) = trouble {
        eprintln!("not everything worked, claim again later: {trouble}");
    }
    match token {
        Some(token) => show(&token, options.qr).await,
        None if options.keep && sats > Sats::ZERO => {
            eprintln!("the sats are in the wallet");
            Ok(())
        }
        None => {
            eprintln!("no token: nothing to put into one yet; claim again later");
            Ok(())
        }
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    owner: String,
    minted: Work,
    redeemed: Work,
    sats: Sats,
    waiting: Vec<Waiting>,
    trouble: Option<String>,
    /// The text of the token.
    token: Option<String>,
    /// What the token is worth, in its unit, and its name for `poolbox tokens`.
    amount: Option<u64>,
    unit: Option<String>,
    id: Option<String>,
    /// Parts of an animated QR code, when the text is too long for one code.
    fragments: Vec<String>,
}

impl From<Claimed> for Summary {
    fn from(claimed: Claimed) -> Self {
        let Claimed { owner, minted, redeemed, sats, waiting, trouble, token } = claimed;
        let made = token.as_ref();
        Self {
            owner,
            minted,
            redeemed,
            sats,
            waiting,
            trouble,
            amount: made.map(|token| token.amount),
            unit: made.map(|token| token.unit.clone()),
            id: made.map(|token| token.id.clone()),
            fragments: made.map(|token| token.fragments.clone()).unwrap_or_default(),
            token: token.map(|token| token.text),
        }
    }
}

/// Shows a token: its text on standard output, or a code to scan.
pub async fn show(token: &Token, as_qr: bool) -> anyhow::Result<()> {
    let Token { id, unit, amount, lock, .. } = token;
    match lock {
        Some(lock) => eprintln!("token {id} of {amount} {unit}, which only the key {lock} can spend"),
        None => eprintln!("token {id} of {amount} {unit}, which whoever has it can spend"),
    }
    if as_qr {
        return qr::show(&token.text, &token.fragments).await;
    }
    println!("{}", token.text);
    Ok(())
}

/// Claims what `options` ask for.
pub async fn claim(place: &Place, options: &Options) -> anyhow::Result<Claimed> {
    let Options { ehash, amount, lock, keep, .. } = options;
    let request = ClaimRequest { epoch: *ehash, amount: *amount, lock: lock.clone() };
    match options.whose.claimant(place).await? {
        Claimant::Box(owner) if *keep => collect(place, &owner).await,
        Claimant::Box(owner) => {
            Ok(place.mint()?.post_patiently(&owner_path(&owner, "claim"), &request).await?)
        }
        Claimant::Own(own) => own.claim(Some(&request).filter(|_| !keep)).await,
    }
}

/// Has the box mint and redeem all it can for an owner whose key it holds.
pub async fn collect(place: &Place, owner: &str) -> anyhow::Result<Claimed> {
    Ok(place.mint()?.post_patiently(&owner_path(owner, "collect"), &()).await?)
}

impl Whose {
    /// Finds out where this owner claims.
    pub async fn claimant(&self, place: &Place) -> anyhow::Result<Claimant> {
        let mint = place.mint()?;
        let status: Status = mint.get(mint::STATUS).await?;
        let read = Identity::parse(&self.owner, status.network);
        let owner = read.map_err(|error| Misconfigured::new(error.to_string()))?.owner;
        let account: OwnerAccount = mint.get(&owner_path(&owner.to_string(), "")).await?;
        match (&self.key_file, account.held_by_box) {
            (None, true) if self.wallet.is_none() => Ok(Claimant::Box(account.owner)),
            (_, true) => {
                let sentence = "the box holds this owner's key and wallet; leave --key-file and --wallet out";
                Err(Misconfigured::new(sentence).into())
            }
            (None, false) => {
                let sentence =
                    "this owner is a public key; name the file with its secret key with --key-file";
                Err(Misconfigured::new(sentence).into())
            }
            (Some(file), false) => {
                let key = own::read_key(file, &account)?;
                let name = self.wallet.clone().unwrap_or_else(|| account.owner.clone());
                Ok(Claimant::Own(Box::new(
                    Own::open(mint, status, account, key, &place.wallet(&name)).await?,
                )))
            }
        }
    }
}

fn epoch(text: &str) -> Result<EpochId, String> {
    let number = text.strip_prefix("ehash-").unwrap_or(text);
    match number.parse() {
        Ok(number) if number > 0 => Ok(EpochId::new(number)),
        _ => Err("give the number of an epoch, as poolbox status shows it".to_owned()),
    }
}

/// Seconds since 1970.
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
