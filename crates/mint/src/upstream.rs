//! Where upstream pools pay this mint in mode proxy, and what arrived there: an address of the treasury
//! and a standing offer, both made for this alone.

use std::str::FromStr;

use anyhow::Context;
use bitcoin::hashes::sha256;
use cdk_common::database::DynMintDatabase;
use ldk_node::lightning::offers::offer::Offer;
use poolbox_accounting::{EpochRules, Payment, PaymentId, Sats};

use crate::ledger::{self, LedgerError, Place, UpstreamAccount, UpstreamOffer};
use crate::treasury::{Arrived, Lightning, Treasury};

/// What the offer says it is for.
const DESCRIPTION: &str = "Mining payouts to a Poolbox";
/// Millisatoshis in a sat.
const MSAT: u64 = 1000;

/// The account, made when there is none; what arrived up to the height `tip` is no round's then.
///
/// # Errors
/// When wallet or database refuse.
pub async fn account(db: &DynMintDatabase, treasury: &Treasury, tip: u32) -> anyhow::Result<UpstreamAccount> {
    if let Some(account) = ledger::read(db, &Place::upstream()).await? {
        return Ok(account);
    }
    let account = UpstreamAccount { address: treasury.new_address().await?, since: tip, offer: None };
    write(db, &account).await?;
    Ok(account)
}

/// The account with an offer, which is made when there is none.
///
/// # Errors
/// When Lightning does not run, or the database refuses.
pub async fn with_offer(
    db: &DynMintDatabase,
    treasury: &Treasury,
    lightning: &Lightning,
    tip: u32,
) -> anyhow::Result<UpstreamAccount> {
    let mut account = account(db, treasury, tip).await?;
    if account.offer.is_none() {
        let text = lightning.standing_offer(DESCRIPTION.to_owned()).await?;
        let offer =
            Offer::from_str(&text).map_err(|error| anyhow::anyhow!("read our own offer: {error:?}"))?;
        account.offer = Some(UpstreamOffer { id: offer.id().to_string(), text });
        write(db, &account).await?;
    }
    Ok(account)
}

async fn write(db: &DynMintDatabase, account: &UpstreamAccount) -> Result<(), LedgerError> {
    let mut tx = db.begin_transaction().await?;
    match ledger::write(&mut tx, &Place::upstream(), account).await {
        Ok(()) => Ok(tx.commit().await?),
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}

/// Payments that are there and were not shared out.
///
/// # Errors
/// When wallet or database cannot be read.
pub async fn payments(
    db: &DynMintDatabase,
    treasury: &Treasury,
    account: &UpstreamAccount,
    rules: EpochRules,
) -> anyhow::Result<Vec<Payment>> {
    let (arrived, tip) = treasury.arrived(&account.address, account.since).await?;
    let mut payments: Vec<Payment> =
        arrived.into_iter().map(|arrived| on_chain(arrived, tip, rules)).collect();
    if let Some(offer) = &account.offer {
        for note in ledger::unquoted(db).await?.into_iter().filter(|note| note.request == offer.id) {
            let hash: sha256::Hash = note.payment_hash.parse().context("read the hash of a payment")?;
            payments.push(Payment {
                id: PaymentId::Lightning { hash },
                sats: Sats::new(note.msat / MSAT),
                at: note.seen_at,
                is_final: true,
            });
        }
    }
    Ok(ledger::not_shared_out(db, payments).await?)
}

/// An output is final when its block is, and a coinbase's when it can be spent.
fn on_chain(arrived: Arrived, tip: u32, rules: EpochRules) -> Payment {
    let Arrived { outpoint, sats, height, time, coinbase } = arrived;
    let wanted = if coinbase { rules.maturity_confirmations } else { rules.final_confirmations };
    Payment {
        id: PaymentId::Onchain { txid: outpoint.txid, vout: outpoint.vout },
        sats,
        at: time,
        is_final: (tip + 1).saturating_sub(height) >= wanted.max(1),
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::OutPoint;

    use super::*;

    #[test]
    fn a_coinbase_is_final_when_it_can_be_spent_and_a_transaction_when_its_block_is() {
        let rules = EpochRules {
            min_epoch_time_s: 0,
            final_confirmations: 6,
            maturity_confirmations: 100,
            announcement_grace_s: 0,
        };
        let arrived = |coinbase| Arrived {
            outpoint: OutPoint::null(),
            sats: Sats::new(5),
            height: 100,
            time: 7,
            coinbase,
        };
        let is_final = |coinbase, tip| on_chain(arrived(coinbase), tip, rules).is_final;
        assert!(!is_final(false, 104) && is_final(false, 105));
        assert!(!is_final(true, 198) && is_final(true, 199));
        assert!(!is_final(false, 99), "the wallet went back");
    }
}
