//! From accepted work to spendable sats, with a real node and cdk's wallet.

use std::collections::HashMap;

use crate::rig::{Person, Rig, method};
use cdk::amount::SplitTarget;
use cdk::wallet::{ReceiveOptions, SendOptions};
use poolbox_accounting::{EpochState, Owner, Sats, Work};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn accepted_work_is_minted_by_the_wallet_that_holds_the_key_and_by_no_other() {
    let mut rig = Rig::new(2).await;
    let (alice, thief) = (Person::new(1).await, Person::new(2).await);
    let owner = alice.owner();
    rig.share(&owner, 900).await;
    rig.share(&owner, 100).await;
    rig.until_amounts(&owner, 1, 1000, 1000).await;

    assert!(thief.mint(&rig, &owner, 1).await.is_err(), "a wallet without the key minted");
    assert_eq!(alice.mint(&rig, &owner, 1).await.unwrap(), 1000);
    rig.share(&owner, 23).await;
    rig.until_amounts(&owner, 1, 1023, 1023).await;
    assert_eq!(alice.mint(&rig, &owner, 1).await.unwrap(), 23);
    assert_eq!(rig.amounts(&owner, 1).await, Some((1023, 1023, 1023)));

    let unlocked = rig.refusal("/ehash/v1/mint/quote/ehash", json!({ "unit": "sat", "amount": 1 })).await;
    assert!(unlocked.contains("NUT-20"), "{unlocked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_closes_the_epoch_and_its_matured_ehash_redeems_for_sats() {
    let mut rig = Rig::new(2).await;
    let (alice, bob) = (Person::new(1).await, Person::new(2).await);
    let (owner, household) = (alice.owner(), Owner::Household("garage".to_owned()));
    rig.share(&owner, 600).await;
    rig.share(&household, 300).await;
    rig.until_amounts(&household, 1, 300, 300).await;
    assert_eq!(alice.mint(&rig, &owner, 1).await.unwrap(), 600);
    let ehash = alice.wallet(&rig.url("/ehash"), "ehash-1");
    let sat = alice.wallet(&rig.url(""), "sat");
    let into = sat.mint_quote(method(), Some(1.into()), None, None).await.unwrap();
    let melt = |amount: u64| {
        let extra = Some(json!({ "amount": amount }).to_string());
        ehash.melt_quote(method(), &into.id, None, extra)
    };
    let early = melt(600).await.unwrap_err().to_string();
    assert!(early.contains("still open"), "{early}");

    // The winning share belongs to the epoch that its block closes.
    let block = rig.block(&owner, 100).await;
    rig.until_amounts(&owner, 1, 700, 700).await;
    rig.until("the epoch closes", async |rig| {
        rig.epoch(1).await.is_some_and(|epoch| epoch.state == EpochState::Closed)
    })
    .await;
    let closed = rig.epoch(1).await.unwrap();
    assert_eq!(closed.block_hash, Some(block.to_string()));
    assert_eq!((closed.work, closed.blocks_to_maturity), (Work::from_ehash(1000), Some(99)));
    let early = melt(600).await.unwrap_err().to_string();
    assert!(early.contains("matures in 99 blocks"), "{early}");
    assert_eq!(rig.status().await.sats.reserve, Sats::ZERO);

    rig.node.mine(99);
    rig.until("the epoch settles", async |rig| {
        rig.epoch(1).await.is_some_and(|epoch| epoch.state == EpochState::Settled)
    })
    .await;
    let reward = rig.epoch(1).await.unwrap().reward.get();
    assert_eq!(alice.mint(&rig, &owner, 1).await.unwrap(), 100);

    let too_much = melt(1001).await.unwrap_err().to_string();
    assert!(too_much.contains("more than the epoch's whole work"), "{too_much}");
    let quote = melt(700).await.unwrap();
    ehash.prepare_melt(&quote.id, HashMap::new()).await.unwrap().confirm().await.unwrap();
    let worth = reward * 700 / 1000;
    assert_eq!(ehash.total_balance().await.unwrap().to_u64(), 0);
    assert_eq!(sat.check_mint_quote_status(&into.id).await.unwrap().amount_paid.to_u64(), worth);
    sat.mint(&into.id, SplitTarget::default(), None).await.unwrap();
    assert_eq!(sat.total_balance().await.unwrap().to_u64(), worth);

    // Any wallet takes the sats, at the address that lists sat alone.
    let sent = sat.prepare_send(1000.into(), SendOptions::default()).await.unwrap();
    let token = sent.confirm(None).await.unwrap().to_string();
    let bobs = bob.wallet(&rig.url(""), "sat");
    assert_eq!(bobs.receive(&token, ReceiveOptions::default()).await.unwrap().to_u64(), 1000);
    for listing in ["/v1/keys", "/v1/keysets", "/v1/info"] {
        let (stock, all) = (rig.listing(listing).await, rig.listing(&format!("/ehash{listing}")).await);
        assert!(!stock.contains("ehash-1") && all.contains("ehash-1"), "{listing}: {stock}");
    }

    let status = rig.status().await;
    assert_eq!(status.halted, None);
    assert_eq!((status.ehash.credited.ehash(), status.ehash.issued.ehash()), (1000, 700));
    assert_eq!((status.ehash.redeemed.ehash(), status.sats.redeemed.get()), (700, worth));
    assert!(status.sats.outstanding <= status.sats.reserve);

    // What was redeemed cannot be redeemed again, nor into a quote that is none.
    let nowhere = ehash.melt_quote(
        method(),
        "00000000-0000-4000-8000-000000000000",
        None,
        Some(json!({ "amount": 1 }).to_string()),
    );
    assert!(nowhere.await.unwrap_err().to_string().contains("no mint quote"));
}
