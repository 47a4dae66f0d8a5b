//! The comparison itself: journals, chain and books as they were read, and every difference by name.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use poolbox_accounting::{Sats, Work};
use poolbox_api::mint::payouts::{Payout, Stage};
use poolbox_api::mint::{AuditBooks, AuditCredit, AuditEpoch, AuditMelt, AuditRounds, Redemptions};
use serde::{Deserialize, Serialize};

use super::journal::Facts;
use super::rounds::{self, RoundLine};

/// Something that should be the same twice and is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// Where: a journal, an epoch, or the books.
    pub place: String,
    /// What does not agree, in a sentence with both figures.
    pub what: String,
}

/// An epoch's figures, side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number.
    pub epoch: u64,
    /// Where it is in its life.
    pub state: String,
    /// Owners with work in it.
    pub owners: usize,
    /// Work by the journals.
    pub journalled: u64,
    /// Work credited.
    pub credited: u64,
    /// Work paid to quotes.
    pub paid: u64,
    /// Ehash minted.
    pub minted: u64,
    /// Ehash redeemed.
    pub redeemed: u64,
    /// R, in sats.
    pub reward: u64,
    /// Sats paid for its ehash.
    pub paid_sat: u64,
    /// Whether every figure agrees with its source.
    pub agrees: bool,
}

/// What an audit looked at.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Every journal that the mint has credited from.
    pub journals: Vec<Facts>,
    /// Each epoch, oldest first.
    pub epochs: Vec<AuditEpoch>,
    /// The rounds of mode proxy.
    pub rounds: AuditRounds,
    /// Every standing payout.
    pub payouts: Vec<Payout>,
    /// Every melt of sats that was paid.
    pub melts: Vec<AuditMelt>,
}

/// What came of it.
pub struct Compared {
    /// A line for each epoch, oldest first.
    pub epochs: Vec<Line>,
    /// A line for each round, oldest first.
    pub rounds: Vec<RoundLine>,
    /// What does not agree.
    pub differences: Vec<Difference>,
}

/// Collects differences.
#[derive(Default)]
pub(super) struct Findings(BTreeSet<Difference>);

impl Findings {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn note(&mut self, place: impl Into<String>, what: String) {
        self.0.insert(Difference { place: place.into(), what });
    }

    /// Notes when `found` is not `expected`.
    pub(super) fn same<T: PartialEq + std::fmt::Display>(
        &mut self,
        place: &str,
        what: &str,
        expected: (&str, T),
        found: (&str, T),
    ) {
        if expected.1 != found.1 {
            self.note(place, format!("{what}: {} {} and {} {}", expected.1, expected.0, found.1, found.0));
        }
    }
}

/// Compares everything with everything.
pub fn compare(evidence: &Evidence) -> Compared {
    let mut findings = Findings::default();
    for journal in &evidence.journals {
        check_journal(journal, &mut findings);
    }
    let taken = taken(&evidence.journals, |journal| &journal.taken);
    let mut lines = Vec::new();
    for epoch in &evidence.epochs {
        let before = findings.0.len();
        let empty = BTreeMap::new();
        let owners = taken.get(&epoch.n.get()).unwrap_or(&empty);
        check_epoch(epoch, owners, &mut findings);
        lines.push(line(epoch, owners, findings.0.len() == before));
    }
    if let Some(newest) = evidence.epochs.last() {
        check_books(&newest.books, &evidence.epochs, &mut findings);
    }
    let for_sats = self::taken(&evidence.journals, |journal| &journal.taken_for_sats);
    let rounds = rounds::check(&evidence.rounds, &for_sats, &mut findings);
    check_cursors(evidence, &mut findings);
    check_payouts(evidence, &mut findings);
    Compared { epochs: lines, rounds, differences: findings.0.into_iter().collect() }
}

