//! cdk's mint as Poolbox runs it: the units `sat` and `ehash-<n>`, the payment method `ehash`, and
//! how the unit of a new epoch is opened while the mint runs.
//!
//! Keysets of old epochs stay active. Nothing new is minted in them, but whoever holds their ehash
//! still splits, sends and receives it, for which the mint has to sign; and no epoch is ever known to
//! be redeemed to the last ehash. A box finds few blocks, so they are few.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use cdk::mint::{Mint, MintBuilder};
use cdk::nuts::{CurrencyUnit, MeltMethodSettings, MintMethodSettings, PaymentMethod};
use cdk::types::PaymentProcessorKey;
use cdk_common::common::QuoteTTL;
use cdk_common::nut02::KeySetVersion;
use cdk_common::payment::DynMintPayment;
use cdk_signatory::db_signatory::DbSignatory;
use cdk_signatory::embedded::Service;
use cdk_signatory::signatory::{RotateKeyArguments, Signatory};
use cdk_sqlite::MintSqliteDatabase;
use poolbox_accounting::{EpochId, UnknownUnit};
use tokio::sync::Mutex;

use crate::keys::Keys;
use crate::settlement::Settlement;
use crate::treasury::Method;

/// The payment method: ehash is minted for work, and melted for sats.
pub const METHOD: &str = "ehash";
/// Amounts of an epoch's keyset: 1 to 2^40 ehash.
const EHASH_AMOUNTS: u32 = 41;
/// Amounts of the sat keyset: 1 to 2^31 sat, as every stock mint.
const SAT_AMOUNTS: u32 = 32;
/// Epochs that can open with one cdk mint, by default: their units must be named when it is built,
/// at 130 bytes each.
pub const EPOCHS_AHEAD: u64 = 10_000;
/// Most proofs or outputs in one request.
const MAX_PROOFS: usize = 1000;
/// Most quotes minted in one request (NUT-29).
const MAX_BATCH: u64 = 100;
/// Quotes of ours do not expire by themselves.
const MINT_QUOTE_SECONDS: u64 = 365 * 24 * 3600;
/// How long an offered redemption or payment stands.
const MELT_QUOTE_SECONDS: u64 = 24 * 3600;

/// Held by who changes what the mint says about itself: it is read, changed and written back whole.
pub(crate) static INFO: Mutex<()> = Mutex::const_new(());

/// The method as cdk names it.
pub fn method() -> PaymentMethod {
    PaymentMethod::Custom(METHOD.to_owned())
}

/// The unit of an epoch.
pub fn unit_of(epoch: EpochId) -> CurrencyUnit {
    CurrencyUnit::custom(epoch.unit())
}

/// The epoch of a unit.
///
/// # Errors
/// [`UnknownUnit`] for sat and everything else that is no epoch's.
pub fn epoch_of(unit: &CurrencyUnit) -> Result<EpochId, UnknownUnit> {
    EpochId::of_unit(&unit.to_string())
}

