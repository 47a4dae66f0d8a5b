//! The books as an auditor reads them: credits, payments and cursors of one moment, and beside them
//! what quotes, keysets, melts and the chain say of the same things.

mod rounds;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bitcoin::ScriptBuf;
use cdk::mint::Mint;
use cdk::nuts::{CurrencyUnit, MeltQuoteState};
use cdk_common::database::DynMintTransaction;
use poolbox_accounting::{Epoch, EpochId, JournalId, Mark, Marks, Payout, Rate, Sats, Work};
use poolbox_api::{Problem, mint as api};
use poolbox_service::Answer;

use super::{Reply, broken};
use crate::keys::Keys;
use crate::ledger::{self, Credit, Place, Progress, Redeemed, Settled};
use crate::node::Node;
use crate::quotes;
use crate::settlement::Offer;
use crate::treasury::Treasury;
use crate::units::unit_of;

/// How often a figure that grows while it is compared is read again.
const ATTEMPTS: u32 = 3;

/// What these routes need.
pub struct Audit {
    /// cdk's mint.
    pub mint: Arc<Mint>,
    /// Names quotes.
    pub keys: Keys,
    /// Says what blocks paid.
    pub node: Node,
    /// What a coinbase of ours pays.
    pub script: ScriptBuf,
    /// Counts sat ecash.
    pub treasury: Arc<Treasury>,
}

/// The routes.
pub fn router(audit: Audit) -> Router {
    Router::new()
        .route(api::AUDIT, get(books))
        .route(&format!("{}/{{n}}", api::AUDIT_EPOCHS), get(epoch))
        .route(api::AUDIT_MELTS, get(melts))
        .route(api::AUDIT_ROUNDS, get(rounds))
        .with_state(Arc::new(audit))
}

async fn melts(State(audit): State<Arc<Audit>>) -> Reply<Vec<api::AuditMelt>> {
    audit.melts().await.map(Json).map_err(broken)
}

async fn rounds(State(audit): State<Arc<Audit>>) -> Reply<api::AuditRounds> {
    audit.rounds().await.map(Json).map_err(broken)
}

async fn books(State(audit): State<Arc<Audit>>) -> Reply<api::AuditBooks> {
    let snapshot = audit.snapshot(EpochId::FIRST).await.map_err(broken)?;
    snapshot.map(|snapshot| Json(snapshot.books)).ok_or_else(|| none(1))
}

async fn epoch(State(audit): State<Arc<Audit>>, Path(n): Path<u64>) -> Reply<api::AuditEpoch> {
    let epoch = audit.epoch(EpochId::new(n)).await.map_err(broken)?;
    epoch.map(Json).ok_or_else(|| none(n))
}

fn none(n: u64) -> Answer {
    Answer::not_found(Problem::new(format!("there is no epoch {n}")))
}

/// The books' records of one epoch, of one moment.
struct Snapshot {
    books: api::AuditBooks,
    cursors: BTreeMap<String, u64>,
    epoch: Epoch,
    rate: Option<api::AuditRate>,
    paid: Work,
    redeemed: Redeemed,
    /// Shared out by all rounds.
    shared: Sats,
    credits: Vec<(Place, Credit)>,
}

impl Audit {
    /// No record changes while they are read: a transaction keeps the writer waiting, for less than a
    /// millisecond an owner.
    async fn snapshot(&self, n: EpochId) -> anyhow::Result<Option<Snapshot>> {
        let db = self.mint.localstore();
        let mut tx = db.begin_transaction().await?;
        let snapshot = snapshot_in(&mut tx, n).await;
        // While nobody else writes, this is of the same moment.
        let sats = self.treasury.ecash().read().await;
        tx.rollback().await?;
        let Some(mut snapshot) = snapshot? else { return Ok(None) };
        let sats = sats?;
        snapshot.books.sats = api::AuditSats {
            signed: sats.issued,
            returned: sats.redeemed,
            minted: sats.minted,
            melted: sats.melted.in_all(),
            for_work: sats.received.for_work,
            shared: snapshot.shared,
        };
        Ok(Some(snapshot))
    }

