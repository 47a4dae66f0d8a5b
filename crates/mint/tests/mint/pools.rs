//! Several pools and one mint with a Redis between them: one epoch for all, and nothing lost or
//! doubled whoever is killed.

use std::time::Duration;

use poolbox_accounting::{EpochId, Owner};
use poolbox_journal::{Courier, Journal, RedisSettings};
use poolbox_testnode::TestRedis;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::rig::{QUEUE_EVERY, Rig};

/// A pool on another machine.
struct Pool {
    journal: Journal,
    courier: Option<JoinHandle<()>>,
    directory: TempDir,
}

impl Pool {
    fn new(rig: &Rig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let journal = Journal::open_queueing_every(QUEUE_EVERY, path, rig.node.network()).unwrap();
        Self { journal, courier: None, directory }
    }

    /// Starts its courier, or ends and starts it as a killed process would be.
    fn restart(&mut self, rig: &Rig, redis: &TestRedis) {
        self.stop();
        let settings: RedisSettings = serde_json::from_value(json!({ "address": redis.socket() })).unwrap();
        let path = self.directory.path().join("journal");
        let (mut courier, _) = Courier::new(settings, path, rig.node.network(), self.journal.identity());
        self.courier = Some(tokio::spawn(async move { courier.run().await }));
    }

    fn stop(&mut self) {
        if let Some(courier) = self.courier.take() {
            courier.abort();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

fn household(name: &str) -> Owner {
    Owner::Household(name.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_one_pool_ends_the_epoch_of_all() {
    let redis = TestRedis::start();
    let mut rig = Rig::behind(&redis, 1).await;
    let (mut home, mut club) = (Pool::new(&rig), Pool::new(&rig));
    home.restart(&rig, &redis);
    club.restart(&rig, &redis);
    let (alice, bob) = (household("alice"), household("bob"));
    let at_home = rig.share_in(&home.journal, &alice, 50).await;
    rig.share_in(&club.journal, &alice, 70).await;
    rig.share_in(&club.journal, &bob, 30).await;
    rig.until_amounts(&alice, 1, 120, 120).await;
    rig.until_amounts(&bob, 1, 30, 30).await;

    let (block, solving) = rig.block_in(&club.journal, &bob, 4).await;
    rig.until("the epoch is closed", async |rig| rig.epoch(1).await.unwrap().block_hash.is_some()).await;
    rig.share_in(&home.journal, &alice, 5).await;
    rig.share_in(&club.journal, &alice, 6).await;
    rig.until_amounts(&alice, 2, 11, 11).await;
    rig.until_amounts(&bob, 1, 34, 34).await;
    let closed = rig.epoch(1).await.unwrap();
    assert_eq!((closed.block_hash, closed.work.ehash()), (Some(block.to_string()), 154));
    let through = closed.through.unwrap();
    assert_eq!(through.of(club.journal.identity()).share, solving);
    assert_eq!(through.of(home.journal.identity()).share, at_home);
    let status = rig.status().await;
    assert_eq!((status.queue.journals.len(), status.queue.trouble, status.halted), (2, None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_mint_redis_and_couriers_loses_and_doubles_no_work() {
    let mut redis = TestRedis::start();
    let mut rig = Rig::behind(&redis, 1).await;
    let mut pools: Vec<Pool> = (0..2).map(|_| Pool::new(&rig)).collect();
    let owners: Vec<Owner> = (0..4).map(|n| household(&format!("room-{n}"))).collect();
    let mut journalled = 0;
    for round in 0..8_u32 {
        for pool in &mut pools {
            pool.restart(&rig, &redis);
        }
        let killer = rig.kill9_at_write(1 + round % 3);
        for ehash in 1..=15 {
            for (pool, owner) in (0..).zip(&owners) {
                let journal = pools[pool % 2].journal.clone();
                rig.share_in(&journal, owner, ehash).await;
                journalled += ehash;
            }
        }
        if round == 2 {
            let journal = pools[1].journal.clone();
            rig.block_in(&journal, &owners[0], 9).await;
            journalled += 9;
        }
        if round % 2 == 1 {
            redis.kill9();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        killer.join().unwrap();
        redis.restart();
        rig.start().await;
    }
    for pool in &mut pools {
        pool.restart(&rig, &redis);
    }
    rig.until("all is credited", async |rig| rig.status().await.ehash.credited.ehash() == journalled).await;
    let mut paid = 0;
    for owner in &owners {
        paid += rig.quotes(owner).await.iter().map(|quote| quote.paid.ehash()).sum::<u64>();
    }
    assert_eq!(paid, journalled);
    assert_eq!(rig.status().await.ehash.credited.ehash(), journalled);
    assert_eq!(rig.status().await.epoch, EpochId::new(2));

    redis.kill9();
    rig.until("the outage is told", async |rig| rig.status().await.queue.trouble.is_some()).await;
    let told = rig.status().await.queue.trouble.unwrap();
    assert!(told.contains("redis.sock") && told.contains("[redis]"), "{told}");
}
