//! The quote queue: all that passes from pools to the mint, and how the mint takes it, whatever
//! carries it ([`crate::LocalQueue`], [`crate::StreamQueue`]).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use async_trait::async_trait;
use bitcoin::BlockHash;
use poolbox_accounting::{Earns, JournalId, Owner, QueueSeq, ShareSeq, Work};
use serde::{Deserialize, Serialize};

use crate::QueueError;

/// One entry of a journal's quote queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// Its place.
    pub seq: QueueSeq,
    /// When it was queued, Unix seconds.
    pub at: u64,
    /// What the mint is told.
    pub message: QuoteMessage,
}

/// What a pool tells the mint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuoteMessage {
    /// Shares were accepted: grow this owner's quote. The shares are all of the owner's that earn this and
    /// were not queued before, up to `through`; they never lie on both sides of an [`Self::Update`].
    Create {
        /// Who is credited.
        owner: Owner,
        /// The sum of the shares' work.
        work: Work,
        /// The last of the shares.
        through: ShareSeq,
        /// What they earn.
        earns: Earns,
    },
    /// A share solved a block that pays the mint. Everything up to and including it was queued before this entry.
    Update {
        /// The share.
        share: ShareSeq,
        /// Height of the block.
        height: u32,
        /// Hash of the block.
        block_hash: BlockHash,
    },
}

/// How far a journal's queue was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The last entry that took effect.
    pub seq: QueueSeq,
    /// When that entry was queued, Unix seconds: tells an older copy of a journal from the journal.
    pub at: u64,
}

/// The cursor of each journal; one that is not in it is at its start.
pub type Cursors = BTreeMap<JournalId, Cursor>;

/// An entry, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The pool's journal.
    pub journal: JournalId,
    /// The entry.
    pub entry: QueueEntry,
}

/// What a look into the queue gave.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Entries after the cursors: of each journal the next ones, in order and without a gap; those of
    /// different journals by the time they were queued.
    pub entries: Vec<Arrival>,
    /// Whether there may be more behind them.
    pub more: bool,
    /// Journals of which nothing can be taken until a person has looked, and why.
    pub refused: Vec<QueueError>,
}

/// The mint's side of a quote queue. It may give an entry again and again, but never one without its
/// predecessor: a mint that stores its cursors together with what the entries brought takes each
/// exactly once, whenever it or the queue is killed.
#[async_trait]
pub trait QuoteQueue: Send {
    /// The next entries behind `cursors`, about `limit` of each journal. Empty when all were taken.
    ///
    /// # Errors
    /// The queue cannot be read now. Asking again later is right for all but
    /// [`QueueError::is_final`].
    async fn next(&mut self, cursors: &Cursors, limit: usize) -> Result<Arrivals, QueueError>;

    /// What is behind `cursors` is on the mint's disk: the queue need not keep it. Losing this call
    /// loses nothing.
    ///
    /// # Errors
    /// The queue does not answer.
    async fn acknowledge(&mut self, cursors: &Cursors) -> Result<(), QueueError>;
}

/// Entries of several journals in one row: each journal's in their order, and of the foremost ones
/// always the one that was queued first.
pub(crate) fn merged(queues: Vec<(JournalId, VecDeque<QueueEntry>)>) -> Vec<Arrival> {
    let mut queues: BTreeMap<JournalId, VecDeque<QueueEntry>> = queues.into_iter().collect();
    let front = |queue: &VecDeque<QueueEntry>| queue.front().map(|entry| entry.at);
    let mut fronts: BinaryHeap<_> =
        queues.iter().filter_map(|(&journal, queue)| front(queue).map(|at| Reverse((at, journal)))).collect();
    let mut arrivals = Vec::with_capacity(queues.values().map(VecDeque::len).sum());
    while let Some(Reverse((_, journal))) = fronts.pop() {
        let Some(queue) = queues.get_mut(&journal) else { continue };
        arrivals.extend(queue.pop_front().map(|entry| Arrival { journal, entry }));
        fronts.extend(front(queue).map(|at| Reverse((at, journal))));
    }
    arrivals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(times: &[u64]) -> VecDeque<QueueEntry> {
        let message = |n| QuoteMessage::Create {
            owner: Owner::Household("garage".into()),
            work: Work::from_ehash(1),
            through: ShareSeq::new(n),
            earns: Earns::Ehash,
        };
        let numbered = (1..).zip(times);
        numbered.map(|(n, &at)| QueueEntry { seq: QueueSeq::new(n), at, message: message(n) }).collect()
    }

    #[test]
    fn journals_are_merged_by_time_and_keep_their_order() {
        let (one, two) = (JournalId::new([1; 16]), JournalId::new([2; 16]));
        // The clock of the second was set back.
        let row = merged(vec![(one, entries(&[10, 30, 30])), (two, entries(&[40, 5, 30]))]);
        let told: Vec<_> =
            row.iter().map(|arrival| (arrival.journal == one, arrival.entry.seq.get())).collect();
        assert_eq!(told, [(true, 1), (true, 2), (true, 3), (false, 1), (false, 2), (false, 3)]);
    }
}