    async fn epoch(&self, n: EpochId) -> anyhow::Result<Option<api::AuditEpoch>> {
        let Some(snapshot) = self.snapshot(n).await? else { return Ok(None) };
        let Snapshot { books, cursors, epoch, rate, paid, redeemed, credits, .. } = snapshot;
        let mut audited = Vec::new();
        let (mut before, mut signed) = (self.signed(n).await?, Work::ZERO);
        for (place, credit) in &credits {
            audited.push(self.credit(n, place, credit).await?);
        }
        let mut minted: Work = audited.iter().map(|credit| credit.minted).sum();
        for _ in 0..ATTEMPTS {
            signed = self.signed(n).await?;
            // A sum that was read while wallets minted lies between those of before and after.
            if before <= minted && minted <= signed {
                signed = minted;
                break;
            }
            before = signed;
            minted = self.minted(n, &credits).await?;
        }
        let mut payouts = Vec::new();
        for payout in &epoch.payouts {
            payouts.push(self.payout(payout).await);
        }
        Ok(Some(api::AuditEpoch {
            n,
            state: epoch.state(),
            released: epoch.released(),
            marks: epoch.boundary().map(|(_, _, at)| marks(at)).unwrap_or_default(),
            cursors,
            books,
            payouts,
            rate,
            work: epoch.work,
            paid,
            signed,
            minted,
            redeemed: api::Redemptions { ehash: redeemed.ehash, sats: redeemed.sats },
            melted: self.melted(&unit_of(n)).await?,
            credits: audited,
        }))
    }

    /// As with epochs, a transaction keeps the writer waiting.
    async fn rounds(&self) -> anyhow::Result<api::AuditRounds> {
        let mut tx = self.mint.localstore().begin_transaction().await?;
        let rounds = rounds::snapshot_in(&mut tx, &self.keys).await;
        tx.rollback().await?;
        rounds
    }

    /// A credit and its quotes; payments that came after the snapshot are taken off again.
    async fn credit(&self, n: EpochId, place: &Place, credit: &Credit) -> anyhow::Result<api::AuditCredit> {
        let db = self.mint.localstore();
        let mut attempts = 0;
        let (quoted, minted) = loop {
            attempts += 1;
            let earlier: Credit = ledger::read(&db, place).await?.unwrap_or_else(|| credit.clone());
            let (quoted, minted) = self.quotes(n, &earlier).await?;
            let later: Credit = ledger::read(&db, place).await?.unwrap_or_else(|| credit.clone());
            if earlier == later || attempts == ATTEMPTS {
                let since = later.paid.checked_sub(credit.paid).unwrap_or_default();
                break (quoted.checked_sub(since).unwrap_or_default(), minted);
            }
        };
        let Credit { owner, credited, paid, .. } = credit.clone();
        Ok(api::AuditCredit { owner, credited, paid, quoted, minted })
    }

    /// Paid to and minted from the quotes of a credit.
    async fn quotes(&self, n: EpochId, credit: &Credit) -> anyhow::Result<(Work, Work)> {
        let db = self.mint.localstore();
        let (mut quoted, mut minted) = (Vec::new(), Vec::new());
        for index in 0..credit.quotes {
            let id = quotes::id(&self.keys, n, &credit.lock, index);
            let Some(quote) = db.get_mint_quote(&id).await? else { continue };
            quoted.push(Work::from_ehash(quote.amount_paid().value()));
            minted.push(Work::from_ehash(quote.amount_issued().value()));
        }
        Ok((quoted.into_iter().sum(), minted.into_iter().sum()))
    }

    async fn minted(&self, n: EpochId, credits: &[(Place, Credit)]) -> anyhow::Result<Work> {
        let mut minted = Vec::new();
        for (_, credit) in credits {
            minted.push(self.quotes(n, credit).await?.1);
        }
        Ok(minted.into_iter().sum())
    }

    /// What was ever signed for quotes: outstanding ecash, and what came back as melts.
    async fn signed(&self, n: EpochId) -> anyhow::Result<Work> {
        let outstanding = crate::invariants::outstanding(&self.mint).await?;
        let outstanding = Work::from_ehash(outstanding.get(&unit_of(n)).copied().unwrap_or_default());
        let melted = self.melted(&unit_of(n)).await?;
        Ok([outstanding, melted.ehash].into_iter().sum())
    }

