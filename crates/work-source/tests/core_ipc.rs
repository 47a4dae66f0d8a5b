//! Templates from a real node, and blocks to it.

#![cfg(test)]

mod support;

use std::time::Duration;

use poolbox_accounting::Sats;
use poolbox_testnode::TestNode;
use poolbox_work_source::core_ipc::{self, CoreIpcConfig};
use poolbox_work_source::{Outage, SourceEvent, SubmitError, SubmitOutcome};
use support::spending::Spender;
use support::{assert_complete, miss, new_block, next, on_tip, solve, source, tip};
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn a_node_in_initial_download_is_waited_for_and_then_a_solved_block_becomes_the_tip() {
    let node = TestNode::devnet();
    let source = source(&node);
    let mut events = source.events();
    assert!(timeout(Duration::from_secs(3), events.next()).await.is_err(), "no template during the download");
    assert_eq!(source.current().unwrap_err(), Outage::Downloading);

    node.mine(1);
    let template = new_block(&mut events).await;
    assert_complete(&template, &node);
    let outcome = source.submit(solve(&template)).await.unwrap();
    let hash = tip(&node);
    assert_eq!(outcome, SubmitOutcome::Accepted(hash));

    let following = new_block(&mut events).await;
    assert_eq!((following.prev_hash, following.height), (hash, template.height + 1));
    assert_complete(&following, &node);
}

#[tokio::test]
async fn a_block_is_not_fetched_while_it_is_submitted() {
    let node = TestNode::regtest();
    node.mine(1);
    let source = source(&node);
    let mut events = source.events();
    for _ in 0..20 {
        let template = new_block(&mut events).await;
        source.submit(solve(&template)).await.unwrap();
    }
    // The client library would have fetched it for a copy on disk; the node does not survive both.
    let copies = node.network_dir().join("solutions").read_dir().unwrap().count();
    assert_eq!(copies, 0);
}

#[tokio::test]
async fn heights_are_right_while_they_are_an_opcode_and_after() {
    let node = TestNode::regtest();
    node.mine(1);
    let source = source(&node);
    let mut events = source.events();
    for height in 2..=20 {
        let template = new_block(&mut events).await;
        assert_eq!(template.height, height);
        assert_complete(&template, &node);
        let outcome = source.submit(solve(&template)).await.unwrap();
        assert_eq!(outcome, SubmitOutcome::Accepted(tip(&node)));
    }
}

#[tokio::test]
async fn fees_refresh_the_template_and_its_block_contains_the_transaction() {
    let node = TestNode::regtest();
    let mut spender = Spender::new(&node);
    let source = source(&node);
    let mut events = source.events();
    let plain = new_block(&mut events).await;
    assert!(plain.merkle_path.is_empty());

    let txid = spender.spend(100_000);
    let SourceEvent::Refreshed(template) = next(&mut events).await else {
        panic!("expected a refreshed one")
    };
    assert_eq!(template.prev_hash, plain.prev_hash);
    assert_eq!(template.merkle_path.len(), 1);
    assert_eq!(template.coinbase.value.get(), plain.coinbase.value.get() + 100_000);

    let outcome = source.submit(solve(&template)).await.unwrap();
    assert_eq!(outcome, SubmitOutcome::Accepted(tip(&node)));
    let block = node.cli(&["getblock", &node.tip()]);
    assert_eq!(block["tx"][1], txid.to_string());
}

#[tokio::test]
async fn a_new_tip_comes_with_the_mempool_at_once_and_better_templates_follow() {
    let node = TestNode::regtest();
    let mut spender = Spender::new(&node);
    let mut config = CoreIpcConfig::new(node.socket());
    config.min_interval = Duration::from_secs(3);
    config.fee_threshold = Sats::new(1);
    let source = core_ipc::start(config).unwrap();
    let mut events = source.events();
    new_block(&mut events).await;
    spender.spend(100_000);
    assert!(matches!(next(&mut events).await, SourceEvent::Refreshed(_)));

    // Within the interval, and the block leaves the transaction where it is.
    node.cli(&["generateblock", "raw(51)#8lvh9jxk", "[]"]);
    let template = new_block(&mut events).await;
    assert_complete(&template, &node);
    assert_eq!(template.merkle_path.len(), 1, "not empty");
    spender.spend(100_000);
    let SourceEvent::Refreshed(better) = next(&mut events).await else { panic!("expected a better one") };
    assert_eq!(better.merkle_path.len(), 2);
}

#[tokio::test]
async fn the_transactions_of_a_template_are_kept_past_the_end_of_its_node() {
    let mut node = TestNode::regtest();
    let mut spender = Spender::new(&node);
    spender.spend(100_000);
    let source = source(&node);
    let mut events = source.events();
    let template = new_block(&mut events).await;
    timeout(Duration::from_secs(10), source.await_transactions(template.id)).await.unwrap();
    node.kill9();
    next(&mut events).await;
    assert_eq!(source.transactions(template.id).unwrap().len(), 1);
}

