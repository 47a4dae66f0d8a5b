//! The public Cashu API: cdk's router twice, at `/ehash` with every unit and at `/` with sat alone,
//! which is all that stock wallets understand. In front of both stand the few rules that cdk's
//! router cannot express.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use cdk::mint::Mint;
use cdk::nuts::{CurrencyUnit, KeysResponse, KeysetResponse, MintInfo};
use poolbox_accounting::Sats;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::health::Health;
use crate::settlement::Settlement;
use crate::units::METHOD;

/// Largest request: a thousand proofs and their outputs.
const MAX_BODY: usize = 4 << 20;
/// Error code for what Poolbox itself refuses; the NUTs use lower ones.
const REFUSED: u16 = 40_000;
/// NUT-20: a quote needs a public key. The code is the NUTs'.
const PUBKEY_REQUIRED: u16 = 20_009;

/// What the rules look at.
#[derive(Clone)]
struct Rules {
    settlement: Arc<Settlement>,
    health: Arc<Health>,
}

/// The routes of the public API.
///
/// # Errors
/// When cdk's router cannot be built.
pub async fn router(
    mint: Arc<Mint>,
    settlement: Arc<Settlement>,
    health: Arc<Health>,
) -> anyhow::Result<Router> {
    let cashu = cdk_axum::create_mint_router(mint, vec![METHOD.to_owned()]).await?;
    let all = cashu.layer(from_fn_with_state(Rules { settlement, health }, apply_rules));
    let sat = all.clone().layer(from_fn(sat_only));
    Ok(Router::new().nest("/ehash", all).merge(sat))
}

/// A request for a mint quote, as far as the rules read it.
#[derive(Deserialize)]
struct MintQuote {
    pubkey: Option<Value>,
}

/// A request for a melt quote, as far as the rules read it.
#[derive(Deserialize)]
struct MeltQuote {
    unit: CurrencyUnit,
    request: String,
    amount: Option<u64>,
    #[serde(flatten)]
    extra: serde_json::Map<String, Value>,
}

/// A request for a melt quote on-chain (NUT-30), as far as the rules read it.
#[derive(Deserialize)]
struct OnchainMeltQuote {
    request: String,
    amount: u64,
}

async fn apply_rules(State(rules): State<Rules>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let path = request.uri().path().to_owned();
    let signs = ["/v1/swap", "/v1/mint", "/v1/melt"].iter().any(|start| path.starts_with(start));
    if let Some(reason) = rules.health.halted().filter(|_| signs) {
        let detail = format!("the mint has halted ({reason}); its operator has to look");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, REFUSED, &detail);
    }
    if let Some(reason) = rules.health.held().filter(|_| signs) {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            REFUSED,
            &format!("the mint signs nothing now: {reason}"),
        );
    }
    let (mut parts, body) = request.into_parts();
    let Ok(mut body) = to_bytes(body, MAX_BODY).await else {
        return refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            REFUSED,
            "the request is larger than 4 MiB; send less at once",
        );
    };
    let lightning = path.contains("/quote/") && (path.ends_with("/bolt11") || path.ends_with("/bolt12"));
    if let Some(node) = rules.settlement.treasury().lightning().filter(|_| lightning)
        && node.trouble().await.is_some()
    {
        let detail = "the mint's Lightning node does not run right now; try again later, or on-chain";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, REFUSED, detail);
    }
    if path == "/v1/melt/quote/onchain" {
        // cdk answers every refusal of a payment with "Payment backend error".
        if let Ok(OnchainMeltQuote { request, amount }) = serde_json::from_slice(&body) {
            let treasury = rules.settlement.treasury();
            if let Err(unpayable) = treasury.can_pay(&request, Sats::new(amount)).await {
                return refuse(StatusCode::BAD_REQUEST, REFUSED, &unpayable.to_string());
            }
        }
    }
    let method_path = path.strip_suffix(METHOD).and_then(|path| path.strip_suffix('/')).unwrap_or_default();
    match method_path {
        "/v1/mint/quote" if is_unlocked(&body) => {
            let detail = "only quotes locked to a key are made here; send a pubkey (NUT-20)";
            return refuse(StatusCode::BAD_REQUEST, PUBKEY_REQUIRED, detail);
        }
        "/v1/melt/quote" => {
            // cdk answers every refusal of a custom method with "unsupported unit".
            if let Ok(MeltQuote { unit, request, amount, extra }) = serde_json::from_slice(&body) {
                let extra = Value::Object(extra).to_string();
                if let Err(refusal) = rules.settlement.offer(&unit, amount, Some(&extra), &request).await {
                    return refuse(StatusCode::BAD_REQUEST, REFUSED, &refusal.to_string());
                }
            }
        }
        "/v1/melt" => {
            // cdk's wallet always asks for an asynchronous melt and then waits for a notification
            // that no custom method sends. Redeeming takes milliseconds: answer when it is done.
            parts.headers.remove("prefer");
            parts.headers.remove(CONTENT_LENGTH);
            if let Ok(Value::Object(mut melt)) = serde_json::from_slice(&body) {
                melt.remove("prefer_async");
                body = Value::Object(melt).to_string().into();
            }
        }
        _ => {}
    }
    next.run(Request::from_parts(parts, body.into())).await
}

fn is_unlocked(body: &[u8]) -> bool {
    serde_json::from_slice::<MintQuote>(body).is_ok_and(|quote| quote.pubkey.is_none())
}

/// Leaves only sat in what the mint says about itself.
async fn sat_only(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if !response.status().is_success() {
        return response;
    }
    let sat = |unit: &CurrencyUnit| *unit == CurrencyUnit::Sat;
    match path.as_str() {
        "/v1/keys" => {
            rewrite(response, |keys: &mut KeysResponse| keys.keysets.retain(|set| sat(&set.unit))).await
        }
        "/v1/keysets" => {
            rewrite(response, |keysets: &mut KeysetResponse| keysets.keysets.retain(|set| sat(&set.unit)))
                .await
        }
        "/v1/info" => {
            rewrite(response, |info: &mut MintInfo| {
                info.nuts.nut04.methods.retain(|entry| sat(&entry.unit));
                info.nuts.nut05.methods.retain(|entry| sat(&entry.unit));
            })
            .await
        }
        _ => response,
    }
}

async fn rewrite<T: DeserializeOwned + Serialize>(
    response: Response,
    change: impl FnOnce(&mut T),
) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let rewritten = serde_json::from_slice(&bytes).and_then(|mut value| {
        change(&mut value);
        serde_json::to_vec(&value)
    });
    match rewritten {
        Ok(rewritten) => {
            parts.headers.remove(CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(Bytes::from(rewritten)))
        }
        Err(error) => {
            tracing::error!(%error, "cdk's answer cannot be read");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, REFUSED, "the mint cannot describe itself")
        }
    }
}

/// The error shape of the NUTs (NUT-00).
fn refuse(status: StatusCode, code: u16, detail: &str) -> Response {
    let body = json!({ "code": code, "detail": detail }).to_string();
    (status, [(CONTENT_TYPE, "application/json"), ACCESS], body).into_response()
}

/// Browser wallets read refusals too.
const ACCESS: (axum::http::HeaderName, &str) = (axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
