//! A pool whose jobs come from a template provider: here a stand-in for one, on a real node.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure here is the failure of a test"
)]

mod rig;
#[path = "../../work-source/tests/support/stand_in_template_provider.rs"]
#[allow(dead_code, reason = "the tests of the work source use the rest")]
mod stand_in;

use poolbox_api::pool::Status;
use poolbox_testnode::TestNode;
use rig::{Pool, RealMiner};
use stand_in::StandIn;

#[tokio::test(flavor = "multi_thread")]
async fn blocks_found_on_a_providers_templates_are_in_the_chain_also_when_it_is_gone() {
    let node = TestNode::regtest();
    node.mine(1);
    let mut provider = StandIn::start(&node);
    let mut pool = Pool::on_provider(&node, &provider.address(), &provider.authority_key().to_string());
    let started = pool.start_with_work().await;
    let miner = RealMiner::start(&started.stratum_v2, "garage.one", "300k", &[]);
    let in_chain = |status: &Status| status.blocks.iter().filter(|block| block.confirmed).count();
    let mined = pool.until("two blocks are in the chain", |status| in_chain(status) >= 2).await;
    assert!(node.height() >= 3 && mined.halted.is_none());
    assert!(provider.heard().iter().any(|name| name == "SubmitSolution"));
    drop(miner);

    // The RPC is the other way. Without a provider there is no second template: the miner must not have
    // found a block on the last one before it went.
    loop {
        let next = node.height() + 1;
        pool.until("work on the tip", |status| {
            status.source.connected && status.source.height.map(u64::from) == Some(next)
        })
        .await;
        let _miner = RealMiner::start(&started.stratum_v1, "garage.one", "150k", &[]);
        let before = pool.until("the miner is there", |status| status.connections == 1).await;
        provider.stop();
        if node.height() + 1 == next {
            pool.until("a block is in the chain", |status| in_chain(status) > in_chain(&before)).await;
            assert_eq!(node.height(), next);
            break;
        }
        provider.resume();
    }
    assert!(pool.stop().success());
}
