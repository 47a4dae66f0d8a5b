//! How connections end when the pool, or the node behind it, is gone.

use std::time::Duration;

use poolbox_stratum::server::Limits;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::{Pool, SOON, generous, job};
use crate::miner_v1::{MinerV1, last_words};
use crate::miner_v2::MinerV2;

#[tokio::test]
async fn without_work_every_connection_is_closed_so_that_fallbacks_engage() {
    let pool = Pool::start(generous()).await;
    let (mut first, mut second) = (MinerV1::connect(pool.sv1).await, MinerV2::connect(pool.sv2).await);
    let mut stranger = TcpStream::connect(pool.sv1).await.unwrap();
    first.mine().await;
    pool.jobs.send_replace(None);
    first.is_let_go().await;
    assert_eq!(second.hear().await, None);
    last_words(&mut stranger).await;
    pool.comes_to(0).await;
    // And whoever comes now is not kept waiting.
    last_words(&mut TcpStream::connect(pool.sv1).await.unwrap()).await;
    pool.jobs.send_replace(Some(job(2)));
    MinerV1::connect(pool.sv1).await.mine().await;
}

#[tokio::test]
async fn the_last_shares_before_a_stop_are_kept_and_acknowledged() {
    let mut pool = Pool::start(generous()).await;
    let mut miner = MinerV1::connect(pool.sv1).await;
    pool.journal.hold();
    // One group is being written, and another waits.
    for group in 1..=2 {
        let shares = miner.shares(10);
        miner.say(&shares).await;
        if group == 1 {
            pool.is_given(1).await;
        }
    }
    miner.say("{\"id\":9,\"method\":\"mining.ping\",\"params\":[]}\n").await;
    while miner.hear().await.unwrap()["id"] != 9 {}
    pool.stop.cancel();
    // It waits for the disk.
    let serving = pool.serving.remove(0);
    assert!(timeout(Duration::from_millis(100), async { pool.comes_to(0).await }).await.is_err());
    pool.journal.release();
    miner.is_let_go().await;
    assert_eq!((miner.answered(), pool.journal.given()), (20, miner.accepted));
    timeout(SOON, serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_who_does_not_read() {
    let mut pool = Pool::start(Limits { write: Duration::from_secs(600), ..generous() }).await;
    let mut deaf = TcpStream::connect(pool.sv1).await.unwrap();
    let asks = "{\"id\":1,\"method\":\"mining.ping\",\"params\":[]}\n".repeat(1_000);
    // Until nothing moves any more.
    while timeout(Duration::from_millis(500), deaf.write_all(asks.as_bytes())).await.is_ok() {}
    pool.stop.cancel();
    for serving in pool.serving.drain(..) {
        timeout(SOON, serving).await.expect("it stops").unwrap();
    }
}
