//! Sats leaving and entering on-chain, with a real node and cdk's wallet.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

use std::collections::HashMap;

use crate::rig::faucet::Faucet;
use crate::rig::{Person, Rig};
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use bitcoin::{Address, Network};
use cdk::amount::SplitTarget;
use cdk::nuts::nut00::KnownMethod;
use cdk::nuts::{MeltQuoteState, PaymentMethod};
use cdk::wallet::{MeltOutcome, ReceiveOptions, SendOptions, Wallet};
use poolbox_accounting::Sats;
use serde_json::json;

const ONCHAIN: PaymentMethod = PaymentMethod::Known(KnownMethod::Onchain);

/// The `n`-th address of somebody outside.
pub fn somewhere(n: i64) -> String {
    let script = Builder::new().push_int(n).push_opcode(OP_TRUE).into_script();
    Address::p2wsh(&script, Network::Regtest).to_string()
}

/// Sats that the chain holds at `address`, confirmed, and in how many outputs.
pub fn received(rig: &Rig, address: &str) -> (u64, usize) {
    let found = rig.node.cli(&["scantxoutset", "start", &json!([format!("addr({address})")]).to_string()]);
    let outputs = found["unspents"].as_array().unwrap();
    let sats = outputs.iter().map(|output| (output["amount"].as_f64().unwrap() * 1e8).round() as u64).sum();
    (sats, outputs.len())
}

/// Asks for a payment, with the `option`-th fee that is offered.
pub async fn ask(wallet: &Wallet, address: &str, sats: u64, option: usize) -> cdk::wallet::MeltQuote {
    let mut options = wallet.quote_onchain_melt_options(address, sats.into(), None).await.unwrap();
    wallet.select_onchain_melt_quote(options.remove(option)).await.unwrap()
}

/// Hands in the ecash; the payment is on its way after it.
pub async fn melt(wallet: &Wallet, quote: &str) -> Result<(), cdk::Error> {
    match wallet.prepare_melt(quote, HashMap::new()).await?.confirm_prefer_async().await? {
        MeltOutcome::Pending(_) => Ok(()),
        MeltOutcome::Paid(paid) => panic!("paid before a block came: {paid:?}"),
    }
}

pub async fn balance(wallet: &Wallet) -> u64 {
    wallet.total_balance().await.unwrap().to_u64()
}

async fn until_in_mempool(rig: &Rig) {
    rig.until("the node has the payment", async |rig| {
        rig.node.cli(&["getrawmempool"]).as_array().is_some_and(|txids| !txids.is_empty())
    })
    .await;
}

