//! Standing payouts over Lightning: to a Lightning address and to an offer, each paid at a real node
//! of somebody else. The host of the address is a stand-in, since no domain leads here; its invoices
//! are the node's.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use poolbox_accounting::{EpochState, Owner, Sats};
use poolbox_api::mint::payouts::{Payout, Stage};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::paying::{owner, payouts, set, to};
use crate::rig::neighbour::{Neighbour, connected};
use crate::rig::{Rig, until_state};

const METADATA: &str = r#"[["text/plain","sats for bob"]]"#;
/// The most that the address takes at once.
const AT_ONCE: u64 = 20_000;

/// What the stand-in of bob@example.com's host answers (LUD-16).
async fn pay_request() -> Json<Value> {
    Json(json!({ "tag": "payRequest", "callback": "https://example.com/cb", "minSendable": 1_000,
                 "maxSendable": AT_ONCE * 1_000, "metadata": METADATA }))
}

async fn callback(
    State(neighbour): State<Arc<Neighbour>>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let invoice = neighbour.invoice_for(METADATA, query["amount"].parse().unwrap());
    Json(json!({ "pr": invoice, "routes": [] }))
}

/// Payouts of an owner that were made, newest last, once `many` were.
async fn made(rig: &Rig, neighbour: &Neighbour, owner: &str, many: usize) -> Vec<Payout> {
    let ended = async |rig: &Rig| {
        let mut ended = payouts(rig, owner).await.last;
        ended.retain(|payout| payout.stage == Stage::Confirmed);
        ended.sort_by_key(|payout| payout.n);
        ended
    };
    rig.until(&format!("{many} payouts of {owner} are made"), async |rig| {
        neighbour.saw(|_| false);
        ended(rig).await.len() >= many
    })
    .await;
    ended(rig).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lightning_address_and_an_offer_are_paid_and_a_restart_pays_nothing_twice() {
    let host = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stand_in = host.local_addr().unwrap();
    let further = format!("[payouts]\nstand_in_host = '{stand_in}'\n");
    let (mut rig, neighbour) = connected(&further).await;
    let neighbour = Arc::new(neighbour);
    let routes = Router::new().route("/.well-known/lnurlp/bob", get(pay_request)).route("/cb", get(callback));
    let routes = routes.with_state(neighbour.clone());
    tokio::spawn(async move { axum::serve(host, routes).await });

    // Little enough for the channel: most of the work is somebody else's.
    let offer = neighbour.node.bolt12_payment().receive_variable_amount("the attic's", None).unwrap();
    let bob = "bob@example.com";
    set(&rig, "attic", &to(&offer.to_string(), 5_000)).await.unwrap();
    let n = rig.status().await.epoch.get();
    rig.share(&owner(bob), 10).await;
    rig.share(&owner("attic"), 10).await;
    rig.block(&Owner::Household("finder".to_owned()), 999_980).await;
    rig.node.mine(99);
    until_state(&rig, n, EpochState::Settled).await;
    let each = rig.epoch(n).await.unwrap().reward.get() / 100_000;
    assert!(each > 2 * AT_ONCE && each < 3 * AT_ONCE, "{each} sat each");

    let to_bob = made(&rig, &neighbour, bob, 2).await;
    let to_attic = made(&rig, &neighbour, "attic", 1).await;
    assert!(rig.stop().success(), "{}", rig.log());
    rig.start().await;
    rig.until("what is left of the balance is known again", async |rig| {
        let (bob, attic) = (payouts(rig, bob).await, payouts(rig, "attic").await);
        bob.under_way.is_none() && attic.under_way.is_none() && bob.balance.get() < each - AT_ONCE
    })
    .await;
    let to_bob_later = made(&rig, &neighbour, bob, to_bob.len()).await;
    let paid: Vec<u64> = to_bob_later.iter().chain(&to_attic).map(|payout| payout.amount.get()).collect();
    assert_eq!(to_bob[..2].iter().map(|payout| payout.amount.get()).collect::<Vec<_>>(), [AT_ONCE; 2]);
    let mut arrived = neighbour.received();
    arrived.sort_unstable();
    let mut expected = paid.clone();
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    for payout in to_bob_later.iter().chain(&to_attic) {
        assert!(payout.fee.unwrap() <= payout.max_fee, "{payout:?}");
        assert_eq!(payout.proof.as_ref().unwrap().len(), 64, "a payment hash: {payout:?}");
    }
    let attic = &to_attic[0];
    assert!(attic.amount.get() > each * 9 / 10 && attic.amount.get() < each, "{attic:?} of {each}");
    let status = rig.status().await;
    assert_eq!((status.halted, status.sats.pending_out), (None, Sats::ZERO));
    assert!(rig.stop().success(), "{}", rig.log());
    neighbour.node.stop().unwrap();
}
