//! `poolbox audit`: recomputes every epoch from the journals, and compares it with what the mint
//! credited, signed, redeemed and paid. What is compared with what is in `compare`; docs/audit.md is
//! for people.

mod compare;
mod journal;
mod rounds;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use poolbox_accounting::Network;
use poolbox_api::Client;
use poolbox_api::mint::payouts::{MAX_PAGE, PAYOUTS, Page, Payout};
use poolbox_api::mint::{self, AuditBooks, AuditEpoch, AuditMark, AuditRounds};
use poolbox_journal::QueueReader;
use serde::{Deserialize, Serialize};

use self::compare::{Compared, Difference, Evidence, Line, compare};
use self::journal::Boundaries;
use self::rounds::RoundLine;
pub use self::rounds::state;
use crate::layout::Layout;
use crate::place::Place;

/// How often a box that is at work is looked at again before a difference counts: figures are read
/// one after the other, and move meanwhile.
const LOOKS: u32 = 4;
/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What to audit, and how to say it.
#[derive(Debug, Args)]
pub struct Options {
    /// A journal to take instead of the box's own; once for each pool of the mint.
    #[arg(long, value_name = "FILE")]
    journal: Vec<PathBuf>,
    /// Of a box that has been on several networks, the one that its mint is on.
    #[arg(long, value_name = "NAME")]
    network: Option<Network>,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

/// What an audit found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Whether everything agrees.
    pub agrees: bool,
    /// A line for each epoch, oldest first.
    pub epochs: Vec<Line>,
    /// A line for each round of mode proxy, oldest first.
    #[serde(default)]
    pub rounds: Vec<RoundLine>,
    /// Shares that were added up.
    pub shares: u64,
    /// What does not agree.
    pub differences: Vec<Difference>,
}

/// Runs the command; differences are an error, once everything was said.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let client = place.mint()?;
    let mut looks = 0;
    let report = loop {
        looks += 1;
        let report = audit(place, options, &client).await?;
        if report.agrees || looks == LOOKS {
            break report;
        }
        tokio::time::sleep(PAUSE).await;
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        tell(&report);
    }
    ensure!(report.agrees, "{} differences; keep the data as it is and look", report.differences.len());
    Ok(())
}

/// The journals that were named, or the box's own.
///
/// # Errors
/// When one cannot be opened.
pub fn journals(
    place: &Place,
    network: Option<Network>,
    named: &[PathBuf],
) -> anyhow::Result<Vec<QueueReader>> {
    let layout = Layout::of(place.root(), network)?;
    let own = [layout.at("pool/journal.sqlite")];
    let paths = if named.is_empty() { own.as_slice() } else { named };
    let network = stamped(&layout)?;
    paths
        .iter()
        .map(|path| QueueReader::open(path, network).with_context(|| format!("open {}", path.display())))
        .collect()
}

/// Of the box, as its data directories are stamped.
fn stamped(layout: &Layout) -> anyhow::Result<Network> {
    let stamps = ["pool/network", "mint/network"].map(|stamp| layout.at(stamp));
    let found = stamps.iter().find_map(|stamp| std::fs::read_to_string(stamp).ok());
    let found = found.with_context(|| {
        format!("{} is no state directory of a box; pass --state", layout.root().display())
    })?;
    serde_json::from_value(found.trim().into()).context("read the network")
}

async fn audit(place: &Place, options: &Options, client: &Client) -> anyhow::Result<Report> {
    let books: AuditBooks = client.get(mint::AUDIT).await?;
    let mut epochs: Vec<AuditEpoch> = Vec::new();
    for n in 1..=books.newest.get() {
        epochs.push(client.get(&format!("{}/{n}", mint::AUDIT_EPOCHS)).await?);
    }
    let rounds: AuditRounds = client.get(mint::AUDIT_ROUNDS).await?;
    let readers = journals(place, options.network, &options.journal)?;
    let facts = readers.iter().map(|reader| {
        let journal = reader.identity().to_string();
        journal::read(reader, &epoch_ends(&epochs, &journal), &round_ends(&rounds, &journal))
    });
    let journals = tokio::task::block_in_place(|| facts.collect::<anyhow::Result<Vec<_>>>())?;
    // Payouts first: a melt that is paid meanwhile is nobody's difference.
    let payouts = payouts(client).await?;
    let melts = client.get(mint::AUDIT_MELTS).await?;
    let evidence = Evidence { journals, epochs, rounds, payouts, melts };
    let Compared { epochs, rounds, differences } = compare(&evidence);
    let shares = evidence.journals.iter().map(|journal| journal.shares).sum();
    Ok(Report { agrees: differences.is_empty(), epochs, rounds, shares, differences })
}

