//! What every journal must satisfy, whatever happened to it: checked against its own shares.

// Each test file uses its part of these.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use poolbox_accounting::{Earns, Identity, Mode, Network, Owner, ShareSeq, Work};
use poolbox_journal::{NewShare, QueueEntry, QueueReader, QueueSeq, QuoteMessage, ShareRecord};
use tempfile::TempDir;

pub const NETWORK: Network = Network::Devnet;

pub fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    (directory, path)
}

/// A share whose hash tells `n`.
pub fn share(owner: &str, n: u64, work: u64, block_height: Option<u32>) -> NewShare {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    NewShare {
        identity: Arc::new(Identity {
            owner: Owner::parse(owner, NETWORK).unwrap(),
            worker: format!("rig{}", n % 3),
        }),
        work: Work::from_ehash(work),
        hash: BlockHash::from_byte_array(hash),
        at_ms: 1_700_000_000_000 + n,
        block_height,
        mode: Mode::Pool,
    }
}

/// Every entry of the queue, read in steps of `step`.
pub fn queue(reader: &QueueReader, step: usize) -> Vec<QueueEntry> {
    let mut entries: Vec<QueueEntry> = Vec::new();
    loop {
        let after = entries.last().map_or(QueueSeq::START, |entry| entry.seq);
        let more = reader.read(after, step).unwrap();
        if more.is_empty() {
            return entries;
        }
        entries.extend(more);
    }
}

pub fn shares(path: &Path) -> Vec<ShareRecord> {
    QueueReader::open(path, NETWORK).unwrap().shares(ShareSeq::START, usize::MAX >> 1).unwrap()
}

/// Work by owner and by what it earns of one stretch between two boundaries, and the share that ended it.
type Stretch = (BTreeMap<(Owner, Earns), u64>, Option<ShareSeq>);

/// Asserts that sequence numbers have no gaps, that the totals are the sums, and that the queue
/// credits exactly the journalled work of each owner between any two boundaries, but none of mode solo.
pub fn assert_queue_pays_exactly_the_shares(path: &Path) {
    let reader = QueueReader::open(path, NETWORK).unwrap();
    let (shares, queue) = (shares(path), queue(&reader, 7));
    let totals = reader.totals().unwrap();

    assert!(shares.iter().map(|record| record.seq.get()).eq(1..=totals.shares), "a gap in the shares");
    assert!(queue.iter().map(|entry| entry.seq.get()).eq(1..=queue.len() as u64), "a gap in the queue");
    assert_eq!(totals.work, shares.iter().map(|record| record.share.work).sum());
    assert_eq!(totals.queued_through.get(), totals.shares, "a share was left unqueued");

    let mut journalled: Vec<Stretch> = vec![Stretch::default()];
    for record in &shares {
        let Some(earns) = record.share.mode.earns() else { continue };
        let stretch = journalled.last_mut().unwrap();
        let earner = (record.share.identity.owner.clone(), earns);
        *stretch.0.entry(earner).or_default() += record.share.work.ehash();
        if record.share.block_height.is_some() && record.share.mode == Mode::Pool {
            stretch.1 = Some(record.seq);
            journalled.push(Stretch::default());
        }
    }
    let mut queued: Vec<Stretch> = vec![Stretch::default()];
    let mut last_boundary = ShareSeq::START;
    for entry in &queue {
        let stretch = queued.last_mut().unwrap();
        match &entry.message {
            QuoteMessage::Create { owner, work, through, earns } => {
                assert!(*through > last_boundary, "entry {} credits a share before the boundary", entry.seq);
                *stretch.0.entry((owner.clone(), *earns)).or_default() += work.ehash();
            }
            QuoteMessage::Update { share, height, block_hash } => {
                let record = &shares[share.get() as usize - 1];
                assert_eq!((Some(*height), *block_hash), (record.share.block_height, record.share.hash));
                stretch.1 = Some(*share);
                last_boundary = *share;
                queued.push(Stretch::default());
            }
        }
    }
    assert_eq!(queued, journalled);
}
