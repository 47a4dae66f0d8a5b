//! The process: what `init` leaves on disk, and how the rooms are put together and taken apart.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::middleware::{Next, from_fn};
use cdk_common::database::DynMintDatabase;
use cdk_common::payment::DynMintPayment;
use cdk_sqlite::MintSqliteDatabase;
use poolbox_accounting::EpochId;
use poolbox_service::{LocalApi, Misconfigured, bind_tcp, claim_data_dir, write_whole};
use tokio_util::sync::CancellationToken;

use crate::crediting::{Crediting, unix_time};
use crate::health::Health;
use crate::invariants::{self, CheckError};
use crate::keys::Keys;
use crate::ledger::{self, Place, Progress};
use crate::local::audit::Audit;
use crate::local::recovery::Recovery;
use crate::local::{self, Guard, Local};
use crate::node::Node;
use crate::payouts::books::Books;
use crate::payouts::lnurl::Lnurl;
use crate::payouts::teller::Teller;
use crate::payouts::{self, Paymaster};
use crate::public;
use crate::purses::Purses;
use crate::renewal;
use crate::restored;
use crate::seed::{self, Renewal};
use crate::settings::{QueueSource, Settings};
use crate::settlement::Settlement;
use crate::trail::Trail;
use crate::treasury::{self, EcashReader, Lightning, Method, Onchain, Reconciling, Treasury, lightning};
use crate::undivided::undivided;
use crate::units::{known_epochs, start_mint};
use crate::upstream;
use crate::watcher::Watcher;

/// A new mint reads this many blocks before the tip: the pool may have paid it before its start.
const BLOCKS_BACK: u32 = 144;
/// Pause between attempts to reach the node.
const NODE_PAUSE: Duration = Duration::from_secs(1);

/// Makes what must be there before the pool starts: the seed, the public coinbase descriptor and
/// the network stamp. Doing it again changes nothing.
///
/// # Errors
/// [`Misconfigured`] for a data directory of another network or a damaged seed, I/O errors.
pub fn init(settings: &Settings) -> anyhow::Result<Keys> {
    claim_data_dir(&settings.data_dir, settings.network)?;
    let keys = Keys::load_or_create(&settings.data_dir.join(seed::FILE), settings.network)?;
    let descriptor = format!("{}\n", keys.coinbase_descriptor()?);
    let path = settings.data_dir.join("coinbase.descriptor");
    match std::fs::read_to_string(&path) {
        Ok(found) if found == descriptor => {}
        Ok(_) => {
            let path = path.display();
            return Err(Misconfigured::new(format!(
                "{path} is of another seed; restore the seed beside it, or remove the file and restart the pool"
            ))
            .into());
        }
        // The pool may read it at any moment, by its group.
        Err(_) => write_whole(&path, descriptor.as_bytes(), 0o644)?,
    }
    Ok(keys)
}

/// As [`init`], with the seed of these words, into a data directory without one. The treasury looks
/// for its coins from the block at `since` on.
///
/// # Errors
/// [`Misconfigured`] when there is a seed already or the words are none; as [`init`].
pub fn restore_seed(settings: &Settings, words: &str, since: u32) -> anyhow::Result<()> {
    seed::refuse_existing(&settings.data_dir)?;
    if let QueueSource::Journal(journal) = &settings.queue
        && journal.exists()
    {
        let journal = journal.display();
        return Err(Misconfigured::new(format!(
            "the work in {journal} was credited in books that are lost, and would be credited again; move it away first, the pool begins a new one"
        ))
        .into());
    }
    let fingerprint = seed::restore(&settings.data_dir, settings.network, words, since, unix_time())?;
    init(settings)?;
    tracing::warn!(
        fingerprint,
        since,
        "the seed was restored from its words: the treasury finds its coins again; ecash signed before is not taken"
    );
    Ok(())
}

/// Runs the mint until `stop`, in as many turns as it takes: cdk's mint knows its units from the
/// start, and begins anew when they run out.
///
/// # Errors
/// [`Misconfigured`] for what a person has to change; anything else that keeps the mint from
/// starting.
pub async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        turn(settings.clone(), stop.child_token()).await?;
    }
    Ok(())
}

