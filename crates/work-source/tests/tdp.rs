//! Templates from a template provider over the network, and blocks to it.

#![cfg(test)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use poolbox_accounting::Network;
use poolbox_testnode::TestNode;
use poolbox_work_source::tdp::{self, AuthorityKey, TdpConfig};
use poolbox_work_source::{Outage, SourceEvent, SubmitError, SubmitOutcome, WorkSource};
use support::spending::Spender;
use support::stand_in_template_provider::{Habits, StandIn};
use support::{assert_complete, new_block, next, on_tip, solve, tip};
use tokio::time::timeout;

fn source(provider: &StandIn) -> WorkSource {
    tdp::start(TdpConfig::new(provider.address(), Some(provider.authority_key()))).unwrap()
}

/// Waits until the source gives a reason that is not the start.
fn outage(source: &WorkSource) -> Outage {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match source.current() {
            Ok(template) => panic!("a template from nowhere: {template:?}"),
            Err(Outage::Starting) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20))
            }
            Err(outage) => return outage,
        }
    }
}

fn outage_at(address: String, key: Option<AuthorityKey>) -> Outage {
    outage(&tdp::start(TdpConfig::new(address, key)).unwrap())
}

#[tokio::test]
async fn templates_follow_the_chain_and_solutions_become_the_tip() {
    let node = TestNode::regtest();
    node.mine(1);
    let provider = StandIn::start(&node);
    let source = source(&provider);
    let mut events = source.events();
    assert_complete(&*new_block(&mut events).await, &node);
    node.mine(1);
    for _ in 0..20 {
        let template = on_tip(&mut events, &node).await;
        assert_complete(&template, &node);
        let outcome = source.submit(solve(&template)).await.unwrap();
        assert_eq!(outcome, SubmitOutcome::Accepted(tip(&node)));
    }
    let heard = provider.heard();
    assert_eq!(heard[0], "CoinbaseOutputConstraints", "without it a provider sends nothing");
    assert_eq!(heard.iter().filter(|name| *name == "SubmitSolution").count(), 20);
}

#[tokio::test]
async fn a_block_of_real_difficulty_becomes_the_tip() {
    let node = TestNode::devnet();
    assert_eq!(node.network(), Network::Devnet);
    node.mine(1);
    let provider = StandIn::start(&node);
    let source = source(&provider);
    let template = new_block(&mut source.events()).await;
    let solution = tokio::task::spawn_blocking(move || solve(&template)).await.unwrap();
    assert_eq!(source.submit(solution).await, Ok(SubmitOutcome::Accepted(tip(&node))));
}

#[tokio::test]
async fn fees_refresh_the_template_and_its_transactions_are_kept() {
    let node = TestNode::regtest();
    let mut spender = Spender::new(&node);
    let provider = StandIn::start(&node);
    let source = source(&provider);
    let mut events = source.events();
    let plain = new_block(&mut events).await;
    let txid = spender.spend(100_000);
    let SourceEvent::Refreshed(template) = next(&mut events).await else {
        panic!("expected a refreshed one")
    };
    assert_eq!(template.coinbase.value.get(), plain.coinbase.value.get() + 100_000);
    let transactions =
        timeout(Duration::from_secs(10), source.await_transactions(template.id)).await.unwrap();
    assert_eq!(transactions.len(), 1);
    assert!(source.transactions(plain.id).is_some_and(|transactions| transactions.is_empty()));

    let outcome = source.submit(solve(&template)).await.unwrap();
    assert_eq!(outcome, SubmitOutcome::Accepted(tip(&node)));
    assert_eq!(node.cli(&["getblock", &node.tip()])["tx"][1], txid.to_string());
}

#[tokio::test]
async fn a_provider_that_restarts_is_lost_once_and_goes_on() {
    let node = TestNode::regtest();
    node.mine(1);
    let mut provider = StandIn::start(&node);
    let source = source(&provider);
    let mut events = source.events();
    let before = new_block(&mut events).await;

    provider.stop();
    let SourceEvent::Lost { reason } = next(&mut events).await else { panic!("expected the loss") };
    assert_eq!(reason, Outage::ProviderClosed);
    assert!(timeout(Duration::from_secs(2), events.next()).await.is_err(), "the loss is told once");
    assert_eq!(source.current().unwrap_err(), Outage::ProviderRefused(provider.address()));
    assert_eq!(source.submit(solve(&before)).await, Err(SubmitError::UnknownTemplate(before.id)));

    provider.resume();
    let SourceEvent::Refreshed(template) = next(&mut events).await else { panic!("expected the same tip") };
    assert_complete(&template, &node);
    assert_eq!(source.submit(solve(&template)).await, Ok(SubmitOutcome::Accepted(tip(&node))));
}