fn check_journal(journal: &Facts, findings: &mut Findings) {
    let place = format!("journal {}", journal.journal);
    if let Some(gap) = journal.gap {
        findings.note(&place, format!("share {gap} is missing, and perhaps more"));
    }
    let totals = journal.totals;
    findings.same(&place, "shares", ("by its totals", totals.shares), ("are there", journal.shares));
    findings.same(&place, "work", ("by its totals", totals.work), ("in its shares", journal.work));
    let owners: BTreeSet<&String> = journal.journalled.keys().chain(journal.queued.keys()).collect();
    for owner in owners {
        let of =
            |sums: &BTreeMap<String, u64>| Work::from_ehash(sums.get(owner).copied().unwrap_or_default());
        let what = format!("work of {owner}");
        findings.same(
            &place,
            &what,
            ("in its shares", of(&journal.journalled)),
            ("in its queue", of(&journal.queued)),
        );
    }
}

/// Work of every owner in every epoch or round, by its number.
pub(super) type Taken = BTreeMap<u64, BTreeMap<String, u64>>;

/// The same over all journals.
fn taken(journals: &[Facts], of: fn(&Facts) -> &Taken) -> Taken {
    let mut all = Taken::new();
    for (epoch, owners) in journals.iter().flat_map(of) {
        for (owner, work) in owners {
            let sum = all.entry(*epoch).or_default().entry(owner.clone()).or_default();
            *sum = sum.saturating_add(*work);
        }
    }
    all
}

fn check_epoch(epoch: &AuditEpoch, owners: &BTreeMap<String, u64>, findings: &mut Findings) {
    let place = format!("epoch {}", epoch.n);
    let journalled: Work = owners.values().map(|work| Work::from_ehash(*work)).sum();
    findings.same(&place, "W", ("by the journals", journalled), ("in the books", epoch.work));
    let credits: BTreeMap<&String, &AuditCredit> =
        epoch.credits.iter().map(|credit| (&credit.owner, credit)).collect();
    for owner in owners.keys().chain(credits.keys().copied()).collect::<BTreeSet<_>>() {
        let by_journals = Work::from_ehash(owners.get(owner).copied().unwrap_or_default());
        let credited = credits.get(owner).map_or(Work::ZERO, |credit| credit.credited);
        let what = format!("work of {owner}");
        findings.same(&place, &what, ("by the journals", by_journals), ("credited", credited));
    }
    for credit in &epoch.credits {
        let what = format!("payments to {}", credit.owner);
        findings.same(&place, &what, ("by the books", credit.paid), ("in the quotes", credit.quoted));
        if credit.paid > credit.credited {
            findings.note(
                &place,
                format!("{} was paid {} and credited {}", credit.owner, credit.paid, credit.credited),
            );
        }
        if credit.minted > credit.quoted {
            findings.note(
                &place,
                format!("{} minted {} and was paid {}", credit.owner, credit.minted, credit.quoted),
            );
        }
    }
    let paid: Work = epoch.credits.iter().map(|credit| credit.paid).sum();
    findings.same(&place, "payments to quotes", ("by owner", paid), ("in all", epoch.paid));
    findings.same(
        &place,
        "ehash",
        ("minted by the quotes", epoch.minted),
        ("signed by the keyset", epoch.signed),
    );
    check_payment(epoch, &place, findings);
}

/// What the epoch shares out, and what it has paid.
fn check_payment(epoch: &AuditEpoch, place: &str, findings: &mut Findings) {
    let (redeemed, melted) = (epoch.redeemed, epoch.melted);
    findings.same(place, "ehash redeemed", ("by the books", redeemed.ehash), ("by the melts", melted.ehash));
    findings.same(place, "sats for it", ("by the books", redeemed.sats), ("by the melts", melted.sats));
    if redeemed.ehash > epoch.minted {
        findings.note(place, format!("{} was redeemed and {} minted", redeemed.ehash, epoch.minted));
    }
    for payout in &epoch.payouts {
        let what = format!("reward of block {} at height {}", payout.block_hash, payout.height);
        if let Some(on_chain) = payout.on_chain {
            findings.same(place, &what, ("on the chain", on_chain), ("in the books", payout.reward));
        }
        if payout.active == Some(false) {
            findings.note(place, format!("block {} is not in the chain", payout.block_hash));
        }
    }
    let Some(rate) = epoch.rate else {
        if redeemed != Redemptions::default() {
            findings.note(place, format!("{} was paid before it settled", redeemed.sats));
        }
        return;
    };
    let rewards = epoch.payouts.iter().map(|payout| payout.reward).sum();
    findings.same(place, "R", ("in its blocks", rewards), ("in its rate", rate.reward));
    findings.same(place, "W", ("credited", epoch.work), ("in its rate", rate.work));
    if redeemed.sats > rate.payable {
        findings.note(place, format!("{} was paid, and it shares out {}", redeemed.sats, rate.payable));
    }
}

