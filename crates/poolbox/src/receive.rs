//! `poolbox receive`: takes a Cashu token into a wallet.

use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use cdk::nuts::{CurrencyUnit, SecretKey, Token};
use clap::Args;
use poolbox_accounting::Sats;
use poolbox_service::Misconfigured;
use poolbox_wallet::Purse;
use serde::{Deserialize, Serialize};

use crate::place::Place;

/// What to receive and where.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the wallet.
    #[arg(long, value_name = "NAME", default_value = "wallet")]
    wallet: String,
    /// File with the secret key (32 bytes, hex) that the token is locked to.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What a token brought.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Received {
    /// Name of the wallet.
    pub wallet: String,
    /// Unit of the token.
    pub unit: String,
    /// Received, in that unit.
    pub amount: u64,
    /// The same, when the unit is sat.
    pub sats: Option<Sats>,
    /// In the wallet now, in that unit.
    pub balance: u64,
}

/// Runs the command. A token is money: it comes on standard input, never on the command line.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let key = options.key_file.as_ref().map(|file| {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Misconfigured::new(format!("--key-file {}: {error}", file.display())))?;
        SecretKey::from_str(text.trim())
            .map_err(|_| Misconfigured::new("the secret key is not 32 bytes in hex; check --key-file"))
    });
    let key = key.transpose()?;
    let mut text = String::new();
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        eprintln!("paste the token, then press Enter and Ctrl-D:");
    }
    std::io::stdin().read_to_string(&mut text).context("read the token from standard input")?;
    let token = Token::from_str(text.trim()).map_err(|error| {
        Misconfigured::new(format!(
            "standard input holds no Cashu token ({error}); give one that begins with cashu"
        ))
    })?;
    let url = token.mint_url().context("read the token's mint")?.to_string();
    let unit = token.unit().unwrap_or(CurrencyUnit::Sat);
    let purse = Purse::open(&place.wallet(&options.wallet)).await?;
    let pocket = purse.pocket(&url, unit.clone()).await?;
    let amount = pocket.receive(text.trim(), key).await?;
    let balance = pocket.balance().await?;
    let sats = (unit == CurrencyUnit::Sat).then_some(Sats::new(amount));
    let wallet = options.wallet.clone();
    let received = Received { wallet, unit: unit.to_string(), amount, sats, balance };
    if options.json {
        println!("{}", serde_json::to_string(&received)?);
    } else {
        println!("received {amount} {unit}; {} holds {balance}", purse.folder().display());
    }
    Ok(())
}
