//! Both base URLs with cashu-ts, a wallet that was not written here and shares no code with cdk's.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

use std::time::{Duration, Instant};

use bitcoin::Address;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use cdk::wallet::{ReceiveOptions, SendOptions};
use poolbox_accounting::{EpochId, EpochState, Network, Owner};
use poolbox_api::Client;
use poolbox_api::mint::{ClaimRequest, Claimed, owner_path};
use serde_json::{Value, json};

use crate::rig::cashu_ts::CashuTs;
use crate::rig::{Person, Rig};

fn owner_of(wallet: &mut CashuTs) -> (String, Owner) {
    let key = wallet.must("key", json!({}))["pubkey"].as_str().unwrap().to_owned();
    let owner = Owner::parse(&key, Network::Regtest).unwrap();
    (key, owner)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

async fn claim(rig: &Rig, name: &str, request: ClaimRequest) -> Claimed {
    let client = Client::new(rig.path("mint/mint.sock")).unwrap();
    client.post_patiently(&owner_path(name, "claim"), &request).await.unwrap()
}

async fn settle(rig: &mut Rig, by: &Owner, ehash: u64) {
    rig.block(by, ehash).await;
    rig.node.mine(99);
    rig.until("the epoch settles", async |rig| {
        rig.epoch(1).await.is_some_and(|epoch| epoch.state == EpochState::Settled)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cashu_ts_mints_sends_receives_and_redeems_ehash_and_trades_the_sats_with_cdk() {
    let mut rig = Rig::new(1).await;
    let mut alice = CashuTs::start();
    let (_, owner) = owner_of(&mut alice);
    rig.share(&owner, 1000).await;
    rig.until_amounts(&owner, 1, 1000, 1000).await;
    let quote = rig.quotes(&owner).await.remove(0).id;
    let ehash = json!({ "url": rig.url("/ehash"), "unit": "ehash-1", "method": "ehash" });
    let with = |more: Value| {
        let mut order = ehash.clone();
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };

    // A quote locked to its key: in parts, by its holder alone, and no more than there is.
    let minted = alice.must("mint", with(json!({ "quote": quote, "amount": 600 })));
    assert_eq!(minted["balance"], 600);
    let mut thief = CashuTs::start();
    assert!(thief.does("mint", with(json!({ "quote": quote, "amount": 400 }))).is_err());
    assert_eq!(alice.must("mint", with(json!({ "quote": quote, "amount": 400 })))["balance"], 1000);
    assert!(alice.does("mint", with(json!({ "quote": quote, "amount": 1 }))).is_err());

    // From cashu-ts to cdk and back.
    let token = text(&alice.must("send", with(json!({ "amount": 250 }))), "token");
    let bob = Person::new(2).await.wallet(&rig.url("/ehash"), "ehash-1");
    assert_eq!(bob.receive(&token, ReceiveOptions::default()).await.unwrap().to_u64(), 250);
    let sent = bob.prepare_send(250.into(), SendOptions::default()).await.unwrap();
    let token = sent.confirm(None).await.unwrap().to_string();
    assert_eq!(alice.must("receive", with(json!({ "token": token })))["balance"], 1000);
    assert!(alice.does("receive", with(json!({ "token": token }))).is_err(), "a token was received twice");

    settle(&mut rig, &owner, 1000).await;
    let reward = rig.epoch(1).await.unwrap().reward.get();
    let sats = json!({ "url": rig.url(""), "unit": "sat", "method": "ehash" });
    let sat = |more: Value| {
        let mut order = sats.clone();
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    let into = text(&alice.must("quote", sat(json!({}))), "quote");
    let redeemed = alice.must("melt", with(json!({ "request": into, "amount": 1000 })));
    assert_eq!((redeemed["state"].as_str(), redeemed["balance"].as_u64()), (Some("PAID"), Some(0)));
    let paid = alice.must("paid", sat(json!({ "quote": into })))["paid"].as_u64().unwrap();
    assert_eq!(paid, reward / 2);
    let minted = alice.must("mint", sat(json!({ "quote": into, "amount": paid })));
    assert_eq!(minted["balance"], paid);

    // At the base URL of stock wallets.
    let token = text(&alice.must("send", sat(json!({ "amount": 1234 }))), "token");
    let bob = Person::new(2).await.wallet(&rig.url(""), "sat");
    assert_eq!(bob.receive(&token, ReceiveOptions::default()).await.unwrap().to_u64(), 1234);
    let sent = bob.prepare_send(234.into(), SendOptions::default()).await.unwrap();
    let token = sent.confirm(None).await.unwrap().to_string();
    assert_eq!(alice.must("receive", sat(json!({ "token": token })))["balance"], paid - 1000);

    // Out of the mint, to an address.
    let anyone = Builder::new().push_int(7).push_opcode(OP_TRUE).into_script();
    let address = Address::p2wsh(&anyone, bitcoin::Network::Regtest);
    let paying = alice.must("pay_onchain", sat(json!({ "request": address, "amount": 50_000 })));
    let quote = text(&paying, "quote");
    rig.until("the node has the payment", async |rig| {
        rig.node.cli(&["getrawmempool"]).as_array().is_some_and(|txids| !txids.is_empty())
    })
    .await;
    rig.node.mine(1);
    let deadline = Instant::now() + Duration::from_secs(60);
    while alice.must("paying", sat(json!({ "quote": quote })))["state"] != "PAID" {
        assert!(Instant::now() < deadline, "the melt is not paid: {}", rig.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let scan = json!([format!("addr({address})")]).to_string();
    let found = rig.node.cli(&["scantxoutset", "start", &scan]);
    assert_eq!(found["total_amount"].as_f64(), Some(0.0005), "{found}");
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_too_long_for_one_code_is_put_together_by_phone_wallets_and_received() {
    let mut rig = Rig::new(1).await;
    let garage = Owner::Household("garage".to_owned());
    // Many set bits: many proofs.
    rig.share(&garage, 2 * 0x7ff_ffff).await;
    rig.until_amounts(&garage, 1, 2 * 0x7ff_ffff, 2 * 0x7ff_ffff).await;
    let mut alice = CashuTs::start();
    let (key, _) = owner_of(&mut alice);

    let epoch = Some(EpochId::new(1));
    let half = ClaimRequest { epoch, amount: Some(0x7ff_ffff), lock: Some(key) };
    let locked = claim(&rig, "garage", half).await.token.unwrap();
    assert!(locked.fragments.len() > 8, "{} fragments", locked.fragments.len());
    // Begun in the middle, as a camera does, and every seventh missed.
    let begun = locked.fragments.len() / 3;
    let seen: Vec<_> = locked.fragments.iter().cycle().skip(begun).take(locked.fragments.len()).collect();
    let seen: Vec<_> =
        seen.into_iter().enumerate().filter(|(n, _)| n % 7 != 0).map(|(_, part)| part).collect();
    let whole = alice.must("reassemble", json!({ "fragments": seen }));
    assert_eq!((text(&whole, "type"), text(&whole, "token")), ("bytes".to_owned(), locked.text.clone()));

    let order = |token: &str, locked: bool| json!({ "url": rig.url("/ehash"), "unit": "ehash-1", "token": token, "locked": locked });
    assert!(
        alice.does("receive", order(&locked.text, false)).is_err(),
        "a locked token was spent without its key"
    );
    assert_eq!(alice.must("receive", order(&locked.text, true))["amount"], 0x7ff_ffff);

    let rest = claim(&rig, "garage", ClaimRequest { epoch, ..ClaimRequest::default() }).await.token.unwrap();
    let whole = alice.must("reassemble", json!({ "fragments": rest.fragments }));
    let bob = Person::new(2).await.wallet(&rig.url("/ehash"), "ehash-1");
    let received = bob.receive(&text(&whole, "token"), ReceiveOptions::default()).await;
    assert_eq!(received.unwrap().to_u64(), 0x7ff_ffff);
}
