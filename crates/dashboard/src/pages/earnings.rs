//! Earnings: what the next block pays and to whom, epochs, reserves against what is owed, and each owner.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use poolbox_accounting::{EpochState, Sats, Work};
use poolbox_api::{ClientError, mint, pool};
use serde::Deserialize;

use crate::admin::Visitor;
use crate::app::Shared;
use crate::coinbase::Seen;
use crate::feed::Snapshot;
use crate::frame::{Frame, Section, page, page_with};
use crate::link::encoded;
use crate::words;

/// Owners that are listed, the fastest first.
const MAX_OWNERS: usize = 200;
/// Epochs that are listed, the newest first.
const MAX_EPOCHS: usize = 50;

#[derive(Template)]
#[template(path = "earnings.html")]
struct Page {
    frame: Frame,
    has_mint: bool,
    is_solo: bool,
    reserves: Option<Reserves>,
    coinbase: Option<Coinbase>,
    epochs: Vec<Epoch>,
    owners: Vec<Owner>,
}

struct Reserves {
    spendable: String,
    immature: String,
    outstanding: String,
    redeemed: String,
    covered: bool,
}

struct Coinbase {
    right: bool,
    verdict: String,
    pays: Vec<(String, String)>,
    ago: String,
}

struct Epoch {
    number: u64,
    state: &'static str,
    class: &'static str,
    work: String,
    reward: String,
    issued: String,
    wait: String,
    height: String,
}

struct Owner {
    name: String,
    rate: String,
    workers: u32,
    connected: u32,
}

#[derive(Template)]
#[template(path = "owner.html")]
struct OwnerPage {
    frame: Frame,
    owner: String,
    held_by_box: bool,
    pubkey: String,
    quotes: Vec<Quote>,
}

#[derive(Template)]
#[template(path = "owner_missing.html")]
struct OwnerMissing {
    frame: Frame,
    trouble: String,
}

struct Quote {
    epoch: u64,
    state: &'static str,
    class: &'static str,
    credited: String,
    mintable: String,
    minted: String,
    worth: String,
}

/// Whose earnings.
#[derive(Deserialize)]
pub struct Whose {
    #[serde(default)]
    owner: String,
}

/// `GET /earnings`
pub async fn show(State(app): State<Shared>, visitor: Visitor) -> Response {
    let now = app.now();
    let mut owners: Vec<_> = now.pool.iter().flat_map(|pool| &pool.owners).collect();
    owners.sort_by_key(|owner| std::cmp::Reverse(owner.hashrate.hour));
    page(&Page {
        frame: Frame::of(&now, &visitor, Section::Earnings, "Earnings"),
        has_mint: app.mint.is_some(),
        is_solo: now.pool.as_ref().is_some_and(|pool| pool.mode == pool::Mode::Solo),
        reserves: now.mint.as_ref().map(|mint| Reserves::new(&mint.sats)),
        coinbase: now.coinbase.as_ref().map(|seen| Coinbase::new(seen, now.at)),
        epochs: now.epochs.iter().take(MAX_EPOCHS).map(Epoch::new).collect(),
        owners: owners.into_iter().take(MAX_OWNERS).map(Owner::new).collect(),
    })
}

/// `GET /owner?owner=…`
pub async fn owner(State(app): State<Shared>, visitor: Visitor, Query(whose): Query<Whose>) -> Response {
    let now = app.now();
    let frame = Frame::of(&now, &visitor, Section::Earnings, &whose.owner);
    let missing = |status, trouble: String| {
        let frame = Frame::of(&now, &visitor, Section::Earnings, "Earnings");
        page_with(status, &OwnerMissing { frame, trouble })
    };
    let Some(mint) = &app.mint else {
        return missing(StatusCode::NOT_FOUND, "This box has no mint.".to_owned());
    };
    let path = format!("{}/{}", mint::OWNERS, encoded(&whose.owner));
    match mint.get::<mint::OwnerQuotes>(&path).await {
        Ok(told) => page(&OwnerPage {
            frame,
            held_by_box: told.held_by_box,
            pubkey: told.pubkey,
            quotes: told.quotes.iter().rev().map(|quote| Quote::new(quote, &now)).collect(),
            owner: told.owner,
        }),
        Err(ClientError::Refused(problem)) => missing(StatusCode::NOT_FOUND, problem.to_string()),
        Err(_) => missing(StatusCode::SERVICE_UNAVAILABLE, "The mint does not answer; try again.".to_owned()),
    }
}

impl Reserves {
    fn new(sats: &mint::SatTotals) -> Self {
        Self {
            spendable: words::sats(sats.reserve),
            immature: words::sats(sats.immature),
            outstanding: words::sats(sats.outstanding),
            redeemed: words::sats(sats.redeemed),
            covered: sats.reserve >= sats.outstanding,
        }
    }
}

impl Coinbase {
    fn new(seen: &Seen, now: u64) -> Self {
        Self {
            right: seen.right,
            verdict: seen.verdict.clone(),
            pays: seen.pays.iter().map(|(to, sats)| (to.clone(), words::sats(Sats::new(*sats)))).collect(),
            ago: words::ago(seen.at, now),
        }
    }
}

const fn state(state: EpochState) -> (&'static str, &'static str) {
    match state {
        EpochState::Provisional => ("not final yet", "idle"),
        EpochState::Open => ("open", "well"),
        EpochState::Closed => ("maturing", "warning"),
        EpochState::Settled => ("settled", "well"),
    }
}

impl Epoch {
    fn new(epoch: &mint::Epoch) -> Self {
        let (state, class) = state(epoch.state);
        Self {
            number: epoch.n.get(),
            state,
            class,
            work: words::ehash(epoch.work),
            reward: if epoch.reward == Sats::ZERO { String::new() } else { words::sats(epoch.reward) },
            issued: words::ehash(epoch.issued),
            wait: match epoch.blocks_to_maturity {
                None => "a block of this box".to_owned(),
                Some(0) => "redeems now".to_owned(),
                Some(1) => "1 block".to_owned(),
                Some(blocks) => format!("{blocks} blocks"),
            },
            height: epoch.height.map(|height| words::grouped(height.into())).unwrap_or_default(),
        }
    }
}

impl Owner {
    fn new(owner: &pool::Owner) -> Self {
        Self {
            name: owner.owner.clone(),
            rate: words::hashrate(owner.hashrate.hour),
            workers: owner.workers,
            connected: owner.connected,
        }
    }
}

impl Quote {
    fn new(quote: &mint::Quote, now: &Snapshot) -> Self {
        let epoch = now.epochs.iter().find(|epoch| epoch.n == quote.epoch);
        let (state, class) = epoch.map_or(("past", "idle"), |epoch| state(epoch.state));
        let worth =
            epoch.filter(|epoch| epoch.reward > Sats::ZERO).and_then(|epoch| worth(quote.credited, epoch));
        Self {
            epoch: quote.epoch.get(),
            state,
            class,
            credited: words::ehash(quote.credited),
            mintable: words::ehash(quote.paid.checked_sub(quote.issued).unwrap_or_default()),
            minted: words::ehash(quote.issued),
            worth: worth.map(|sats| format!("about {}", words::sats(sats))).unwrap_or_default(),
        }
    }
}

/// The part of the reward, before the mint's fee: for the eye only, the mint reckons for itself.
fn worth(work: Work, epoch: &mint::Epoch) -> Option<Sats> {
    let sats = u128::from(work.ehash()) * u128::from(epoch.reward.get());
    let sats = sats.checked_div(u128::from(epoch.work.ehash()))?;
    Some(Sats::new(u64::try_from(sats).ok()?))
}
