//! Wrong files are refused untouched; a journal in trouble says so and recovers.

#![allow(clippy::unwrap_used)]

mod audit;

use std::path::Path;
use std::time::Duration;

use audit::{NETWORK, assert_queue_pays_exactly_the_shares, directory, share, shares};
use poolbox_accounting::{Mode, Network, ShareSeq};
use poolbox_journal::{Cursor, Journal, JournalError, QueueReader, QueueSeq};
use rusqlite::Connection;

async fn journal_with_one_share(path: &Path) {
    let journal = Journal::open(path, NETWORK).unwrap();
    journal.append(vec![share("alice", 1, 5, None)]).await.unwrap();
    journal.close().await;
}

/// Both sides refuse the file with this sentence, and leave it as it was.
#[track_caller]
fn assert_refused(path: &Path, network: Network, sentence: &str) {
    let before = std::fs::read(path).unwrap();
    let sentence = sentence.replace("{path}", &path.display().to_string());
    assert_eq!(Journal::open(path, network).unwrap_err().to_string(), sentence);
    assert_eq!(QueueReader::open(path, network).unwrap_err().to_string(), sentence);
    assert_eq!(std::fs::read(path).unwrap(), before, "the refused file was changed");
}

#[tokio::test]
async fn a_journal_of_another_network_is_refused() {
    let (_directory, path) = directory();
    journal_with_one_share(&path).await;
    assert_refused(
        &path,
        Network::Mainnet,
        "the share journal {path} belongs to devnet, not to mainnet; use another data directory for mainnet, \
         or set the network to devnet",
    );
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (_directory, path) = directory();
    journal_with_one_share(&path).await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 5).unwrap();
    assert_refused(
        &path,
        NETWORK,
        "the share journal {path} has schema version 5, this Poolbox knows up to 4; start the newer Poolbox \
         that wrote it",
    );
}

#[test]
fn a_file_that_is_no_journal_is_refused() {
    let sentence = "{path} is not a share journal; name another file in the settings, or move this one away";
    let (_directory, path) = directory();
    std::fs::write(&path, "listen = \"0.0.0.0:3333\"\n".repeat(100)).unwrap();
    assert_refused(&path, NETWORK, sentence);

    let (_directory, path) = directory();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE proof (y BLOB)").unwrap();
    assert_refused(&path, NETWORK, sentence);
}

#[test]
fn a_reader_that_comes_first_is_told_to_wait() {
    let (_directory, path) = directory();
    assert!(matches!(QueueReader::open(&path, NETWORK), Err(JournalError::NotCreatedYet(_))));
    // The pool died between making the file and its tables.
    std::fs::write(&path, "").unwrap();
    assert!(matches!(QueueReader::open(&path, NETWORK), Err(JournalError::NotCreatedYet(_))));
    Journal::open(&path, NETWORK).unwrap();
    QueueReader::open(&path, NETWORK).unwrap();
}

#[tokio::test]
async fn a_locked_journal_refuses_shares_and_recovers() {
    let (_directory, path) = directory();
    let journal = Journal::open(&path, NETWORK).unwrap();
    journal.append(vec![share("alice", 1, 5, None)]).await.unwrap();

    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = journal.append(vec![share("bob", 2, 5, None)]).await.unwrap_err();
    let sentence = "the share journal is locked by another program; end that program: database is locked";
    assert_eq!(refused.to_string(), sentence);
    assert!(journal.stats().failing);

    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(journal.append(vec![share("bob", 3, 5, None)]).await.unwrap(), ShareSeq::new(2));
    assert!(!journal.stats().failing);
    journal.close().await;
    assert_queue_pays_exactly_the_shares(&path);
    assert_eq!(shares(&path).len(), 2);
}

#[tokio::test]
async fn a_slow_reader_never_holds_the_writer_up() {
    let (_directory, path) = directory();
    let journal = Journal::open_queueing_every(Duration::ZERO, &path, NETWORK).unwrap();
    journal.append(vec![share("alice", 1, 5, None)]).await.unwrap();
    let slow = Connection::open(&path).unwrap();
    slow.execute_batch("BEGIN; SELECT * FROM queue").unwrap();
    for n in 2..200 {
        journal.append(vec![share("alice", n, 5, None)]).await.unwrap();
    }
    slow.execute_batch("COMMIT").unwrap();
    journal.close().await;
    assert_queue_pays_exactly_the_shares(&path);
}

