//! A redemption that is cut off at every row it writes, by a kill or by a database that refuses: no
//! sat is made or lost, and what was not paid is released.

use std::collections::HashMap;
use std::time::Duration;

use crate::rig::faults::{Fault, Faults};
use crate::rig::{Person, Rig, method, until_state};
use cdk::wallet::Wallet;
use poolbox_accounting::{EpochState, Owner};
use serde_json::{Value, json};

/// What each person redeems: one proof, so that few rows are written.
const EACH: u64 = 64;
/// More rows than a redemption writes.
const MOST_ROWS: u32 = 80;

/// Someone with [`EACH`] ehash of the settled epoch 1, and a sat quote to redeem them into.
struct Holder {
    ehash: Wallet,
    sat: Wallet,
    into: String,
}

/// A settled epoch of so many holders, and what the ehash of each is worth.
async fn holders(rig: &mut Rig, many: u32) -> (Vec<Holder>, u64) {
    let mut holders = Vec::new();
    let mut people = Vec::new();
    for number in 1..=many {
        let person = Person::new(u8::try_from(number).unwrap()).await;
        rig.share(&person.owner(), EACH).await;
        people.push(person);
    }
    for person in &people {
        rig.until_amounts(&person.owner(), 1, EACH, EACH).await;
        assert_eq!(person.mint(rig, &person.owner(), 1).await.unwrap(), EACH);
        let ehash = person.wallet(&rig.url("/ehash"), "ehash-1");
        let sat = person.wallet(&rig.url(""), "sat");
        let into = sat.mint_quote(method(), Some(1.into()), None, None).await.unwrap().id;
        holders.push(Holder { ehash, sat, into });
    }
    let finder = Owner::Household("finder".to_owned());
    rig.block(&finder, EACH).await;
    rig.node.mine(99);
    until_state(rig, 1, EpochState::Settled).await;
    let reward = rig.epoch(1).await.unwrap().reward.get();
    (holders, reward / (u64::from(many) + 1))
}

impl Holder {
    /// Makes a melt quote for everything.
    async fn quote(&self) -> String {
        let amount = Some(json!({ "amount": EACH }).to_string());
        self.ehash.melt_quote(method(), &self.into, None, amount).await.unwrap().id
    }

    async fn paid(&self) -> u64 {
        self.sat.check_mint_quote_status(&self.into).await.unwrap().amount_paid.to_u64()
    }
}

async fn melt_state(rig: &Rig, quote: &str) -> String {
    let text = rig.listing(&format!("/ehash/v1/melt/quote/ehash/{quote}")).await;
    let quote: Value = serde_json::from_str(&text).unwrap_or_default();
    quote["state"].as_str().unwrap_or(&text).to_owned()
}

