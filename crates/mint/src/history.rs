//! The history of each epoch: every transition, written in the transaction that brought it about
//! and never changed after. Recorded here, read over the local API.

use cdk_common::database::{DynMintDatabase, DynMintTransaction};
use poolbox_accounting::{EpochEvent, EpochId, Payout, Sats};
use poolbox_api::mint::{Change, Transition};

use crate::ledger::{self, LedgerError, Place, Settled};

/// Records `events`, met with the chain followed to `tip` at `now` (Unix seconds).
///
/// # Errors
/// [`LedgerError`].
pub async fn record(
    tx: &mut DynMintTransaction,
    events: &[EpochEvent],
    tip: u32,
    now: u64,
) -> Result<(), LedgerError> {
    for event in events {
        for (epoch, change) in changes(event) {
            append(tx, epoch, Transition { at: now, tip, change }).await?;
        }
    }
    Ok(())
}

/// Records that an epoch was settled.
///
/// # Errors
/// [`LedgerError`].
pub async fn record_settled(
    tx: &mut DynMintTransaction,
    settled: &Settled,
    tip: u32,
    now: u64,
) -> Result<(), LedgerError> {
    let payable = settled.rate.map_or(Sats::ZERO, |rate| rate.payable());
    let change = Change::Settled { work: settled.epoch.work, payable };
    append(tx, settled.epoch.id, Transition { at: now, tip, change }).await
}

/// All transitions of an epoch, oldest first.
///
/// # Errors
/// [`LedgerError`].
pub async fn of(db: &DynMintDatabase, epoch: EpochId) -> Result<Vec<Transition>, LedgerError> {
    let mut transitions = Vec::new();
    while let Some(transition) = ledger::read(db, &Place::transition(epoch, transitions.len())).await? {
        transitions.push(transition);
    }
    Ok(transitions)
}

async fn append(
    tx: &mut DynMintTransaction,
    epoch: EpochId,
    transition: Transition,
) -> Result<(), LedgerError> {
    let number = ledger::transitions_in(tx, epoch).await?;
    ledger::write(tx, &Place::transition(epoch, number), &transition).await
}

/// What an event means for each epoch that it concerns.
fn changes(event: &EpochEvent) -> Vec<(EpochId, Change)> {
    let parts = |payout: &Payout| (payout.height, payout.hash.to_string(), payout.reward);
    match event {
        EpochEvent::PayoutAdded(epoch, payout) => {
            let (height, block_hash, reward) = parts(payout);
            vec![(*epoch, Change::PayoutAdded { height, block_hash, reward })]
        }
        EpochEvent::PayoutLost(epoch, payout) => {
            let (height, block_hash, reward) = parts(payout);
            vec![(*epoch, Change::PayoutLost { height, block_hash, reward })]
        }
        EpochEvent::BoundarySwapped(epoch, payout) => {
            let (height, block_hash, reward) = parts(payout);
            vec![(*epoch, Change::BoundarySwapped { height, block_hash, reward })]
        }
        EpochEvent::Closed(epoch, marks) => vec![(*epoch, Change::Closed { marks: marks.clone() })],
        EpochEvent::Opened(epoch) => vec![(*epoch, Change::Opened)],
        EpochEvent::Released(epoch) => vec![(*epoch, Change::Released)],
        EpochEvent::Dissolved { epoch, into } => {
            vec![(*epoch, Change::Dissolved { into: *into }), (*into, Change::Reopened { by: *epoch })]
        }
        EpochEvent::Settled(epoch) => vec![(*epoch, Change::Matured)],
    }
}