#[tokio::test]
async fn a_node_that_restarts_behind_the_provider_is_mined_on_again() {
    let mut node = TestNode::regtest();
    node.mine(1);
    let provider = StandIn::start(&node);
    let source = source(&provider);
    let mut events = source.events();
    new_block(&mut events).await;
    node.stop();
    assert!(matches!(next(&mut events).await, SourceEvent::Lost { .. }));
    node.restart();
    let template = on_tip(&mut events, &node).await;
    assert_eq!(source.submit(solve(&template)).await, Ok(SubmitOutcome::Accepted(tip(&node))));
}

#[tokio::test]
async fn a_provider_without_the_authority_key_is_refused() {
    let node = TestNode::regtest();
    node.mine(1);
    let provider = StandIn::start(&node);
    let other: AuthorityKey = {
        // The curve's base point.
        let x = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let x: bitcoin::XOnlyPublicKey = x.parse().unwrap();
        bitcoin::base58::encode_check(&[[1, 0].as_slice(), &x.serialize()].concat()).parse().unwrap()
    };
    let outage = outage_at(provider.address(), Some(other));
    let expected = other.to_string();
    assert_eq!(outage, Outage::WrongKey { address: provider.address(), expected: expected.clone() });
    let text = outage.to_string();
    assert!(text.contains(&expected) && text.contains("Template Provider authority key"), "{text}");
    assert!(provider.heard().is_empty(), "nothing is told to a stranger");

    let anybody = tdp::start(TdpConfig::new(provider.address(), None)).unwrap();
    assert_complete(&*new_block(&mut anybody.events()).await, &node);
}

#[tokio::test]
async fn a_certificate_of_another_time_is_told_from_a_wrong_key() {
    let node = TestNode::regtest();
    let provider = StandIn::with_habits(&node, Habits { expired: true, ..Habits::default() });
    let outage = outage_at(provider.address(), Some(provider.authority_key()));
    assert!(matches!(&outage, Outage::Expired { from: 1_500_000_000, .. }), "{outage}");
    assert!(outage.to_string().contains("clock"));
}

#[tokio::test]
async fn a_provider_that_declines_says_why() {
    let node = TestNode::regtest();
    let provider = StandIn::with_habits(&node, Habits { declines: true, ..Habits::default() });
    let outage = outage_at(provider.address(), Some(provider.authority_key()));
    let code = "unsupported-protocol".to_owned();
    assert_eq!(outage, Outage::Declined { address: provider.address(), code });
}

#[tokio::test]
async fn a_provider_whose_node_is_in_initial_download_is_waited_for() {
    let node = TestNode::regtest();
    let provider = StandIn::start(&node);
    let source = source(&provider);
    let mut events = source.events();
    assert!(timeout(Duration::from_secs(3), events.next()).await.is_err());
    assert_eq!(source.current().unwrap_err(), Outage::ProviderDownloading);
    node.mine(1);
    assert_complete(&*new_block(&mut events).await, &node);
}

/// A server that answers each connection with `answer` after it has read `read` bytes, and closes.
fn server(read: usize, answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read_exact(&mut vec![0; read]);
            let _ = stream.write_all(answer);
        }
    });
    address
}

#[test]
fn what_is_no_template_provider_is_told_as_such() {
    let answers: [&[u8]; 4] = [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0; 234], &[0x5a; 100_000]];
    for answer in answers {
        let address = server(64, answer);
        let outage = outage_at(address.clone(), None);
        assert!(
            matches!(&outage, Outage::NotAProvider { address: told, .. } if *told == address),
            "{outage}"
        );
        assert!(outage.to_string().contains("8442"));
    }
}

#[test]
fn an_address_where_nobody_listens_names_what_to_start() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let outage = outage_at(address.clone(), None);
    assert_eq!(outage, Outage::ProviderRefused(address));
    assert!(outage.to_string().contains("sv2-tp"));
}

#[test]
fn a_name_that_leads_nowhere_is_told() {
    let outage = outage_at("no-such-host.invalid:8442".into(), None);
    assert!(matches!(outage, Outage::ProviderUnreachable { .. }), "{outage}");
}

#[tokio::test]
async fn a_source_that_waits_for_a_handshake_can_be_shut_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = tdp::start(TdpConfig::new(listener.local_addr().unwrap().to_string(), None)).unwrap();
    let _silent = listener.accept().unwrap();
    timeout(Duration::from_secs(2), source.shutdown()).await.expect("the handshake is given up");
}