/// One turn, until `stop`.
async fn turn(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let started_at = unix_time();
    let listener = bind_tcp("listen", settings.listen).await?;
    let keys = init(&settings)?;
    let local_api = LocalApi::bind(&settings.api_socket).await?;
    let node = Node::new(settings.node.clone());

    let path = settings.data_dir.join("mint.sqlite");
    let store = MintSqliteDatabase::new(path.to_string_lossy().as_ref()).await;
    let store = Arc::new(store.with_context(|| format!("open {}", path.display()))?);
    let db: DynMintDatabase = store.clone();
    let script = keys.coinbase_address()?.script_pubkey();
    let audited_script = script.clone();
    let watcher = Watcher::new(node.clone(), script, Trail::new(db.clone()));
    let Some((progress, birthday)) = begin(&settings, &db, &node, &watcher, &stop).await? else {
        return Ok(());
    };

    let health = Arc::new(Health::default());
    let restored = restored::read(&settings.data_dir)?;
    restored::hold(&health, restored.as_ref());
    let restored_at = restored.map_or(0, |restored| restored.restored_at);
    // Read before cdk's mint starts: it goes on with them.
    let handing_over = treasury::handing_over(&db, restored_at).await?;
    let lightning = settings.lightning.clone().map(|lightning| {
        let opening = lightning::Opening {
            settings: lightning,
            node: settings.node.clone(),
            network: settings.network,
            keys: keys.clone(),
            dir: settings.data_dir.join("lightning"),
            log: settings.log_file.as_ref().unwrap_or(&settings.data_dir).with_file_name("lightning.log"),
            store: store.clone(),
            confirmations: settings.treasury.confirmations,
        };
        Lightning::new(opening, health.clone())
    });
    let opening = treasury::Opening {
        node: settings.node.clone(),
        network: settings.network,
        keys: keys.clone(),
        dir: settings.data_dir.clone(),
        store: store.clone(),
        birthday,
        ecash: EcashReader::open(&path)?,
        settings: settings.treasury,
        lightning: lightning.clone(),
    };
    let treasury = Arc::new(Treasury::open(opening).await?);
    upstream::account(&db, &treasury, progress.epochs.tip()).await?;
    let maturity = settings.rules.maturity_confirmations;
    let settlement = Settlement::new(treasury.clone(), health.clone(), maturity);
    let open = progress.epochs.live().last().map_or(EpochId::FIRST, |epoch| epoch.id);
    let onchain: DynMintPayment = Onchain::new(treasury.clone(), health.clone(), handing_over);
    let mut sat = vec![(Method::Onchain, onchain)];
    for method in lightning::METHODS {
        sat.extend(lightning.clone().map(|lightning| (method, lightning as DynMintPayment)));
    }
    let ahead = settings.epochs_ahead;
    let mint = start_mint(store, &keys, &settlement, &sat, &settings.public_url, open, ahead).await?;
    treasury::announce(&mint, &[Method::Onchain], settings.treasury.confirmations).await?;
    let renewal = renewal::watch(mint.clone(), health.clone(), open, ahead, stop.clone());
    let renewal = tokio::spawn(undivided(renewal));
    match invariants::check(&mint, &treasury, &known_epochs(&mint)).await {
        Err(CheckError::Breach(breach)) => health.halt(&breach.to_string()),
        Err(CheckError::TreasuryBehind) => {
            tracing::warn!("the treasury reads the chain again; nothing redeems until it has");
        }
        // It starts after the mint.
        Err(CheckError::LightningDown) => {}
        checked => checked?,
    }

    let public = public::router(mint.clone(), settlement, health.clone(), settings.limits).await?;
    let purses = Purses::new(mint.clone(), keys.clone(), &settings.data_dir, public.clone(), maturity)?;
    let purses = Arc::new(purses);
    let paymaster = Paymaster::open(
        Books::new(mint.localstore(), settings.network),
        Teller::new(
            purses.clone(),
            mint.clone(),
            Lnurl::new(settings.network, settings.payouts.stand_in_host),
        ),
        settings.payouts,
        settings.network,
        health.clone(),
    );
    let paymaster = paymaster.await?;
    let local = local::router(Local {
        mint: mint.clone(),
        keys: keys.clone(),
        purses,
        guard: Guard::default(),
        treasury: treasury.clone(),
        health: health.clone(),
        network: settings.network,
        public_url: settings.public_url.clone(),
        started_at,
        maturity,
        data_dir: settings.data_dir.clone(),
    });
    let local = local.merge(payouts::local::router(paymaster.clone()));
    let recovery =
        Recovery { data_dir: settings.data_dir.clone(), mint: mint.clone(), health: health.clone() };
    let audit = Audit {
        mint: mint.clone(),
        keys: keys.clone(),
        node: node.clone(),
        script: audited_script,
        treasury: treasury.clone(),
    };
    let local = local.merge(local::recovery::router(recovery)).merge(local::audit::router(audit));
    let local = local.layer(from_fn(async |request, next: Next| undivided(next.run(request)).await));
    let crediting = Crediting {
        mint: mint.clone(),
        keys,
        treasury: treasury.clone(),
        health,
        watcher,
        queue: settings.queue.open(settings.network),
        fee: settings.fee,
        rules: settings.rules,
        min_round_time_s: settings.min_round_time_s,
    };
    tracing::info!(network = %settings.network, listen = %settings.listen, epoch = %open, "poolbox-mint is up");

    let crediting = tokio::spawn(undivided(crediting.run(progress, stop.clone())));
    let reconciling = Reconciling::new(mint.clone(), treasury.clone());
    let reconciling = tokio::spawn(undivided(reconciling.run(stop.clone())));
    let paying = tokio::spawn(undivided(paymaster.run(stop.clone())));
    let lightning = lightning.map(|node| tokio::spawn(undivided(node.keep(mint.clone(), stop.clone()))));
    let local = tokio::spawn(local_api.serve(local, stop.clone()));
    public::serve(listener, public, settings.limits, stop.clone()).await;
    stop.cancel();
    // Ended otherwise, the Lightning node may close its channels.
    if let Some(lightning) = lightning {
        lightning.await.context("the Lightning task broke")?;
    }
    // The writer ends between two transactions; the rest only reads.
    crediting.await.context("the crediting task broke")?;
    reconciling.await.context("the reconciling task broke")?;
    paying.await.context("the payouts task broke")?;
    local.await.context("the local API broke")??;
    renewal.await.context("the watch over cdk's mint broke")?;
    mint.stop().await.context("stop the mint")?;
    treasury.stop().await;
    tracing::info!("poolbox-mint has stopped");
    Ok(())
}

