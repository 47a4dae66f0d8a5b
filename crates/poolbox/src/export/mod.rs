//! `poolbox export`: what pool and mint have recorded, as tables for other programs and for people.

mod table;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use poolbox_accounting::{Network, ShareSeq};
use poolbox_api::mint::{self, AuditBooks, AuditEpoch, AuditRounds, Epoch};
use poolbox_journal::ShareRecord;

use self::table::{Format, Table};
use crate::audit::{journals, state};
use crate::place::Place;

/// Shares read at once.
const PAGE: usize = 10_000;

/// What to export, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// Which records.
    what: What,
    /// In what form.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Where to; standard output unless set.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A journal other than the box's own, as of another pool; may be given several times.
    #[arg(long, value_name = "FILE")]
    journal: Vec<PathBuf>,
    /// Of a box that has been on several networks, the one whose shares are meant instead of the present one's.
    #[arg(long, value_name = "NAME")]
    network: Option<Network>,
}

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Every share in the journal.
    Shares,
    /// What every owner earned in each epoch.
    Credits,
    /// Every epoch.
    Epochs,
    /// What settled epochs paid for their ehash.
    Settlements,
    /// What every owner earned in each round of mode proxy.
    Rounds,
    /// Standing payouts, newest first.
    Payouts,
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let out: Box<dyn Write> = match &options.output {
        Some(path) => Box::new(File::create(path).with_context(|| format!("write {}", path.display()))?),
        None => Box::new(std::io::stdout().lock()),
    };
    let out = BufWriter::with_capacity(1 << 16, out);
    let rows = match options.what {
        What::Shares => shares(place, options, out)?,
        What::Credits => credits(place, options.format, out).await?,
        What::Epochs => epochs(place, options.format, out).await?,
        What::Settlements => settlements(place, options.format, out).await?,
        What::Rounds => rounds(place, options.format, out).await?,
        What::Payouts => payouts(place, options.format, out).await?,
    };
    eprintln!("{rows} rows");
    Ok(())
}

fn shares(place: &Place, options: &Options, out: impl Write) -> anyhow::Result<u64> {
    let columns =
        &["journal", "seq", "at_ms", "owner", "worker", "work_ehash", "hash", "block_height", "mode"];
    let mut table = Table::begin(out, options.format, columns)?;
    for reader in journals(place, options.network, &options.journal)? {
        let journal = reader.identity().to_string();
        let mut after = ShareSeq::START;
        loop {
            let page = reader.shares(after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for ShareRecord { seq, share } in page {
                table.row([
                    journal.as_str().into(),
                    seq.get().into(),
                    share.at_ms.into(),
                    share.identity.owner.to_string().into(),
                    share.identity.worker.as_str().into(),
                    share.work.ehash().into(),
                    share.hash.to_string().into(),
                    share.block_height.map(u64::from).into(),
                    share.mode.name().into(),
                ])?;
            }
        }
    }
    Ok(table.end()?)
}

async fn credits(place: &Place, format: Format, out: impl Write) -> anyhow::Result<u64> {
    let columns = &["epoch", "owner", "credited_ehash", "paid_ehash", "minted_ehash"];
    let mut table = Table::begin(out, format, columns)?;
    let client = place.mint()?;
    let books: AuditBooks = client.get(mint::AUDIT).await?;
    for n in 1..=books.newest.get() {
        let epoch: AuditEpoch = client.get(&format!("{}/{n}", mint::AUDIT_EPOCHS)).await?;
        for credit in epoch.credits {
            table.row([
                n.into(),
                credit.owner.into(),
                credit.credited.ehash().into(),
                credit.paid.ehash().into(),
                credit.minted.ehash().into(),
            ])?;
        }
    }
    Ok(table.end()?)
}

async fn epochs(place: &Place, format: Format, out: impl Write) -> anyhow::Result<u64> {
    let columns = &[
        "epoch",
        "unit",
        "state",
        "height",
        "block_hash",
        "reward_sat",
        "work_ehash",
        "issued_ehash",
        "redeemed_ehash",
        "paid_sat",
    ];
    let mut table = Table::begin(out, format, columns)?;
    let epochs: Vec<Epoch> = place.mint()?.get(mint::EPOCHS).await?;
    for epoch in epochs.into_iter().rev() {
        table.row([
            epoch.n.get().into(),
            epoch.unit.into(),
            format!("{:?}", epoch.state).to_lowercase().into(),
            epoch.height.map(u64::from).into(),
            epoch.block_hash.into(),
            epoch.reward.get().into(),
            epoch.work.ehash().into(),
            epoch.issued.ehash().into(),
            epoch.redeemed.ehash().into(),
            epoch.paid.get().into(),
        ])?;
    }
    Ok(table.end()?)
}

async fn settlements(place: &Place, format: Format, out: impl Write) -> anyhow::Result<u64> {
    let columns = &[
        "epoch",
        "height",
        "block_hash",
        "block_sat",
        "reward_sat",
        "payable_sat",
        "work_ehash",
        "redeemed_ehash",
        "paid_sat",
    ];
    let mut table = Table::begin(out, format, columns)?;
    let client = place.mint()?;
    let books: AuditBooks = client.get(mint::AUDIT).await?;
    for n in 1..=books.newest.get() {
        let epoch: AuditEpoch = client.get(&format!("{}/{n}", mint::AUDIT_EPOCHS)).await?;
        let Some(rate) = epoch.rate else { continue };
        // A row for each block that the epoch was paid by; the epoch's own figures are the same in each.
        for payout in epoch.payouts {
            table.row([
                n.into(),
                u64::from(payout.height).into(),
                payout.block_hash.into(),
                payout.reward.get().into(),
                rate.reward.get().into(),
                rate.payable.get().into(),
                rate.work.ehash().into(),
                epoch.redeemed.ehash.ehash().into(),
                epoch.redeemed.sats.get().into(),
            ])?;
        }
    }
    Ok(table.end()?)
}

async fn rounds(place: &Place, format: Format, out: impl Write) -> anyhow::Result<u64> {
    let columns = &["round", "state", "owner", "work_ehash", "paid_sat", "round_work_ehash", "received_sat"];
    let mut table = Table::begin(out, format, columns)?;
    let rounds: AuditRounds = place.mint()?.get(mint::AUDIT_ROUNDS).await?;
    for round in &rounds.rounds {
        for part in &round.parts {
            table.row([
                round.n.get().into(),
                state(round).into(),
                part.owner.as_str().into(),
                part.work.ehash().into(),
                part.paid.get().into(),
                round.work.ehash().into(),
                round.received.get().into(),
            ])?;
        }
    }
    Ok(table.end()?)
}

async fn payouts(place: &Place, format: Format, out: impl Write) -> anyhow::Result<u64> {
    let columns = &[
        "n",
        "owner",
        "target",
        "kind",
        "stage",
        "amount_sat",
        "fee_sat",
        "melt_quote",
        "proof",
        "planned_at",
        "ended_at",
    ];
    let mut table = Table::begin(out, format, columns)?;
    for payout in crate::audit::payouts(&place.mint()?).await? {
        table.row([
            payout.n.into(),
            payout.owner.into(),
            payout.target.into(),
            format!("{:?}", payout.kind).to_lowercase().into(),
            format!("{:?}", payout.stage).to_lowercase().into(),
            payout.amount.get().into(),
            payout.fee.map(|fee| fee.get()).into(),
            payout.melt_quote.into(),
            payout.proof.into(),
            payout.planned_at.into(),
            payout.ended_at.into(),
        ])?;
    }
    Ok(table.end()?)
}
