//! Rounds of mode proxy as an auditor reads them.

use anyhow::Context;
use cdk_common::database::DynMintTransaction;
use poolbox_accounting::{RoundId, Sats};
use poolbox_api::mint as api;

use super::{marks, rate};
use crate::keys::Keys;
use crate::ledger::{self, Part, Place, Progress, SharedOut};
use crate::quotes;

/// Every round, of one moment.
pub(super) async fn snapshot_in(
    tx: &mut DynMintTransaction,
    keys: &Keys,
) -> anyhow::Result<api::AuditRounds> {
    let progress: Option<Progress> = ledger::read_in(tx, &Place::progress()).await?;
    let progress = progress.context("the mint has no record of progress")?;
    let mut rounds = Vec::new();
    for id in (1..=progress.rounds.open().get()).map(RoundId::new) {
        let shared: Option<SharedOut> = ledger::read_in(tx, &Place::shared_out(id)).await?;
        let is_shared = shared.is_some();
        let live = || progress.rounds.live().iter().find(|round| round.id == id).cloned();
        let Some(round) = shared.map(|shared| shared.round).or_else(live) else { continue };
        let mut parts = Vec::new();
        for place in ledger::parts_of(tx, id).await? {
            let Some(part) = ledger::read_in::<Part>(tx, &place).await? else { continue };
            let quote = tx.get_mint_quote(&quotes::part_id(keys, id, &part.lock)).await?;
            parts.push(api::AuditPart {
                quoted: Sats::new(quote.map_or(0, |quote| quote.amount_paid().value())),
                paid: part.paid.unwrap_or_default(),
                work: part.work,
                owner: part.owner,
            });
        }
        rounds.push(api::AuditRound {
            n: id,
            marks: round.end.as_ref().map(|end| marks(&end.marks)).unwrap_or_default(),
            rate: round.rate.map(rate),
            work: round.work,
            received: round.reward(),
            paid: ledger::read_in(tx, &Place::shared(id)).await?.unwrap_or_default(),
            shared: is_shared,
            parts,
        });
    }
    let cursors = progress.cursors.iter().map(|(journal, cursor)| (journal.to_string(), cursor.seq.get()));
    Ok(api::AuditRounds {
        cursors: cursors.collect(),
        rounds,
        shared: ledger::read_in(tx, &Place::shared_in_all()).await?.unwrap_or_default(),
    })
}
