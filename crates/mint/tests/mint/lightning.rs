//! Sats over Lightning: the mint's own node, and one of the tests' beside it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

use std::collections::HashMap;

use crate::rig::neighbour::{connected, lightning};
use crate::rig::{Person, Rig};
use cdk::amount::SplitTarget;
use cdk::nuts::{MeltQuoteState, PaymentMethod};
use cdk::wallet::{MeltOutcome, Wallet};
use ldk_node::Event;
use poolbox_accounting::Sats;
use poolbox_api::{Client, mint as api};

async fn balance(wallet: &Wallet) -> u64 {
    wallet.total_balance().await.unwrap().to_u64()
}

/// Mints a quote that was paid.
async fn collect(rig: &Rig, wallet: &Wallet, quote: &str) {
    rig.until("the payment is booked", async |_| {
        wallet.check_mint_quote_status(quote).await.is_ok_and(|quote| quote.amount_paid > 0.into())
    })
    .await;
    wallet.mint(quote, SplitTarget::default(), None).await.unwrap();
}

async fn pay(wallet: &Wallet, method: PaymentMethod, request: String) -> (u64, u64) {
    let quote = wallet.melt_quote(method, request, None, None).await.unwrap();
    let paid = wallet.prepare_melt(&quote.id, HashMap::new()).await.unwrap().confirm().await.unwrap();
    assert_eq!(paid.state(), MeltQuoteState::Paid);
    (paid.amount().to_u64(), paid.fee_paid().to_u64())
}

