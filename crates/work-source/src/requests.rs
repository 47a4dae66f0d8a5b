//! Which template's transactions to ask for next, and which solutions have to wait meanwhile. Pure.
//!
//! A node that copies a block for us while a solution replaces the block's coinbase may die of it, so
//! the two never meet on one template: while its transactions are under way its solutions wait, and
//! once it has a solution its transactions are not asked for any more.

use std::time::Duration;

use tokio::time::Instant;

use crate::feed::Provided;

/// How long an answer is waited for before the next one is asked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a solution waits for an answer. Providers that are known work off what they are told in
/// its order, so past this the solution just waits there.
const DELAY: Duration = Duration::from_secs(1);
/// Templates that wait for their turn; when a provider is slow, the newest count.
const WAITING: usize = 4;

/// The requests of one connection. One is under way at a time.
#[derive(Debug, Default)]
pub struct Requests {
    /// Newest last.
    wanted: Vec<Provided>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    provided: Provided,
    since: Instant,
}

impl Requests {
    /// Asks for the transactions of a new template. Those of an earlier tip that were not yet asked for
    /// are left alone: its provider is about to drop it.
    pub fn want(&mut self, provided: Provided) {
        self.wanted.retain(|waiting| waiting.template.prev_hash == provided.template.prev_hash);
        self.wanted.push(provided);
        if self.wanted.len() > WAITING {
            self.wanted.remove(0);
        }
    }

    /// The id on the wire to ask for now, if any.
    pub fn next(&mut self, now: Instant) -> Option<u64> {
        if self.pending.as_ref().is_some_and(|pending| now < pending.since + PATIENCE) {
            return None;
        }
        let provided = self.wanted.pop()?;
        let wire_id = provided.wire_id;
        self.pending = Some(Pending { provided, since: now });
        Some(wire_id)
    }

    /// The provider answered; returns what was asked for.
    pub fn answered(&mut self, wire_id: u64) -> Option<Provided> {
        self.pending.take_if(|pending| pending.provided.wire_id == wire_id).map(|pending| pending.provided)
    }

    /// A solution for a template: until when it has to wait, if at all.
    pub fn solved(&mut self, wire_id: u64) -> Option<Instant> {
        self.wanted.retain(|waiting| waiting.wire_id != wire_id);
        let pending = self.pending.as_ref().filter(|pending| pending.provided.wire_id == wire_id)?;
        Some(pending.since + DELAY)
    }

    /// When an answer is overdue and [`next`](Self::next) has more to ask for.
    pub fn overdue_at(&self) -> Option<Instant> {
        let pending = self.pending.as_ref().filter(|_| !self.wanted.is_empty())?;
        Some(pending.since + PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bitcoin::hashes::Hash;
    use bitcoin::{BlockHash, CompactTarget};
    use poolbox_accounting::Sats;

    use super::*;
    use crate::template::{CoinbaseTemplate, Template, TemplateId};

    fn provided(wire_id: u64, tip: u8) -> Provided {
        let coinbase = CoinbaseTemplate {
            tx_version: 2,
            script_prefix: vec![0x51],
            sequence: 0,
            value: Sats::ZERO,
            outputs: Vec::new(),
            lock_time: 0,
        };
        let template = Template {
            id: TemplateId::fresh(),
            version: 0x2000_0000,
            prev_hash: BlockHash::from_byte_array([tip; 32]),
            bits: CompactTarget::from_consensus(0x207f_ffff),
            time: 0,
            height: 1,
            coinbase,
            merkle_path: Vec::new(),
            upstream: None,
        };
        Provided { wire_id, template: Arc::new(template) }
    }

    #[test]
    fn one_request_is_under_way_and_the_newest_template_is_next() {
        let (mut requests, now) = (Requests::default(), Instant::now());
        for id in 1..=7 {
            requests.want(provided(id, 1));
            assert_eq!(requests.next(now), (id == 1).then_some(1));
        }
        assert!(requests.answered(2).is_none(), "was not asked for");
        assert_eq!(requests.answered(1).unwrap().wire_id, 1);
        let mut asked = Vec::new();
        while let Some(id) = requests.next(now) {
            asked.push(id);
            requests.answered(id);
        }
        assert_eq!(asked, [7, 6, 5, 4]);
    }

    #[test]
    fn an_answer_that_never_comes_is_given_up() {
        let (mut requests, now) = (Requests::default(), Instant::now());
        requests.want(provided(1, 1));
        assert_eq!(requests.next(now), Some(1));
        assert_eq!(requests.overdue_at(), None);
        requests.want(provided(2, 1));
        assert_eq!(requests.overdue_at(), Some(now + PATIENCE));
        assert_eq!(requests.next(now + PATIENCE), Some(2));
        assert!(requests.answered(1).is_none());
    }

    #[test]
    fn templates_of_an_earlier_tip_are_not_asked_for() {
        let (mut requests, now) = (Requests::default(), Instant::now());
        requests.want(provided(1, 1));
        requests.want(provided(2, 2));
        assert_eq!(requests.next(now), Some(2));
        requests.answered(2);
        assert_eq!(requests.next(now), None);
    }

    #[test]
    fn a_solution_waits_for_the_transactions_of_its_own_template_only() {
        let (mut requests, now) = (Requests::default(), Instant::now());
        requests.want(provided(1, 1));
        requests.next(now);
        assert_eq!(requests.solved(2), None);
        assert_eq!(requests.solved(1), Some(now + DELAY));
        requests.answered(1);
        assert_eq!(requests.solved(1), None);
    }

    #[test]
    fn a_solved_template_is_not_asked_for_any_more() {
        let (mut requests, now) = (Requests::default(), Instant::now());
        requests.want(provided(1, 1));
        assert_eq!(requests.solved(1), None);
        assert_eq!(requests.next(now), None);
    }
}
