//! Pages and JSON about money, before a fake mint: its local API with answers as the real one gives them. The
//! real one stands before the browser in `tests/browser.rs`.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN};
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::fixture::{HOSTILE, NOW, snapshot};
use crate::tests::{Answer, Rig, token};

type Seen = Arc<Mutex<Vec<Value>>>;

fn payout(stage: &str, n: u64) -> Value {
    json!({ "n": n, "owner": "garage", "target": "garage@wallet.example", "kind": "lightning", "stage": stage,
            "amount": 21_000, "max_fee": 420, "fee": if stage == "confirmed" { json!(17) } else { json!(null) },
            "melt_quote": "q", "proof": format!("proof-{n}"), "attempts": 1, "planned_at": NOW - 600,
            "quoted_at": NOW - 590, "sent_at": NOW - 580, "ended_at": NOW - 570, "trouble": null })
}

/// A fake mint. `garage` has a rule, `hostile` one with a nasty target, `key` is a public key, and `bare` has
/// none. What it is asked to do is noted.
fn mint(seen: Seen) -> Router {
    let account = |Path(owner): Path<String>| async move {
        if owner == "nobody" {
            let problem = json!({ "error": "nobody has earned nothing", "remedy": "mine" });
            return (StatusCode::NOT_FOUND, Json(problem)).into_response();
        }
        Json(json!({ "owner": owner, "held_by_box": owner != "key", "pubkey": "02ab", "quotes": [],
                     "epochs": [], "sats": 5, "claim_secret": null }))
        .into_response()
    };
    let standing = |Path(owner): Path<String>| async move {
        let rule = match owner.as_str() {
            "bare" => json!(null),
            "hostile" => json!({ "target": HOSTILE, "kind": "bolt12", "threshold": 1, "max_fee_ppm": 1 }),
            _ => json!({ "target": "garage@wallet.example", "kind": "lightning", "threshold": 20_000,
                         "max_fee_ppm": 25_000 }),
        };
        let mut failed = payout("failed", 3);
        failed["trouble"] = if owner == "hostile" { json!(HOSTILE) } else { json!("no route") };
        Json(
            json!({ "owner": owner, "rule": rule, "balance": 1234, "waits_for": "its threshold: 1234 sat of 20000 sat",
                     "retry_at": null, "under_way": payout("sent", 9), "last": [payout("confirmed", 4), failed] }),
        )
    };
    let (setting, removing, paying, claiming) = (seen.clone(), seen.clone(), seen.clone(), seen);
    let note = |seen: &Seen, what: Value| seen.lock().unwrap().push(what);
    let set = move |Path(owner): Path<String>, Json(body): Json<Value>| async move {
        if body["target"] == "nonsense" {
            let problem = json!({ "error": "target: neither a bitcoin address, a Lightning address nor a BOLT12 offer" });
            return (StatusCode::BAD_REQUEST, Json(problem)).into_response();
        }
        note(&setting, json!(["set", owner, body]));
        standing(Path(owner)).await.into_response()
    };
    let remove = move |Path(owner): Path<String>| async move {
        note(&removing, json!(["remove", owner]));
        standing(Path(owner)).await
    };
    let now = move |Path(owner): Path<String>| async move {
        note(&paying, json!(["now", owner]));
        standing(Path(owner)).await
    };
    let claim = move |Path(owner): Path<String>, Json(body): Json<Value>| async move {
        note(&claiming, json!(["claim", owner, body]));
        Json(
            json!({ "owner": owner, "minted": 1, "redeemed": 1, "sats": 2, "waiting": [], "trouble": null, "token": null }),
        )
    };
    let wrong =
        || async { (StatusCode::FORBIDDEN, Json(json!({ "error": "the claim secret is not right" }))) };
    let page = || async { Json(json!({ "payouts": [payout("confirmed", 4)], "next": null })) };
    Router::new()
        .route("/owners/{owner}", get(account))
        .route("/owners/{owner}/tokens", get(|| async { Json(json!([])) }))
        .route("/owners/{owner}/claim", post(claim))
        .route("/owners/{owner}/payout", get(standing).put(set).delete(remove))
        .route("/owners/{owner}/payout/now", post(now))
        .route("/payouts", get(page))
        .route("/claims", post(wrong))
}

