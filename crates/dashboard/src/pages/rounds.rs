//! Mode proxy on the pages: the pool upstream, where it pays, and the rounds that share it out.

use poolbox_accounting::Sats;
use poolbox_api::mint::{self, RoundState};
use poolbox_api::pool;

use crate::feed::Snapshot;
use crate::pages::overview::percent;
use crate::{qr, words};

/// Rounds that are listed, the newest first.
const MAX_ROUNDS: usize = 50;

/// The pool upstream.
pub struct Upstream {
    /// Where it is.
    pub url: String,
    /// Who the box is there.
    pub user: String,
    /// Shares that it took.
    pub accepted: String,
    /// Shares that it refused or never got, and their part of all.
    pub rejected: (String, String),
    /// How hard they have to be; empty before it said.
    pub difficulty: String,
    /// When it took the newest.
    pub last: String,
    /// Why shares were refused, the most frequent reason first.
    pub reasons: Vec<(String, String)>,
}

/// Where it pays the box.
pub struct Account {
    /// An address of the treasury.
    pub address: String,
    /// Its QR code.
    pub code: Option<String>,
    /// A standing offer; empty when none was made.
    pub offer: String,
    /// Whether one can be made.
    pub can_offer: bool,
}

/// A round.
pub struct Round {
    /// Its number.
    pub number: u64,
    /// Where it is in its life.
    pub state: &'static str,
    /// Class in the style sheet.
    pub class: &'static str,
    /// Credited.
    pub work: String,
    /// Owners.
    pub owners: u32,
    /// What arrived; empty for nothing.
    pub received: String,
    /// What was paid to owners; empty for nothing.
    pub paid: String,
    /// When it ended, for people and for machines; empty while it is open.
    pub ended: (String, String),
}

impl Upstream {
    /// Of a pool in mode proxy.
    pub fn of(now: &Snapshot) -> Option<Self> {
        let told = now.pool.as_ref()?.upstream.as_ref()?;
        let pool::Upstream { url, user, difficulty, accepted, rejected, last_accepted_at, .. } = told;
        let refused: u64 = rejected.values().sum();
        let mut reasons: Vec<_> = rejected.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        Some(Self {
            url: url.clone(),
            user: user.clone(),
            accepted: words::grouped(*accepted),
            rejected: (words::grouped(refused), percent(refused, *accepted)),
            difficulty: difficulty.map(words::difficulty).unwrap_or_default(),
            last: last_accepted_at.map_or_else(|| "none yet".to_owned(), |at| words::ago(at, now.at)),
            reasons: reasons
                .into_iter()
                .map(|(reason, count)| (reason.clone(), words::grouped(*count)))
                .collect(),
        })
    }
}

impl Account {
    /// Of the mint; none before it answered.
    pub fn of(now: &Snapshot, is_admin: bool) -> Option<Self> {
        let told = now.upstream.as_ref()?;
        let mut channels = now.lightning.iter().flat_map(|node| &node.channels);
        // An offer names a way to the node.
        let is_reached = channels.any(|channel| channel.usable);
        Some(Self {
            address: told.address.clone(),
            code: qr::svg(&told.address.to_uppercase()),
            offer: told.offer.clone().unwrap_or_default(),
            can_offer: told.offer.is_none() && is_reached && is_admin,
        })
    }
}

/// The latest rounds, or none where no work was ever done for another pool.
pub fn rounds(now: &Snapshot) -> Vec<Round> {
    let is_used = now.rounds.len() > 1 || now.rounds.iter().any(|round| round.owners > 0);
    let told = now.rounds.iter().filter(|_| is_used).take(MAX_ROUNDS);
    told.map(|round| Round::new(round, now.at)).collect()
}

impl Round {
    fn new(round: &mint::Round, now: u64) -> Self {
        let (state, class) = state(round);
        let some = |sats: Sats| if sats == Sats::ZERO { String::new() } else { words::sats(sats) };
        Self {
            number: round.n.get(),
            state,
            class,
            work: words::ehash(round.work),
            owners: round.owners,
            received: some(round.received),
            paid: some(round.paid),
            ended: round.ended_at.map(|at| (words::ago(at, now), words::stamp(at))).unwrap_or_default(),
        }
    }
}

fn state(round: &mint::Round) -> (&'static str, &'static str) {
    match round.state {
        RoundState::Open => ("open", "well"),
        RoundState::Ended if round.payments.is_empty() => ("waits for a payment", "warning"),
        RoundState::Ended => ("payment not final yet", "idle"),
        RoundState::Sharing => ("being paid", "well"),
        RoundState::Shared => ("paid", "well"),
    }
}

#[cfg(test)]
mod tests {
    use poolbox_accounting::{RoundId, Work};
    use poolbox_api::mint::UpstreamPayment;

    use super::*;

    fn round(n: u64, state: RoundState, owners: u32, received: u64) -> mint::Round {
        let payment = UpstreamPayment {
            id: "onchain-00-0".to_owned(),
            sats: Sats::new(received),
            at: 5,
            is_final: state != RoundState::Ended,
        };
        mint::Round {
            n: RoundId::new(n),
            state,
            ended_at: (state != RoundState::Open).then_some(7),
            work: Work::from_ehash(4096),
            received: Sats::new(received),
            paid: Sats::ZERO,
            owners,
            payments: if received > 0 { vec![payment] } else { Vec::new() },
        }
    }

    #[test]
    fn a_box_that_never_worked_for_another_pool_shows_no_rounds() {
        let unused = Snapshot { rounds: vec![round(1, RoundState::Open, 0, 0)], ..Snapshot::default() };
        assert!(rounds(&unused).is_empty());
        let used = vec![round(2, RoundState::Open, 0, 0), round(1, RoundState::Ended, 3, 500)];
        let told = rounds(&Snapshot { rounds: used, ..Snapshot::default() });
        assert_eq!((told.len(), told[0].received.as_str(), told[0].ended.0.as_str()), (2, "", ""));
        assert_eq!(told[1].state, "payment not final yet");
        let lost = vec![round(1, RoundState::Ended, 3, 0)];
        let told = rounds(&Snapshot { rounds: lost, ..Snapshot::default() });
        assert_eq!(told[0].state, "waits for a payment");
    }
}
