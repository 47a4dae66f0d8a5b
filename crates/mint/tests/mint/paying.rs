//! Standing payouts, with a real node: who is paid, when, and never twice.

use poolbox_accounting::{EpochState, Network, Owner, Sats};
use poolbox_api::mint::payouts::{self as api, OwnerPayout, Payout, RuleRequest, Stage};
use poolbox_api::{Client, ClientError};

use crate::melting::{received, somewhere};
use crate::rig::{Rig, until_state};

pub fn owner(text: &str) -> Owner {
    Owner::parse(text, Network::Regtest).unwrap()
}

fn client(rig: &Rig) -> Client {
    Client::new(rig.path("mint/mint.sock")).unwrap()
}

pub async fn payouts(rig: &Rig, owner: &str) -> OwnerPayout {
    rig.get(&api::of_owner(owner)).await.unwrap()
}

pub async fn set(rig: &Rig, owner: &str, rule: &RuleRequest) -> Result<OwnerPayout, ClientError> {
    client(rig).put(&api::of_owner(owner), rule).await
}

pub fn to(target: &str, threshold: u64) -> RuleRequest {
    RuleRequest { target: Some(target.to_owned()), threshold: Some(Sats::new(threshold)), max_fee_ppm: None }
}

/// Blocks of `owners`' own, in one epoch, and its reward mature.
async fn settle(rig: &mut Rig, owners: &[&str]) {
    let n = rig.status().await.epoch.get();
    for text in owners {
        rig.share(&owner(text), 1_000).await;
    }
    rig.block(&owner(owners[0]), 1_000).await;
    rig.node.mine(99);
    until_state(rig, n, EpochState::Settled).await;
}

/// The owner's only payout, once it was made; blocks come meanwhile.
async fn made(rig: &Rig, owner: &str) -> Payout {
    rig.until("the payout is made", async |rig| {
        rig.node.mine(1);
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let payouts = payouts(rig, owner).await;
        payouts.under_way.is_none() && payouts.last.iter().any(|payout| payout.stage == Stage::Confirmed)
    })
    .await;
    let mut made = payouts(rig, owner).await.last;
    made.retain(|payout| payout.stage == Stage::Confirmed);
    assert_eq!(made.len(), 1, "{made:?}");
    made.remove(0)
}