async fn json(rig: &Rig, path: &str, cookie: &str, body: Value) -> Answer {
    let request = Request::post(path)
        .header(CONTENT_TYPE, "application/json")
        .header(COOKIE, cookie)
        .body(Body::from(body.to_string()));
    rig.ask(request.unwrap()).await
}

#[tokio::test]
async fn an_owner_sees_the_rule_what_it_waits_for_and_what_was_paid() {
    let rig = Rig::with_mint(snapshot(1), mint(Seen::default()));
    let page = rig.get("/owner?owner=garage").await.text;
    for told in [
        "garage@wallet.example",
        "20,000\u{a0}sat",
        "2.5\u{a0}%",
        "1,234\u{a0}sat",
        "its threshold",
        "proof-4",
        "17\u{a0}sat",
        "no route",
        "up to 420\u{a0}sat",
    ] {
        assert!(page.contains(told), "{told} is not in {page}");
    }
    assert!(!page.contains("/owner/payout"), "forms are the admin's");
    assert!(rig.get("/owner?owner=bare").await.text.contains("no rule is set"));
    assert!(!rig.get("/owner?owner=key").await.text.contains("Paid out by itself"));
}

#[tokio::test]
async fn a_hostile_target_is_shown_and_never_run() {
    let rig = Rig::with_mint(snapshot(1), mint(Seen::default()));
    let cookie = rig.set_up().await;
    let page = rig.as_admin("/owner?owner=hostile", &cookie).await.text;
    assert!(page.contains("alert(1)"));
    for raw in ["<script>", "<img src=x", "&#x3c;img", "\"'&"] {
        assert!(!page.contains(raw), "{raw}");
    }
}

#[tokio::test]
async fn the_admin_sets_changes_removes_and_pays_and_a_refusal_stands_at_the_form() {
    let seen = Seen::default();
    let rig = Rig::with_mint(snapshot(1), mint(seen.clone()));
    let cookie = rig.set_up().await;
    let page = rig.as_admin("/owner?owner=garage", &cookie).await.text;
    assert!(page.contains("name=\"threshold\" value=\"20000\"") && page.contains("value=\"2.5\""), "{page}");
    let token = token(&page);
    let form =
        format!("token={token}&owner=garage&target=alice%40wallet.example&threshold=21000&max_fee=0.5");
    let set = rig.post("/owner/payout", &cookie, &form).await;
    assert_eq!(
        (set.status, &set.headers[LOCATION]),
        (StatusCode::SEE_OTHER, &"/owner?owner=garage".parse().unwrap())
    );
    let form = format!("token={token}&owner=garage&target=x&threshold=&max_fee=");
    rig.post("/owner/payout/now", &cookie, &form).await;
    rig.post("/owner/payout/remove", &cookie, &form).await;
    let rule = json!({ "target": "alice@wallet.example", "threshold": 21_000, "max_fee_ppm": 5_000 });
    let expected = [json!(["set", "garage", rule]), json!(["now", "garage"]), json!(["remove", "garage"])];
    assert_eq!(*seen.lock().unwrap(), expected);

    for (target, max_fee, said) in
        [("nonsense", "1", "neither a bitcoin address"), ("a%40b.example", "cheap", "must be per cent")]
    {
        let form = format!("token={token}&owner=garage&target={target}&threshold=7&max_fee={max_fee}");
        let refused = rig.post("/owner/payout", &cookie, &form).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.text.contains(said), "{}", refused.text);
        assert!(refused.text.contains("name=\"threshold\" value=\"7\""), "what was typed stays");
    }
    assert_eq!(seen.lock().unwrap().len(), 3, "nothing was set");
}

