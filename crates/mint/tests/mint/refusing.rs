//! What the public API refuses, over HTTP: redemptions out of turn, absurd requests, floods, and
//! everything while an invariant is broken.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::rig::{Person, Rig, method, until_state};
use poolbox_accounting::{EpochId, EpochState, Owner, Sats, Work};
use poolbox_mint::ledger::{Place, Redeemed};
use rusqlite::Connection;
use serde_json::{Value, json};

/// A client at an address of its own, on this machine.
fn client(address: &str) -> reqwest::Client {
    let address: IpAddr = address.parse().unwrap();
    reqwest::Client::builder().local_address(address).build().unwrap()
}

async fn post(rig: &Rig, path: &str, body: Value) -> (u16, String) {
    let answer = reqwest::Client::new().post(rig.url(path)).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Changes the database of a stopped mint, past its books.
fn damage(rig: &Rig, sql: &str) {
    let changed = Connection::open(rig.path("mint/mint.sqlite")).unwrap().execute(sql, []).unwrap();
    assert!(changed > 0, "nothing was damaged by {sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redeeming_twice_late_or_with_too_little_is_refused() {
    let mut rig = Rig::new(1).await;
    let alice = Person::new(1).await;
    rig.share(&alice.owner(), 100).await;
    rig.until_amounts(&alice.owner(), 1, 100, 100).await;
    assert_eq!(alice.mint(&rig, &alice.owner(), 1).await.unwrap(), 100);
    rig.block(&Owner::Household("finder".to_owned()), 100).await;
    rig.node.mine(99);
    until_state(&rig, 1, EpochState::Settled).await;
    let ehash = alice.wallet(&rig.url("/ehash"), "ehash-1");
    let sat = alice.wallet(&rig.url(""), "sat");
    let into = sat.mint_quote(method(), Some(1.into()), None, None).await.unwrap().id;
    let quote = async |amount: u64| {
        let amount = Some(json!({ "amount": amount }).to_string());
        ehash.melt_quote(method(), &into, None, amount).await.unwrap().id
    };
    let proofs = serde_json::to_value(ehash.get_unspent_proofs().await.unwrap()).unwrap();
    let melt = async |rig: &Rig, quote: &str| {
        post(rig, "/ehash/v1/melt/ehash", json!({ "quote": quote, "inputs": proofs })).await
    };

    // The epoch holds 200, this wallet half of it.
    let (status, refusal) = melt(&rig, &quote(200).await).await;
    assert_eq!(status, 400, "{refusal}");
    let late = quote(100).await;
    rig.stop();
    damage(&rig, &format!("UPDATE melt_quote SET expiry = 1 WHERE id = '{late}'"));
    rig.start().await;
    let (status, refusal) = melt(&rig, &late).await;
    assert!(status == 400 && refusal.to_lowercase().contains("expired"), "{refusal}");
    assert_eq!(rig.status().await.ehash.redeemed, Work::ZERO);

    let first = quote(100).await;
    ehash.prepare_melt(&first, HashMap::new()).await.unwrap().confirm().await.unwrap();
    let paid = sat.check_mint_quote_status(&into).await.unwrap().amount_paid.to_u64();
    assert_eq!(paid, rig.epoch(1).await.unwrap().reward.get() / 2);
    for again in [first, quote(100).await] {
        let (status, refusal) = melt(&rig, &again).await;
        assert_eq!(status, 400, "{refusal}");
        assert!(refusal.to_lowercase().contains("paid") || refusal.contains("11001"), "{refusal}");
    }
    assert_eq!(sat.check_mint_quote_status(&into).await.unwrap().amount_paid.to_u64(), paid);
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_invariant_halts_the_mint_until_its_cause_is_gone() {
    let mut rig = Rig::new(1).await;
    let alice = Person::new(1).await;
    rig.share(&alice.owner(), 50).await;
    rig.until_amounts(&alice.owner(), 1, 50, 50).await;
    assert_eq!(alice.mint(&rig, &alice.owner(), 1).await.unwrap(), 50);
    rig.share(&alice.owner(), 1).await;
    rig.until_amounts(&alice.owner(), 1, 51, 51).await;
    rig.stop();
    // More was signed than worked for; more was redeemed than worked for.
    let forged = "UPDATE keyset_amounts SET total_issued = total_issued + 2 WHERE total_issued = 50";
    let mended = "UPDATE keyset_amounts SET total_issued = total_issued - 2 WHERE total_issued = 52";
    let (one, none) = (EpochId::new(1), Redeemed::default());
    let too_much = Redeemed { ehash: Work::from_ehash(52), sats: Sats::ZERO };

    damage(&rig, forged);
    rig.start().await;
    let reason = rig.status().await.halted.expect("the mint to halt");
    assert!(reason.contains("epoch 1 holds 51 ehash of work, and 52 ehash"), "{reason}");
    let (status, body) = post(&rig, "/ehash/v1/swap", json!({ "inputs": [], "outputs": [] })).await;
    assert!(status == 503 && body.contains("epoch 1 holds 51 ehash"), "{status} {body}");
    assert!(rig.logged("the mint has halted") > 0);

    rig.cut_power().await;
    assert_eq!(rig.status().await.halted, Some(reason), "a restart cures nothing");
    rig.stop();
    damage(&rig, mended);
    rig.tamper(&Place::redeemed(one), &too_much).await;
    rig.start().await;
    assert!(rig.status().await.halted.is_some());

    rig.stop();
    rig.tamper(&Place::redeemed(one), &none).await;
    rig.start().await;
    assert_eq!(rig.status().await.halted, None);
    assert_eq!(alice.mint(&rig, &alice.owner(), 1).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn paying_more_than_an_epoch_brought_halts_the_mint() {
    let mut rig = Rig::new(1).await;
    let owner = Owner::Household("alice".to_owned());
    rig.share(&owner, 50).await;
    rig.block(&owner, 50).await;
    rig.node.mine(99);
    until_state(&rig, 1, EpochState::Settled).await;
    let reward = rig.epoch(1).await.unwrap().reward;
    rig.stop();
    let redeemed = Redeemed { ehash: Work::from_ehash(100), sats: Sats::new(reward.get() + 1) };
    rig.tamper(&Place::redeemed(EpochId::new(1)), &redeemed).await;
    rig.start().await;
    let reason = rig.status().await.halted.expect("the mint to halt");
    assert!(reason.contains("epoch 1 can pay"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_requests_are_refused_with_a_reason() {
    let rig = Rig::new(1).await;
    let key = Person::new(1).await.owner().to_string();
    let cases = [
        (json!({ "unit": "sat", "amount": 1 }), "NUT-20"),
        (json!({ "unit": "ehash-1", "amount": 1, "pubkey": key }), "made by the mint"),
        (
            json!({ "unit": "sat", "amount": 2_100_000_000_000_001u64, "pubkey": key }),
            "more than there are sats",
        ),
        (json!({ "unit": "sat", "amount": -1, "pubkey": key }), ""),
        (json!({ "unit": "usd", "amount": 1, "pubkey": key }), "nit"),
        (json!([]), ""),
    ];
    for (body, reason) in cases {
        let refusal = rig.refusal("/ehash/v1/mint/quote/ehash", body.clone()).await;
        assert!(refusal.contains(reason), "{body}: {refusal}");
    }
    let outputs: Vec<Value> =
        (0..1001).map(|_| json!({ "amount": 1, "id": "009a1f293253e41e", "B_": key })).collect();
    let refusal = rig.refusal("/v1/restore", json!({ "outputs": outputs })).await;
    assert!(refusal.to_lowercase().contains("outputs"), "{refusal}");
    let states: Vec<&str> = (0..1001).map(|_| key.as_str()).collect();
    rig.refusal("/v1/checkstate", json!({ "Ys": states })).await;
    let (status, refusal) = post(&rig, "/v1/swap", json!({ "padding": "x".repeat(1 << 20) })).await;
    assert!(status == 413 && refusal.contains("1 MiB"), "{status} {refusal}");
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_address_is_slowed_down_and_the_others_are_served() {
    let limits = "[limits]\nrequests_per_minute_local = 240\nquotes_per_hour_local = 5\n";
    let mut rig = Rig::with(1, limits).await;
    let alice = Person::new(1).await;
    rig.share(&alice.owner(), 50).await;
    rig.until_amounts(&alice.owner(), 1, 50, 50).await;

    let flood = client("127.0.0.3");
    let mut refused = 0;
    for number in 0..600 {
        let path = ["/v1/info", "/nothing", "/ehash/v1/keys/00ffffffffffffff"][number % 3];
        let answer = flood.get(rig.url(path)).send().await.unwrap();
        if answer.status() == 429 {
            let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
            refused += 1;
        }
        // A wallet beside it, in the middle of the flood.
        if number == 450 {
            assert_eq!(alice.mint(&rig, &alice.owner(), 1).await.unwrap(), 50);
        }
    }
    assert!(refused > 200, "only {refused} of 600 were refused");

    let (hasty, key) = (client("127.0.0.4"), alice.owner().to_string());
    let ask = async || {
        let quote = json!({ "unit": "sat", "amount": 1, "pubkey": key });
        hasty.post(rig.url("/v1/mint/quote/ehash")).json(&quote).send().await.unwrap().status().as_u16()
    };
    for _ in 0..5 {
        assert_eq!(ask().await, 200);
    }
    assert_eq!(ask().await, 429);
    assert_eq!(hasty.get(rig.url("/v1/info")).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_many_connections_keep_nobody_out() {
    let limits = "[limits]\nconnections = 12\nconnections_per_address = 8\npatience_s = 2\n";
    let rig = Rig::with(1, limits).await;
    let address = rig.url("").trim_start_matches("http://").to_owned();
    let connect = |first: &[u8]| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(first).unwrap();
        stream
    };
    let closed_after = |stream: &mut TcpStream| {
        let (began, mut said) = (Instant::now(), String::new());
        let _ = stream.read_to_string(&mut said);
        (began.elapsed(), said)
    };
    let head = "POST /v1/swap HTTP/1.1\r\nhost: mint\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let mut half_head: Vec<TcpStream> = (0..7).map(|_| connect(b"GET /v1/info HT")).collect();
    let mut half_body = connect(head.as_bytes());
    let mut ninth = connect(b"GET /v1/info HTTP/1.1\r\nhost: mint\r\n\r\n");
    assert!(closed_after(&mut ninth).1.is_empty(), "a ninth connection was served");
    assert_eq!(client("127.0.0.3").get(rig.url("/v1/info")).send().await.unwrap().status(), 200);

    let (waited, said) = closed_after(&mut half_body);
    assert!(said.contains("408") && waited < Duration::from_secs(15), "{waited:?}: {said}");
    for stream in &mut half_head {
        let (waited, _) = closed_after(stream);
        assert!(waited < Duration::from_secs(15), "{waited:?}");
    }
    assert!(rig.listing("/v1/info").await.contains("Poolbox"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_at_the_plain_address_never_meets_ehash() {
    let mut rig = Rig::new(1).await;
    let alice = Person::new(1).await;
    rig.share(&alice.owner(), 50).await;
    rig.until_amounts(&alice.owner(), 1, 50, 50).await;
    assert_eq!(alice.mint(&rig, &alice.owner(), 1).await.unwrap(), 50);

    let keysets: Value = serde_json::from_str(&rig.listing("/ehash/v1/keysets").await).unwrap();
    let of_unit = |unit: &str| {
        let sets = keysets["keysets"].as_array().unwrap();
        sets.iter().find(|set| set["unit"] == unit).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (ehash, sat) = (of_unit("ehash-1"), of_unit("sat"));
    for path in ["/v1/keys", "/v1/keysets", "/v1/info", &format!("/v1/keys/{ehash}")] {
        let listing = rig.listing(path).await;
        // The method of the sat quotes has that name too.
        assert!(!listing.contains("ehash-1") && !listing.contains(&ehash), "{path}: {listing}");
    }
    assert!(rig.listing(&format!("/v1/keys/{ehash}")).await.contains("12001"));
    assert!(rig.listing(&format!("/ehash/v1/keys/{ehash}")).await.contains("ehash-1"));
    assert!(rig.listing(&format!("/v1/keys/{sat}")).await.contains("sat"));
    let unknown = rig.listing("/v1/keys/00ffffffffffffff").await;
    assert!(unknown.contains("code"), "{unknown}");
    // A restored wallet finds its ehash at the one address, and nothing strange at the other.
    let again = Person::new(1).await;
    let restored = again.wallet(&rig.url("/ehash"), "ehash-1").restore().await.unwrap();
    assert_eq!(restored.unspent.to_u64(), 50);
    let restored = again.wallet(&rig.url(""), "sat").restore().await.unwrap();
    assert_eq!(restored.unspent.to_u64(), 0);
}
