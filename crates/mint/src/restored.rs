//! A mint that was restored from a backup. Its books are those of the moment the backup was made:
//! what was spent later is unspent in them, and nobody can tell how much that is. So it credits work
//! and answers questions, and signs nothing until its owner accepts this.
//!
//! From then on sat ecash is signed with a new keyset. What comes back of the old ones can then be
//! compared with what the books know to have been signed: more than that is a [`crate::invariants::Breach`].

use std::path::{Path, PathBuf};

use anyhow::Context;
use cdk::mint::Mint;
use cdk::nuts::CurrencyUnit;
use poolbox_accounting::Sats;
use poolbox_api::mint::Restored;
use poolbox_service::replace_secret;

use crate::health::Health;
use crate::invariants::{Breach, CheckError};
use crate::units::renew_sat;

/// Written by `poolbox restore` beside the books.
const FILE: &str = "restored.json";

fn place(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// From what the mint in `data_dir` was restored; none when it never was.
///
/// # Errors
/// When the record is there and cannot be read: it is never taken for none.
pub fn read(data_dir: &Path) -> anyhow::Result<Option<Restored>> {
    let place = place(data_dir);
    match std::fs::read(&place) {
        Ok(bytes) => {
            let restored =
                serde_json::from_slice(&bytes).with_context(|| format!("read {}", place.display()))?;
            Ok(Some(restored))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", place.display())),
    }
}

/// Keeps a restored mint from signing until it is accepted.
pub fn hold(health: &Health, restored: Option<&Restored>) {
    let Some(restored) = restored.filter(|restored| restored.accepted_at.is_none()) else { return };
    tracing::warn!(
        made_at = restored.made_at,
        restored_at = restored.restored_at,
        "restored from a backup: nothing is signed until the owner accepts what was spent since (poolbox restore --accept)"
    );
    health.update(|condition| {
        condition.held = Some(
            "it was restored from a backup and waits for its operator; nothing is lost, try again later"
                .to_owned(),
        );
    });
}

/// Accepts that what was spent after the backup may be spent again: new keys for what is signed from
/// now on, then the mint signs. Doing it again changes nothing.
///
/// # Errors
/// When the keyset or the record cannot be written; the mint signs nothing then.
pub async fn accept(
    data_dir: &Path,
    mint: &Mint,
    health: &Health,
    now: u64,
) -> anyhow::Result<Option<Restored>> {
    let Some(mut restored) = read(data_dir)? else { return Ok(None) };
    if restored.accepted_at.is_none() {
        renew_sat(mint).await?;
        restored.accepted_at = Some(now);
        replace_secret(&place(data_dir), &serde_json::to_vec(&restored)?)?;
        tracing::warn!(made_at = restored.made_at, "the restored state was accepted: the mint signs again");
        health.update(|condition| condition.held = None);
    }
    Ok(Some(restored))
}

/// That no keyset of sat brings back more than was signed with it, by what the books know.
///
/// # Errors
/// [`Breach::MoreBackThanSigned`]: ecash was spent twice, or signed after the backup.
pub async fn check_returns(mint: &Mint) -> Result<(), CheckError> {
    // What came back is read first: what is signed only grows.
    let back = mint.total_redeemed().await?;
    let signed = mint.total_issued().await?;
    for keyset in mint.keysets().keysets.into_iter().filter(|keyset| keyset.unit == CurrencyUnit::Sat) {
        let back = Sats::new(back.get(&keyset.id).map_or(0, |amount| amount.to_u64()));
        let signed = Sats::new(signed.get(&keyset.id).map_or(0, |amount| amount.to_u64()));
        if back > signed {
            return Err(Breach::MoreBackThanSigned { keyset: keyset.id.to_string(), back, signed }.into());
        }
    }
    Ok(())
}
