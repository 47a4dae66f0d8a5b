//! What a stop in the middle of a payment on-chain leaves half done. cdk and cdk-bdk finish most of it
//! by their notes, which are all in the mint's database. Two things they cannot tell: whether a melt
//! ever reached the wallet, and that a transaction which the wallet has drawn up was never sent.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use bdk_wallet::chain::ChainPosition;
use bdk_wallet::rusqlite::Connection;
use bdk_wallet::{PersistedWallet, Wallet};
use bitcoin::consensus::deserialize;
use bitcoin::{Amount, Transaction, Txid};
use cdk_bdk::BdkStorage;
use cdk_bdk::storage::{BDK_NAMESPACE, SEND_BATCH_NAMESPACE};
use cdk_common::QuoteId;
use cdk_common::database::{DynKVStore, DynMintDatabase};
use cdk_common::mint::{MeltSagaState, OperationKind, SagaStateEnum};
use serde::Deserialize;

/// Where cdk-bdk keeps its wallet, below the data directory.
const WALLET: &str = "bdk_wallet/bdk_wallet.sqlite";

/// Melts that cdk was about to hand to a payment processor when the mint stopped: one that the
/// processor has no note of never got there. Those that began no later than `restored_at`, in unix
/// seconds, are left out, for the notes of a backup do not know what was paid after it was made.
///
/// # Errors
/// When the database cannot be read.
pub async fn handing_over(db: &DynMintDatabase, restored_at: u64) -> anyhow::Result<HashSet<QuoteId>> {
    let sagas = db.get_incomplete_sagas(OperationKind::Melt).await.context("read the melts under way")?;
    let attempted = SagaStateEnum::Melt(MeltSagaState::PaymentAttempted);
    sagas
        .into_iter()
        .filter(|saga| saga.state == attempted && saga.created_at > restored_at)
        .filter_map(|saga| saga.quote_id)
        .map(|id| QuoteId::from_str(&id).with_context(|| format!("the melt quote {id}")))
        .collect()
}

/// Has the wallet below `dir`, which is not open, forget the transactions that it drew up and that
/// cdk-bdk has no note of. cdk-bdk sends nothing before it has noted it; it will draw up those payments
/// anew, and must not do so with the change of a transaction that nobody has. `now` is in unix seconds.
///
/// # Errors
/// When the wallet or the notes cannot be read, or the wallet cannot be written.
pub async fn forget_unsent(dir: &Path, notes: &DynKVStore, now: u64) -> anyhow::Result<()> {
    let path = dir.join(WALLET);
    let drawn_up = in_wallet(&path, |wallet| drawn_up(wallet)).await?.unwrap_or_default();
    if drawn_up.is_empty() {
        return Ok(());
    }
    let mut noted = batches(notes).await?;
    let outputs = BdkStorage::new(notes.clone());
    let mut unsent = Vec::new();
    for transaction in drawn_up {
        let txid = transaction.compute_txid();
        for vout in 0..transaction.output.len() {
            if outputs.get_quote_id_by_send_outpoint(&format!("{txid}:{vout}")).await?.is_some() {
                noted.insert(txid);
            }
        }
        if !noted.contains(&txid) {
            tracing::warn!(%txid, "the wallet forgets a payment that was cut off before it was sent");
            unsent.push((txid, now));
        }
    }
    if !unsent.is_empty() {
        in_wallet(&path, |wallet| wallet.apply_evicted_txs(unsent)).await?;
    }
    Ok(())
}

/// Transactions of our coins that are in no block, as far as the wallet knows.
fn drawn_up(wallet: &Wallet) -> Vec<Transaction> {
    wallet
        .transactions()
        .filter(|transaction| matches!(transaction.chain_position, ChainPosition::Unconfirmed { .. }))
        .map(|transaction| Transaction::clone(&transaction.tx_node.tx))
        .filter(|transaction| wallet.sent_and_received(transaction).0 > Amount::ZERO)
        .collect()
}

/// What `look` makes of the wallet at `path`, whose changes are kept; none where there is no wallet.
async fn in_wallet<T: Send + 'static>(
    path: &Path,
    look: impl FnOnce(&mut PersistedWallet<Connection>) -> T + Send + 'static,
) -> anyhow::Result<Option<T>> {
    let path = PathBuf::from(path);
    let looked = tokio::task::spawn_blocking(move || -> anyhow::Result<Option<T>> {
        if !path.exists() {
            return Ok(None);
        }
        let mut database = Connection::open(&path)?;
        let Some(mut wallet) = Wallet::load().load_wallet(&mut database)? else { return Ok(None) };
        let seen = look(&mut wallet);
        wallet.persist(&mut database)?;
        Ok(Some(seen))
    });
    looked.await?.context("look into the treasury's wallet")
}

/// cdk-bdk's note of a transaction that pays several melts, as far as it matters here.
#[derive(Deserialize)]
struct Batch {
    state: Stage,
}

#[derive(Deserialize)]
enum Stage {
    Built {},
    Signed { tx_bytes: Vec<u8> },
    Broadcast { tx_bytes: Vec<u8> },
}

/// The transactions that cdk-bdk will send, or send again.
async fn batches(notes: &DynKVStore) -> anyhow::Result<HashSet<Txid>> {
    let mut txids = HashSet::new();
    for key in notes.kv_list(BDK_NAMESPACE, SEND_BATCH_NAMESPACE).await? {
        let Some(note) = notes.kv_read(BDK_NAMESPACE, SEND_BATCH_NAMESPACE, &key).await? else { continue };
        let batch: Batch = serde_json::from_slice(&note).context("a note of the wallet")?;
        if let Stage::Signed { tx_bytes } | Stage::Broadcast { tx_bytes } = batch.state {
            let transaction: Transaction = deserialize(&tx_bytes).context("a transaction in a note")?;
            txids.insert(transaction.compute_txid());
        }
    }
    Ok(txids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notes_are_read_as_they_are_written() {
        let read =
            |state: &str| serde_json::from_str::<Batch>(&format!(r#"{{"batch_id":"x","state":{state}}}"#));
        assert!(matches!(
            read(r#"{"Built":{"psbt_bytes":[1],"intent_ids":[]}}"#).unwrap().state,
            Stage::Built {}
        ));
        let signed = read(r#"{"Signed":{"tx_bytes":[1,2],"assignments":[],"fee_sat":3}}"#).unwrap();
        assert!(matches!(signed.state, Stage::Signed { tx_bytes } if tx_bytes == [1, 2]));
        let sent =
            read(r#"{"Broadcast":{"txid":"ab","tx_bytes":[3],"assignments":[],"fee_sat":3}}"#).unwrap();
        assert!(matches!(sent.state, Stage::Broadcast { tx_bytes } if tx_bytes == [3]));
    }
}
