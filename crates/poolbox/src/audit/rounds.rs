//! Rounds of mode proxy: journals and books compared. Pure.

use std::collections::{BTreeMap, BTreeSet};

use poolbox_accounting::{Sats, Work};
use poolbox_api::mint::{AuditPart, AuditRate, AuditRound, AuditRounds};
use serde::{Deserialize, Serialize};

use super::compare::{Findings, Taken};

/// A round's figures, side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundLine {
    /// Its number.
    pub round: u64,
    /// Where it is in its life.
    pub state: String,
    /// Owners with work in it.
    pub owners: usize,
    /// Work by the journals.
    pub journalled: u64,
    /// Work credited.
    pub credited: u64,
    /// R, in sats.
    pub received_sat: u64,
    /// Paid to quotes, in sats.
    pub paid_sat: u64,
    /// Whether every figure agrees with its source.
    pub agrees: bool,
}

/// Compares every round with the journals and with its quotes; `taken` is what the journals say.
pub(super) fn check(books: &AuditRounds, taken: &Taken, findings: &mut Findings) -> Vec<RoundLine> {
    let (none, mut lines) = (BTreeMap::new(), Vec::new());
    for round in &books.rounds {
        let before = findings.count();
        let owners = taken.get(&round.n.get()).unwrap_or(&none);
        check_round(round, owners, findings);
        lines.push(RoundLine {
            round: round.n.get(),
            state: state(round).to_owned(),
            owners: round.parts.len(),
            journalled: sum(owners).ehash(),
            credited: round.work.ehash(),
            received_sat: round.received.get(),
            paid_sat: round.paid.get(),
            agrees: findings.count() == before,
        });
    }
    let paid = books.rounds.iter().map(|round| round.paid).sum();
    findings.same("rounds", "sats shared out", ("by round", paid), ("in all", books.shared));
    lines
}

/// Where a round is in its life.
pub fn state(round: &AuditRound) -> &'static str {
    match (round.shared, round.rate, round.marks.is_empty()) {
        (true, ..) => "shared",
        (_, Some(_), _) => "sharing",
        (.., false) => "ended",
        (.., true) => "open",
    }
}

fn sum(owners: &BTreeMap<String, u64>) -> Work {
    owners.values().map(|work| Work::from_ehash(*work)).sum()
}

fn check_round(round: &AuditRound, owners: &BTreeMap<String, u64>, findings: &mut Findings) {
    let place = format!("round {}", round.n);
    findings.same(&place, "W", ("by the journals", sum(owners)), ("in the books", round.work));
    let parts: BTreeMap<&String, &AuditPart> = round.parts.iter().map(|part| (&part.owner, part)).collect();
    for owner in owners.keys().chain(parts.keys().copied()).collect::<BTreeSet<_>>() {
        let by_journals = Work::from_ehash(owners.get(owner).copied().unwrap_or_default());
        let credited = parts.get(owner).map_or(Work::ZERO, |part| part.work);
        let what = format!("work of {owner}");
        findings.same(&place, &what, ("by the journals", by_journals), ("credited", credited));
    }
    for part in &round.parts {
        let what = format!("payment to {}", part.owner);
        findings.same(&place, &what, ("by the books", part.paid), ("in the quote", part.quoted));
        if let Some(rate) = round.rate.filter(|_| round.shared) {
            findings.same(&place, &what, ("by its work", due(rate, part.work)), ("by the books", part.paid));
        }
    }
    let paid = round.parts.iter().map(|part| part.paid).sum();
    findings.same(&place, "payments to quotes", ("by owner", paid), ("in all", round.paid));
    let payable = round.rate.map_or(Sats::ZERO, |rate| rate.payable);
    if round.paid > payable {
        findings.note(&place, format!("{} was paid, and it shares out {payable}", round.paid));
    }
    if let Some(rate) = round.rate {
        findings.same(&place, "R", ("arrived", round.received), ("in its rate", rate.reward));
        findings.same(&place, "W", ("credited", round.work), ("in its rate", rate.work));
    }
}

/// What work is due, rounded down.
fn due(rate: AuditRate, work: Work) -> Sats {
    let product = u128::from(work.ehash()) * u128::from(rate.payable.get());
    let sats = product.checked_div(u128::from(rate.work.ehash())).unwrap_or_default();
    Sats::new(u64::try_from(sats).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use poolbox_accounting::RoundId;

    use super::*;

    fn books() -> AuditRounds {
        let part = |owner: &str, work, sats| AuditPart {
            owner: owner.to_owned(),
            work: Work::from_ehash(work),
            paid: Sats::new(sats),
            quoted: Sats::new(sats),
        };
        let rate = AuditRate { reward: Sats::new(100), work: Work::from_ehash(9), payable: Sats::new(99) };
        let round = AuditRound {
            n: RoundId::FIRST,
            marks: BTreeMap::new(),
            rate: Some(rate),
            work: Work::from_ehash(9),
            received: Sats::new(100),
            paid: Sats::new(99),
            shared: true,
            parts: vec![part("garage", 6, 66), part("attic", 3, 33)],
        };
        AuditRounds { cursors: BTreeMap::new(), rounds: vec![round], shared: Sats::new(99) }
    }

    fn found(books: &AuditRounds) -> usize {
        let owners = [("garage".to_owned(), 6), ("attic".to_owned(), 3)].into();
        let mut findings = Findings::default();
        let lines = check(books, &[(1, owners)].into(), &mut findings);
        assert!(lines[0].agrees == (findings.count() == 0) || books.shared != Sats::new(99));
        findings.count()
    }

    #[test]
    fn whatever_differs_is_found() {
        assert_eq!(found(&books()), 0);
        let falsify: [fn(&mut AuditRounds); 9] = [
            |books| books.shared = Sats::new(98),
            |books| books.rounds[0].work = Work::from_ehash(10),
            |books| books.rounds[0].received = Sats::new(90),
            |books| books.rounds[0].paid = Sats::new(120),
            |books| books.rounds[0].parts[0].work = Work::from_ehash(7),
            |books| books.rounds[0].parts[0].quoted = Sats::new(67),
            |books| {
                (books.rounds[0].parts[1].paid, books.rounds[0].parts[1].quoted) = (Sats::ZERO, Sats::ZERO)
            },
            |books| _ = books.rounds[0].parts.pop(),
            |books| books.rounds[0].rate = None,
        ];
        for (n, change) in falsify.into_iter().enumerate() {
            let mut books = books();
            change(&mut books);
            assert!(found(&books) > 0, "change {n}");
        }
    }
}
