//! A pool whose mint is elsewhere: real shares reach Redis, whoever is killed when, and mining never
//! waits for it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use std::time::Instant;

use poolbox_journal::{Cursor, Cursors, QuoteMessage, QuoteQueue, RedisSettings, StreamQueue};
use poolbox_testnode::{TestNode, TestRedis};
use rig::{PATIENCE, Pool, RealMiner};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn real_shares_reach_redis_once_and_mining_goes_on_without_it() {
    let node = TestNode::devnet();
    node.mine(1);
    let mut redis = TestRedis::start();
    redis.kill9();
    let section = format!("[redis]\naddress = '{}'", redis.socket().display());
    let mut pool = Pool::new(&node, &section);
    let started = pool.start_with_work().await;
    let miner = RealMiner::start(&started.stratum_v1, "garage.one", "2M", &[]);

    // Redis was never there.
    let waits = |status: &poolbox_api::pool::Status| {
        status.delivery.as_ref().is_some_and(|delivery| delivery.waiting > 0 && delivery.trouble.is_some())
    };
    pool.until("Redis is missed", |status| waits(status) || status.journal.queued_through.get() > 10).await;
    let mined = pool.status().await.unwrap().journal.shares;
    pool.until("mining goes on", |status| status.journal.shares > mined + 10).await;
    redis.restart();
    pool.until("all is sent", |status| status.delivery.as_ref().is_some_and(|sent| sent.trouble.is_none()))
        .await;

    // Killed with entries on their way, and started again.
    pool.kill_nine();
    redis.kill9();
    redis.restart();
    let again = pool.start_with_work().await;
    drop(miner);
    let _miner = RealMiner::start(&again.stratum_v1, "garage.one", "2M", &[]);
    pool.until("mining goes on", |status| status.journal.shares > again.journal.shares + 5).await;
    assert!(pool.metrics().contains("poolbox_queue_unsent_entries"));
    let journal = again.journal.identity;
    // A pool that stops sends what it has.
    assert!(pool.stop().success(), "{}", pool.log());

    let settings: RedisSettings = serde_json::from_value(json!({ "address": redis.socket() })).unwrap();
    let mut queue = StreamQueue::new(settings, node.network());
    let (mut cursors, mut credited) = (Cursors::new(), 0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let arrivals = queue.next(&cursors, 100).await.unwrap();
        if arrivals.entries.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline);
        for arrival in arrivals.entries {
            assert_eq!(arrival.journal, journal);
            if let QuoteMessage::Create { work, .. } = arrival.entry.message {
                credited += work.ehash();
            }
            cursors.insert(journal, Cursor { seq: arrival.entry.seq, at: arrival.entry.at });
        }
        queue.acknowledge(&cursors).await.unwrap();
    }
    // What the journal holds is what came.
    let reader =
        poolbox_journal::QueueReader::open(pool.data().join("journal.sqlite"), node.network()).unwrap();
    assert_eq!(credited, reader.totals().unwrap().work.ehash());
    assert!(credited > 0);
}