    /// What the melts that were paid took and gave.
    async fn melted(&self, unit: &CurrencyUnit) -> anyhow::Result<api::Redemptions> {
        let quotes = self.mint.localstore().get_melt_quotes().await?;
        let paid =
            quotes.into_iter().filter(|quote| quote.unit == *unit && quote.state == MeltQuoteState::Paid);
        let offers = paid.filter_map(|quote| serde_json::from_value::<Offer>(quote.extra_json.clone()?).ok());
        let offers: Vec<Offer> = offers.collect();
        Ok(api::Redemptions {
            ehash: offers.iter().map(|offer| offer.ehash).sum(),
            sats: offers.iter().map(|offer| offer.sats).sum(),
        })
    }

    /// Melts of sat ecash that were paid.
    async fn melts(&self) -> anyhow::Result<Vec<api::AuditMelt>> {
        let quotes = self.mint.localstore().get_melt_quotes().await?;
        let paid = quotes
            .into_iter()
            .filter(|quote| quote.unit == CurrencyUnit::Sat && quote.state == MeltQuoteState::Paid);
        let melt = |quote: cdk::mint::MeltQuote| api::AuditMelt {
            quote: quote.id.to_string(),
            amount: Sats::new(quote.amount().value()),
        };
        Ok(paid.map(melt).collect())
    }

    /// A payout, and what the chain says of it.
    async fn payout(&self, payout: &Payout) -> api::AuditPayout {
        let active = self.node.standing(payout.hash).await.ok();
        let on_chain = self.node.block(payout.hash).await.ok().and_then(|block| {
            let ours =
                block.txdata.first()?.output.iter().filter(|output| output.script_pubkey == self.script);
            Some(ours.map(|output| Sats::new(output.value.to_sat())).sum())
        });
        api::AuditPayout {
            height: payout.height,
            block_hash: payout.hash.to_string(),
            reward: payout.reward,
            on_chain,
            active: active.map(|standing| standing.is_some_and(|standing| standing.confirmations > 0)),
        }
    }
}

fn marks(marks: &Marks) -> BTreeMap<String, api::AuditMark> {
    let told = |(journal, mark): (JournalId, Mark)| {
        (journal.to_string(), api::AuditMark { share: mark.share.get(), entry: mark.entry.get() })
    };
    marks.iter().map(told).collect()
}

fn rate(rate: Rate) -> api::AuditRate {
    api::AuditRate { reward: rate.reward(), work: rate.work(), payable: rate.payable() }
}

async fn snapshot_in(tx: &mut DynMintTransaction, n: EpochId) -> anyhow::Result<Option<Snapshot>> {
    let progress: Option<Progress> = ledger::read_in(tx, &Place::progress()).await?;
    let Some(progress) = progress else { return Ok(None) };
    let settled: Option<Settled> = ledger::read_in(tx, &Place::settled(n)).await?;
    let settled_rate = settled.as_ref().and_then(|settled| settled.rate);
    let Some(epoch) = settled.map(|settled| settled.epoch).or_else(|| progress.epochs.get(n).cloned()) else {
        return Ok(None);
    };
    let mut credits = Vec::new();
    for place in ledger::credits_of(tx, n).await? {
        if let Some(credit) = ledger::read_in(tx, &place).await? {
            credits.push((place, credit));
        }
    }
    let all: Redeemed = ledger::read_in(tx, &Place::redeemed_in_all()).await?.unwrap_or_default();
    let cursors = progress.cursors.iter().map(|(journal, cursor)| (journal.to_string(), cursor.seq.get()));
    Ok(Some(Snapshot {
        books: api::AuditBooks {
            newest: progress.epochs.live().last().map_or(n, |epoch| epoch.id),
            credited: progress.credited,
            redeemed: api::Redemptions { ehash: all.ehash, sats: all.sats },
            sats: api::AuditSats::default(),
        },
        cursors: cursors.collect(),
        epoch,
        rate: settled_rate.map(rate),
        paid: ledger::read_in(tx, &Place::paid(n)).await?.unwrap_or_default(),
        redeemed: ledger::read_in(tx, &Place::redeemed(n)).await?.unwrap_or_default(),
        shared: ledger::read_in(tx, &Place::shared_in_all()).await?.unwrap_or_default(),
        credits,
    }))
}
