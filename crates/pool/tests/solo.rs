//! Mode solo: each block pays the miner that found it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use std::collections::BTreeMap;

use bitcoin::{Address, ScriptBuf};
use poolbox_accounting::{Network, QueueSeq, ShareSeq};
use poolbox_api::pool::{Mode, Protocol};
use poolbox_journal::QueueReader;
use poolbox_testnode::TestNode;
use rig::{Pool, RealMiner};

/// Blocks that each miner must have found.
const EACH: usize = 3;

/// An address that is nobody's.
fn address(byte: u8) -> String {
    let script = ScriptBuf::from_bytes([&[0, 20][..], &[byte; 20]].concat());
    Address::from_script(&script, bitcoin::Network::Regtest).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_block_on_the_chain_pays_the_miner_that_found_it() {
    let node = TestNode::regtest();
    node.mine(1);
    let mut pool = Pool::solo(&node, "");
    let started = pool.start_with_work().await;
    assert_eq!((started.mode, started.job.unwrap().coinbases.len()), (Mode::Solo, 0));
    let mut household = pool.miner().await;
    let refused = household.introduce("test", "garage.one").await.unwrap();
    assert!(refused["error"].to_string().contains("must be a bitcoin address of regtest"), "{refused}");

    let addresses = [1, 2, 3].map(address);
    let [one, two, three] = addresses.each_ref().map(|address| format!("{address}.rig"));
    let (v1, v2) = (&started.stratum_v1, &started.stratum_v2);
    let miners = [
        RealMiner::start(v1, &one, "400k", &[]),
        RealMiner::start(v2, &two, "400k", &[]),
        RealMiner::start(v2, &three, "400k", &["--channel", "standard"]),
    ];
    let status = pool
        .until("every miner found blocks", |status| {
            let by = |finder: &String| {
                let confirmed = status.blocks.iter().filter(|block| block.confirmed);
                confirmed.filter(|block| block.finder.as_ref() == Some(finder)).count()
            };
            [&one, &two, &three].into_iter().all(|finder| by(finder) >= EACH)
        })
        .await;
    drop(miners);

    let on_chain = status.blocks.iter().filter(|block| block.confirmed);
    let paid: BTreeMap<_, _> = on_chain
        .map(|block| {
            let told = node.cli(&["getblock", &block.hash, "2"]);
            assert_eq!(told["height"], block.height);
            assert!(told["confirmations"].as_i64() > Some(0), "{told}");
            let outputs = told["tx"][0]["vout"].as_array().unwrap();
            let finder = block.finder.as_deref().unwrap().strip_suffix(".rig").unwrap();
            assert_eq!(outputs[0]["scriptPubKey"]["address"], finder, "{told}");
            assert_eq!(outputs[0]["value"], 50.0, "{told}");
            assert!(outputs[1..].iter().all(|output| output["value"] == 0.0), "{told}");
            (block.height, finder.to_owned())
        })
        .collect();
    // Also several in a row by one miner, and by another at the next.
    let heights: Vec<_> = paid.keys().zip(paid.keys().skip(1)).collect();
    assert!(heights.iter().any(|(one, next)| **next == **one + 1 && paid[one] != paid[next]), "{paid:?}");

    // What is told of the present job is what each of them is sent.
    for coinbase in &status.job.as_ref().unwrap().coinbases {
        assert_eq!(coinbase.outputs[0].address, coinbase.owner);
        assert_eq!(coinbase.mismatch, None);
    }
    let protocol =
        |owner: &String| status.workers.iter().find(|worker| worker.owner == *owner).unwrap().protocol;
    let spoken = addresses.each_ref().map(protocol);
    assert_eq!(spoken, [Protocol::Sv1, Protocol::Sv2, Protocol::Sv2]);
    let page = pool.metrics().to_lowercase();
    assert!(
        page.contains("content-type: text/plain; version=0.0.4") && page.contains("\npoolbox_halted 0\n")
    );
    assert!(pool.stop().success());

    // The shares are kept, and no mint is told of them or of their blocks.
    let journal = QueueReader::open(pool.data().join("journal.sqlite"), Network::Regtest).unwrap();
    let shares = journal.shares(ShareSeq::START, 1000).unwrap();
    assert!(
        shares.len() >= 3 * EACH && shares.iter().all(|record| record.share.mode == Mode::Solo),
        "{}",
        shares.len()
    );
    assert!(!journal.totals().unwrap().has_unqueued());
    assert_eq!(journal.last_entry().unwrap(), QueueSeq::START);
}
