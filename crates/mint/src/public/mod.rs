//! The public Cashu API: cdk's router twice, at `/ehash` with every unit and at `/` with sat alone,
//! which is all that stock wallets understand. In front of both stand the few rules that cdk's
//! router cannot express, and [`Limits`] on what one client may take.

mod rates;
mod server;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use cdk::mint::Mint;
use cdk::nuts::{CurrencyUnit, KeysResponse, KeysetResponse, MintInfo};
use poolbox_accounting::Sats;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::health::Health;
use crate::refusal::Refusal;
use crate::settings::Limits;
use crate::settlement::Settlement;
use crate::undivided::undivided;
use crate::units::{METHOD, epoch_of};
use rates::{Allowance, Rates};
use server::Caller;
pub use server::serve;

/// Largest request: a thousand proofs and their outputs.
const MAX_BODY: usize = 1 << 20;
/// A request counts once for each part of this size, in bytes.
const BYTES_A_REQUEST: u64 = 16 << 10;
/// More sats than there ever will be.
const ALL_SATS: u64 = 2_100_000_000_000_000;
/// Error code for what Poolbox itself refuses; the NUTs use lower ones.
const REFUSED: u16 = 40_000;
/// NUT-20: a quote needs a public key. The code is the NUTs'.
const PUBKEY_REQUIRED: u16 = 20_009;
/// An amount that is too small or too large. The code is the NUTs'.
const AMOUNT_OUT_OF_RANGE: u16 = 11_006;
/// No keyset by that id. The code is the NUTs'.
const KEYSET_UNKNOWN: u16 = 12_001;
/// What cdk answers when its database fails, and for some mistakes of clients too.
const CDK_TROUBLE: u64 = 50_000;
/// What SQLite says when it is not the client's mistake.
const DATABASE_TROUBLE: [&str; 7] = [
    "disk is full",
    "database is locked",
    "disk image is malformed",
    "file is not a database",
    "disk I/O error",
    "readonly database",
    "unable to open database",
];
/// Refusals are short.
const LONGEST_REFUSAL: usize = 8 << 10;
/// When a database that is busy or full may be asked again, in seconds.
const TROUBLE_SECONDS: u64 = 10;

/// What the rules look at.
#[derive(Clone)]
struct Rules {
    settlement: Arc<Settlement>,
    health: Arc<Health>,
    limits: Limits,
    requests: Arc<Rates>,
    quotes: Arc<Rates>,
    turns: Arc<Semaphore>,
    started: Instant,
}

/// The routes of the public API.
///
/// # Errors
/// When cdk's router cannot be built.
pub async fn router(
    mint: Arc<Mint>,
    settlement: Arc<Settlement>,
    health: Arc<Health>,
    limits: Limits,
) -> anyhow::Result<Router> {
    let cashu = cdk_axum::create_mint_router(mint, vec![METHOD.to_owned()]).await?;
    let rules = Rules {
        settlement,
        health,
        limits,
        requests: Arc::default(),
        quotes: Arc::default(),
        turns: Arc::new(Semaphore::new(1)),
        started: Instant::now(),
    };
    let all = cashu.layer(from_fn_with_state(rules.clone(), apply_rules));
    let sat = all.clone().layer(from_fn(sat_only));
    Ok(Router::new().nest("/ehash", all).merge(sat).layer(from_fn_with_state(rules, apply_limits)))
}

impl Rules {
    /// Takes one request off what its sender may ask.
    fn charge(&self, request: &Request) -> Result<(), Duration> {
        // Only what did not come over a socket has no caller.
        let caller = request.extensions().get().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |Caller(ip)| *ip);
        let local = caller.to_canonical().is_loopback();
        let of_two = |far: u32, near: u32| if local { near } else { far };
        let many = of_two(self.limits.requests_per_minute, self.limits.requests_per_minute_local);
        let requests = Allowance { many, per: Duration::from_secs(60) };
        let now = self.started.elapsed();
        self.requests.take(caller, requests, cost(request), now)?;
        let path = request.uri().path();
        let quote = path.contains("/v1/mint/quote/") || path.contains("/v1/melt/quote/");
        if quote && request.method() == Method::POST && !path.ends_with("/check") {
            let many = of_two(self.limits.quotes_per_hour, self.limits.quotes_per_hour_local);
            self.quotes.take(caller, Allowance { many, per: Duration::from_secs(3600) }, 1, now)?;
        }
        Ok(())
    }
}

