//! What the tests of work sources share: a source on a node, its events, and mining by hand.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod crowd;
pub mod spending;
pub mod stand_in_template_provider;

use std::sync::Arc;
use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, ScriptBuf, Transaction, TxOut};
use poolbox_accounting::Sats;
use poolbox_testnode::TestNode;
use poolbox_work_source::blocks::Found;
use poolbox_work_source::core_ipc::{self, CoreIpcConfig};
use poolbox_work_source::{Events, Solution, SourceEvent, Template, WorkSource};

/// Longer than any wait of the source.
const PATIENCE: Duration = Duration::from_secs(30);

/// A source on `node` that refreshes templates eagerly.
pub fn source(node: &TestNode) -> WorkSource {
    let mut config = CoreIpcConfig::new(node.socket());
    config.fee_threshold = Sats::new(1);
    config.min_interval = Duration::from_secs(1);
    core_ipc::start(config).unwrap()
}

/// The next event.
pub async fn next(events: &mut Events) -> SourceEvent {
    tokio::time::timeout(PATIENCE, events.next()).await.expect("an event").expect("a running source")
}

/// The template of the next event, which must be a new block.
pub async fn new_block(events: &mut Events) -> Arc<Template> {
    match next(events).await {
        SourceEvent::NewBlock(template) => template,
        other => panic!("expected a new block, got {other:?}"),
    }
}

/// The template on the node's tip, whatever is told before it.
pub async fn on_tip(events: &mut Events, node: &TestNode) -> Arc<Template> {
    loop {
        match next(events).await {
            SourceEvent::NewBlock(template) | SourceEvent::Refreshed(template)
                if template.prev_hash == tip(node) =>
            {
                return template;
            }
            _ => {}
        }
    }
}

/// Finds a block on `template` that pays its whole value to anyone, with one core.
pub fn solve(template: &Template) -> Solution {
    mine(template, true)
}

/// A header on `template` whose hash is above the target.
pub fn miss(template: &Template) -> Solution {
    mine(template, false)
}

/// A block on `template` as the finder hands it on.
pub fn find(template: &Arc<Template>) -> Found {
    find_paying(template, template.coinbase.value.get())
}

/// One whose coinbase pays `sats`.
pub fn find_paying(template: &Arc<Template>, sats: u64) -> Found {
    let (header, coinbase) = header(template, sats, true);
    Found { template: Arc::clone(template), header, coinbase: serialize(&coinbase) }
}

fn header(template: &Template, sats: u64, solve: bool) -> (Header, Transaction) {
    let payout = TxOut { value: Amount::from_sat(sats), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) };
    let coinbase = template.coinbase.transaction(b"\x08extranon", &[payout]);
    let mut header = template.header(coinbase.compute_txid(), template.version, template.time, 0);
    while header.validate_pow(header.target()).is_ok() != solve {
        header.nonce += 1;
    }
    (header, coinbase)
}

fn mine(template: &Template, solve: bool) -> Solution {
    let (header, coinbase) = header(template, template.coinbase.value.get(), solve);
    Solution {
        template_id: template.id,
        version: template.version,
        time: template.time,
        nonce: header.nonce,
        coinbase: serialize(&coinbase),
    }
}

/// The node's tip.
pub fn tip(node: &TestNode) -> BlockHash {
    node.tip().parse().unwrap()
}

/// Checks what every template must have.
pub fn assert_complete(template: &Template, node: &TestNode) {
    let height = u64::from(template.height);
    assert_eq!(template.prev_hash, tip(node));
    assert_eq!(height, node.height() + 1);
    assert_eq!(
        u64::from(template.coinbase.lock_time),
        height - 1,
        "Core 31 locks the coinbase to its height"
    );
    assert!(template.time > 0 && template.version >= 0x2000_0000);
    assert!(template.coinbase.value >= Sats::new(50 * 100_000_000));
    assert_eq!(template.coinbase.outputs.len(), 1, "the witness commitment");
    assert_ne!(template.prev_hash, BlockHash::all_zeros());
}
