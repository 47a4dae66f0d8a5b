//! Mode proxy: real miners before our pool, a real pool as the upstream behind it, on a real node.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use bitcoin::{Address, ScriptBuf};
use poolbox_accounting::{Network, ShareSeq};
use poolbox_api::pool::{Mode, Protocol, Status};
use poolbox_journal::QueueReader;
use poolbox_testnode::TestNode;
use rig::{Pool, RealMiner};

/// The upstream takes a quarter of the shares that a slow miner starts with.
const HARDER: &str = "[difficulty]\nmin = 0.0009765625\nstart = 0.0009765625";

/// An address that is nobody's.
fn address(byte: u8) -> String {
    let script = ScriptBuf::from_bytes([&[0, 20][..], &[byte; 20]].concat());
    Address::from_script(&script, bitcoin::Network::Signet).unwrap().to_string()
}

/// One of each kind, each finding a share every three or four seconds.
fn miners(status: &Status) -> [RealMiner; 3] {
    [
        RealMiner::start(&status.stratum_v1, "garage.v1", "300k", &[]),
        RealMiner::start(&status.stratum_v2, "garage.extended", "300k", &[]),
        RealMiner::start(&status.stratum_v2, "attic.standard", "300k", &["--channel", "standard"]),
    ]
}

fn accepted(status: &Status) -> u64 {
    status.upstream.as_ref().unwrap().accepted
}

fn everybody_found(status: &Status, shares: u64) -> bool {
    status.workers.len() >= 3 && status.workers.iter().all(|worker| worker.shares.accepted >= shares)
}

/// Nothing was lost but to blocks that had just come, or while the upstream was away.
fn only_lost_to(status: &Status, reasons: &[&str]) {
    let rejected = &status.upstream.as_ref().unwrap().rejected;
    assert!(rejected.keys().all(|reason| reasons.contains(&reason.as_str())), "{rejected:?}");
    let of_miners = &status.shares.rejected;
    assert!(of_miners.keys().all(|reason| reason == "stale"), "{of_miners:?}");
}

