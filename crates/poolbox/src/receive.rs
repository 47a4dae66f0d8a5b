//! `poolbox receive`: takes a Cashu token into a wallet.

use std::io::Read;
use std::str::FromStr;

use anyhow::Context;
use cdk::nuts::{CurrencyUnit, Token};
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
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What a token brought.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Received {
    /// Name of the wallet.
    pub wallet: String,
    /// Sats received.
    pub sats: Sats,
    /// Sats in the wallet now.
    pub balance: Sats,
}

/// Runs the command. A token is money: it comes on standard input, never on the command line.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
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
    let purse = Purse::open(&place.wallet(&options.wallet)).await?;
    let pocket = purse.pocket(&url, token.unit().unwrap_or(CurrencyUnit::Sat)).await?;
    let sats = pocket.receive(text.trim()).await?;
    let balance = Sats::new(pocket.balance().await?);
    let received = Received { wallet: options.wallet.clone(), sats, balance };
    if options.json {
        println!("{}", serde_json::to_string(&received)?);
    } else {
        println!("received {sats}; {} holds {balance}", purse.folder().display());
    }
    Ok(())
}
