//! Found blocks reach the chain of a real node, whatever is down in between.

#![cfg(test)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use poolbox_testnode::TestNode;
use poolbox_work_source::WorkSource;
use poolbox_work_source::blocks::{BlockKeeper, Outcome, RpcConfig, RpcLogin};
use poolbox_work_source::tdp::{self, TdpConfig};
use support::spending::Spender;
use support::stand_in_template_provider::{Habits, StandIn};
use support::{find, find_paying, new_block, next, on_tip, source, tip};
use tempfile::TempDir;
use tokio::sync::oneshot::Receiver;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

fn rpc(node: &TestNode) -> Option<RpcConfig> {
    Some(RpcConfig { url: node.rpc_url(), login: RpcLogin::Cookie(node.cookie_file()) })
}

fn keeper(place: &Path, source: &Arc<WorkSource>, rpc: Option<RpcConfig>) -> BlockKeeper {
    BlockKeeper::open(place, Arc::clone(source), rpc).unwrap()
}

async fn outcome(receiver: Receiver<Outcome>) -> Outcome {
    timeout(PATIENCE, receiver).await.expect("an outcome").expect("a running keeper")
}

/// Names of the files in a directory.
fn files(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.path().is_file());
    files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Waits until the only file is of this kind.
async fn kept_as(place: &Path, extension: &str) {
    let wait = async {
        while !matches!(files(place).as_slice(), [file] if file.ends_with(extension)) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("a {extension}, not {:?}", files(place)));
}

fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn a_block_reaches_the_chain_over_the_source_alone() {
    let (node, place) = (TestNode::regtest(), place());
    node.mine(1);
    let source = Arc::new(source(&node));
    let template = new_block(&mut source.events()).await;
    let keeper = keeper(place.path(), &source, None);
    let found = find(&template);
    let hash = found.header.block_hash();
    let receiver = keeper.found(found);
    assert_eq!(keeper.pending()[0].hash, hash);
    assert_eq!(outcome(receiver).await, Outcome::OnChain);
    assert_eq!(tip(&node), hash);
    assert!(keeper.pending().is_empty() && files(place.path()).is_empty());
}

#[tokio::test]
async fn source_and_rpc_together_do_not_get_in_each_others_way() {
    let (node, place) = (TestNode::regtest(), place());
    node.mine(1);
    let source = Arc::new(source(&node));
    let mut events = source.events();
    let keeper = keeper(place.path(), &source, rpc(&node));
    for _ in 0..20 {
        let template = on_tip(&mut events, &node).await;
        assert_eq!(outcome(keeper.found(find(&template))).await, Outcome::OnChain);
    }
    assert_eq!(node.height(), 21);
    assert!(files(place.path()).is_empty());
}

#[tokio::test]
async fn a_block_with_transactions_reaches_the_chain_when_its_template_provider_is_gone() {
    let (node, place) = (TestNode::regtest(), place());
    let mut spender = Spender::new(&node);
    let txid = spender.spend(100_000);
    let mut provider = StandIn::start(&node);
    let config = TdpConfig::new(provider.address(), Some(provider.authority_key()));
    let source = Arc::new(tdp::start(config).unwrap());
    let mut events = source.events();
    let template = new_block(&mut events).await;
    timeout(PATIENCE, source.await_transactions(template.id)).await.unwrap();
    provider.stop();
    next(&mut events).await;

    let keeper = keeper(place.path(), &source, rpc(&node));
    let found = find(&template);
    let hash = found.header.block_hash();
    assert_eq!(outcome(keeper.found(found)).await, Outcome::OnChain);
    assert_eq!(tip(&node), hash);
    assert_eq!(node.cli(&["getblock", &node.tip()])["tx"][1], txid.to_string());
    assert!(files(place.path()).is_empty());
}

#[tokio::test]
async fn a_block_without_transactions_still_goes_to_the_source() {
    let (node, place) = (TestNode::regtest(), place());
    node.mine(1);
    let habits = Habits { withholds_transactions: true, ..Habits::default() };
    let mut provider = StandIn::with_habits(&node, habits);
    let config = TdpConfig::new(provider.address(), Some(provider.authority_key()));
    let source = Arc::new(tdp::start(config).unwrap());
    let mut events = source.events();
    let keeper = keeper(place.path(), &source, rpc(&node));
    let template = new_block(&mut events).await;
    assert_eq!(outcome(keeper.found(find(&template))).await, Outcome::OnChain);

    let template = on_tip(&mut events, &node).await;
    provider.stop();
    next(&mut events).await;
    let _receiver = keeper.found(find(&template));
    kept_as(place.path(), ".solution").await;
    let pending = keeper.pending();
    assert!(!pending[0].complete && pending.len() == 1);
}

#[tokio::test]
async fn a_block_found_while_the_node_is_down_is_kept_and_sent_when_it_is_back() {
    let (mut node, place) = (TestNode::regtest(), place());
    node.mine(1);
    let source = Arc::new(source(&node));
    let mut events = source.events();
    let template = new_block(&mut events).await;
    timeout(PATIENCE, source.await_transactions(template.id)).await.unwrap();
    node.stop();
    next(&mut events).await;

    let keeper = keeper(place.path(), &source, rpc(&node));
    let found = find(&template);
    let hash = found.header.block_hash();
    let mut receiver = keeper.found(found);
    kept_as(place.path(), ".block").await;
    assert!(timeout(Duration::from_secs(2), &mut receiver).await.is_err());
    let pending = &keeper.pending()[0];
    assert!(pending.complete && pending.trouble.as_ref().is_some_and(|trouble| trouble.contains("RPC")));

    node.restart();
    assert_eq!(outcome(receiver).await, Outcome::OnChain);
    assert_eq!(tip(&node), hash);
    assert!(files(place.path()).is_empty());
}

