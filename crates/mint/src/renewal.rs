//! When cdk's mint has to begin anew, within the same process: before it runs out of units, and to
//! finish or undo what a failing database cut off. Either is done when cdk's mint starts.

use std::sync::Arc;
use std::time::Duration;

use cdk::mint::Mint;
use poolbox_accounting::EpochId;
use tokio_util::sync::CancellationToken;

use crate::crediting::unix_time;
use crate::health::Health;
use crate::ledger::{self, LedgerError, Place};
use crate::units::known_epochs;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Ends `turn` when nine in ten of the `ahead` units after `open` are in use, or when something is
/// unfinished and the database can be written again.
pub async fn watch(mint: Arc<Mint>, health: Arc<Health>, open: EpochId, ahead: u64, turn: CancellationToken) {
    let due = open.get().saturating_add(ahead - ahead / 10);
    while !turn.is_cancelled() {
        tokio::select! {
            () = turn.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let newest = known_epochs(&mint).into_iter().max().unwrap_or(open);
        if newest.get() >= due {
            tracing::info!(epoch = %newest, "the mint begins anew: few further units were named when it began");
            turn.cancel();
        } else if health.now().unfinished && writable(&mint).await.is_ok() {
            tracing::warn!(
                "the mint begins anew: its database had failed requests, which are finished or undone"
            );
            turn.cancel();
        }
    }
}

/// Whether the database takes a record.
async fn writable(mint: &Mint) -> Result<(), LedgerError> {
    let mut tx = mint.localstore().begin_transaction().await?;
    if let Err(error) = ledger::write(&mut tx, &Place::renewal(), &unix_time()).await {
        tx.rollback().await?;
        return Err(error);
    }
    Ok(tx.commit().await?)
}
