//! What a client may take, and for how long.

use std::time::Duration;

use poolbox_stratum::server::{Limits, Transport};
use stratum_core::mining_sv2 as mining;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::fixture::{Pool, generous};
use crate::miner_v1::{AUTHORIZE, MinerV1, SUBSCRIBE, last_words};
use crate::miner_v2::MinerV2;

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn who_drips_its_handshake_is_let_go() {
    let pool = Pool::start(Limits { handshake: SHORT, ..generous() }).await;
    let drips = async |address| {
        let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        let drip = tokio::spawn(async move {
            // A call that never ends; on the other port a key that never comes whole.
            while write.write_all(b"{").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        });
        let mut nothing = Vec::new();
        let _ = read.read_to_end(&mut nothing).await;
        assert!(nothing.is_empty());
        drip.await.unwrap();
    };
    // Half of a handshake is not enough, and on the other port nothing is a probe.
    let half = async {
        let mut half = TcpStream::connect(pool.sv1).await.unwrap();
        half.write_all(SUBSCRIBE.as_bytes()).await.unwrap();
        assert!(!last_words(&mut half).await.is_empty());
    };
    let nothing = async { last_words(&mut TcpStream::connect(pool.sv2).await.unwrap()).await };
    tokio::join!(drips(pool.sv1), drips(pool.sv2), half, nothing);
    pool.comes_to(0).await;
}

/// Something between socket and protocol whose handshake never ends.
struct Endless;

impl Transport for Endless {
    type Stream = TcpStream;

    async fn open(&self, _socket: TcpStream) -> std::io::Result<TcpStream> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_handshake_below_the_protocol_has_its_time_and_its_seat() {
    let limits = Limits { handshake: SHORT, connections_per_address: 1, ..generous() };
    let pool = Pool::start(limits).await;
    let address = pool.serve_over(Endless).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    pool.comes_to(1).await;
    assert!(last_words(&mut TcpStream::connect(pool.sv1).await.unwrap()).await.is_empty());
    last_words(&mut first).await;
    pool.comes_to(0).await;
    MinerV1::connect(pool.sv1).await.mine().await;
    // Nor does a stop wait for it.
    let mut second = TcpStream::connect(address).await.unwrap();
    pool.stop.cancel();
    last_words(&mut second).await;
}

#[tokio::test]
async fn who_says_nothing_whole_for_too_long_is_let_go() {
    let pool = Pool::start(Limits { idle: SHORT, ..generous() }).await;
    let silent = async { MinerV1::connect(pool.sv1).await.is_let_go().await };
    // Nor does half a line keep it.
    let dripping = async {
        let mut dripping = TcpStream::connect(pool.sv1).await.unwrap();
        dripping.write_all(format!("{SUBSCRIBE}{AUTHORIZE}").as_bytes()).await.unwrap();
        while dripping.write_all(b"{").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    tokio::join!(silent, dripping);
    pool.comes_to(0).await;
}

#[tokio::test]
async fn a_line_or_a_message_that_is_too_long_ends_the_connection() {
    let pool = Pool::start(generous()).await;
    let mut long = TcpStream::connect(pool.sv1).await.unwrap();
    let line = format!("{{\"id\":1,\"method\":\"{}", "x".repeat(9_000));
    long.write_all(line.as_bytes()).await.unwrap();
    assert!(last_words(&mut long).await.is_empty());

    let mut long = MinerV2::connect(pool.sv2).await;
    let message = long.seal_bytes(mining::MESSAGE_TYPE_UPDATE_CHANNEL, vec![0; 8_193]);
    // Its header suffices: nothing of the rest is waited for.
    long.stream.write_all(&message[..22]).await.unwrap();
    assert_eq!(long.hear().await, None);
}

#[tokio::test]
async fn too_many_connections_from_one_address_or_in_all_are_refused_and_a_place_is_given_back() {
    let limits = Limits { connections: 5, connections_per_address: 3, ..generous() };
    let pool = Pool::start(limits).await;
    let from = async |last: u8| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        socket.connect(pool.sv1).await.unwrap()
    };
    let mut first = MinerV1::connect(pool.sv1).await;
    let second = MinerV1::connect(pool.sv1).await;
    let _third = MinerV2::connect(pool.sv2).await;
    assert!(last_words(&mut from(1).await).await.is_empty(), "that address has all ports together");
    let others = [from(2).await, from(2).await];
    pool.comes_to(5).await;
    assert!(last_words(&mut from(3).await).await.is_empty(), "the house is full");
    drop(second);
    pool.comes_to(4).await;
    let mut fourth = MinerV1::connect(pool.sv1).await;
    fourth.mine().await;
    first.mine().await;
    drop(others);
}

#[tokio::test]
async fn one_connection_opens_only_so_many_channels() {
    let pool = Pool::start(generous()).await;
    let mut farm = MinerV2::connect(pool.sv2).await;
    let mut opened = 0;
    let refused = loop {
        let open = farm.open_channel();
        farm.stream.write_all(&open).await.unwrap();
        match farm.hear().await.unwrap() {
            mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS => opened += 1,
            other => break other,
        }
        // Its first job, and the hash that it builds on.
        farm.hear().await.unwrap();
        farm.hear().await.unwrap();
    };
    assert_eq!((opened, refused), (1024, mining::MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR));
    // It is told no, and remains.
    let open = farm.open_channel();
    farm.stream.write_all(&open).await.unwrap();
    assert_eq!(farm.hear().await, Some(mining::MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR));
}

#[tokio::test]
async fn shares_beyond_the_pace_are_late_and_none_is_lost() {
    let pool = Pool::start(Limits { shares_per_second: 100, ..generous() }).await;
    let mut miner = MinerV1::connect(pool.sv1).await;
    // Ten seconds' worth at once, and what a read may hold beyond them, are free.
    let began = tokio::time::Instant::now();
    miner.mine_many(1_800).await;
    assert_eq!(pool.journal.given(), miner.accepted);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_slow_disk_slows_the_miner_and_holds_only_so_many_shares() {
    let limits = Limits { shares_waiting: 1_000, ..generous() };
    let pool = Pool::start(limits).await;
    pool.journal.hold();
    let mut miner = MinerV1::connect(pool.sv1).await;
    let giving = async {
        pool.is_given(1).await;
        // One read is on its way to the disk, however long it takes.
        tokio::time::sleep(SHORT).await;
        assert!(pool.journal.given() <= 700, "{}", pool.journal.given());
        pool.journal.release();
    };
    tokio::join!(giving, miner.mine_many(20_000));
    assert_eq!(pool.journal.given(), miner.accepted);
}

#[tokio::test]
async fn a_probe_that_only_connects_or_asks_leaves_nothing_behind() {
    let pool = Pool::start(generous()).await;
    for _ in 0..50 {
        drop(TcpStream::connect(pool.sv2).await.unwrap());
        let mut probe = TcpStream::connect(pool.sv1).await.unwrap();
        probe.write_all(format!("{SUBSCRIBE}{AUTHORIZE}").as_bytes()).await.unwrap();
    }
    pool.comes_to(0).await;
}