#[tokio::test]
async fn a_block_outlives_the_process_that_found_it() {
    let (mut node, place) = (TestNode::regtest(), place());
    node.mine(1);
    let hash = {
        let source = Arc::new(source(&node));
        let mut events = source.events();
        let template = new_block(&mut events).await;
        timeout(PATIENCE, source.await_transactions(template.id)).await.unwrap();
        node.stop();
        next(&mut events).await;
        let keeper = keeper(place.path(), &source, rpc(&node));
        let found = find(&template);
        let hash = found.header.block_hash();
        drop(keeper.found(found));
        kept_as(place.path(), ".block").await;
        hash
    };
    let source = Arc::new(source(&node));
    let keeper = keeper(place.path(), &source, rpc(&node));
    assert_eq!(keeper.pending()[0].hash, hash);
    let (left, receiver) = keeper.left().remove(0);
    assert!(left == hash && keeper.left().is_empty());
    node.restart();
    assert_eq!(outcome(receiver).await, Outcome::OnChain);
    assert!(keeper.pending().is_empty());
    assert_eq!(tip(&node), hash);
    assert!(files(place.path()).is_empty());
}

#[tokio::test]
async fn a_block_that_lost_the_race_is_moved_to_lost() {
    let (node, place) = (TestNode::regtest(), place());
    node.mine(1);
    let source = Arc::new(source(&node));
    let mut events = source.events();
    let template = new_block(&mut events).await;
    timeout(PATIENCE, source.await_transactions(template.id)).await.unwrap();
    let rival = node.mine(1).remove(0);
    let keeper = keeper(place.path(), &source, rpc(&node));
    let mut receiver = keeper.found(find(&template));
    kept_as(place.path(), ".block").await;
    node.mine(4);
    let early = timeout(Duration::from_secs(1), &mut receiver).await;
    assert!(early.is_err(), "five blocks may be undone: {early:?}");
    kept_as(place.path(), ".block").await;

    node.mine(1);
    let Outcome::Lost { reason } = outcome(receiver).await else { panic!("two blocks at one height") };
    assert!(reason.contains(&rival) && reason.contains("6 confirmations"), "{reason}");
    assert!(files(place.path()).is_empty() && keeper.pending().is_empty());
    assert!(files(&place.path().join("lost"))[0].ends_with(".block"));
}

#[tokio::test]
async fn a_block_that_overtakes_its_rival_is_on_chain_after_all() {
    let (node, place) = (TestNode::regtest(), place());
    node.mine(1);
    let source = Arc::new(source(&node));
    let template = new_block(&mut source.events()).await;
    timeout(PATIENCE, source.await_transactions(template.id)).await.unwrap();
    let rival = node.mine(1).remove(0);
    let keeper = keeper(place.path(), &source, rpc(&node));
    let found = find(&template);
    let hash = found.header.block_hash();
    let mut receiver = keeper.found(found);
    assert!(timeout(Duration::from_secs(1), &mut receiver).await.is_err());
    node.cli(&["invalidateblock", &rival]);
    assert_eq!(outcome(receiver).await, Outcome::OnChain);
    assert_eq!(tip(&node), hash);
}

#[tokio::test]
async fn a_block_that_the_node_finds_invalid_is_moved_to_lost_with_the_nodes_word() {
    let (node, place) = (TestNode::regtest(), place());
    node.mine(1);
    let source = Arc::new(source(&node));
    let template = new_block(&mut source.events()).await;
    timeout(PATIENCE, source.await_transactions(template.id)).await.unwrap();
    let keeper = keeper(place.path(), &source, rpc(&node));
    let greedy = find_paying(&template, template.coinbase.value.get() + 1);
    let Outcome::Lost { reason } = outcome(keeper.found(greedy)).await else { panic!("too much was paid") };
    assert!(reason.contains("bad-cb-amount") || reason.contains("duplicate-invalid"), "{reason}");
    assert_eq!(files(&place.path().join("lost")).len(), 1);
}

#[tokio::test]
async fn a_password_file_is_as_good_as_a_cookie() {
    let (node, place) = (TestNode::regtest(), place());
    node.mine(1);
    let cookie = std::fs::read_to_string(node.cookie_file()).unwrap();
    let (user, password) = cookie.split_once(':').unwrap();
    let file = place.path().join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let login = RpcLogin::Password { user: user.to_owned(), file };
    let mut provider = StandIn::start(&node);
    let source = Arc::new(tdp::start(TdpConfig::new(provider.address(), None)).unwrap());
    let mut events = source.events();
    let template = new_block(&mut events).await;
    timeout(PATIENCE, source.await_transactions(template.id)).await.unwrap();
    provider.stop();
    next(&mut events).await;
    let blocks = place.path().join("blocks");
    let keeper = keeper(&blocks, &source, Some(RpcConfig { url: node.rpc_url(), login }));
    assert_eq!(outcome(keeper.found(find(&template))).await, Outcome::OnChain);
}