fn journal_is_of_the_proxy(pool: &Pool, shares: u64) {
    let journal = QueueReader::open(pool.data().join("journal.sqlite"), Network::Devnet).unwrap();
    let kept = journal.shares(ShareSeq::START, 100_000).unwrap();
    assert!(kept.len() as u64 >= shares, "{} of {shares}", kept.len());
    assert!(kept.iter().all(|record| record.share.mode == Mode::Proxy));
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_shares_of_every_kind_of_miner_go_upstream_and_blocks_pay_its_user() {
    let node = TestNode::devnet();
    node.mine(1);
    let mut upstream = Pool::solo(&node, HARDER);
    let above = upstream.start_with_work().await;
    let user = address(7);
    let mut pool = Pool::proxy(&node, "", &above.stratum_v1, &format!("{user}.box"));
    let started = pool.start_with_work().await;
    assert_eq!(started.mode, Mode::Proxy);
    let job = started.job.clone().unwrap();
    let [coinbase] = job.coinbases.as_slice() else { panic!("{job:?}") };
    assert_eq!((coinbase.outputs[0].address.as_ref(), &coinbase.mismatch), (Some(&user), &None));
    assert_eq!((job.reward_sat, job.height), (5_000_000_000, above.job.unwrap().height));

    let working = miners(&started);
    let enough = |status: &Status| {
        let found = status.journal.shares;
        accepted(status) >= 8 && everybody_found(status, 5) && found >= accepted(status) + 8
    };
    let status = pool.until("shares were found, and some of them handed on", enough).await;
    only_lost_to(&status, &["stale"]);
    let told = status.upstream.as_ref().unwrap();
    assert_eq!((&told.url, told.difficulty), (&above.stratum_v1, Some(0.000_976_562_5)));
    assert!(told.user.starts_with(&user) && told.last_accepted_at.is_some());
    assert!(status.blocks.is_empty() && status.source.connected && status.halted.is_none());
    assert!(pool.metrics().contains("\npoolbox_upstream_connected 1\n"));
    let protocols: Vec<_> = status.workers.iter().map(|worker| worker.protocol).collect();
    assert_eq!(protocols, [Protocol::Sv2, Protocol::Sv2, Protocol::Sv1]);

    let confirmed = |status: &Status| status.blocks.iter().filter(|block| block.confirmed).count();
    let above = upstream.until("blocks were found", |status| confirmed(status) >= 2).await;
    for block in above.blocks.iter().filter(|block| block.confirmed) {
        let told = node.cli(&["getblock", &block.hash, "2"]);
        assert_eq!(told["tx"][0]["vout"][0]["scriptPubKey"]["address"], user, "{told}");
    }
    drop(working);
    // Both sides counted the same.
    let settled = |status: &Status| status.upstream.as_ref().unwrap().waiting == 0 && status.connections == 0;
    let last = pool.until("all is answered", settled).await;
    let above = upstream.status().await.unwrap();
    assert_eq!(above.shares.accepted, accepted(&last));
    assert!(above.shares.rejected.keys().all(|reason| reason == "stale"), "{:?}", above.shares);
    assert!(pool.stop().success());
    assert!(!pool.log().contains("hunter2"));
    journal_is_of_the_proxy(&pool, last.journal.shares);
}

#[tokio::test(flavor = "multi_thread")]
async fn miners_stay_while_the_upstream_is_killed_and_comes_back() {
    let node = TestNode::devnet();
    node.mine(1);
    let mut upstream = Pool::solo(&node, HARDER);
    let above = upstream.start_with_work().await;
    upstream.keep_address(&above);
    let mut pool = Pool::proxy(&node, "stale_after_s = 600", &above.stratum_v1, &address(8));
    let started = pool.start_with_work().await;
    let working = miners(&started);
    let before = pool.until("it goes", |status| accepted(status) >= 3 && everybody_found(status, 2)).await;
    let since = |status: &Status| {
        let workers = status.workers.iter();
        workers.map(|worker| (worker.name.clone(), worker.connected_since)).collect::<Vec<_>>()
    };

    upstream.kill_nine();
    let away = pool.until("it is missed", |status| !status.source.connected).await;
    let trouble = away.source.trouble.clone().unwrap();
    assert!(trouble.contains("upstream") && away.job.is_some() && away.halted.is_none(), "{trouble}");
    let not_sent = |status: &Status| {
        status.upstream.as_ref().unwrap().rejected.get("not-sent").copied().unwrap_or_default()
    };
    let away = pool.until("mining goes on", |status| not_sent(status) > 0).await;
    assert_eq!((since(&away), away.connections), (since(&before), 3));

    upstream.start_with_work().await;
    let back = pool.until("it is back", |status| status.source.connected).await;
    let more = accepted(&back) + 5;
    let after = pool.until("shares are taken again", |status| accepted(status) >= more).await;
    assert_eq!((since(&after), after.connections), (since(&before), 3), "nobody had to connect anew");
    assert!(after.journal.shares > away.journal.shares);
    only_lost_to(&after, &["stale", "not-sent", "unanswered"]);
    let above = upstream.status().await.unwrap();
    assert!(above.shares.accepted >= 5, "{:?}", above.shares);
    assert!(above.shares.rejected.keys().all(|reason| reason == "stale"), "{:?}", above.shares);

    // For good: the fallback pools must have their turn.
    drop(working);
    assert!(pool.stop().success());
    journal_is_of_the_proxy(&pool, after.journal.shares);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_behind_a_proxy_has_little_room_and_works_the_same() {
    let node = TestNode::devnet();
    node.mine(1);
    let mut upstream = Pool::solo(&node, "");
    let above = upstream.start_with_work().await;
    // Of the 12 bytes of the upstream the first proxy gives on 4.
    let mut first =
        Pool::proxy(&node, "[stratum_v1_tls]\nlisten = '127.0.0.1:0'", &above.stratum_v1, &address(9));
    let between = first.start_with_work().await;
    // Between the two all is encrypted, once the second knows the certificate that the first made.
    let tls = between.stratum_v1_tls.unwrap();
    let url = tls.url.replace("127.0.0.1", "localhost");
    let mut stranger = Pool::proxy(&node, "", &url, "garage.second");
    stranger.start().await;
    let untrusted = |status: &Status| {
        status.source.trouble.as_ref().is_some_and(|trouble| trouble.contains("upstream.ca_file"))
    };
    stranger.until("the certificate is not trusted", untrusted).await;
    assert!(stranger.stop().success());
    let user = format!("garage.second\nca_file = '{}'", tls.certificate_file.display());
    let mut second = Pool::proxy(&node, "stale_after_s = 2", &url, &user);
    let started = second.start_with_work().await;
    let mut miner = second.miner().await;
    let subscribed = miner.ask("mining.subscribe", serde_json::json!(["test"])).await.unwrap();
    assert_eq!((&subscribed["result"][2], subscribed["result"][1].as_str().unwrap().len()), (&2.into(), 4));
    let _working = miners(&started);
    let everybody = |status: &Status| accepted(status) >= 6 && everybody_found(status, 3);
    let status = second.until("shares went through both", everybody).await;
    only_lost_to(&status, &["stale"]);
    let between = first.until("and on", |status| accepted(status) >= 6).await;
    only_lost_to(&between, &["stale"]);
    assert_eq!(between.workers[0].name, "second");

    // An upstream that stays away: the fallback pools must have their turn.
    first.kill_nine();
    second.until("the miners are closed", |status| status.job.is_none() && status.connections == 0).await;
    miner.is_closed().await;
    let trouble = second.status().await.unwrap().source.trouble.unwrap();
    assert!(trouble.contains("upstream.url"), "{trouble}");
    assert!(second.log().contains("the upstream pool gave no templates for too long"));
    assert!(second.stop().success());
}
