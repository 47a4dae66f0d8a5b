//! What arrived at an address of the treasury.

use std::str::FromStr;

use anyhow::Context;
use bitcoin::{OutPoint, Txid};
use cdk_bdk::WalletTransaction;
use poolbox_accounting::Sats;

use super::Treasury;

/// An output in the chain that pays one of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its transaction and place.
    pub outpoint: OutPoint,
    /// How much.
    pub sats: Sats,
    /// Height of its block.
    pub height: u32,
    /// Time of its block, Unix seconds.
    pub time: u64,
    /// Whether it is a coinbase's.
    pub coinbase: bool,
}

impl Treasury {
    /// An address that was never given to anybody.
    ///
    /// # Errors
    /// When the wallet's database refuses.
    pub async fn new_address(&self) -> anyhow::Result<String> {
        self.wallet().await.create_operator_deposit_address().await.context("make an address of the treasury")
    }

    /// What the wallet saw arrive at `address` in blocks above `since`, and the height that it followed the
    /// chain to.
    ///
    /// # Errors
    /// When its database cannot be read.
    pub async fn arrived(&self, address: &str, since: u32) -> anyhow::Result<(Vec<Arrived>, u32)> {
        let height = self.balance().await.height;
        let mut arrived = Vec::new();
        let mut unread = None;
        self.each_transaction(|transaction| {
            match outputs(transaction, address, since) {
                Ok(outputs) => arrived.extend(outputs),
                Err(error) => unread = Some(error),
            }
            // Newest first.
            transaction.confirmation_height.is_none_or(|height| height > since)
        })
        .await?;
        unread.map_or(Ok((arrived, height)), Err)
    }
}

fn outputs(transaction: &WalletTransaction, address: &str, since: u32) -> anyhow::Result<Vec<Arrived>> {
    let Some(height) = transaction.confirmation_height.filter(|height| *height > since) else {
        return Ok(Vec::new());
    };
    let txid = Txid::from_str(&transaction.txid).context("read the id of a transaction")?;
    let null = OutPoint::null();
    let coinbase =
        transaction.inputs.iter().any(|input| input.vout == null.vout && input.txid == null.txid.to_string());
    let ours = transaction.outputs.iter().filter(|output| output.address == address);
    let arrived = ours.map(|output| Arrived {
        outpoint: OutPoint { txid, vout: output.vout },
        sats: Sats::new(output.amount_sat),
        height,
        time: transaction.confirmation_time.unwrap_or_default(),
        coinbase,
    });
    Ok(arrived.collect())
}
