//! Mode proxy: payments of an upstream pool, on a real chain and over Lightning, are shared out in sats
//! among those who worked.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

use cdk::amount::SplitTarget;
use cdk::wallet::ReceiveOptions;
use poolbox_accounting::{Network, Owner, Sats, Work};
use poolbox_api::Client;
use poolbox_api::mint::payouts::Stage;
use poolbox_api::mint::{
    ClaimRequest, Claimed, OWNERS, OwnerAccount, OwnerPage, OwnerRound, ROUNDS, Round, RoundState, UPSTREAM,
    UPSTREAM_OFFER, UpstreamAccount, owner_path,
};
use poolbox_mint::ledger::{Place, Redeemed};

use crate::melting::{received, somewhere};
use crate::paying::payouts;
use crate::rig::faucet::Faucet;
use crate::rig::neighbour::connected;
use crate::rig::{Person, Rig, method};

fn owner(text: &str) -> Owner {
    Owner::parse(text, Network::Regtest).unwrap()
}

async fn account(rig: &Rig, owner: &Owner) -> OwnerAccount {
    rig.get(&owner_path(&owner.to_string(), "")).await.unwrap()
}

async fn rounds(rig: &Rig) -> Vec<Round> {
    rig.get(ROUNDS).await.unwrap()
}

async fn upstream(rig: &Rig) -> UpstreamAccount {
    rig.get(UPSTREAM).await.unwrap()
}

/// Waits until round `n` is in that state; the round.
async fn until_round(rig: &Rig, n: u64, state: RoundState) -> Round {
    let find = async |rig: &Rig| rounds(rig).await.into_iter().find(|round| round.n.get() == n);
    rig.until(&format!("round {n} is {state:?}"), async |rig| {
        find(rig).await.is_some_and(|round| round.state == state)
    })
    .await;
    find(rig).await.unwrap()
}

/// Waits until so much work is in the open round.
async fn until_open(rig: &Rig, work: u64) {
    rig.until("the work is credited", async |rig| rounds(rig).await[0].work.ehash() == work).await;
}

/// The owner's parts, as (round, work, paid).
async fn parts(rig: &Rig, owner: &Owner) -> Vec<(u64, u64, Option<u64>)> {
    let told = |round: OwnerRound| (round.round.get(), round.work.ehash(), round.paid.map(Sats::get));
    account(rig, owner).await.rounds.into_iter().map(told).collect()
}

