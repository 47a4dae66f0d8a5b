//! Earnings: what the next block pays and to whom, epochs, and reserves against what is owed.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use poolbox_accounting::{EpochState, Sats, Work};
use poolbox_api::{mint, pool};
use serde::Deserialize;

use crate::admin::Visitor;
use crate::app::{Refusal, Shared};
use crate::coinbase::Seen;
use crate::feed::Snapshot;
use crate::frame::{Frame, Section, page};
use crate::pages::claims::{no_mint, spoken};
use crate::pages::payouts::Row;
use crate::pages::rounds::{Account, Round, rounds};
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
    is_proxy: bool,
    account: Option<Account>,
    rounds: Vec<Round>,
    reserves: Option<Reserves>,
    coinbase: Option<Coinbase>,
    epochs: Vec<Epoch>,
    owners: Vec<Owner>,
    payouts: Vec<Row>,
    lightning: Option<Lightning>,
}

struct Lightning {
    state: &'static str,
    class: &'static str,
    trouble: String,
    rows: Vec<(&'static str, String)>,
    channels: Vec<Channel>,
}

struct Channel {
    peer: String,
    size: String,
    can_send: String,
    can_receive: String,
    state: String,
    class: &'static str,
}

struct Reserves {
    rows: Vec<(&'static str, String)>,
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

/// `GET /earnings`
pub async fn show(State(app): State<Shared>, visitor: Visitor) -> Response {
    let now = app.now();
    let mut owners: Vec<_> = now.pool.iter().flat_map(|pool| &pool.owners).collect();
    owners.sort_by_key(|owner| std::cmp::Reverse(owner.hashrate.hour));
    let mode = now.pool.as_ref().map(|pool| pool.mode);
    // A box that only ever worked for another pool has one, and nothing in it.
    let has_epochs =
        mode != Some(pool::Mode::Proxy) || now.epochs.iter().any(|epoch| epoch.work > Work::ZERO);
    page(&Page {
        frame: Frame::of(&now, &visitor, Section::Earnings, "Earnings"),
        has_mint: app.mint.is_some(),
        is_solo: mode == Some(pool::Mode::Solo),
        is_proxy: mode == Some(pool::Mode::Proxy),
        account: Account::of(&now, visitor.session.is_some()),
        rounds: rounds(&now),
        reserves: now.mint.as_ref().map(|mint| Reserves::new(&mint.sats)),
        coinbase: now.coinbase.as_ref().map(|seen| Coinbase::new(seen, now.at)),
        epochs: now.epochs.iter().filter(|_| has_epochs).take(MAX_EPOCHS).map(Epoch::new).collect(),
        owners: owners.into_iter().take(MAX_OWNERS).map(Owner::new).collect(),
        payouts: now.payouts.iter().map(|payout| Row::new(payout, now.at)).collect(),
        lightning: Lightning::of(&now, visitor.session.is_some()),
    })
}

/// A form with nothing but the session's token.
#[derive(Deserialize)]
pub struct Asked {
    token: String,
}

/// `POST /earnings/offer`: the standing offer for upstream pools.
pub async fn offer(State(app): State<Shared>, visitor: Visitor, Form(asked): Form<Asked>) -> Response {
    if let Err(turned) = visitor.changes(&asked.token) {
        return turned.into_response();
    }
    let Some(mint) = &app.mint else { return no_mint(&app, &visitor) };
    // The page shows it once the mint was asked again; why there is none, its log says.
    match mint.post::<_, mint::UpstreamAccount>(mint::UPSTREAM_OFFER, &serde_json::json!({})).await {
        Ok(_) => Redirect::to("/earnings").into_response(),
        Err(error) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, spoken(&error)).into_response(),
    }
}

impl Reserves {
    fn new(sats: &mint::SatTotals) -> Self {
        Self {
            rows: [
                ("All that backs the ecash", sats.reserve),
                ("Owed to holders of sat ecash", sats.outstanding),
                ("What settled epochs and final payments still owe", sats.claims),
                ("Left over: fee, rounding, and what the operator put in", sats.surplus),
                ("In coinbases that mature", sats.immature),
                ("Paid for ehash so far", sats.redeemed),
                ("Shared out of other pools' payments so far", sats.shared),
                ("Paid out on-chain or over Lightning so far", sats.melted),
            ]
            .map(|(what, amount)| (what, words::sats(amount)))
            .to_vec(),
            covered: sats.reserve >= sats.outstanding,
        }
    }
}

impl Lightning {
    /// None where it is off. Channels are the admin's to see.
    fn of(now: &Snapshot, is_admin: bool) -> Option<Self> {
        let (state, class, trouble) = match &now.mint.as_ref()?.lightning {
            mint::LightningState::Off => return None,
            mint::LightningState::On => ("works", "well", String::new()),
            mint::LightningState::Down { reason } => ("does not work", "alarm", reason.clone()),
        };
        let node = now.lightning.as_ref();
        let rows = node.map(|node| {
            let usable = node.channels.iter().filter(|channel| channel.usable).count();
            vec![
                ("Node", node.node.clone()),
                ("Channels can send", words::sats(node.sendable)),
                ("Channels", format!("{} of {} can be used", usable, node.channels.len())),
                ("On-chain, to open channels from", words::sats(node.onchain)),
                ("Bound while channels are open", words::sats(node.bound)),
            ]
        });
        let channels = node.filter(|_| is_admin).map(|node| node.channels.iter().map(Channel::new).collect());
        Some(Self {
            state,
            class,
            trouble,
            rows: rows.unwrap_or_default(),
            channels: channels.unwrap_or_default(),
        })
    }
}

impl Channel {
    fn new(channel: &mint::LightningChannel) -> Self {
        let (state, class) = match (channel.usable, channel.confirmations) {
            (true, _) => ("can be used".to_owned(), "well"),
            (false, 0..6) => (format!("{} of 6 confirmations", channel.confirmations), "idle"),
            (false, _) => ("cannot be used now".to_owned(), "warning"),
        };
        Self {
            peer: channel.peer.clone(),
            size: words::sats(channel.size),
            can_send: words::sats(channel.can_send),
            can_receive: words::sats(channel.can_receive),
            state,
            class,
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