/// Builds and starts cdk's mint with the epochs up to `open`, and names the units of the `ahead` after
/// them; `settlement` pays melts of ehash, the `sat` processors pay those of sat by their methods,
/// which are announced when they work.
///
/// # Errors
/// When its database or a keyset cannot be used.
pub async fn start_mint(
    db: Arc<MintSqliteDatabase>,
    keys: &Keys,
    settlement: &Arc<Settlement>,
    sat: &[(Method, DynMintPayment)],
    public_url: &str,
    open: EpochId,
    ahead: u64,
) -> anyhow::Result<Arc<Mint>> {
    let units = HashMap::from([(CurrencyUnit::Sat, (0, powers(SAT_AMOUNTS)))]);
    let signatory = DbSignatory::new(db.clone(), keys.signatory_seed(), units, HashMap::new());
    let signatory = Arc::new(Service::new(Arc::new(signatory.await.context("load the keysets")?)));
    if !signatory.keysets().await?.keysets.iter().any(|keyset| keyset.unit == CurrencyUnit::Sat) {
        let sat = RotateKeyArguments {
            unit: CurrencyUnit::Sat,
            amounts: powers(SAT_AMOUNTS),
            input_fee_ppk: 0,
            keyset_id_type: KeySetVersion::Version01,
            final_expiry: None,
        };
        signatory.rotate_keyset(sat).await.context("make the keyset of sat")?;
    }

    let processor: DynMintPayment = settlement.clone();
    let epochs = (1..=open.get() + ahead).map(EpochId::new).map(unit_of);
    let processors = epochs
        .chain([CurrencyUnit::Sat])
        .map(|unit| (PaymentProcessorKey::new(unit, method()), Arc::clone(&processor)));
    let outside = sat.iter().map(|(method, processor)| {
        (PaymentProcessorKey::new(CurrencyUnit::Sat, method.named()), Arc::clone(processor))
    });
    let processors = processors.chain(outside).collect();

    let mut info = MintBuilder::new(db.clone())
        .with_name("Poolbox".to_owned())
        .with_description("Mining shares as ecash: ehash redeems for sats when its block matures".to_owned())
        .with_urls(vec![public_url.to_owned(), format!("{public_url}/{METHOD}")])
        .with_batch_minting(Some(MAX_BATCH), Some(vec![METHOD.to_owned()]))
        .current_mint_info();
    info.nuts.nut04.disabled = false;
    info.nuts.nut05.disabled = false;
    info.nuts.nut04.methods = vec![minting(&CurrencyUnit::Sat)];
    info.nuts.nut05.methods = Vec::new();
    for unit in (1..=open.get()).map(EpochId::new).map(unit_of) {
        info.nuts.nut04.methods.push(minting(&unit));
        info.nuts.nut05.methods.push(melting(&unit));
    }

    let mint = Mint::new(info.clone(), signatory, db, processors, MAX_PROOFS, MAX_PROOFS);
    let mint = Arc::new(mint.await.context("build the mint")?);
    settlement.attach(&mint);
    info.pubkey = mint.mint_info().await?.pubkey;
    // What an earlier run stored is replaced: the settings may have changed since.
    let ttl = QuoteTTL::new(MINT_QUOTE_SECONDS, MELT_QUOTE_SECONDS);
    mint.set_mint_info_and_quote_ttl(info, ttl).await?;
    for epoch in (1..=open.get()).map(EpochId::new) {
        ensure_keyset(&mint, unit_of(epoch)).await?;
    }
    mint.start().await.context("start the mint")?;
    Ok(mint)
}

/// The epochs that the mint has keysets of.
pub fn known_epochs(mint: &Mint) -> Vec<EpochId> {
    mint.keysets().keysets.iter().filter_map(|keyset| epoch_of(&keyset.unit).ok()).collect()
}

/// Makes the unit of `epoch` usable: its keyset, and its entries in the mint's information. Doing
/// it twice changes nothing.
///
/// # Errors
/// When the database refuses.
pub async fn open_unit(mint: &Mint, epoch: EpochId) -> anyhow::Result<()> {
    let unit = unit_of(epoch);
    ensure_keyset(mint, unit.clone()).await?;
    let _alone = INFO.lock().await;
    let mut info = mint.mint_info().await?;
    if info.nuts.nut04.get_settings(&unit, &method()).is_none() {
        info.nuts.nut04.methods.push(minting(&unit));
        info.nuts.nut05.methods.push(melting(&unit));
        mint.set_mint_info(info).await?;
    }
    Ok(())
}

/// Signs sat ecash with a new keyset from now on; what older ones signed is taken as before.
///
/// # Errors
/// When the database refuses.
pub async fn renew_sat(mint: &Mint) -> anyhow::Result<()> {
    let made = mint.rotate_keyset(CurrencyUnit::Sat, powers(SAT_AMOUNTS), 0, true, None).await;
    made.context("make a new keyset of sat").map(drop)
}

async fn ensure_keyset(mint: &Mint, unit: CurrencyUnit) -> anyhow::Result<()> {
    if !mint.get_active_keysets().contains_key(&unit) {
        let made = mint.rotate_keyset(unit.clone(), powers(EHASH_AMOUNTS), 0, true, None).await;
        made.with_context(|| format!("make the keyset of {unit}"))?;
    }
    Ok(())
}

fn powers(count: u32) -> Vec<u64> {
    (0..count).map(|bit| 1 << bit).collect()
}

fn minting(unit: &CurrencyUnit) -> MintMethodSettings {
    MintMethodSettings {
        method: method(),
        unit: unit.clone(),
        method_name: Some("Mining shares".to_owned()),
        min_amount: Some(1.into()),
        max_amount: None,
        options: None,
    }
}

fn melting(unit: &CurrencyUnit) -> MeltMethodSettings {
    MeltMethodSettings {
        method: method(),
        unit: unit.clone(),
        method_name: Some("Redeem for sats".to_owned()),
        min_amount: Some(1.into()),
        max_amount: None,
        options: None,
    }
}