/// The transaction that the record names pays what it says, and nothing else pays the target.
fn is_on_chain(rig: &Rig, payout: &Payout) {
    assert_eq!(received(rig, &payout.target), (payout.amount.get(), 1), "{payout:?}");
    let (txid, vout) = payout.proof.as_ref().unwrap().split_once(':').unwrap();
    let block = rig.node.cli(&["scantxoutset", "start", &format!("[\"addr({})\"]", payout.target)]);
    assert_eq!(block["unspents"][0]["txid"], txid);
    assert_eq!(block["unspents"][0]["vout"].to_string(), vout);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_an_address_is_paid_on_chain_when_the_balance_passes_the_threshold() {
    let mut rig = Rig::new(1).await;
    let (alice, bob) = (somewhere(1), somewhere(2));
    // Half of the reward each: one waits for more, the other has a threshold of its own.
    let high = RuleRequest { threshold: Some(Sats::new(10_000_000_000)), ..RuleRequest::default() };
    let waiting = set(&rig, &bob, &high).await.unwrap();
    assert_eq!(waiting.rule.unwrap().target, bob);
    settle(&mut rig, &[&alice, &bob]).await;
    let payout = made(&rig, &alice).await;
    is_on_chain(&rig, &payout);
    let earned = rig.epoch(1).await.unwrap().reward.get() * 2 / 3;
    let fee = payout.fee.unwrap();
    assert!(fee > Sats::ZERO && fee <= payout.max_fee, "{payout:?}");
    // Once looked at again, the balance is what was earned less what left it.
    rig.until("the balance is known", async |rig| {
        payouts(rig, &alice).await.balance.get() == earned - payout.amount.get() - fee.get()
    })
    .await;
    assert!(payouts(&rig, &alice).await.balance <= payout.max_fee, "nearly all of it was paid");

    let waiting = payouts(&rig, &bob).await;
    assert!(waiting.waits_for.contains("its threshold") && waiting.last.is_empty(), "{waiting:?}");
    assert_eq!(received(&rig, &bob), (0, 0));
    let asked: OwnerPayout = client(&rig).post(&api::now(&bob), &()).await.unwrap();
    assert!(asked.waits_for.contains("about to be paid") || asked.under_way.is_some(), "{asked:?}");
    is_on_chain(&rig, &made(&rig, &bob).await);

    let page: api::Page = rig.get(&format!("{}?limit=1", api::PAYOUTS)).await.unwrap();
    assert_eq!((page.payouts[0].owner.as_str(), page.next), (bob.as_str(), Some(2)));
    let page: api::Page = rig.get(&format!("{}?before=2", api::PAYOUTS)).await.unwrap();
    assert_eq!((page.payouts.len(), page.payouts[0].owner.as_str(), page.next), (1, alice.as_str(), None));
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_paid_by_its_rule_and_only_at_a_fee_that_the_rule_allows() {
    let mut rig = Rig::new(1).await;
    // Not all of the treasury: what it holds beyond the balance pays the fee.
    settle(&mut rig, &["garage", "attic"]).await;
    let none = payouts(&rig, "garage").await;
    assert!(none.rule.is_none() && none.waits_for.contains("set where the sats go"), "{none:?}");
    let refused = client(&rig).post::<_, OwnerPayout>(&api::now("garage"), &()).await.unwrap_err();
    assert!(refused.to_string().contains("target is missing"), "{refused}");

    let target = somewhere(3);
    let cases = [
        (to("bob", 5_000), "target: "),
        (to("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 5_000), "another network"),
        (to(&target, 999), "threshold must be 1000 sat or more"),
        (RuleRequest { max_fee_ppm: Some(1_000_001), ..to(&target, 5_000) }, "max_fee_ppm"),
        (RuleRequest::default(), "target is missing"),
    ];
    for (rule, word) in cases {
        let refused = set(&rig, "garage", &rule).await.unwrap_err();
        let ClientError::Refused(problem) = refused else { panic!("{refused}") };
        assert!(problem.error.contains(word) && problem.remedy.is_some(), "{problem:?}");
    }
    let key = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
    let refused = set(&rig, key, &to(&target, 5_000)).await.unwrap_err();
    assert!(refused.to_string().contains("holds the key"), "{refused}");

    let cheap = RuleRequest { max_fee_ppm: Some(0), ..to(&target, 5_000) };
    set(&rig, "garage", &cheap).await.unwrap();
    rig.until("the payout waits for a lower fee", async |rig| {
        payouts(rig, "garage").await.waits_for.contains("max_fee_ppm allows 0 sat")
    })
    .await;
    let waiting = payouts(&rig, "garage").await;
    assert!(waiting.retry_at.is_some() && waiting.balance > Sats::new(5_000), "{waiting:?}");
    assert_eq!(rig.status().await.sats.in_flight, Sats::ZERO);

    set(&rig, "garage", &to(&target, 5_000)).await.unwrap();
    is_on_chain(&rig, &made(&rig, "garage").await);
    set(&rig, "garage", &to("bob@example.com", 1)).await.unwrap();
    rig.until("the payout waits for Lightning", async |rig| {
        payouts(rig, "garage").await.waits_for.contains("over Lightning only when that is switched on")
    })
    .await;
    let gone: OwnerPayout = client(&rig).delete(&api::of_owner("garage")).await.unwrap();
    assert_eq!(gone.rule, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_that_is_cut_off_anywhere_is_made_exactly_once() {
    let mut rig = Rig::new(1).await;
    let owners: Vec<String> = (0..7).map(|n| somewhere(100 + n)).collect();
    let high = RuleRequest { threshold: Some(Sats::new(10_000_000_000)), ..RuleRequest::default() };
    for owner in &owners {
        set(&rig, owner, &high).await.unwrap();
    }
    let texts: Vec<&str> = owners.iter().map(String::as_str).collect();
    settle(&mut rig, &texts).await;
    for (n, owner) in (0..).zip(&owners) {
        let socket = client(&rig);
        let killer = rig.kill9_at_write(n * 5);
        let asked = socket.post::<_, OwnerPayout>(&api::now(owner), &()).await;
        killer.join().unwrap();
        rig.start().await;
        let standing = payouts(&rig, owner).await;
        if asked.is_err() && standing.under_way.is_none() && standing.last.is_empty() {
            // Nothing of it was written down before the end.
            let _: OwnerPayout = client(&rig).post(&api::now(owner), &()).await.unwrap();
        }
        let payout = made(&rig, owner).await;
        is_on_chain(&rig, &payout);
    }
    for owner in &owners {
        assert_eq!(received(&rig, owner).1, 1, "paid once");
    }
    let status = rig.status().await;
    assert_eq!((status.halted, status.sats.pending_out), (None, Sats::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn payouts_go_on_when_the_database_was_busy_for_longer_than_a_look_at_them() {
    let mut rig = Rig::new(1).await;
    let alice = somewhere(1);
    let high = RuleRequest { threshold: Some(Sats::new(10_000_000_000)), ..RuleRequest::default() };
    set(&rig, &alice, &high).await.unwrap();
    settle(&mut rig, &[&alice]).await;
    let waits = async |rig: &Rig| payouts(rig, &alice).await.balance > Sats::ZERO;
    rig.until("the balance is known", waits).await;
    let busy = rusqlite::Connection::open(rig.path("mint/mint.sqlite")).unwrap();
    let _: OwnerPayout = client(&rig).post(&api::now(&alice), &()).await.unwrap();
    busy.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    busy.execute_batch("BEGIN IMMEDIATE").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    busy.execute_batch("ROLLBACK").unwrap();
    is_on_chain(&rig, &made(&rig, &alice).await);
}
