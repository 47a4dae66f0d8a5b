//! Mining stopped from outside, by who saw that a block would pay the wrong party: nobody mines until a person has
//! started the pool again.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use poolbox_api::pool::{HALT, Stop, Stopped};
use poolbox_api::{Client, ClientError};
use poolbox_testnode::TestNode;
use rig::Pool;

const REASON: &str = "a job would pay somebody else";

async fn stop(pool: &Pool, reason: &str) -> Result<Stopped, ClientError> {
    let client = Client::new(pool.data().join("pool.sock")).unwrap();
    client.post(HALT, &Stop { reason: reason.to_owned() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_saw_a_wrong_coinbase_stops_all_mining_until_the_pool_is_started_again() {
    let node = TestNode::regtest();
    node.mine(1);
    let mut pool = Pool::new(&node, "");
    pool.start_with_work().await;
    let mut miner = pool.miner().await;
    miner.introduce("test", "garage.one").await.unwrap();
    miner.told("mining.notify").await.unwrap();

    let refused = stop(&pool, "\x1b[2J").await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused(problem) if problem.remedy.is_some()), "{refused}");
    assert_eq!(pool.status().await.unwrap().halted, None);

    assert_eq!(stop(&pool, REASON).await.unwrap().reason, REASON);
    miner.is_closed().await;
    assert_eq!(stop(&pool, "something else").await.unwrap().reason, REASON, "the first reason stays");
    // A new block brings no new job, and nobody is let in.
    node.mine(1);
    let stopped = pool.until("the pool knows the new block", |status| status.source.connected).await;
    assert_eq!((stopped.halted.as_deref(), stopped.job.is_none()), (Some(REASON), true));
    assert!(pool.miner().await.introduce("test", "garage.one").await.is_none(), "let in while stopped");
    assert!(pool.metrics().contains("\npoolbox_halted 1\n") && pool.log().contains(REASON));

    assert!(pool.stop().success());
    let again = pool.start_with_work().await;
    assert_eq!(again.halted, None);
    let mut miner = pool.miner().await;
    miner.introduce("test", "garage.one").await.unwrap();
    miner.told("mining.notify").await.unwrap();
}
