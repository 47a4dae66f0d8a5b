//! Somebody with a wallet elsewhere, whom the second miner works for: an owner that is a bitcoin
//! address, and that the mint pays by itself.

use std::str::FromStr;

use anyhow::Context;
use bitcoin::key::{CompressedPublicKey, PrivateKey, Secp256k1};
use bitcoin::secp256k1::SecretKey;
use bitcoin::{Address, Network};
use poolbox_api::mint::payouts::{self, OwnerPayout, Payout, Stage};
use poolbox_service::write_secret;

use crate::place::Place;

/// The key of the wallet elsewhere, in the format that wallets take in.
const KEY: &str = "payee.wif";

/// The payee's address. Its key is made at the first start.
///
/// # Errors
/// When the key cannot be written or read.
pub fn address(place: &Place) -> anyhow::Result<String> {
    let path = place.wallet(KEY);
    if !path.exists() {
        let secret = SecretKey::from_slice(&cdk::nuts::SecretKey::generate().secret_bytes())?;
        let key = PrivateKey::new(secret, Network::Signet);
        write_secret(&path, format!("{key}\n").as_bytes())?;
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let key = PrivateKey::from_str(text.trim())
        .map_err(|_| anyhow::anyhow!("{} holds no key; start over with --fresh", path.display()))?;
    let public = CompressedPublicKey::from_private_key(&Secp256k1::new(), &key)?;
    Ok(Address::p2wpkh(&public, Network::Signet).to_string())
}

/// The payee's latest payout that is in a block.
///
/// # Errors
/// When the mint does not answer.
pub async fn paid(place: &Place) -> anyhow::Result<Option<Payout>> {
    let path = payouts::of_owner(&address(place)?);
    let standing: OwnerPayout = place.mint()?.get(&path).await?;
    Ok(standing.last.into_iter().find(|payout| payout.stage == Stage::Confirmed))
}
