//! The chain decides: reorganisations of a real node at every state of an epoch, with the mint
//! killed in between, and a node that forgot its own tip.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::rig::{Rig, until_state};
use poolbox_accounting::{EpochId, EpochState, Owner, Sats};

/// Longer than the announcement's grace in the rig's settings.
const PAST_THE_GRACE: Duration = Duration::from_secs(5);

fn household(name: &str) -> Owner {
    Owner::Household(name.to_owned())
}

async fn until_height(rig: &Rig, height: u32) {
    rig.until("the chain is followed", async |rig| rig.status().await.chain.height == height).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_lives_through_a_reorganisation_and_a_kill_at_each_state() {
    let mut rig = Rig::new(2).await;
    let owner = household("alice");
    rig.share(&owner, 100).await;
    let first = rig.block(&owner, 5).await;
    until_state(&rig, 2, EpochState::Provisional).await;
    rig.cut_power().await;

    // Another block of ours at the same height.
    rig.node.cli(&["invalidateblock", &first.to_string()]);
    // Header times of a young chain run ahead of the clock; with the same time it would be the same block.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let second = rig.mine_unannounced(1).remove(0);
    rig.until("the block is replaced", async |rig| {
        rig.epoch(1).await.is_some_and(|epoch| epoch.block_hash.as_ref() == Some(&second))
    })
    .await;
    rig.cut_power().await;
    rig.share(&owner, 40).await;
    rig.until_amounts(&owner, 2, 40, 0).await;
    assert_eq!(rig.epoch(2).await.unwrap().state, EpochState::Provisional, "the clock starts again");
    rig.node.mine(1);
    rig.until_amounts(&owner, 2, 40, 40).await;
    rig.cut_power().await;

    // Past finality: the boundary stands, the reward is gone.
    rig.node.cli(&["invalidateblock", &second]);
    rig.node.mine(4);
    rig.until("the reward is lost", async |rig| rig.epoch(1).await.unwrap().reward == Sats::ZERO).await;
    rig.cut_power().await;
    assert_eq!(rig.epoch(1).await.unwrap().state, EpochState::Closed);
    assert_eq!(rig.epoch(2).await.unwrap().state, EpochState::Open);
    assert_eq!(rig.amounts(&owner, 2).await, Some((40, 40, 0)));

    // The next payout is for those who lost theirs.
    let third = rig.block(&owner, 1).await;
    rig.until("the reward is made good", async |rig| rig.epoch(1).await.unwrap().reward > Sats::ZERO).await;
    rig.until_amounts(&owner, 2, 41, 41).await;
    rig.cut_power().await;
    assert_eq!(rig.status().await.epoch, EpochId::new(2));

    rig.node.mine(99);
    until_state(&rig, 1, EpochState::Settled).await;
    rig.cut_power().await;
    let last = "payout_added closed payout_lost boundary_swapped payout_lost payout_added matured settled";
    assert_eq!(rig.history(1).await.join(" "), last);
    assert_eq!(rig.history(2).await, ["opened", "released"]);

    // Deeper than maturity: the reward is gone from the treasury, and is not shared out twice when
    // it comes back.
    let foreign = rig.node.height() - 99;
    rig.node.cli(&["invalidateblock", &third.to_string()]);
    rig.node.mine(102);
    rig.until("the reward is missed", async |rig| rig.status().await.sats.reserve == Sats::ZERO).await;
    let foreign = rig.node.cli(&["getblockhash", &foreign.to_string()]);
    rig.node.cli(&["invalidateblock", foreign.as_str().unwrap()]);
    rig.node.cli(&["reconsiderblock", &third.to_string()]);
    rig.until("the reward is back", async |rig| rig.status().await.sats.reserve > Sats::ZERO).await;
    rig.until("the chain is followed", async |rig| {
        rig.history(1).await.ends_with(&["payout_lost".to_owned(), "payout_added".to_owned()])
    })
    .await;
    assert_eq!(rig.epoch(2).await.unwrap().reward, Sats::ZERO);
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_payouts_lost_in_one_reorganisation_dissolve_into_one_epoch_and_may_come_back() {
    let mut rig = Rig::new(6).await;
    let (alice, bob) = (household("alice"), household("bob"));
    rig.share(&alice, 10).await;
    let first = rig.block(&alice, 1).await;
    until_state(&rig, 2, EpochState::Provisional).await;
    rig.share(&bob, 20).await;
    let second = rig.block(&bob, 2).await;
    until_state(&rig, 3, EpochState::Provisional).await;
    rig.share(&alice, 30).await;
    rig.until_amounts(&alice, 3, 30, 0).await;

    // While the mint is down.
    rig.kill9();
    rig.node.cli(&["invalidateblock", &first.to_string()]);
    let foreign = rig.node.mine(3).remove(0);
    rig.start().await;
    rig.until_amounts(&alice, 1, 41, 41).await;
    rig.until_amounts(&bob, 1, 22, 22).await;
    assert_eq!(rig.status().await.epoch, EpochId::new(1));
    assert_eq!(rig.history(3).await, ["opened", "dissolved"]);
    rig.cut_power().await;

    // Both come back: their announcements are used up, and nobody worked between them.
    rig.node.cli(&["invalidateblock", &foreign]);
    rig.node.cli(&["reconsiderblock", &second.to_string()]);
    until_height(&rig, 5).await;
    tokio::time::sleep(PAST_THE_GRACE).await;
    rig.share(&alice, 7).await;
    rig.until_amounts(&alice, 2, 7, 0).await;
    let epoch = rig.epoch(1).await.unwrap();
    assert_eq!((epoch.block_hash, epoch.work.ehash()), (Some(second.to_string()), 63));
    assert_eq!(epoch.reward, Sats::new(2 * 5_000_000_000));
    rig.node.mine(5);
    rig.until_amounts(&alice, 2, 7, 7).await;
    assert_eq!(rig.status().await.ehash.credited.ehash(), 70);
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mint_that_was_down_meets_every_payout_announced_or_not() {
    let mut rig = Rig::new(2).await;
    let owner = household("alice");
    rig.share(&owner, 1).await;
    rig.until_amounts(&owner, 1, 1, 1).await;
    rig.kill9();
    let first = rig.block(&owner, 2).await;
    rig.share(&owner, 4).await;
    let second = rig.block(&owner, 8).await;
    rig.node.mine(3);
    rig.share(&owner, 16).await;
    rig.start().await;
    rig.until_amounts(&owner, 3, 16, 16).await;
    assert_eq!(
        (rig.amounts(&owner, 1).await, rig.amounts(&owner, 2).await),
        (Some((3, 3, 0)), Some((12, 12, 0)))
    );
    assert_eq!(rig.epoch(1).await.unwrap().block_hash, Some(first.to_string()));
    assert_eq!(rig.epoch(2).await.unwrap().block_hash, Some(second.to_string()));

    // No pool announced this one: it ends the epoch at the last share before the mint had seen it.
    let unannounced = rig.mine_unannounced(1).remove(0);
    until_height(&rig, 9).await;
    rig.cut_power().await;
    tokio::time::sleep(PAST_THE_GRACE).await;
    assert_eq!(rig.epoch(3).await.unwrap().state, EpochState::Open);
    rig.share(&owner, 32).await;
    rig.until_amounts(&owner, 4, 32, 0).await;
    let epoch = rig.epoch(3).await.unwrap();
    assert_eq!((epoch.block_hash, epoch.work.ehash()), (Some(unannounced), 16));
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_forgot_its_tip_is_followed_again_by_mint_and_treasury() {
    let mut rig = Rig::new(3).await;
    let owner = household("alice");
    rig.share(&owner, 10).await;
    rig.until_amounts(&owner, 1, 10, 10).await;
    rig.node.stop();
    let (data, copy) = (rig.node.network_dir(), rig.path("node-copy"));
    copy_folder(&data, &copy);
    rig.node.restart();

    // A block of ours that reached no peer, and one upon it; both wallets stand on them.
    rig.block(&owner, 5).await;
    until_state(&rig, 2, EpochState::Provisional).await;
    rig.node.mine(1);
    rig.share(&owner, 7).await;
    rig.until_amounts(&owner, 2, 7, 0).await;
    rig.until("the treasury sees the block", async |rig| rig.status().await.sats.immature > Sats::ZERO).await;

    rig.node.kill9();
    std::fs::remove_dir_all(&data).unwrap();
    copy_folder(&copy, &data);
    rig.node.restart();
    rig.until("the node is told", async |rig| rig.logged("it was told their headers") > 0).await;
    rig.share(&owner, 1).await;
    // It has nothing to offer in their place yet.
    rig.until_amounts(&owner, 2, 8, 0).await;
    assert!(!rig.status().await.chain.connected);

    rig.node.mine(3);
    rig.until_amounts(&owner, 1, 23, 23).await;
    rig.until("the treasury goes back", async |rig| rig.status().await.sats.immature == Sats::ZERO).await;
    let block = rig.block(&owner, 1).await;
    rig.node.mine(99);
    until_state(&rig, 1, EpochState::Settled).await;
    assert_eq!(rig.epoch(1).await.unwrap().block_hash, Some(block.to_string()));
    assert!(rig.status().await.sats.reserve > Sats::ZERO);
    assert_eq!(rig.status().await.halted, None);
}

fn copy_folder(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}