impl Rules {
    /// cdk calls a failure of its own database a mistake of the client; wallets should try again.
    async fn tell_trouble(&self, response: Response) -> Response {
        if response.status() != StatusCode::BAD_REQUEST {
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(body) = to_bytes(body, LONGEST_REFUSAL).await else {
            return refuse(StatusCode::BAD_REQUEST, REFUSED, "the request is refused");
        };
        let refusal: Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = refusal["detail"].as_str().filter(|_| refusal["code"] == CDK_TROUBLE);
        let detail = detail.unwrap_or_default();
        if DATABASE_TROUBLE.iter().any(|trouble| detail.contains(trouble)) {
            return self.in_trouble(detail);
        }
        Response::from_parts(parts, body.into())
    }

    /// Says so, and has cdk's mint begin anew when the database works again: it may have left
    /// something half done.
    fn in_trouble(&self, cause: &str) -> Response {
        tracing::error!(cause, "the mint's database failed a request");
        self.health.update(|condition| condition.unfinished = true);
        let detail = "the mint cannot use its database right now; try again in a moment";
        let mut answer = refuse(StatusCode::SERVICE_UNAVAILABLE, REFUSED, detail);
        answer.headers_mut().insert(RETRY_AFTER, TROUBLE_SECONDS.into());
        answer
    }
}

/// How many requests this one counts for. One that does not say how long it is counts as the longest.
fn cost(request: &Request) -> u32 {
    if request.method() != Method::POST {
        return 1;
    }
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.unwrap_or(MAX_BODY as u64).min(MAX_BODY as u64);
    1 + u32::try_from(length / BYTES_A_REQUEST).unwrap_or(u32::MAX)
}

async fn apply_limits(State(rules): State<Rules>, request: Request, next: Next) -> Response {
    match rules.charge(&request) {
        Ok(()) => undivided(next.run(request)).await,
        Err(wait) => {
            let seconds = wait.as_secs() + 1;
            let detail = format!("too many requests from this address; wait {seconds} seconds");
            let mut answer = refuse(StatusCode::TOO_MANY_REQUESTS, REFUSED, &detail);
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
            answer
        }
    }
}

/// A request for a mint quote, as far as the rules read it.
#[derive(Deserialize)]
struct MintQuote {
    unit: CurrencyUnit,
    amount: Option<u64>,
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
        return rules.tell_trouble(next.run(request).await).await;
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
    let mut body = match tokio::time::timeout(rules.limits.patience, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let detail = "the request is larger than 1 MiB, or broke off; send less at once";
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, REFUSED, detail);
        }
        Err(_) => {
            let detail = "the request took too long to arrive; send it again";
            return refuse(StatusCode::REQUEST_TIMEOUT, REFUSED, detail);
        }
    };
    if let Some(method) = path.strip_prefix("/v1/mint/quote/")
        && let Ok(quote) = serde_json::from_slice(&body)
        && let Some(refusal) = absurdity(method, &quote)
    {
        return refusal;
    }
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
        "/v1/melt/quote" => {
            // cdk answers every refusal of a custom method with "unsupported unit".
            if let Ok(MeltQuote { unit, request, amount, extra }) = serde_json::from_slice(&body) {
                let extra = Value::Object(extra).to_string();
                match rules.settlement.offer(&unit, amount, Some(&extra), &request).await {
                    Ok(_) => {}
                    Err(Refusal::Ledger(error)) => return rules.in_trouble(&error.to_string()),
                    Err(refusal) => return refuse(StatusCode::BAD_REQUEST, REFUSED, &refusal.to_string()),
                }
            }
        }
        "/v1/melt" => {
            // cdk's wallet always asks for an asynchronous melt and then waits for a notification
            // that no custom method sends. Redeeming takes milliseconds: answer when it is done.
            parts.headers.remove("prefer");
            parts.headers.remove(CONTENT_LENGTH);
            if let Ok(Value::Object(mut melt)) = serde_json::from_slice(&body) {
                let quote = melt.get("quote").and_then(Value::as_str).unwrap_or_default();
                match rules.settlement.still_stands(quote).await {
                    Ok(()) => {}
                    Err(Refusal::Ledger(error)) => return rules.in_trouble(&error.to_string()),
                    Err(refusal) => return refuse(StatusCode::BAD_REQUEST, REFUSED, &refusal.to_string()),
                }
                melt.remove("prefer_async");
                body = Value::Object(melt).to_string().into();
            }
        }
        _ => {}
    }
    // Never closed.
    let _turn = if takes_turns(&path) { rules.turns.acquire().await.ok() } else { None };
    rules.tell_trouble(next.run(Request::from_parts(parts, body.into())).await).await
}

/// Whether a request writes a few rows and is done. SQLite has one writer at a time and lets whoever waits
/// ask again after pauses that grow: in a queue they are served in the order they came, and sooner. A
/// payment out of the house may take long, and waits for nobody here.
fn takes_turns(path: &str) -> bool {
    path == "/v1/swap" || path.strip_suffix(METHOD).is_some_and(|path| path.ends_with('/'))
}

/// Why no such quote is made, if so.
fn absurdity(method: &str, quote: &MintQuote) -> Option<Response> {
    let refuse = |code, detail: &str| Some(refuse(StatusCode::BAD_REQUEST, code, detail));
    if method == METHOD && epoch_of(&quote.unit).is_ok() {
        let unit = &quote.unit;
        return refuse(
            REFUSED,
            &format!("quotes in {unit} are made by the mint, for shares; ask for yours by its id"),
        );
    }
    if method == METHOD && quote.pubkey.is_none() {
        return refuse(PUBKEY_REQUIRED, "only quotes locked to a key are made here; send a pubkey (NUT-20)");
    }
    if quote.unit == CurrencyUnit::Sat && quote.amount.is_some_and(|amount| amount > ALL_SATS) {
        return refuse(AMOUNT_OUT_OF_RANGE, "the amount is more than there are sats; ask for less");
    }
    None
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
                info.nuts.nut17.supported.retain(|entry| sat(&entry.unit));
            })
            .await
        }
        of_one if of_one.starts_with("/v1/keys/") => sat_keys(response).await,
        _ => response,
    }
}

/// The keys of one keyset, which must be of sat.
async fn sat_keys(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    match serde_json::from_slice::<KeysResponse>(&body) {
        Ok(keys) if keys.keysets.iter().all(|set| set.unit == CurrencyUnit::Sat) => {
            Response::from_parts(parts, body.into())
        }
        _ => refuse(StatusCode::BAD_REQUEST, KEYSET_UNKNOWN, "no keyset of this mint's sats has this id"),
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