#[tokio::test]
async fn a_reader_reads_while_a_commit_is_under_way() {
    let (_directory, path) = directory();
    journal_with_one_share(&path).await;
    let writing = Connection::open(&path).unwrap();
    writing.execute_batch("BEGIN IMMEDIATE; UPDATE journal SET shares = 2").unwrap();
    let reader = QueueReader::open(&path, NETWORK).unwrap();
    assert_eq!(reader.totals().unwrap().shares, 1);
    assert_eq!(reader.read(QueueSeq::START, 10).unwrap().len(), 1);
}

#[tokio::test]
async fn more_work_than_a_column_holds_is_refused_not_wrapped() {
    let (_directory, path) = directory();
    let journal = Journal::open(&path, NETWORK).unwrap();
    journal.append(vec![share("alice", 1, i64::MAX as u64 - 1, None)]).await.unwrap();
    let refused = journal.append(vec![share("bob", 2, 2, None)]).await;
    assert!(matches!(refused, Err(JournalError::TooMuchWork)));
    journal.append(vec![share("bob", 3, 1, None)]).await.unwrap();
    journal.close().await;
    assert_queue_pays_exactly_the_shares(&path);
}

/// As the release before identities wrote it.
const BACK_TO_VERSION_1: &str =
    "ALTER TABLE journal DROP COLUMN identity; ALTER TABLE shares DROP COLUMN mode;
     ALTER TABLE queue DROP COLUMN mode; PRAGMA user_version = 1";
/// As the release that queued the shares of mode solo wrote it.
const BACK_TO_VERSION_2: &str =
    "ALTER TABLE shares DROP COLUMN mode; ALTER TABLE queue DROP COLUMN mode; PRAGMA user_version = 2";
/// As the release that knew the modes pool and solo wrote it.
const BACK_TO_VERSION_3: &str = "ALTER TABLE shares RENAME COLUMN mode TO solo; ALTER TABLE queue DROP COLUMN mode; PRAGMA user_version = 3";

#[tokio::test]
async fn an_older_journal_is_upgraded_by_its_pool_and_nothing_in_it_changes() {
    for back in [BACK_TO_VERSION_1, BACK_TO_VERSION_2, BACK_TO_VERSION_3] {
        is_upgraded_from(back).await;
    }
}

async fn is_upgraded_from(back: &str) {
    let (_directory, path) = directory();
    journal_with_one_share(&path).await;
    Connection::open(&path).unwrap().execute_batch(back).unwrap();
    let early = QueueReader::open(&path, NETWORK).unwrap_err();
    assert!(matches!(early, JournalError::NotUpgradedYet(_)), "{early}");
    let copy = path.with_extension("copy");
    std::fs::copy(&path, &copy).unwrap();

    let journal = Journal::open(&path, NETWORK).unwrap();
    let identity = journal.identity();
    journal.append(vec![share("bob", 2, 7, None)]).await.unwrap();
    journal.close().await;
    assert_queue_pays_exactly_the_shares(&path);
    assert_eq!(shares(&path).iter().map(|record| record.share.mode).collect::<Vec<_>>(), [Mode::Pool; 2]);
    assert_eq!(Journal::open(&path, NETWORK).unwrap().identity(), identity, "it stays");

    // An old copy must not look like another pool's journal: it would be credited again.
    let restored = Journal::open(&copy, NETWORK).unwrap();
    assert_eq!(restored.identity(), identity);
}

#[tokio::test]
async fn every_journal_has_an_identity_of_its_own() {
    let (_one, one) = directory();
    let (_two, two) = directory();
    let [one, two] = [one, two].map(|path| Journal::open(path, NETWORK).unwrap().identity());
    assert_ne!(one, two);
}

#[tokio::test]
async fn an_older_copy_of_the_journal_is_not_read_on() {
    let (_directory, path) = directory();
    journal_with_one_share(&path).await;
    let reader = QueueReader::open(&path, NETWORK).unwrap();
    let first = reader.read(QueueSeq::START, 1).unwrap().remove(0);
    let taken = Cursor { seq: first.seq, at: first.at };
    assert_eq!(reader.read_on(taken, 10).unwrap(), []);
    for other in [Cursor { seq: first.seq.next(), ..taken }, Cursor { at: first.at + 1, ..taken }] {
        let refused = reader.read_on(other, 10).unwrap_err();
        assert!(matches!(refused, JournalError::NotTheCredited { .. }), "{refused}");
    }
}