/// After a fault: the melt is paid and its proofs are spent, or neither; and once more is once.
async fn settle_up(rig: &Rig, holder: &Holder, quote: &str, worth: u64, sum: &mut u64) {
    let state = melt_state(rig, quote).await;
    let paid = holder.paid().await;
    match state.as_str() {
        "PAID" => assert_eq!(paid, worth),
        "UNPAID" => assert_eq!(paid, 0),
        other => panic!("the melt is {other}, {paid} paid"),
    }
    holder.ehash.recover_incomplete_sagas().await.unwrap();
    if paid == 0 {
        assert_eq!(holder.ehash.total_balance().await.unwrap().to_u64(), EACH, "ehash was lost");
        let again = holder.quote().await;
        holder.ehash.prepare_melt(&again, HashMap::new()).await.unwrap().confirm().await.unwrap();
    }
    assert_eq!(holder.paid().await, worth);
    assert_eq!(holder.ehash.total_balance().await.unwrap().to_u64(), 0);
    *sum += worth;
    let status = rig.status().await;
    assert_eq!(status.sats.redeemed.get(), *sum);
    assert_eq!(status.ehash.redeemed.ehash(), *sum / worth * EACH);
    assert_eq!(status.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redemption_killed_at_any_row_it_writes_is_paid_once_or_released() {
    let mut rig = Rig::new(1).await;
    let (holders, worth) = holders(&mut rig, MOST_ROWS).await;
    let issued = rig.status().await.ehash.issued;
    let faults = Faults::of(&rig);
    let (mut sum, mut paid_at_once, mut rows) = (0, 0, 1);
    for holder in &holders {
        let quote = holder.quote().await;
        faults.set(rows, Fault::Hang);
        let (wallet, id) = (holder.ehash.clone(), quote.clone());
        let melting =
            tokio::spawn(
                async move { wallet.prepare_melt(&id, HashMap::new()).await?.confirm().await.map(drop) },
            );
        let finished = faults.hang_or(async || melting.is_finished()).await;
        rig.kill9();
        melting.abort();
        faults.remove();
        rig.start().await;
        paid_at_once += u64::from(melt_state(&rig, &quote).await == "PAID");
        settle_up(&rig, holder, &quote, worth, &mut sum).await;
        assert_eq!(rig.status().await.ehash.issued, issued);
        if finished {
            assert!(paid_at_once > 1, "no kill came after the payment");
            assert!(rows > 10, "only {rows} rows were seen");
            return;
        }
        rows += 1;
    }
    panic!("a redemption writes more than {MOST_ROWS} rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redemption_that_the_database_refuses_at_any_row_is_paid_once_or_released() {
    let mut rig = Rig::new(1).await;
    let (holders, worth) = holders(&mut rig, MOST_ROWS).await;
    let issued = rig.status().await.ehash.issued;
    let faults = Faults::of(&rig);
    let (mut sum, mut rows) = (0, 1);
    for holder in &holders {
        let quote = holder.quote().await;
        faults.set(rows, Fault::Refuse);
        let (wallet, id) = (holder.ehash.clone(), quote.clone());
        let (failed, ups) = (rig.logged("failed a request"), rig.logged("poolbox-mint is up"));
        let melting =
            tokio::spawn(
                async move { wallet.prepare_melt(&id, HashMap::new()).await?.confirm().await.map(drop) },
            );
        while !melting.is_finished() && rig.logged("failed a request") == failed {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        faults.remove();
        let redeemed = rig.logged("failed a request") == failed;
        // The wallet would wait for news of a melt that it takes for pending.
        melting.abort();
        if !redeemed {
            rig.until("the mint began anew", async |rig| {
                rig.logged("poolbox-mint is up") > ups && reqwest::get(rig.url("/v1/info")).await.is_ok()
            })
            .await;
        }
        settle_up(&rig, holder, &quote, worth, &mut sum).await;
        assert_eq!(rig.status().await.ehash.issued, issued);
        if redeemed {
            assert!(rows > 10, "only {rows} rows were seen");
            return;
        }
        rows += 1;
    }
    panic!("a redemption writes more than {MOST_ROWS} rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn redemptions_that_kills_cut_off_at_any_moment_under_load_are_each_paid_once() {
    const MANY: u32 = 12;
    let mut rig = Rig::new(1).await;
    let (holders, worth) = holders(&mut rig, MANY).await;
    let miner = Owner::Household("miner".to_owned());
    let issued = rig.status().await.ehash.issued;
    let (mut credited, mut moment) = (rig.status().await.ehash.credited.ehash(), 7u64);
    for _ in 0..6 {
        let mut melting = Vec::new();
        for holder in &holders {
            let wallet = holder.ehash.clone();
            wallet.recover_incomplete_sagas().await.unwrap();
            if wallet.total_balance().await.unwrap().to_u64() == 0 {
                continue;
            }
            let quote = holder.quote().await;
            melting.push(tokio::spawn(async move {
                wallet.prepare_melt(&quote, HashMap::new()).await?.confirm().await.map(drop)
            }));
        }
        for ehash in 1..=5 {
            rig.share(&miner, ehash).await;
            credited += ehash;
        }
        moment = (moment * 73 + 11) % 127;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        rig.kill9();
        melting.iter().for_each(tokio::task::JoinHandle::abort);
        rig.start().await;
    }
    let mut sum = 0;
    for holder in &holders {
        holder.ehash.recover_incomplete_sagas().await.unwrap();
        if holder.ehash.total_balance().await.unwrap().to_u64() > 0 {
            let quote = holder.quote().await;
            holder.ehash.prepare_melt(&quote, HashMap::new()).await.unwrap().confirm().await.unwrap();
        }
        assert_eq!(holder.paid().await, worth);
        sum += worth;
    }
    rig.until("all work is credited", async |rig| rig.status().await.ehash.credited.ehash() == credited)
        .await;
    let status = rig.status().await;
    assert_eq!((status.sats.redeemed.get(), status.ehash.redeemed.ehash()), (sum, u64::from(MANY) * EACH));
    assert_eq!((status.ehash.issued, status.halted), (issued, None));
}