/// Every standing payout, newest first.
///
/// # Errors
/// When the mint does not answer.
pub async fn payouts(client: &Client) -> anyhow::Result<Vec<Payout>> {
    let mut all = Vec::new();
    let mut page: Page = client.get(&format!("{PAYOUTS}?limit={MAX_PAGE}")).await?;
    loop {
        all.append(&mut page.payouts);
        let Some(before) = page.next else { return Ok(all) };
        page = client.get(&format!("{PAYOUTS}?before={before}&limit={MAX_PAGE}")).await?;
    }
}

/// Where the epochs end in one journal.
fn epoch_ends(epochs: &[AuditEpoch], journal: &str) -> Boundaries {
    let cursor = epochs.last().and_then(|newest| newest.cursors.get(journal)).copied().unwrap_or_default();
    let marks = epochs.iter().map(|epoch| (epoch.n.get(), &epoch.marks)).collect();
    boundaries(marks, journal, cursor)
}

/// The same of the rounds.
fn round_ends(rounds: &AuditRounds, journal: &str) -> Boundaries {
    let cursor = rounds.cursors.get(journal).copied().unwrap_or_default();
    let marks = rounds.rounds.iter().map(|round| (round.n.get(), &round.marks)).collect();
    boundaries(marks, journal, cursor)
}

fn boundaries(all: Vec<(u64, &BTreeMap<String, AuditMark>)>, journal: &str, cursor: u64) -> Boundaries {
    let (mut reached, count) = (0, all.len());
    let ends = all.into_iter().enumerate().map(|(place, (n, marks))| {
        let open = place + 1 == count;
        // One that ended before this journal was first read ends at its start.
        reached = marks.get(journal).map_or(reached, |mark| mark.entry).max(reached);
        (n, (!open).then_some(reached))
    });
    Boundaries { ends: ends.collect(), cursor }
}

fn tell(report: &Report) {
    println!(
        "{:>6} {:>12} {:>7} {:>16} {:>16} {:>16} {:>16} {:>14} {:>14}",
        "epoch",
        "state",
        "owners",
        "work journalled",
        "credited",
        "minted",
        "redeemed",
        "reward sat",
        "paid sat"
    );
    for line in &report.epochs {
        println!(
            "{:>6} {:>12} {:>7} {:>16} {:>16} {:>16} {:>16} {:>14} {:>14}{}",
            line.epoch,
            line.state,
            line.owners,
            line.journalled,
            line.credited,
            line.minted,
            line.redeemed,
            line.reward,
            line.paid_sat,
            if line.agrees { "" } else { "  <- differs" }
        );
    }
    if report.rounds.iter().any(|round| round.owners > 0) {
        println!(
            "{:>6} {:>12} {:>7} {:>16} {:>16} {:>14} {:>14}",
            "round", "state", "owners", "work journalled", "credited", "received sat", "paid sat"
        );
    }
    for line in report.rounds.iter().filter(|round| round.owners > 0) {
        println!(
            "{:>6} {:>12} {:>7} {:>16} {:>16} {:>14} {:>14}{}",
            line.round,
            line.state,
            line.owners,
            line.journalled,
            line.credited,
            line.received_sat,
            line.paid_sat,
            if line.agrees { "" } else { "  <- differs" }
        );
    }
    for Difference { place, what } in &report.differences {
        println!("{place}: {what}");
    }
    let verdict = if report.agrees { "everything agrees" } else { "NOT EVERYTHING AGREES" };
    println!("{} shares added up: {verdict}", report.shares);
}