#[tokio::test]
async fn programs_read_payouts_and_owners() {
    let rig = Rig::with_mint(snapshot(1), mint(Seen::default()));
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(&rig.get("/api/v1/payouts?limit=5").await.text)["payouts"][0]["fee"], 17);
    let owner = read(&rig.get("/api/v1/owner?owner=garage").await.text);
    assert_eq!(
        (&owner["account"]["sats"], &owner["payout"]["rule"]["threshold"]),
        (&json!(5), &json!(20_000))
    );
    let missing = rig.get("/api/v1/owner?owner=nobody").await;
    assert_eq!(
        (missing.status, read(&missing.text)["remedy"].as_str()),
        (StatusCode::NOT_FOUND, Some("mine"))
    );
    let without = Rig::new(snapshot(1));
    assert_eq!(without.get("/api/v1/payouts").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_program_claims_as_the_admin_with_the_sessions_token_or_by_secret_and_in_no_other_way() {
    let seen = Seen::default();
    let rig = Rig::with_mint(snapshot(1), mint(seen.clone()));
    let cookie = rig.set_up().await;
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(&rig.get("/api/v1/session").await.text), json!({ "admin": false, "token": null }));
    let session = read(&rig.as_admin("/api/v1/session", &cookie).await.text);
    let token = session["token"].as_str().unwrap();
    let path = "/api/v1/claims";
    for (cookie, body) in [
        ("", json!({ "owner": "garage", "token": token })),
        (cookie.as_str(), json!({ "owner": "garage" })),
        (cookie.as_str(), json!({ "owner": "garage", "token": "T" })),
        ("", json!({ "owner": "garage", "secret": "wrong" })),
    ] {
        let refused = json(&rig, path, cookie, body).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
        assert!(read(&refused.text)["error"].is_string());
    }
    assert_eq!(json(&rig, path, &cookie, json!({ "ownr": "garage" })).await.status, StatusCode::BAD_REQUEST);
    let form = format!("owner=garage&token={token}");
    assert_eq!(rig.post(path, &cookie, &form).await.status, StatusCode::BAD_REQUEST, "a form is no JSON");
    let body = json!({ "owner": "garage", "token": token, "epoch": 3, "amount": 7 });
    let foreign = Request::post(path)
        .header(CONTENT_TYPE, "application/json")
        .header(ORIGIN, "http://evil.example")
        .header(COOKIE, &cookie)
        .body(Body::from(body.to_string()));
    assert_eq!(rig.ask(foreign.unwrap()).await.status, StatusCode::FORBIDDEN);
    let by_name = Request::post(path).header(HOST, "evil.example").body(Body::from(body.to_string()));
    assert_eq!(rig.ask(by_name.unwrap()).await.status, StatusCode::MISDIRECTED_REQUEST);
    assert!(seen.lock().unwrap().is_empty(), "nothing was claimed so far");

    let claimed = json(&rig, path, &cookie, body).await;
    assert_eq!((claimed.status, read(&claimed.text)["sats"].as_u64()), (StatusCode::OK, Some(2)));
    assert_eq!(*seen.lock().unwrap(), [json!(["claim", "garage", { "epoch": 3, "amount": 7 }])]);
}

#[tokio::test]
async fn programs_read_the_logs_as_the_admin_and_no_secret_in_them() {
    let rig = Rig::new(snapshot(1));
    let logs = rig.dir.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let lines =
        "2026-11-22T10:00:00Z  INFO pool: started\n2026-11-22T10:00:01Z  WARN pool: password=hunter22\n";
    std::fs::write(logs.join("pool.log"), lines).unwrap();
    assert_eq!(rig.get("/api/v1/logs").await.status, StatusCode::FORBIDDEN);
    let cookie = rig.set_up().await;
    let told = rig.as_admin("/api/v1/logs?level=warn", &cookie).await.text;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told[0]["level"], "warn");
    assert_eq!(told[0]["text"], "2026-11-22T10:00:01Z  WARN pool: password=[removed]");
    assert_eq!(told.as_array().unwrap().len(), 1);
}
