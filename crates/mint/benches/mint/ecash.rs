//! Signatures and redemptions a second, by raw requests: the client's blinding and unblinding, which
//! costs more than the mint's part, is done before and after.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::BlockHash;
use cdk::dhke::{blind_message, construct_proofs};
use cdk::nuts::{
    BlindSignature, BlindedMessage, CurrencyUnit, Id, Keys, KeysResponse, MeltRequest, MintRequest, Proof,
    SecretKey,
};
use cdk::secret::Secret;
use cdk_common::Amount;
use poolbox_accounting::{EpochState, Sats};
use poolbox_api::mint as api;
use serde_json::{Value, json};

use crate::Size;
use crate::load::{Pace, post, run};
use crate::stand::{Stand, miner, share};

/// Owners with a key, whose quotes are minted.
const OWNERS: usize = 8;
/// Clients at once, where not one.
const CLIENTS: usize = 8;
/// What each owner's quote holds, in ehash.
const WORK: u64 = 10_000_000;
/// What a redemption takes: this many proofs of one ehash.
const PROOFS: usize = 8;
/// Redemptions into one sat quote before the next begins, since a quote grows slower with each.
const INTO_ONE_QUOTE: usize = 50;
const PATIENCE: Duration = Duration::from_secs(120);

/// An owner's quote, with its key.
struct Locked {
    quote: String,
    key: SecretKey,
}

/// A request to mint, and what its answer is unblinded with.
struct Prepared {
    request: MintRequest<String>,
    secrets: Vec<Secret>,
    factors: Vec<SecretKey>,
}

/// Measures minting at two sizes of requests, then redeeming.
pub async fn measure(size: Size) -> Result<Value> {
    let mut stand = Stand::new()?;
    let quotes = pay_quotes(&mut stand).await?;
    let (id, keys) = keys(&stand).await?;
    let http = reqwest::Client::new();

    let small = mint(&stand, &http, &quotes, id, size.requests, 10, CLIENTS).await?;
    let large = mint(&stand, &http, &quotes, id, size.requests / 6, 200, CLIENTS).await?;
    let mut proofs = Vec::new();
    for (prepared, signatures) in small.2.into_iter().chain(large.2) {
        proofs.extend(construct_proofs(signatures, prepared.factors, prepared.secrets, &keys)?);
    }
    settle(&stand).await?;
    let wanted = size.requests / 2 * PROOFS;
    ensure!(proofs.len() >= 2 * wanted, "too few proofs were minted");
    let rest = proofs.split_off(wanted);
    let alone = redeem(&stand, &http, proofs, 1).await?;
    let together = redeem(&stand, &http, rest.into_iter().take(wanted).collect(), CLIENTS).await?;
    Ok(json!({
        "clients": CLIENTS,
        "signatures_10_a_request": small.0.report(small.1.0, small.1.1),
        "signatures_200_a_request": large.0.report(large.1.0, large.1.1),
        "redeem_1_client": alone,
        "redeem_8_clients": together,
    }))
}

/// Owners with keys mine, and a block of theirs closes the epoch.
async fn pay_quotes(stand: &mut Stand) -> Result<Vec<Locked>> {
    let secrets: Vec<SecretKey> = (0..OWNERS).map(|_| SecretKey::generate()).collect();
    let journal = stand.journal()?;
    for (n, key) in (0..).zip(&secrets) {
        let owner = miner(&key.public_key().to_hex())?;
        journal.append(vec![share(&owner, n, WORK, None)]).await?;
    }
    let first = secrets.first().context("no owner")?;
    let hash = stand.node.mine_to(&stand.address, 1).remove(0);
    let block = (u32::try_from(stand.node.height())?, BlockHash::from_str(&hash)?);
    journal.append(vec![share(&miner(&first.public_key().to_hex())?, 1 << 40, 1, Some(block))]).await?;
    journal.close().await;
    stand.start().await?;
    let mut quotes = Vec::new();
    for key in secrets {
        let path = format!("{}/{}", api::OWNERS, key.public_key().to_hex());
        let paid = async |stand: &Stand| {
            let owner: api::OwnerAccount = stand.get(&path).await?;
            Ok(owner.quotes.first().is_some_and(|quote| quote.paid.ehash() >= WORK))
        };
        stand.until("an owner's quote is paid", PATIENCE, paid).await?;
        let owner: api::OwnerAccount = stand.get(&path).await?;
        let quote = owner.quotes.first().context("no quote")?.id.clone();
        quotes.push(Locked { quote, key });
    }
    Ok(quotes)
}

