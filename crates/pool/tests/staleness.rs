//! A node that goes away: miners keep what they have for a while, are let go in time, and come back.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use std::time::Duration;

use poolbox_api::pool::Status;
use poolbox_testnode::TestNode;
use rig::{Miner, Pool, RealMiner};
use serde_json::json;

/// Settings of a pool that lets miners go soon.
const SOON: &str = "stale_after_s = 15";

async fn at_work(pool: &Pool, user: &str) -> Miner {
    let mut miner = pool.miner().await;
    miner.introduce("test", user).await.unwrap();
    miner.told("mining.notify").await.unwrap();
    miner
}

#[tokio::test(flavor = "multi_thread")]
async fn miners_are_kept_through_a_restart_of_the_node_and_let_go_when_it_stays_away() {
    let mut node = TestNode::regtest();
    node.mine(1);
    let mut pool = Pool::new(&node, SOON);
    pool.start_with_work().await;
    let mut miner = at_work(&pool, "garage.one").await;

    // A short absence: the same connection goes on, with the job it has and then with a new one.
    node.stop();
    let away = pool.until("the node is missed", |status| !status.source.connected).await;
    assert!(away.source.trouble.is_some() && away.job.is_some() && away.halted.is_none(), "{away:?}");
    assert_eq!(miner.ask("mining.ping", json!([])).await.unwrap()["result"], "pong");
    at_work(&pool, "attic.two").await;
    node.restart();
    pool.until("the node is back", |status| status.source.connected).await;
    node.mine(1);
    let job = miner.told("mining.notify").await.unwrap();
    assert!(job[8].is_boolean(), "{job}");

    // A long one: the fallback pools must have their turn.
    node.kill9();
    let gone = pool.until("the node is missed", |status| !status.source.connected).await;
    assert!(gone.job.is_some());
    assert!(miner.stays(Duration::from_secs(3)).await, "let go too early");
    miner.is_closed().await;
    let empty = pool.status().await.unwrap();
    assert!(empty.job.is_none() && empty.source.height.is_none() && empty.halted.is_none(), "{empty:?}");
    assert!(pool.miner().await.introduce("test", "garage.one").await.is_none(), "let in without work");

    node.restart();
    // What it had not written to disk is lost, and without a block it gives no templates.
    node.mine(1);
    let back = pool.until("there is work again", |status| status.job.is_some()).await;
    let mut miner = at_work(&pool, "garage.one").await;
    node.mine(1);
    miner.told("mining.notify").await.unwrap();
    assert!(back.source.connected && back.source.trouble.is_none());
    assert!(pool.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_found_while_the_node_is_away_is_in_the_chain_when_it_is_back() {
    let mut node = TestNode::regtest();
    node.mine(1);
    let mut pool = Pool::new(&node, "stale_after_s = 600");
    let started = pool.start_with_work().await;
    // It has its job before the node goes, and needs seconds for a block.
    let miner = RealMiner::start(&started.stratum_v1, "garage.one", "150k", &[]);
    pool.until("the miner is at work", |status| status.connections == 1).await;
    node.stop();
    let sent = |status: &Status| -> Vec<String> {
        let sent = status.blocks.iter().filter(|block| !block.confirmed && block.lost.is_none());
        sent.map(|block| block.hash.clone()).collect()
    };
    pool.until("a block is found", |status| !sent(status).is_empty()).await;
    // It may have found another in the meantime: of blocks on the same tip one will be in the chain.
    drop(miner);
    let told = pool
        .until("it is told why they are not in the chain", |status| {
            status.blocks.iter().all(|block| block.confirmed || block.trouble.is_some())
        })
        .await;
    let left = sent(&told);
    let line = format!("\npoolbox_blocks{{state=\"sent\"}} {}\n", left.len());
    assert!(pool.metrics().contains(&line), "{}", pool.metrics());

    // Past an end of the pool as well; who found it is told only when that was written down before.
    pool.kill_nine();
    let again = sent(&pool.start().await);
    assert!(left.iter().all(|hash| again.contains(hash)), "{left:?} became {again:?}");
    node.restart();
    let after = pool
        .until("one is in the chain", |status| {
            status.blocks.iter().any(|block| block.confirmed && left.contains(&block.hash))
        })
        .await;
    let block = after.blocks.iter().find(|block| block.confirmed && left.contains(&block.hash)).unwrap();
    assert_eq!(node.cli(&["getblockhash", &block.height.to_string()]), block.hash);
    assert!(pool.stop().success());

    let told = pool.start().await;
    assert!(told.blocks[0].hash == block.hash && told.blocks[0].confirmed, "{told:?}");
    assert!(pool.stop().success());
}