#[tokio::test]
async fn a_killed_node_is_lost_once_and_mined_on_again_after_its_restart() {
    let mut node = TestNode::regtest();
    node.mine(1);
    let source = source(&node);
    let mut events = source.events();
    let before = new_block(&mut events).await;

    node.kill9();
    let SourceEvent::Lost { reason } = next(&mut events).await else { panic!("expected the loss") };
    assert_eq!(reason, Outage::Closed);
    assert!(timeout(Duration::from_secs(2), events.next()).await.is_err(), "the loss is told once");
    assert!(source.current().is_err());
    let late = solve(&before);
    assert_eq!(source.submit(late.clone()).await, Err(SubmitError::UnknownTemplate(before.id)));

    node.restart();
    // The killed node may have forgotten its young chain, and is then in initial download again.
    node.mine(1);
    let template = on_tip(&mut events, &node).await;
    assert_complete(&template, &node);
    assert_eq!(source.submit(late).await, Err(SubmitError::UnknownTemplate(before.id)));
    assert_eq!(source.submit(solve(&template)).await, Ok(SubmitOutcome::Accepted(tip(&node))));
}

#[tokio::test]
async fn a_restart_on_the_same_tip_refreshes_the_template() {
    let mut node = TestNode::regtest();
    node.mine(1);
    let source = source(&node);
    let mut events = source.events();
    let before = new_block(&mut events).await;

    node.stop();
    assert!(matches!(next(&mut events).await, SourceEvent::Lost { .. }));
    node.restart();
    let SourceEvent::Refreshed(template) = next(&mut events).await else { panic!("expected the same tip") };
    assert_ne!(template.id, before.id);
    assert_complete(&template, &node);
}

#[tokio::test]
async fn a_slow_reader_is_told_of_a_new_block_and_only_the_newest_one() {
    let node = TestNode::regtest();
    node.mine(1);
    let source = source(&node);
    let (mut slow, mut quick) = (source.events(), source.events());
    new_block(&mut slow).await;
    new_block(&mut quick).await;
    for _ in 0..5 {
        node.mine(1);
        assert_eq!(new_block(&mut quick).await.prev_hash, tip(&node));
    }
    assert_eq!(new_block(&mut slow).await.prev_hash, tip(&node));
    assert!(timeout(Duration::from_secs(1), slow.next()).await.is_err(), "nothing else is left to tell");
}

#[tokio::test]
async fn a_block_that_lost_the_race_is_not_called_accepted() {
    let node = TestNode::regtest();
    node.mine(1);
    let source = source(&node);
    let mut events = source.events();
    let template = new_block(&mut events).await;
    node.mine(1);
    new_block(&mut events).await;
    let winner = tip(&node);
    let outcome = source.submit(solve(&template)).await.unwrap();
    assert!(matches!(outcome, SubmitOutcome::Unconfirmed(hash) if hash != winner));
    assert_eq!(tip(&node), winner);
}

#[tokio::test]
async fn what_is_no_block_is_not_sent() {
    let node = TestNode::regtest();
    node.mine(1);
    let source = source(&node);
    let template = new_block(&mut source.events()).await;
    assert!(matches!(source.submit(miss(&template)).await, Err(SubmitError::AboveTarget(_))));
    let mut torn = solve(&template);
    torn.coinbase.pop();
    assert!(matches!(source.submit(torn).await, Err(SubmitError::Coinbase(_))));
}

#[tokio::test]
async fn a_source_that_is_shut_down_ends_its_readers_and_lets_the_node_stop() {
    let mut node = TestNode::regtest();
    node.mine(1);
    let source = source(&node);
    let mut events = source.events();
    new_block(&mut events).await;
    timeout(Duration::from_secs(4), source.shutdown()).await.expect("the node ends its calls at once");
    assert!(events.next().await.is_none());
    node.stop();
}

#[tokio::test]
async fn a_node_that_comes_later_is_found() {
    let node = TestNode::regtest();
    let place = tempfile::Builder::new().prefix("pbx").tempdir_in("/tmp").unwrap();
    let link = place.path().join("node");
    let source = core_ipc::start(CoreIpcConfig::new(link.join("node.sock"))).unwrap();
    let mut events = source.events();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(source.current().unwrap_err(), Outage::NoSocket(link.join("node.sock")));

    node.mine(1);
    std::os::unix::fs::symlink(node.network_dir(), &link).unwrap();
    assert_complete(&*new_block(&mut events).await, &node);
}
