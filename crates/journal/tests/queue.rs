//! The quote queue: complete, exact between boundaries, the same whenever it is read.

#![allow(clippy::panic, clippy::unwrap_used)]

mod audit;

use std::path::Path;
use std::time::Duration;

use audit::{NETWORK, assert_queue_pays_exactly_the_shares, directory, queue, share, shares};
use poolbox_accounting::{Earns, Mode, ShareSeq};
use poolbox_journal::{Journal, NewShare, QueueEntry, QueueReader, QueueSeq, QuoteMessage};
use proptest::prelude::*;

/// Long enough that only boundaries and restarts queue.
const NEVER: Duration = Duration::from_secs(3600);

const OWNERS: [&str; 4] = ["alice", "bob", "carol", "dave@example.com"];

/// What happens to a journal.
#[derive(Clone, Debug)]
enum Step {
    /// These shares arrive together: owner, work, solves a block, mode.
    Shares(Vec<(usize, u64, bool, Mode)>),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![4 => Just(Mode::Pool), 1 => Just(Mode::Solo), 2 => Just(Mode::Proxy)];
    let share = (0..OWNERS.len(), 1u64..1 << 40, prop::bool::weighted(0.15), mode);
    prop_oneof![
        4 => prop::collection::vec(share, 1..12).prop_map(Step::Shares),
        1 => Just(Step::Restart),
    ]
}

/// Lets it all happen; returns the shares in the order they were appended.
async fn play(path: &Path, interval: Duration, steps: Vec<Step>) -> Vec<NewShare> {
    let mut played = Vec::new();
    let mut journal = Journal::open_queueing_every(interval, path, NETWORK).unwrap();
    for step in steps {
        match step {
            Step::Shares(group) => {
                let mut waiting = Vec::new();
                for (owner, work, block, mode) in group {
                    let n = played.len() as u64;
                    let share = NewShare { mode, ..share(OWNERS[owner], n, work, block.then_some(n as u32)) };
                    played.push(share.clone());
                    let journal = journal.clone();
                    waiting.push(tokio::spawn(async move { journal.append(vec![share]).await }));
                    tokio::task::yield_now().await;
                }
                for answer in waiting {
                    answer.await.unwrap().unwrap();
                }
            }
            Step::Restart => {
                journal.close().await;
                journal = Journal::open_queueing_every(interval, path, NETWORK).unwrap();
            }
        }
    }
    journal.close().await;
    played
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_queue_pays_each_owner_exactly_and_never_across_a_boundary(
        steps in prop::collection::vec(step(), 1..12), eager in any::<bool>(),
    ) {
        let (_directory, path) = directory();
        let played = run(play(&path, if eager { Duration::ZERO } else { NEVER }, steps));
        assert_queue_pays_exactly_the_shares(&path);
        let journalled: Vec<NewShare> = shares(&path).into_iter().map(|record| record.share).collect();
        prop_assert_eq!(journalled, played);
    }

    #[test]
    fn replay_from_any_cursor_gives_the_same_entries(
        steps in prop::collection::vec(step(), 1..8), cursor in any::<prop::sample::Index>(), limit in 1usize..9,
    ) {
        let (_directory, path) = directory();
        run(play(&path, Duration::ZERO, steps));
        let reader = QueueReader::open(&path, NETWORK).unwrap();
        let all = queue(&reader, 1000);
        let cursor = cursor.index(all.len() + 1);
        let again = reader.read(QueueSeq::new(cursor as u64), limit).unwrap();
        prop_assert_eq!(&again[..], &all[cursor..(cursor + limit).min(all.len())]);
    }
}