fn check_books(books: &AuditBooks, epochs: &[AuditEpoch], findings: &mut Findings) {
    let credited: Work = epochs.iter().map(|epoch| epoch.work).sum();
    findings.same("books", "work credited", ("in the epochs", credited), ("in all", books.credited));
    let ehash = epochs.iter().map(|epoch| epoch.redeemed.ehash).sum();
    findings.same("books", "ehash redeemed", ("in the epochs", ehash), ("in all", books.redeemed.ehash));
    let sats = epochs.iter().map(|epoch| epoch.redeemed.sats).sum();
    findings.same("books", "sats paid for ehash", ("in the epochs", sats), ("in all", books.redeemed.sats));
    let sats = books.sats;
    let plus = |one, other| [one, other].into_iter().sum::<Sats>();
    findings.same(
        "books",
        "sats paid for work",
        ("for ehash and by rounds", plus(books.redeemed.sats, sats.shared)),
        ("in the quotes", sats.for_work),
    );
    // In circulation, by signatures and by what came in and went out.
    let (by_signatures, by_payments) = (plus(sats.signed, sats.melted), plus(sats.minted, sats.returned));
    let what = "sat ecash signed and melted against minted and taken back";
    findings.same(
        "books",
        what,
        ("signed and melted", by_signatures),
        ("minted and taken back", by_payments),
    );
}

/// Every journal that was credited from must be here, and reach as far as it was credited.
fn check_cursors(evidence: &Evidence, findings: &mut Findings) {
    let Some(newest) = evidence.epochs.last() else { return };
    for (journal, cursor) in &newest.cursors {
        let place = format!("journal {journal}");
        match evidence.journals.iter().find(|facts| &facts.journal == journal) {
            None => findings.note(
                place,
                "the mint credited from it, and it is not here; name it with --journal".to_owned(),
            ),
            Some(facts) if facts.last_entry < *cursor => {
                findings.note(
                    place,
                    format!("it ends at queue entry {}, and the mint has taken {cursor}", facts.last_entry),
                );
            }
            Some(_) => {}
        }
    }
}

/// Every payout that counts as paid was paid by a melt of its own.
fn check_payouts(evidence: &Evidence, findings: &mut Findings) {
    let melts: BTreeMap<&String, Sats> =
        evidence.melts.iter().map(|melt| (&melt.quote, melt.amount)).collect();
    let mut used = BTreeSet::new();
    for payout in evidence.payouts.iter().filter(|payout| payout.stage == Stage::Confirmed) {
        let place = format!("payout {} to {}", payout.n, payout.owner);
        let melt = payout.melt_quote.as_ref().and_then(|quote| Some((quote, *melts.get(quote)?)));
        match melt {
            None => findings.note(&place, "it counts as paid, and no melt was paid for it".to_owned()),
            Some((quote, _)) if !used.insert(quote) => {
                findings.note(&place, format!("melt {quote} paid another one already"));
            }
            Some((_, amount)) => {
                findings.same(&place, "amount", ("by its record", payout.amount), ("by its melt", amount));
            }
        }
    }
}

fn line(epoch: &AuditEpoch, owners: &BTreeMap<String, u64>, agrees: bool) -> Line {
    Line {
        epoch: epoch.n.get(),
        state: format!("{:?}", epoch.state).to_lowercase(),
        owners: owners.len(),
        journalled: owners.values().fold(0, |sum, work| sum.saturating_add(*work)),
        credited: epoch.work.ehash(),
        paid: epoch.paid.ehash(),
        minted: epoch.minted.ehash(),
        redeemed: epoch.redeemed.ehash.ehash(),
        reward: epoch.payouts.iter().map(|payout| payout.reward.get()).fold(0, u64::saturating_add),
        paid_sat: epoch.redeemed.sats.get(),
        agrees,
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