/// The keyset of the first epoch.
async fn keys(stand: &Stand) -> Result<(Id, Keys)> {
    let all: KeysResponse = reqwest::get(stand.url("/ehash/v1/keys")).await?.json().await?;
    let unit = CurrencyUnit::from_str("ehash-1")?;
    let keyset =
        all.keysets.into_iter().find(|keyset| keyset.unit == unit).context("no keyset of ehash-1")?;
    Ok((keyset.id, keyset.keys))
}

type Minted = (Pace, (usize, f64), Vec<(Prepared, Vec<BlindSignature>)>);

/// `requests` requests for `outputs` signatures each.
async fn mint(
    stand: &Stand,
    http: &reqwest::Client,
    quotes: &[Locked],
    id: Id,
    requests: usize,
    outputs: usize,
    clients: usize,
) -> Result<Minted> {
    let prepared = quotes.iter().cycle().take(requests).map(|quote| prepare(quote, id, outputs));
    let prepared = prepared.collect::<Result<Vec<_>>>()?;
    let url = stand.url("/ehash/v1/mint/ehash");
    let before = stand.cpu_seconds()?;
    let (pace, answers) = run(clients, prepared, |prepared: Prepared| async {
        let mut answer = post(http, &url, &prepared.request).await?;
        let signatures: Vec<BlindSignature> = serde_json::from_value(answer["signatures"].take())?;
        Ok((prepared, signatures))
    })
    .await?;
    Ok((pace, (requests * outputs, stand.cpu_seconds()? - before), answers))
}

fn prepare(locked: &Locked, id: Id, outputs: usize) -> Result<Prepared> {
    let (mut messages, mut secrets, mut factors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..outputs {
        let secret = Secret::generate();
        let (blinded, factor) = blind_message(&secret.to_bytes(), None)?;
        messages.push(BlindedMessage::new(Amount::from(1), id, blinded));
        secrets.push(secret);
        factors.push(factor);
    }
    let mut request = MintRequest { quote: locked.quote.clone(), outputs: messages, signature: None };
    request.sign(&locked.key)?;
    Ok(Prepared { request, secrets, factors })
}

/// Brings the block of the first epoch to maturity.
async fn settle(stand: &Stand) -> Result<()> {
    stand.node.mine(100);
    let settled = async |stand: &Stand| {
        let epochs: Vec<api::Epoch> = stand.get(api::EPOCHS).await?;
        let status = stand.status().await?;
        let first = epochs.last().is_some_and(|epoch| epoch.state == EpochState::Settled);
        Ok(first && status.sats.reserve > Sats::ZERO)
    };
    stand.until("the first epoch is settled", PATIENCE, settled).await
}

/// Redeems all proofs, a few at a time: asks what they are worth, then melts them.
async fn redeem(stand: &Stand, http: &reqwest::Client, proofs: Vec<Proof>, clients: usize) -> Result<Value> {
    let key = SecretKey::generate().public_key();
    let mut requests: Vec<(String, Vec<Proof>)> = Vec::new();
    let mut into = String::new();
    for (n, proofs) in proofs.chunks_exact(PROOFS).enumerate() {
        if n % INTO_ONE_QUOTE == 0 {
            let body = json!({ "unit": "sat", "pubkey": key });
            let quote = post(http, &stand.url("/ehash/v1/mint/quote/ehash"), &body).await?;
            into = quote["quote"].as_str().context("no quote id")?.to_owned();
        }
        requests.push((into.clone(), proofs.to_vec()));
    }
    let count = requests.len();
    let (ask, melt) = (stand.url("/ehash/v1/melt/quote/ehash"), stand.url("/ehash/v1/melt/ehash"));
    let (ask, melt) = (ask.as_str(), melt.as_str());
    let before = stand.cpu_seconds()?;
    let (pace, states) = run(clients, requests, |(into, proofs): (String, Vec<Proof>)| async move {
        let body = json!({ "method": "ehash", "unit": "ehash-1", "request": into, "amount": proofs.len() });
        let quote = post(http, ask, &body).await?;
        let quote = quote["quote"].as_str().context("no melt quote id")?.to_owned();
        post(http, melt, &MeltRequest::new(quote, proofs, None)).await
    })
    .await?;
    ensure!(states.iter().all(|state| state["state"] == "PAID"), "a redemption was not paid");
    Ok(pace.report(count, stand.cpu_seconds()? - before))
}