#[tokio::test(flavor = "multi_thread")]
async fn sats_come_and_go_over_lightning_and_a_restart_in_between_loses_none() {
    let (mut rig, neighbour) = connected("").await;
    let alice = Person::new(1).await;
    let sat = alice.wallet(&rig.url(""), "sat");
    let info = rig.listing("/v1/info").await;
    for method in ["bolt11", "bolt12", "onchain"] {
        assert_eq!(info.matches(&format!("\"method\":\"{method}\"")).count(), 2, "{info}");
    }
    let own = rig.status().await.sats;
    assert_eq!((own.outstanding, own.surplus), (Sats::ZERO, own.reserve));
    assert!(own.lightning.get() > 380_000 && own.channel_reserve > Sats::ZERO, "{own:?}");

    let quote = sat.mint_quote(PaymentMethod::BOLT11, Some(50_000.into()), None, None).await.unwrap();
    neighbour.pay(&rig, &quote.request).await;
    collect(&rig, &sat, &quote.id).await;
    let quote = sat.mint_quote(PaymentMethod::BOLT12, Some(7000.into()), None, None).await.unwrap();
    neighbour.pay_offer(&rig, &quote.request, 7_000_000).await;
    collect(&rig, &sat, &quote.id).await;
    assert_eq!(balance(&sat).await, 57_000);

    // The fee that was set aside and not needed comes back.
    assert_eq!(pay(&sat, PaymentMethod::BOLT11, neighbour.invoice(20_000)).await, (20_000, 0));
    let offer = neighbour.node.bolt12_payment().receive(10_000_000, "tea", None, None).unwrap();
    assert_eq!(pay(&sat, PaymentMethod::BOLT12, offer.to_string()).await, (10_000, 0));
    assert_eq!(balance(&sat).await, 27_000);
    let sats = rig.status().await.sats;
    assert_eq!((sats.outstanding.get(), sats.received.get(), sats.melted.get()), (27_000, 57_000, 30_000));
    assert!(sats.surplus.get().abs_diff(own.surplus.get()) < 2000, "{own:?} {sats:?}");

    // Paid without a quote: noted once, and nobody's.
    let standing: api::Offer = lightning(&rig, &["offer", "--description", "standing"]);
    neighbour.pay_offer(&rig, &standing.offer, 9_000_000).await;
    let unquoted = |rig: &Rig| lightning::<Vec<api::Unquoted>>(rig, &["unquoted"]);
    rig.until("the payment is noted", async |rig| !unquoted(rig).is_empty()).await;
    assert_eq!(unquoted(&rig)[0].msat, 9_000_000);
    assert_eq!(rig.status().await.sats.outstanding.get(), 27_000);

    // The mint is restarted while a payment is under way.
    let secret = [7; 32];
    let quote = sat.melt_quote(PaymentMethod::BOLT11, neighbour.held_invoice(5000, secret), None, None);
    let quote = quote.await.unwrap();
    let melt =
        sat.prepare_melt(&quote.id, HashMap::new()).await.unwrap().confirm_prefer_async().await.unwrap();
    assert!(matches!(melt, MeltOutcome::Pending(_)));
    rig.until("the payment waits at the neighbour", async |_| {
        neighbour.saw(|event| matches!(event, Event::PaymentClaimable { .. }))
    })
    .await;
    let during = rig.status().await.sats;
    assert!(during.pending_out.get() >= 5000 && during.outstanding.get() == 27_000, "{during:?}");
    assert!(rig.stop().success(), "{}", rig.log());
    rig.start().await;
    rig.until("Lightning works again", async |rig| {
        rig.status().await.lightning == api::LightningState::On
            && neighbour.node.list_channels().iter().any(|channel| channel.is_usable)
    })
    .await;
    neighbour.take(5000, secret);
    rig.until("the payment has ended", async |rig| {
        neighbour.saw(|_| false);
        rig.status().await.sats.pending_out == Sats::ZERO
    })
    .await;
    let finished = sat.finalize_pending_melts().await.unwrap();
    assert_eq!(finished.first().map(|melt| melt.state()), Some(MeltQuoteState::Paid));
    assert_eq!(balance(&sat).await, 22_000);

    let status = rig.status().await;
    assert_eq!(status.halted, None);
    let sats = status.sats;
    assert_eq!((sats.outstanding.get(), sats.received.get(), sats.melted.get()), (22_000, 57_000, 35_000));
    assert_eq!(unquoted(&rig).len(), 1, "noted again after the restart");
    assert!(sats.surplus.get().abs_diff(own.surplus.get() + 9000) < 2000, "{own:?} {sats:?}");
    assert!(!rig.log().contains("ChannelManager is stale"));

    // The channel is closed, and its coins come back, for a channel of the mint's own.
    let channels: Vec<api::LightningChannel> = lightning(&rig, &["channels"]);
    let () = lightning(&rig, &["close", &channels[0].channel]);
    rig.until("the channel is closed", async |rig| {
        rig.node.mine(1);
        neighbour.saw(|_| false);
        let node: api::LightningNode = lightning(rig, &["info"]);
        node.channels.is_empty()
            && node.onchain.get() > own.onchain.get()
            && rig.status().await.sats.channel_reserve == Sats::ZERO
    })
    .await;
    let () = lightning(&rig, &["connect", &neighbour.peer()]);
    let () = lightning(&rig, &["open", &neighbour.peer(), "200000"]);
    rig.until("the mint's own channel is there", async |rig| {
        rig.node.mine(1);
        neighbour.saw(|_| false);
        let channels: Vec<api::LightningChannel> = lightning(rig, &["channels"]);
        channels.iter().any(|channel| channel.usable && channel.can_send > Sats::new(150_000))
    })
    .await;
    assert_eq!(rig.status().await.halted, None);
    neighbour.node.stop().unwrap();
    assert!(rig.stop().success(), "{}", rig.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mint_whose_lightning_cannot_start_serves_all_else_and_says_so() {
    let mut rig = Rig::new(1).await;
    assert_eq!(rig.status().await.lightning, api::LightningState::Off);
    rig.stop();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = std::fs::read_to_string(rig.path("mint.toml")).unwrap();
    let listen = taken.local_addr().unwrap();
    std::fs::write(rig.path("mint.toml"), format!("{settings}\n[lightning]\nlisten = '{listen}'\n")).unwrap();
    rig.start().await;
    rig.until("Lightning is given up for now", async |rig| {
        let state = rig.status().await.lightning;
        matches!(state, api::LightningState::Down { reason } if reason.contains("start the Lightning node"))
    })
    .await;
    let info = rig.listing("/v1/info").await;
    assert!(info.contains("onchain") && !info.contains("bolt11"), "{info}");
    let alice = Person::new(1).await;
    let sat = alice.wallet(&rig.url(""), "sat");
    assert!(sat.mint_quote(PaymentMethod::BOLT11, Some(1000.into()), None, None).await.is_err());
    rig.share(&alice.owner(), 50).await;
    rig.until_amounts(&alice.owner(), 1, 50, 50).await;
    drop(taken);
    rig.until("Lightning works after all", async |rig| {
        rig.status().await.lightning == api::LightningState::On
    })
    .await;
    assert!(rig.listing("/v1/info").await.contains("bolt11"));
    // Nobody could reach it by an offer.
    let client = Client::new(rig.path("mint/mint.sock")).unwrap();
    let refused = client.post::<_, api::UpstreamAccount>(api::UPSTREAM_OFFER, &()).await.unwrap_err();
    assert!(refused.to_string().contains("needs a Lightning channel"), "{refused}");
    assert!(rig.stop().success(), "{}", rig.log());
}
