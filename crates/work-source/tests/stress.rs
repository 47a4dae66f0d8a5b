//! Solutions while a block is copied for us: a node must survive both. Takes minutes, so by hand:
//! `cargo xtask test -p poolbox-work-source --test stress -- --ignored --nocapture`.

#![cfg(test)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::consensus::serialize;
use bitcoin::{Amount, ScriptBuf, TxOut};
use poolbox_testnode::TestNode;
use poolbox_work_source::blocks::{BlockKeeper, Outcome, RpcConfig, RpcLogin};
use poolbox_work_source::tdp::{self, TdpConfig};
use poolbox_work_source::{Solution, SubmitOutcome, Template, WorkSource};
use support::crowd::Crowd;
use support::stand_in_template_provider::StandIn;
use support::{find, new_block, on_tip, source};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Several solutions for one template.
fn solutions(template: &Template, count: u8) -> Vec<Solution> {
    let solution = |n: u8| {
        let value = Amount::from_sat(template.coinbase.value.get());
        let payout = TxOut { value, script_pubkey: ScriptBuf::from_bytes(vec![0x51]) };
        let coinbase = template.coinbase.transaction(&[7, n, 0, 0, 0, 0, 0, 0], &[payout]);
        let mut header = template.header(coinbase.compute_txid(), template.version, template.time, 0);
        while header.validate_pow(header.target()).is_err() {
            header.nonce += 1;
        }
        Solution {
            template_id: template.id,
            version: template.version,
            time: template.time,
            nonce: header.nonce,
            coinbase: serialize(&coinbase),
        }
    };
    (0..count).map(solution).collect()
}

/// Mines `rounds` blocks with several solutions each, as soon as their templates come; with full
/// blocks every `full`th time.
async fn race(node: &TestNode, source: Arc<WorkSource>, rounds: u32, full: u32, crowd: &mut Crowd) {
    let mut events = source.events();
    for round in 0..rounds {
        let mut template = on_tip(&mut events, node).await;
        if round % full == 0 {
            crowd.send();
            while template.merkle_path.len() < 10 {
                template = on_tip(&mut events, node).await;
            }
        }
        let mut submitting = JoinSet::new();
        for solution in solutions(&template, 5) {
            let source = Arc::clone(&source);
            submitting.spawn(async move { source.submit(solution).await });
        }
        // One of them becomes the tip; the others are late.
        let accepted = async {
            loop {
                let outcome = submitting.join_next().await.unwrap().unwrap().unwrap();
                if matches!(outcome, SubmitOutcome::Accepted(_)) {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(30), accepted).await.expect("a node that is alive");
        submitting.abort_all();
    }
    println!("{rounds} blocks, five solutions each");
    assert!(source.current().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_node_survives_solutions_during_requests_over_core_ipc() {
    let node = TestNode::regtest();
    let mut crowd = Crowd::new(&node, 1);
    race(&node, Arc::new(source(&node)), 600, 100, &mut crowd).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_node_survives_solutions_during_requests_over_a_template_provider() {
    let node = TestNode::regtest();
    let mut crowd = Crowd::new(&node, 1);
    let provider = StandIn::start(&node);
    let source = tdp::start(TdpConfig::new(provider.address(), None)).unwrap();
    race(&node, Arc::new(source), 600, 100, &mut crowd).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_new_tip_comes_quickly_with_all_of_the_mempool() {
    let node = TestNode::regtest();
    let mut crowd = Crowd::new(&node, 2);
    crowd.send();
    let source = source(&node);
    let mut events = source.events();
    let mut template = on_tip(&mut events, &node).await;
    for _ in 0..10 {
        let wait = source.await_transactions(template.id);
        let transactions = timeout(Duration::from_secs(10), wait).await.unwrap();
        let mined = node.cli(&["generateblock", "raw(51)#8lvh9jxk", "[]"]);
        let since = Instant::now();
        template = new_block(&mut events).await;
        let came = since.elapsed();
        let wait = source.await_transactions(template.id);
        timeout(Duration::from_secs(10), wait).await.unwrap();
        println!(
            "{} transactions; template {came:?} after its tip was told by RPC, transactions {:?} after that",
            transactions.len(),
            since.elapsed() - came
        );
        assert_eq!(mined["hash"], template.prev_hash.to_string());
        assert!(template.merkle_path.len() > 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_node_survives_blocks_by_every_path_at_once() {
    let node = TestNode::regtest();
    let mut crowd = Crowd::new(&node, 1);
    let place = tempfile::tempdir().unwrap();
    let source = Arc::new(source(&node));
    let rpc = RpcConfig { url: node.rpc_url(), login: RpcLogin::Cookie(node.cookie_file()) };
    let keeper = BlockKeeper::open(place.path(), Arc::clone(&source), Some(rpc)).unwrap();
    let mut events = source.events();
    let mut took = Vec::new();
    for round in 0..400 {
        let mut template = on_tip(&mut events, &node).await;
        if round % 100 == 0 {
            crowd.send();
            while template.merkle_path.len() < 10 {
                template = on_tip(&mut events, &node).await;
            }
        }
        let found = find(&template);
        let since = Instant::now();
        let outcome = timeout(Duration::from_secs(30), keeper.found(found)).await.unwrap().unwrap();
        assert_eq!(outcome, Outcome::OnChain);
        took.push(since.elapsed());
    }
    took.sort();
    println!("found to on-chain: median {:?}, slowest {:?}", took[took.len() / 2], took[took.len() - 1]);
    assert!(keeper.pending().is_empty());
}
