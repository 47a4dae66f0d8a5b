//! A stand-in for the mint: takes entries as it does and remembers what it was told of each journal.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::BlockHash;
use poolbox_accounting::{JournalId, Owner};
use poolbox_journal::{Arrivals, Cursor, Cursors, QueueError, QuoteMessage, QuoteQueue};

/// What is on the stand-in's "disk".
#[derive(Clone, Default)]
pub struct Books {
    pub cursors: Cursors,
    pub credited: BTreeMap<(JournalId, Owner), u64>,
    pub announced: Vec<(JournalId, BlockHash)>,
}

impl Books {
    /// Takes the first `most` of what arrived into effect; how many that were.
    pub fn take(&mut self, arrivals: Arrivals, most: usize) -> usize {
        let mut journals = BTreeSet::new();
        let mut taken = 0;
        for arrival in arrivals.entries.into_iter().take(most) {
            let cursor = self.cursors.entry(arrival.journal).or_default();
            assert_eq!(arrival.entry.seq, cursor.seq.next(), "not the next entry of {}", arrival.journal);
            *cursor = Cursor { seq: arrival.entry.seq, at: arrival.entry.at };
            journals.insert(arrival.journal);
            match arrival.entry.message {
                QuoteMessage::Create { owner, work, .. } => {
                    *self.credited.entry((arrival.journal, owner)).or_default() += work.ehash();
                }
                QuoteMessage::Update { block_hash, .. } => self.announced.push((arrival.journal, block_hash)),
            }
            taken += 1;
        }
        taken
    }

    /// Takes one look into the queue, and acknowledges.
    pub async fn look(&mut self, queue: &mut dyn QuoteQueue, limit: usize) -> Result<usize, QueueError> {
        let arrivals = queue.next(&self.cursors, limit).await?;
        let taken = self.take(arrivals, usize::MAX);
        queue.acknowledge(&self.cursors).await?;
        Ok(taken)
    }

    /// Ehash credited, over all.
    pub fn sum(&self) -> u64 {
        self.credited.values().sum()
    }
}