#[tokio::test]
async fn a_block_queues_what_came_before_it_and_then_itself() {
    let (_directory, path) = directory();
    let journal = Journal::open_queueing_every(NEVER, &path, NETWORK).unwrap();
    for (n, owner) in ["alice", "bob", "alice"].into_iter().enumerate() {
        journal.append(vec![share(owner, n as u64, 10, None)]).await.unwrap();
    }
    let solved = share("bob", 3, 10, Some(812));
    let boundary = journal.append(vec![solved.clone()]).await.unwrap();
    let after = journal.append(vec![share("alice", 4, 10, None)]).await.unwrap();

    let entries = queue(&QueueReader::open(&path, NETWORK).unwrap(), 100);
    let messages: Vec<String> = entries
        .into_iter()
        .map(|entry| match entry.message {
            QuoteMessage::Create { owner, work, through, .. } => format!("{owner} {work} through {through}"),
            QuoteMessage::Update { share, height, block_hash } => {
                assert_eq!((share, block_hash), (boundary, solved.hash));
                format!("block {height} at {share}")
            }
        })
        .collect();
    assert_eq!(messages, ["alice 20 ehash through 3", "bob 20 ehash through 4", "block 812 at 4"]);
    assert_eq!(after, ShareSeq::new(5));
    journal.close().await;
    assert_queue_pays_exactly_the_shares(&path);
}

#[tokio::test]
async fn what_is_mined_solo_is_kept_and_passed_over() {
    let (_directory, path) = directory();
    let journal = Journal::open_queueing_every(NEVER, &path, NETWORK).unwrap();
    let solo = |n, block| NewShare { mode: Mode::Solo, ..share("alice", n, 10, block) };
    journal.append(vec![solo(1, None), share("alice", 2, 7, None), solo(3, Some(812))]).await.unwrap();
    journal.append(vec![share("bob", 4, 5, Some(813)), solo(5, None)]).await.unwrap();
    journal.close().await;

    assert_eq!(shares(&path).len(), 5);
    let reader = QueueReader::open(&path, NETWORK).unwrap();
    let totals = reader.totals().unwrap();
    assert!(!totals.has_unqueued() && totals.work.ehash() == 42, "{totals:?}");
    let credited = |entry: QueueEntry| match entry.message {
        QuoteMessage::Create { owner, work, .. } => format!("{owner} {work}"),
        QuoteMessage::Update { height, .. } => format!("block {height}"),
    };
    let queue: Vec<String> = queue(&reader, 10).into_iter().map(credited).collect();
    assert_eq!(queue, ["alice 7 ehash", "bob 5 ehash", "block 813"]);
}

#[tokio::test]
async fn what_is_mined_for_an_upstream_pool_is_queued_apart_and_its_blocks_are_nobodys() {
    let (_directory, path) = directory();
    let journal = Journal::open_queueing_every(NEVER, &path, NETWORK).unwrap();
    let proxy = |n, block| NewShare { mode: Mode::Proxy, ..share("alice", n, 10, block) };
    journal.append(vec![proxy(1, None), share("alice", 2, 7, None), proxy(3, Some(812))]).await.unwrap();
    journal.close().await;

    let entries = queue(&QueueReader::open(&path, NETWORK).unwrap(), 10);
    let told = entries.into_iter().map(|entry| match entry.message {
        QuoteMessage::Create { work, earns, .. } => (work.ehash(), earns),
        update => panic!("{update:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), [(7, Earns::Ehash), (20, Earns::Sats)]);
    assert_queue_pays_exactly_the_shares(&path);
}

#[tokio::test]
async fn shares_reach_the_queue_by_themselves() {
    let (_directory, path) = directory();
    let journal = Journal::open_queueing_every(Duration::from_millis(20), &path, NETWORK).unwrap();
    let reader = QueueReader::open(&path, NETWORK).unwrap();
    for round in 1..=3 {
        journal.append(vec![share("alice", round, 5, None)]).await.unwrap();
        while journal.stats().totals.queued_through.get() < round {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(queue(&reader, 10).len() as u64, round);
    }
    journal.close().await;
}

#[tokio::test]
async fn closing_queues_everything_and_refuses_what_comes_after() {
    let (_directory, path) = directory();
    let journal = Journal::open_queueing_every(NEVER, &path, NETWORK).unwrap();
    let late = journal.clone();
    journal.append(vec![share("alice", 1, 5, None)]).await.unwrap();
    journal.close().await;
    assert_queue_pays_exactly_the_shares(&path);
    let refused = late.append(vec![share("alice", 2, 5, None)]).await.unwrap_err();
    assert_eq!(refused.to_string(), "the share journal is closed");
}