async fn claim(rig: &Rig, owner: &str) -> Claimed {
    let client = Client::new(rig.path("mint/mint.sock")).unwrap();
    client.post_patiently(&owner_path(owner, "claim"), &ClaimRequest::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_on_chain_is_shared_out_by_work_and_everybody_can_spend_their_part() {
    let mut rig = Rig::with(2, "[treasury]\nconfirmations = 1\n").await;
    let mut faucet = Faucet::new(&rig.node);
    let (alice, garage, paid_out) = (Person::new(1).await, owner("garage"), somewhere(4));
    let to = upstream(&rig).await;
    assert_eq!((&to, to.offer.as_deref()), (&upstream(&rig).await, None), "it is one address for good");

    rig.proxied(&alice.owner(), 600).await;
    rig.proxied(&garage, 299).await;
    rig.proxied(&owner(&paid_out), 101).await;
    until_open(&rig, 1000).await;
    let told = account(&rig, &alice.owner()).await;
    assert_eq!((told.rounds[0].paid, told.sats, told.quotes.len()), (None, Sats::ZERO, 0));
    let quote = rig.listing(&format!("/v1/mint/quote/ehash/{}", told.rounds[0].quote)).await;
    assert!(quote.contains(r#""amount_paid":0"#) && quote.contains(r#""unit":"sat""#), "{quote}");

    // The payment ends the round when it is seen, and pays it when it is final.
    faucet.pay(&rig.node, &to.address, 1_000_003);
    rig.node.mine(1);
    let ended = until_round(&rig, 1, RoundState::Ended).await;
    assert_eq!((ended.received.get(), ended.owners, ended.payments[0].is_final), (1_000_003, 3, false));
    rig.proxied(&garage, 50).await;
    until_open(&rig, 50).await;
    assert_eq!(parts(&rig, &garage).await, [(1, 299, None), (2, 50, None)]);
    rig.node.mine(1);
    let shared = until_round(&rig, 1, RoundState::Shared).await;
    let expected = [600u64, 299, 101].map(|work| work * 1_000_003 / 1000);
    assert_eq!(shared.paid.get(), expected.iter().sum::<u64>());
    assert_eq!(parts(&rig, &garage).await, [(1, 299, Some(expected[1])), (2, 50, None)]);
    let sats = rig.status().await.sats;
    assert_eq!((sats.shared, sats.redeemed, sats.claims), (shared.paid, Sats::ZERO, Sats::ZERO));

    // A stock wallet that has the key, the box for a name, and the chain for an address.
    let wallet = alice.wallet(&rig.url(""), "sat");
    let quote = &account(&rig, &alice.owner()).await.rounds[0].quote;
    let quote = wallet.fetch_mint_quote_with_key_search(quote, Some(method()), 10).await.unwrap();
    wallet.mint(&quote.id, SplitTarget::default(), None).await.unwrap();
    assert_eq!(wallet.total_balance().await.unwrap().to_u64(), expected[0]);
    let claimed = claim(&rig, "garage").await;
    let token = claimed.token.unwrap();
    assert_eq!((claimed.sats.get(), token.amount, claimed.trouble), (expected[1], expected[1], None));
    let bobs = Person::new(2).await.wallet(&rig.url(""), "sat");
    assert_eq!(bobs.receive(&token.text, ReceiveOptions::default()).await.unwrap().to_u64(), expected[1]);
    assert!(claim(&rig, "garage").await.token.is_none(), "it is paid once");
    let threshold = crate::paying::to(&paid_out, 10_000);
    crate::paying::set(&rig, &paid_out, &threshold).await.unwrap();
    rig.until("the address is paid", async |rig| {
        rig.node.mine(1);
        let told = payouts(rig, &paid_out).await;
        told.last.iter().any(|payout| payout.stage == Stage::Confirmed)
    })
    .await;
    assert_eq!(received(&rig, &paid_out).1, 1);

    let page: OwnerPage = rig.get(OWNERS).await.unwrap();
    let told = page.owners.iter().map(|owner| (owner.rounds, owner.epochs, owner.newest));
    assert_eq!(told.filter(|told| told.1 == 0 && told.2.is_none()).map(|told| told.0).sum::<u32>(), 4);
    assert_eq!(rig.status().await.halted, None);
    // What arrived is taken in once, whatever is restarted.
    rig.cut_power().await;
    rig.node.mine(3);
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(
        rounds(&rig).await.iter().map(|round| round.state).collect::<Vec<_>>(),
        [RoundState::Open, RoundState::Shared]
    );
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coinbase_that_pays_the_box_is_shared_out_when_it_matures_and_ehash_is_none_of_its_business() {
    let mut rig = Rig::new(1).await;
    let (garage, attic) = (owner("garage"), owner("attic"));
    let to = upstream(&rig).await.address;
    rig.share(&garage, 1000).await;
    rig.proxied(&attic, 10).await;
    rig.until_amounts(&garage, 1, 1000, 1000).await;
    until_open(&rig, 10).await;
    rig.node.mine_to(&to, 1);
    let ended = until_round(&rig, 1, RoundState::Ended).await;
    rig.node.mine(98);
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(rounds(&rig).await[1].state, RoundState::Ended, "the 99th confirmation");
    rig.node.mine(1);
    let shared = until_round(&rig, 1, RoundState::Shared).await;
    assert_eq!(
        (shared.paid, parts(&rig, &attic).await),
        (ended.received, vec![(1, 10, Some(shared.paid.get()))])
    );
    // The epoch goes on as if nothing had been.
    assert_eq!((rig.status().await.epoch.get(), parts(&rig, &garage).await.len()), (1, 0));
    let (_, worth) = rig.sats(&Person::new(1).await).await;
    assert!(worth > 0);
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_leaves_the_chain_pays_nobody_until_it_is_back() {
    let mut rig = Rig::new(3).await;
    let mut faucet = Faucet::new(&rig.node);
    let garage = owner("garage");
    let to = upstream(&rig).await.address;
    rig.proxied(&garage, 10).await;
    until_open(&rig, 10).await;
    faucet.pay(&rig.node, &to, 70_000);
    let block = rig.node.mine(1).remove(0);
    until_round(&rig, 1, RoundState::Ended).await;
    rig.node.cli(&["invalidateblock", &block]);
    // Blocks without it, as of miners who never heard of the transaction.
    for _ in 0..4 {
        rig.node.cli(&["generateblock", &somewhere(9), "[]"]);
    }
    rig.until("its round waits for another payment", async |rig| {
        let rounds = rounds(rig).await;
        rounds[1].payments.is_empty() && rounds[1].state == RoundState::Ended
    })
    .await;
    assert_eq!(rounds(&rig).await[1].paid, Sats::ZERO);
    rig.node.mine(3);
    let shared = until_round(&rig, 1, RoundState::Shared).await;
    assert_eq!((shared.paid.get(), rounds(&rig).await.len()), (70_000, 2));
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_sends_a_little_ends_no_round() {
    let mut rig = Rig::new(1).await;
    let mut faucet = Faucet::new(&rig.node);
    let to = upstream(&rig).await.address;
    let (garage, hopper) = (owner("garage"), owner("hopper"));
    for (round, work, sats) in [(1, 99, 100_000), (2, 99, 9_000), (2, 200, 90_000)] {
        rig.proxied(&garage, 99).await;
        until_open(&rig, work).await;
        faucet.pay(&rig.node, &to, sats);
        rig.node.mine(1);
        rig.until("the payment is seen", async |rig| {
            let all = rounds(rig).await;
            let found = all.iter().find(|told| told.n.get() == round);
            found.is_some_and(|told| told.payments.iter().any(|payment| payment.sats.get() == sats))
        })
        .await;
        if sats == 9_000 {
            rig.proxied(&hopper, 2).await;
        }
    }
    until_round(&rig, 2, RoundState::Shared).await;
    assert_eq!(parts(&rig, &garage).await[1], (2, 198, Some(198 * 99_000 / 200)));
    assert_eq!(parts(&rig, &hopper).await, [(2, 2, Some(2 * 99_000 / 200))]);
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_write_it_pays_everybody_once() {
    let mut rig = Rig::new(1).await;
    let mut faucet = Faucet::new(&rig.node);
    let to = upstream(&rig).await.address;
    for round in 1..=6u64 {
        for room in 1..=5 {
            rig.proxied(&owner(&format!("room-{room}")), 10 * room).await;
        }
        until_open(&rig, 150).await;
        let kill = rig.kill9_at_write(u32::try_from(round).unwrap());
        faucet.pay(&rig.node, &to, 15_000);
        rig.node.mine(1);
        tokio::task::spawn_blocking(move || kill.join()).await.unwrap().unwrap();
        rig.start().await;
        until_round(&rig, round, RoundState::Shared).await;
    }
    for room in 1..=5 {
        let paid: Vec<_> = (1..=6).map(|round| (round, 10 * room, Some(1000 * room))).collect();
        assert_eq!(parts(&rig, &owner(&format!("room-{room}"))).await, paid);
        assert_eq!(claim(&rig, &format!("room-{room}")).await.sats.get(), 6000 * room);
    }
    let status = rig.status().await;
    assert_eq!((status.halted, status.sats.shared.get()), (None, 90_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_would_pay_more_than_arrived_halt_the_mint() {
    let mut rig = Rig::new(1).await;
    let mut faucet = Faucet::new(&rig.node);
    rig.proxied(&owner("garage"), 10).await;
    until_open(&rig, 10).await;
    let round = rounds(&rig).await[0].n;
    assert!(rig.stop().success());
    rig.tamper(&Place::shared(round), &Sats::new(1)).await;
    rig.start().await;
    faucet.pay(&rig.node, &upstream(&rig).await.address, 5000);
    rig.node.mine(1);
    rig.until("the mint halts", async |rig| rig.status().await.halted.is_some()).await;
    let reason = rig.status().await.halted.unwrap();
    assert!(reason.contains("round 1 can pay 5000 sat, and 5001 sat"), "{reason}");
    assert_eq!(parts(&rig, &owner("garage")).await, [(1, 10, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_the_reserve_does_not_cover_waits_and_the_mint_goes_on() {
    let mut rig = Rig::new(3).await;
    let mut faucet = Faucet::new(&rig.node);
    rig.mine_unannounced(1);
    rig.node.mine(100);
    rig.proxied(&owner("garage"), 10).await;
    until_open(&rig, 10).await;
    rig.until("the reward is spendable", async |rig| rig.status().await.sats.reserve > Sats::ZERO).await;
    let before = rig.status().await.sats.reserve.get();
    faucet.pay(&rig.node, &upstream(&rig).await.address, 5000);
    rig.node.mine(1);
    rig.until("the payment is in the reserve", async |rig| {
        rig.status().await.sats.reserve.get() == before + 5000
    })
    .await;
    until_round(&rig, 1, RoundState::Ended).await;

    // As where 2,000 of it are bound in a channel: what is owed is covered, but not with the round.
    let owed = before + 2000;
    assert!(rig.stop().success());
    let redeemed = Redeemed { ehash: Work::ZERO, sats: Sats::new(owed) };
    rig.tamper(&Place::redeemed_in_all(), &redeemed).await;
    rig.falsify(&format!(
        "INSERT INTO mint_quote (id, unit, request, expiry, amount_paid, payment_method)
         VALUES ('a fault', 'sat', 'a fault', 0, {owed}, 'ehash')"
    ));
    rig.start().await;
    rig.node.mine(3);
    rig.until("the status says why", async |rig| {
        rig.status()
            .await
            .queue
            .trouble
            .is_some_and(|trouble| trouble.contains("round 1 is not shared out yet"))
    })
    .await;
    rig.proxied(&owner("garage"), 7).await;
    until_open(&rig, 7).await;
    assert_eq!((rig.status().await.halted, parts(&rig, &owner("garage")).await[0].2), (None, None));

    assert!(rig.stop().success());
    rig.falsify("DELETE FROM mint_quote WHERE id = 'a fault'");
    rig.start().await;
    assert_eq!(until_round(&rig, 1, RoundState::Shared).await.paid.get(), 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_to_the_standing_offer_is_shared_out_at_once() {
    let (mut rig, neighbour) = connected("").await;
    let client = Client::new(rig.path("mint/mint.sock")).unwrap();
    let made: UpstreamAccount = client.post(UPSTREAM_OFFER, &()).await.unwrap();
    assert_eq!(upstream(&rig).await, made, "it is one offer for good");
    let garage = owner("garage");
    rig.proxied(&garage, 10).await;
    until_open(&rig, 10).await;
    neighbour.pay_offer(&rig, made.offer.as_deref().unwrap(), 8_000_999).await;
    let shared = until_round(&rig, 1, RoundState::Shared).await;
    assert_eq!((shared.paid.get(), shared.payments.len()), (8000, 1));
    assert!(shared.payments[0].id.starts_with("lightning-"), "{shared:?}");
    assert_eq!(claim(&rig, "garage").await.sats.get(), 8000);
    assert_eq!(rig.status().await.halted, None);
    neighbour.node.stop().unwrap();
    assert!(rig.stop().success(), "{}", rig.log());
}