/// Where the mint left off, or where a new one begins, and the treasury's first block. Waits for
/// the node when it has to be asked; none when stopped meanwhile.
async fn begin(
    settings: &Settings,
    db: &DynMintDatabase,
    node: &Node,
    watcher: &Watcher,
    stop: &CancellationToken,
) -> anyhow::Result<Option<(Progress, u32)>> {
    let stored: Option<Progress> = ledger::read(db, &Place::progress()).await?;
    let birthday: Option<u32> = ledger::read(db, &Place::birthday()).await?;
    if let (Some(progress), Some(birthday)) = (stored, birthday) {
        return Ok(Some((progress, birthday)));
    }
    let Some(tip) = wait_for_node(settings, node, stop).await? else { return Ok(None) };
    let renewal = Renewal::read(&settings.data_dir.join(seed::FILE))?;
    let since = renewal.map(|renewal| renewal.since).or(settings.first_block);
    let birthday = since.unwrap_or(tip.saturating_sub(BLOCKS_BACK));
    if birthday > tip {
        let setting = if renewal.is_some() { "init --since" } else { "first_block" };
        return Err(Misconfigured::new(format!(
            "{setting} = {birthday} is above the chain's tip at {tip}; set a lower one or leave it out"
        ))
        .into());
    }
    // Blocks that paid a mint whose books are lost are its holders': the treasury finds them, and no
    // epoch of the new books shares them out.
    let first = if renewal.is_some() { tip } else { birthday };
    let progress = watcher.begin(first, settings.rules).await?;
    let mut tx = db.begin_transaction().await?;
    ledger::write(&mut tx, &Place::progress(), &progress).await?;
    ledger::write(&mut tx, &Place::birthday(), &birthday).await?;
    tx.commit().await?;
    tracing::info!(height = first, treasury_from = birthday, "new mint: the chain is read from here");
    Ok(Some((progress, birthday)))
}

/// The height of the node's tip, as soon as it answers; a node on another chain is a mistake.
async fn wait_for_node(
    settings: &Settings,
    node: &Node,
    stop: &CancellationToken,
) -> anyhow::Result<Option<u32>> {
    let mut told = false;
    loop {
        match node.chain().await {
            Ok(chain) if chain == settings.network.core_name() => return Ok(Some(node.height().await?)),
            Ok(chain) => {
                let (network, expected) = (settings.network, settings.network.core_name());
                return Err(Misconfigured::new(format!(
                    "the node runs on chain {chain}, but network = \"{network}\" needs {expected}; change network or the node"
                ))
                .into());
            }
            Err(error) if !told => {
                tracing::warn!(reason = format!("{error:#}"), "waiting for the node");
                told = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(NODE_PAUSE) => {}
        }
    }
}
