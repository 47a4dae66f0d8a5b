//! Clients that would harm the others if they could.

use std::time::Duration;

use poolbox_stratum::server::Limits;
use stratum_core::mining_sv2 as mining;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::fixture::{Pool, SOON, generous};
use crate::miner_v1::{MinerV1, last_words};
use crate::miner_v2::MinerV2;

/// The beginning of a TLS client's first message, in which one byte happens to end a line.
const TLS_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0x5a, 0x5a, 0x5a, 0x0a, 0x5a];

#[tokio::test]
async fn who_never_reads_is_dropped_and_what_is_held_for_it_has_a_bound() {
    let pool = Pool::start(Limits { write: Duration::from_millis(300), ..generous() }).await;
    let mut honest = MinerV1::connect(pool.sv1).await;
    let mut deaf = TcpStream::connect(pool.sv1).await.unwrap();
    let asks = "{\"id\":1,\"method\":\"mining.ping\",\"params\":[]}\n".repeat(1_000);
    let mut sent = 0;
    let asking = async {
        while deaf.write_all(asks.as_bytes()).await.is_ok() {
            sent += asks.len();
            honest.mine().await;
        }
    };
    tokio::time::timeout(SOON, asking).await.expect("it was let go");
    // What lay in the system's buffers, and no more.
    assert!(sent < 64 << 20, "{sent}");
    pool.comes_to(1).await;
}

#[tokio::test]
async fn garbage_costs_an_honest_miner_nothing() {
    let pool = Pool::start(generous()).await;
    let mut first = MinerV1::connect(pool.sv1).await;
    let mut second = MinerV2::connect(pool.sv2).await;
    let mut garbage = JoinSet::new();
    for nth in 0..200_u32 {
        let address = if nth % 2 == 0 { pool.sv1 } else { pool.sv2 };
        garbage.spawn(async move {
            let mut client = TcpStream::connect(address).await.unwrap();
            let noise: Vec<u8> =
                (0..2_000_u32).map(|at| ((at + nth).wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            let said = match nth / 2 % 5 {
                0 => b"GET / HTTP/1.1\r\nHost: poolbox.local:3333\r\nUser-Agent: a browser of some length/1.0\r\nAccept: */*\r\n\r\n".to_vec(),
                1 => TLS_HELLO.repeat(20),
                2 => vec![0; 3_000],
                _ => noise,
            };
            let _ = client.write_all(&said).await;
            // Every fifth says no more; the others wait to be let go.
            if nth / 2 % 5 == 4 {
                let _ = client.shutdown().await;
            }
            last_words(&mut client).await;
        });
    }
    while !garbage.is_empty() {
        first.mine().await;
        // About a channel that it does not have.
        let update = second.seal_bytes(mining::MESSAGE_TYPE_UPDATE_CHANNEL, vec![0; 40]);
        second.stream.write_all(&update).await.unwrap();
        assert_eq!(second.hear().await, Some(mining::MESSAGE_TYPE_UPDATE_CHANNEL_ERROR));
        while garbage.try_join_next().is_some_and(|ended| ended.is_ok()) {}
    }
    pool.comes_to(2).await;
}

#[tokio::test]
async fn a_tls_client_on_the_plain_port_is_let_go_at_once() {
    let pool = Pool::start(generous()).await;
    let mut client = TcpStream::connect(pool.sv1).await.unwrap();
    client.write_all(TLS_HELLO).await.unwrap();
    last_words(&mut client).await;
    pool.comes_to(0).await;
}

#[tokio::test]
async fn a_thousand_connections_that_come_and_go_leave_the_honest_one_alone() {
    let pool = Pool::start(generous()).await;
    let mut honest = MinerV1::connect(pool.sv1).await;
    for nth in 0..1_000_u32 {
        let client = TcpStream::connect(pool.sv1).await.unwrap();
        if nth % 3 == 0 {
            // A reset instead of an end.
            client.set_zero_linger().unwrap();
        }
        drop(client);
        if nth % 50 == 0 {
            honest.mine().await;
        }
    }
    pool.comes_to(1).await;
    honest.mine().await;
}
