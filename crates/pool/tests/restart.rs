//! What the pool knows of its workers outlives it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use poolbox_api::pool::{Status, Worker};
use poolbox_testnode::TestNode;
use rig::{PATIENCE, Pool, RealMiner, files};
use serde_json::Value;

const FILE: &str = "notes.json";

fn worker(status: &Status) -> &Worker {
    status.workers.iter().find(|worker| (&*worker.owner, &*worker.name) == ("garage", "one")).unwrap()
}

/// What is written down of the one worker.
fn written(pool: &Pool) -> Option<Value> {
    let text = std::fs::read_to_string(pool.data().join(FILE)).ok()?;
    Some(serde_json::from_str::<Value>(&text).unwrap()["workers"][0].clone())
}

/// The difficulty that a miner is told first.
async fn first_difficulty(pool: &Pool, user_agent: &str, user: &str) -> f64 {
    let mut miner = pool.miner().await;
    miner.introduce(user_agent, user).await.unwrap();
    miner.told("mining.set_difficulty").await.unwrap()[0].as_f64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pool_remembers_what_fits_its_workers_and_what_they_did() {
    let node = TestNode::devnet();
    node.mine(1);
    let mut pool = Pool::new(&node, "");
    let started = pool.start_with_work().await;
    let miner = RealMiner::start(&started.stratum_v1, "garage.one", "10M", &[]);
    let deadline = std::time::Instant::now() + 2 * PATIENCE;
    let noted = loop {
        match written(&pool).filter(|one| one["fits"][0].is_array()) {
            Some(one) => break one,
            None => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
        assert!(std::time::Instant::now() < deadline, "{:?}", written(&pool));
    };
    let before = pool.status().await.unwrap();
    assert!(before.hashrate.minute > 0 && worker(&before).hashrate.minute > 0, "{before:#?}");
    let user_agent = worker(&before).user_agent.clone();
    pool.kill_nine();
    drop(miner);

    let after = pool.start_with_work().await;
    let (was, is) = (worker(&before), worker(&after));
    assert!(noted["shares"]["accepted"].as_u64().unwrap() <= is.shares.accepted);
    assert!(0 < is.shares.accepted && is.shares.accepted <= was.shares.accepted + 100, "{is:?}");
    let best = |worker: &Worker| worker.shares.best.as_ref().unwrap().difficulty;
    assert!(0.0 < best(is) && best(is) <= best(was), "{is:?}");
    assert!(!is.connected && is.last_share_at.is_some() && is.hashrate.minute == 0, "{is:?}");

    let fit = f64::from(i8::try_from(noted["fits"][0][1].as_i64().unwrap()).unwrap()).exp2();
    assert_eq!(first_difficulty(&pool, &user_agent, "garage.one").await, fit);
    let stranger = first_difficulty(&pool, &user_agent, "attic.two").await;
    assert!(stranger < fit, "{stranger} and {fit}");
    assert_eq!(first_difficulty(&pool, "another/1.0", "garage.one").await, stranger);
    assert!(pool.stop().success());

    // What nobody can read costs what was remembered, and nothing else.
    std::fs::write(pool.data().join(FILE), "{\"version\":1,").unwrap();
    let anew = pool.start_with_work().await;
    assert!(anew.workers.is_empty() && anew.journal.shares >= was.shares.accepted);
    assert!(files(&pool.data()).iter().any(|name| name.starts_with("notes.json.aside-")));
    assert!(pool.log().contains("moved aside"));
    assert!(pool.stop().success());
}
