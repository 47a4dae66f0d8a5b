//! A journal as an auditor reads it: its shares added up, and its queue's entries shared out to the
//! epochs whose boundaries the books name.

use std::collections::BTreeMap;

use anyhow::Context;
use poolbox_accounting::{Earns, QueueSeq, ShareSeq, Work};
use poolbox_journal::{JournalTotals, QueueReader, QuoteMessage};

/// Rows read at once.
const PAGE: usize = 10_000;

/// Where epochs, or rounds, end in one journal: for each, oldest first, its last queue entry.
#[derive(Clone, Debug, Default)]
pub struct Boundaries {
    /// Its number, and its last entry; the open one has none.
    pub ends: Vec<(u64, Option<u64>)>,
    /// The last entry that the mint has taken.
    pub cursor: u64,
}

impl Boundaries {
    /// The epoch or round of an entry; none when the mint has not taken it yet.
    fn epoch_of(&self, entry: u64) -> Option<u64> {
        if entry > self.cursor {
            return None;
        }
        let end = self.ends.partition_point(|(_, end)| end.is_some_and(|end| end < entry));
        self.ends.get(end).map(|(epoch, _)| *epoch)
    }
}

/// What a journal says.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its identity.
    pub journal: String,
    /// What it says of itself.
    pub totals: JournalTotals,
    /// The last share that is in the queue.
    pub queued_through: u64,
    /// Shares that are there, as far as the totals go.
    pub shares: u64,
    /// Their work.
    pub work: Work,
    /// The first place without a share between others, if any.
    pub gap: Option<u64>,
    /// Work of shares that are in the queue, by owner; none of mode solo is.
    pub journalled: BTreeMap<String, u64>,
    /// Work of the queue's entries, by owner.
    pub queued: BTreeMap<String, u64>,
    /// Work of entries for ehash that the mint has taken, by epoch and owner.
    pub taken: BTreeMap<u64, BTreeMap<String, u64>>,
    /// The same of entries for sats, by round of mode proxy.
    pub taken_for_sats: BTreeMap<u64, BTreeMap<String, u64>>,
    /// The queue's last entry.
    pub last_entry: u64,
}

/// Reads a journal through.
///
/// # Errors
/// When it cannot be read.
pub fn read(reader: &QueueReader, epochs: &Boundaries, rounds: &Boundaries) -> anyhow::Result<Facts> {
    let mut facts = Facts { journal: reader.identity().to_string(), ..Facts::default() };
    read_queue(reader, epochs, rounds, &mut facts)?;
    // After the queue: every entry's shares are there.
    facts.totals = reader.totals()?;
    read_shares(reader, &mut facts)?;
    Ok(facts)
}

fn read_queue(
    reader: &QueueReader,
    epochs: &Boundaries,
    rounds: &Boundaries,
    facts: &mut Facts,
) -> anyhow::Result<()> {
    let mut after = QueueSeq::START;
    loop {
        let page = reader.read(after, PAGE).context("read the queue")?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for entry in page {
            facts.last_entry = entry.seq.get();
            let QuoteMessage::Create { owner, work, through: share, earns } = entry.message else { continue };
            facts.queued_through = facts.queued_through.max(share.get());
            let owner = owner.to_string();
            let (boundaries, taken) = match earns {
                Earns::Ehash => (epochs, &mut facts.taken),
                Earns::Sats => (rounds, &mut facts.taken_for_sats),
            };
            if let Some(n) = boundaries.epoch_of(entry.seq.get()) {
                add(taken.entry(n).or_default(), owner.clone(), work)?;
            }
            add(&mut facts.queued, owner, work)?;
        }
    }
    Ok(())
}

fn read_shares(reader: &QueueReader, facts: &mut Facts) -> anyhow::Result<()> {
    let mut after = ShareSeq::START;
    loop {
        let page = reader.shares(after, PAGE).context("read the shares")?;
        let Some(last) = page.last().map(|last| last.seq) else { break };
        for record in page {
            let seq = record.seq.get();
            // What was journalled since the totals were read is not looked at.
            if seq > facts.totals.shares {
                return Ok(());
            }
            if seq != after.get() + 1 && facts.gap.is_none() {
                facts.gap = Some(after.get() + 1);
            }
            after = record.seq;
            facts.shares += 1;
            facts.work =
                facts.work.checked_add(record.share.work).context("more work than can be counted")?;
            if seq <= facts.queued_through && record.share.mode.earns().is_some() {
                add(&mut facts.journalled, record.share.identity.owner.to_string(), record.share.work)?;
            }
        }
        after = last;
    }
    Ok(())
}

fn add(sums: &mut BTreeMap<String, u64>, owner: String, work: Work) -> anyhow::Result<()> {
    let sum = sums.entry(owner).or_default();
    *sum = sum.checked_add(work.ehash()).context("more work than can be counted")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bitcoin::BlockHash;
    use bitcoin::hashes::Hash;
    use poolbox_accounting::{Identity, Mode, Network, Owner};
    use poolbox_journal::{Journal, NewShare};

    use super::*;

    #[test]
    fn an_entry_belongs_to_the_first_epoch_that_ends_at_or_after_it() {
        let boundaries =
            Boundaries { ends: vec![(1, Some(4)), (2, Some(4)), (3, Some(9)), (4, None)], cursor: 11 };
        let epochs: Vec<_> = [1, 4, 5, 9, 10, 11, 12].map(|entry| boundaries.epoch_of(entry)).to_vec();
        assert_eq!(epochs, [Some(1), Some(1), Some(3), Some(3), Some(4), Some(4), None]);
    }

    #[tokio::test]
    async fn work_of_mode_solo_is_in_the_totals_and_owed_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.sqlite");
        let journal = Journal::open(&path, Network::Devnet).unwrap();
        let share = |work, mode| NewShare {
            identity: Arc::new(Identity {
                owner: Owner::Household("garage".to_owned()),
                worker: "one".to_owned(),
            }),
            work: Work::from_ehash(work),
            hash: BlockHash::all_zeros(),
            at_ms: 0,
            block_height: None,
            mode,
        };
        journal
            .append(vec![
                share(5, Mode::Solo),
                share(7, Mode::Pool),
                share(11, Mode::Solo),
                share(2, Mode::Pool),
            ])
            .await
            .unwrap();
        journal.close().await;

        let reader = QueueReader::open(&path, Network::Devnet).unwrap();
        let facts = read(&reader, &Boundaries::default(), &Boundaries::default()).unwrap();
        assert_eq!((facts.shares, facts.work, facts.gap), (4, Work::from_ehash(25), None));
        assert_eq!(facts.totals.work, facts.work);
        let owed = BTreeMap::from([("garage".to_owned(), 9)]);
        assert_eq!((&facts.journalled, &facts.queued), (&owed, &owed));
    }
}
