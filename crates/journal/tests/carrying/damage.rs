//! A stream that lost entries, or holds what no pool wrote: said, mended, and nothing skipped or
//! doubled. A journal that is not the right one: refused.

use std::time::Duration;

use poolbox_accounting::QueueSeq;
use poolbox_journal::{Cursor, Journal, QueueError};
use poolbox_testnode::TestRedis;

use crate::audit::NETWORK;
use crate::carriage::{Carriage, Pool, assert_all_is_taken_once};
use crate::stand_in_mint::Books;

async fn half_taken() -> (Carriage, Pool, Books) {
    let carriage = Carriage::Redis(TestRedis::start());
    let mut pool = Pool::new();
    carriage.carry(&mut pool);
    pool.mine(60).await;
    let mut books = Books::default();
    let mut queue = carriage.queue(&pool);
    while books.sum() < 60 {
        books.look(queue.as_mut(), 10).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (carriage, pool, books)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgot_everything_gets_it_again() {
    let (mut carriage, mut pool, mut books) = half_taken().await;
    let mut queue = carriage.queue(&pool);
    books.look(queue.as_mut(), 3).await.unwrap();
    // While connected, and then across a restart.
    carriage.redis().command("FLUSHALL");
    pool.mine(20).await;
    assert_all_is_taken_once(&mut books, queue.as_mut(), &[&pool]).await;

    carriage.redis().kill9();
    std::fs::remove_dir_all(carriage.redis().path("appendonlydir")).unwrap();
    pool.mine(20).await;
    carriage.redis().restart();
    assert_all_is_taken_once(&mut books, queue.as_mut(), &[&pool]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_pool_wrote_is_refused_and_the_rest_is_taken() {
    let (mut carriage, mut pool, mut books) = half_taken().await;
    let key = format!("poolbox:devnet:queue:{}", pool.identity());
    let mut queue = carriage.queue(&pool);
    for foreign in [
        format!("XADD {key} * hello world"),
        format!("XADD {key} 99999999-0 v 1 at 1 before 1 create mallory work 1000000 through 7"),
        format!("XADD {key} 99999999-7 v 1 at 1 before 1 create mallory work 1000000 through 7"),
        format!("XTRIM {key} MAXLEN 0"),
        format!("XGROUP DESTROY {key} mint"),
        format!("DEL {key}"),
        "SADD poolbox:devnet:journals not-a-journal".to_owned(),
    ] {
        carriage.redis().command(&foreign);
        // One that is next by its number, but does not follow what was taken.
        let next = books.cursors[&pool.identity()].seq.next();
        carriage
            .redis()
            .command(&format!("XADD {key} {next}-0 v 1 at 1 before 1 create mallory work 1000000 through 7"));
        let _ = books.look(queue.as_mut(), 10).await;
        pool.mine(10).await;
        // After the second damage in a row the mint waits some seconds.
        assert_all_is_taken_once(&mut books, queue.as_mut(), &[&pool]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mint_of_an_older_backup_is_given_again_what_it_had_acknowledged() {
    let (carriage, mut pool, books) = half_taken().await;
    let older = books.clone();
    let mut newer = books;
    let mut queue = carriage.queue(&pool);
    assert_all_is_taken_once(&mut newer, queue.as_mut(), &[&pool]).await;
    drop(queue);

    let mut restored = older;
    let mut queue = carriage.queue(&pool);
    assert_all_is_taken_once(&mut restored, queue.as_mut(), &[&pool]).await;
    pool.mine(5).await;
    assert_all_is_taken_once(&mut restored, queue.as_mut(), &[&pool]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_journal_is_not_credited_on() {
    let (carriage, mut pool, mut books) = half_taken().await;
    let mut queue = carriage.queue(&pool);
    assert_all_is_taken_once(&mut books, queue.as_mut(), &[&pool]).await;
    pool.kill_courier();
    let copy = pool.path.with_extension("older");
    pool.journal.take().unwrap().close().await;
    let whole = format!("VACUUM INTO '{}'", copy.display());
    rusqlite::Connection::open(&pool.path).unwrap().execute_batch(&whole).unwrap();
    pool.journal = Some(Journal::open_queueing_every(Duration::ZERO, &pool.path, NETWORK).unwrap());
    carriage.carry(&mut pool);
    pool.mine(12).await;
    assert_all_is_taken_once(&mut books, queue.as_mut(), &[&pool]).await;
    let credited = books.sum();

    // The older copy in its place says so, as long as it is behind …
    pool.kill_courier();
    pool.journal.take().unwrap().close().await;
    std::fs::rename(&copy, &pool.path).unwrap();
    for beside in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{beside}", pool.path.display()));
    }
    // Its entries get other times than those that were taken.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    pool.journal = Some(Journal::open_queueing_every(Duration::ZERO, &pool.path, NETWORK).unwrap());
    let mut courier = carriage.courier(&pool);
    let behind = courier.finish().await.unwrap_err();
    assert!(matches!(behind, QueueError::NotInJournal { .. }), "{behind}");

    // … and is refused when it has grown past what was taken.
    for _ in 0..30 {
        pool.mine(1).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    carriage.carry(&mut pool);
    let mut refused = Vec::new();
    for _ in 0..50 {
        let arrivals = queue.next(&books.cursors, 10).await.unwrap();
        assert_eq!(arrivals.entries, []);
        refused = arrivals.refused;
        if refused.iter().any(QueueError::is_final) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(refused.iter().any(|error| error.to_string().contains("older copy")), "{refused:?}");
    assert_eq!(books.sum(), credited);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_a_journals_name_are_not_guessed_at() {
    let carriage = Carriage::Redis(TestRedis::start());
    let pool = Pool::new();
    let mut books = Books::default();
    let unnamed = poolbox_accounting::JournalId::UNNAMED;
    books.cursors.insert(unnamed, Cursor { seq: QueueSeq::new(3), at: 1 });
    let refused = books.look(carriage.queue(&pool).as_mut(), 8).await.unwrap_err();
    assert!(matches!(refused, QueueError::Unnamed), "{refused}");
}