async fn until_paid(rig: &Rig, wallet: &Wallet, quote: &str) {
    rig.until("the melt is paid", async |_| {
        wallet.check_melt_quote_status(quote).await.is_ok_and(|quote| quote.state == MeltQuoteState::Paid)
    })
    .await;
    wallet.finalize_pending_melts().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sats_leave_on_chain_and_the_wallet_that_sent_them_pays_the_fee() {
    let mut rig = Rig::new(1).await;
    let alice = Person::new(1).await;
    let (sat, worth) = rig.sats(&alice).await;
    let before = rig.status().await.sats;
    assert_eq!((before.outstanding.get(), before.reserve.get()), (worth, worth));

    let quote = |request: &str, amount: u64| {
        let (body, rig) = (json!({ "unit": "sat", "request": request, "amount": amount }), &rig);
        async move { rig.refusal("/v1/melt/quote/onchain", body).await }
    };
    let foreign = quote("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 5000).await;
    assert!(foreign.contains("no bitcoin address of the network regtest"), "{foreign}");
    assert!(quote(&somewhere(1), 999).await.contains("the least is 1000 sat"));
    assert!(quote(&somewhere(1), worth + 1).await.contains(&format!("at most {worth} sat")));

    let quote = ask(&sat, &somewhere(1), 100_000, 0).await;
    melt(&sat, &quote.id).await.unwrap();
    until_in_mempool(&rig).await;
    rig.until("the payment is counted as in flight", async |rig| {
        rig.status().await.sats.in_flight.get() > 100_000
    })
    .await;
    let during = rig.status().await.sats;
    assert_eq!((during.outstanding.get(), during.reserve.get()), (worth, worth));
    assert!(during.pending_out >= Sats::new(100_000 + quote.fee_reserve.to_u64()));

    rig.node.mine(1);
    until_paid(&rig, &sat, &quote.id).await;
    assert_eq!(received(&rig, &somewhere(1)), (100_000, 1));
    let after = rig.status().await.sats;
    let fee = after.fees_paid.get();
    assert!(fee > 0 && fee <= quote.fee_reserve.to_u64());
    assert_eq!(after.melted.get(), 100_000);
    assert_eq!(balance(&sat).await, worth - 100_000 - fee, "change for the fee that was not needed");
    assert_eq!(
        (after.outstanding.get(), after.reserve.get()),
        (worth - 100_000 - fee, worth - 100_000 - fee)
    );
    assert_eq!((after.in_flight, after.pending_out, after.surplus), (Sats::ZERO, Sats::ZERO, Sats::ZERO));
    assert_eq!(rig.status().await.halted, None);

    // Two that can wait share a transaction.
    let first = ask(&sat, &somewhere(2), 20_000, 1).await;
    let second = ask(&sat, &somewhere(3), 30_000, 0).await;
    assert!(first.estimated_blocks > second.estimated_blocks);
    melt(&sat, &first.id).await.unwrap();
    melt(&sat, &second.id).await.unwrap();
    until_in_mempool(&rig).await;
    assert_eq!(rig.node.cli(&["getrawmempool"]).as_array().unwrap().len(), 1);
    rig.node.mine(1);
    until_paid(&rig, &sat, &first.id).await;
    until_paid(&rig, &sat, &second.id).await;
    assert_eq!((received(&rig, &somewhere(2)), received(&rig, &somewhere(3))), ((20_000, 1), (30_000, 1)));
    let after = rig.status().await.sats;
    assert_eq!((after.outstanding.get(), after.surplus), (balance(&sat).await, Sats::ZERO));
    assert_eq!(after.reserve, after.outstanding);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_may_take_many_coins() {
    let mut rig = Rig::new(1).await;
    let alice = Person::new(1).await;
    let (ehash, worth) = rig.ehash_for_rewards(&alice, 40).await;
    let sat = alice.wallet(&rig.url(""), "sat");
    rig.redeem(&ehash, 1000, &sat).await;
    // Leaves too little for a coin to stay out.
    let amount = worth - 10_000_000;
    let quote = ask(&sat, &somewhere(1), amount, 0).await;
    melt(&sat, &quote.id).await.unwrap();
    until_in_mempool(&rig).await;
    let txid = rig.node.cli(&["getrawmempool"])[0].as_str().unwrap().to_owned();
    let transaction = rig.node.cli(&["getrawtransaction", &txid, "1"]);
    assert_eq!(transaction["vin"].as_array().unwrap().len(), 40);
    rig.node.mine(1);
    until_paid(&rig, &sat, &quote.id).await;
    assert_eq!(received(&rig, &somewhere(1)), (amount, 1));
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_on_chain_becomes_ecash_and_a_coinbase_only_when_it_is_mature() {
    let rig = Rig::new(1).await;
    let alice = Person::new(1).await;
    let mut faucet = Faucet::new(&rig.node);
    let sat = alice.wallet(&rig.url(""), "sat");
    let quote = sat.mint_quote(ONCHAIN, None, None, None).await.unwrap();
    let paid = async || {
        let quote = sat.check_mint_quote_status(&quote.id).await;
        quote.map_or(0, |quote| quote.amount_paid.to_u64())
    };
    faucet.pay(&rig.node, &quote.request, 250_000);
    assert_eq!(paid().await, 0, "paid without a confirmation");
    rig.node.mine(1);
    rig.until("the deposit is booked", async |_| paid().await == 250_000).await;
    sat.mint(&quote.id, SplitTarget::default(), None).await.unwrap();
    let sats = rig.status().await.sats;
    assert_eq!(
        (sats.received.get(), sats.outstanding.get(), sats.reserve.get()),
        (250_000, 250_000, 250_000)
    );

    // Somebody mines to the quote's address.
    rig.node.mine_to(&quote.request, 1);
    rig.until("the coinbase is seen", async |rig| rig.status().await.sats.immature > Sats::ZERO).await;
    let reward = rig.status().await.sats.immature.get();
    // Longer than cdk waits between two looks at the wallet.
    tokio::time::sleep(std::time::Duration::from_secs(12)).await;
    assert_eq!(paid().await, 250_000, "an immature coinbase was turned into ecash");
    rig.node.mine(98);
    rig.until("the wallet has followed", async |rig| {
        u64::from(rig.status().await.chain.height) == rig.node.height()
    })
    .await;
    rig.node.mine(1);
    rig.until("the mature coinbase is booked", async |_| paid().await == 250_000 + reward).await;
    let sats = rig.status().await.sats;
    assert_eq!((sats.reserve, sats.outstanding), (Sats::new(250_000 + reward), Sats::new(250_000 + reward)));

    // Within the mint nothing goes over the chain.
    let bob = Person::new(2).await;
    let bobs = bob.wallet(&rig.url(""), "sat");
    let into = bobs.mint_quote(ONCHAIN, None, None, None).await.unwrap();
    let out = ask(&sat, &into.request, 5000, 0).await;
    let outcome = sat.prepare_melt(&out.id, HashMap::new()).await.unwrap().confirm().await.unwrap();
    assert_eq!(outcome.fee_paid().to_u64(), 0);
    bobs.check_mint_quote_status(&into.id).await.unwrap();
    bobs.mint(&into.id, SplitTarget::default(), None).await.unwrap();
    assert_eq!((balance(&bobs).await, balance(&sat).await), (5000, 245_000));
    assert!(rig.node.cli(&["getrawmempool"]).as_array().unwrap().is_empty());
    assert_eq!(rig.status().await.sats.outstanding, Sats::new(250_000 + reward));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_mint_pays_nobody_and_says_which_invariant_failed() {
    let mut rig = Rig::new(1).await;
    let alice = Person::new(1).await;
    let (sat, _) = rig.sats(&alice).await;
    let quote = ask(&sat, &somewhere(1), 10_000, 0).await;
    rig.stop();
    rig.falsify("UPDATE keyset_amounts SET total_issued = total_issued + 7");
    rig.start().await;
    let reason = rig.status().await.halted.expect("the mint to halt");
    assert!(reason.contains("outstanding and only"), "{reason}");
    assert!(sat.prepare_melt(&quote.id, HashMap::new()).await.unwrap().confirm().await.is_err());
    let answer =
        reqwest::Client::new().post(rig.url("/v1/melt/onchain")).json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("outstanding and only"));
    assert!(rig.node.cli(&["getrawmempool"]).as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_and_goes_the_reserve_covers_what_is_owed() {
    let mut rig = Rig::new(1).await;
    let (alice, bob) = (Person::new(1).await, Person::new(2).await);
    let mut faucet = Faucet::new(&rig.node);
    let (ehash, _) = rig.ehash(&alice).await;
    let (sat, bobs) = (alice.wallet(&rig.url(""), "sat"), bob.wallet(&rig.url(""), "sat"));
    let deposits = sat.mint_quote(ONCHAIN, None, None, None).await.unwrap();
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    let mut log = Vec::new();
    rig.redeem(&ehash, 30, &sat).await;
    for step in 0..40 {
        let (die, sats) = (roll(6), 1000 + roll(200_000));
        log.push((die, sats));
        match die {
            0 => rig.redeem(&ehash, 1 + roll(20), &sat).await,
            1 | 2 => {
                let option = usize::try_from(roll(2)).unwrap();
                let quote = ask(&sat, &somewhere(1000 + step), sats, option).await;
                melt(&sat, &quote.id).await.unwrap();
            }
            3 => drop(faucet.pay(&rig.node, &deposits.request, sats)),
            4 => {
                let sent = sat.prepare_send(sats.into(), SendOptions::default()).await.unwrap();
                let token = sent.confirm(None).await.unwrap().to_string();
                bobs.receive(&token, ReceiveOptions::default()).await.unwrap();
            }
            _ => drop(rig.node.mine(1)),
        }
        let status = rig.status().await;
        let covered = status.sats.outstanding <= status.sats.reserve;
        assert!(covered && status.halted.is_none(), "after {log:?}: {status:?}");
    }
    // Takes along those that can wait.
    let last = ask(&sat, &somewhere(2000), 1000, 0).await;
    melt(&sat, &last.id).await.unwrap();
    // Every sat is accounted for: what is not owed is still claimed.
    rig.until("all is settled, and the books are even", async |rig| {
        rig.node.mine(1);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let sats = rig.status().await.sats;
        let mempool = rig.node.cli(&["getrawmempool"]);
        sats.pending_out == Sats::ZERO
            && mempool.as_array().unwrap().is_empty()
            && sats.reserve.get() == sats.outstanding.get() + sats.claims.get()
    })
    .await;
    sat.finalize_pending_melts().await.unwrap();
    sat.check_mint_quote_status(&deposits.id).await.unwrap();
    let sats = rig.status().await.sats;
    let held = balance(&sat).await + balance(&bobs).await;
    assert_eq!(sats.outstanding.get(), held + sats.promised.get(), "after {log:?}: {sats:?}");
    assert_eq!(rig.status().await.halted, None);
}
