//! The box at a glance.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use poolbox_api::{mint, pool};
use serde::Deserialize;

use crate::admin::Visitor;
use crate::app::Shared;
use crate::chart;
use crate::feed::Snapshot;
use crate::frame::{Frame, Section, page};
use crate::history::Span;
use crate::node::NodeState;
use crate::pages::rounds::{Round, Upstream, rounds};
use crate::words::{self, Odds};

/// Blocks that are listed.
const BLOCKS: usize = 5;

/// What the chart is to show.
#[derive(Debug, Default, Deserialize)]
pub struct Wish {
    #[serde(default)]
    span: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    span: Span,
    chart: String,
    rate: String,
    rate_hour: String,
    rate_day: String,
    shows_miners: bool,
    miners: Miners,
    shares: Shares,
    best: Option<Best>,
    job: Option<Job>,
    odds: Option<Odds>,
    epoch: Option<Epoch>,
    upstream: Option<Upstream>,
    round: Option<Round>,
    node: Option<Node>,
    blocks: Vec<Block>,
    mode: &'static str,
}

#[derive(Default)]
struct Miners {
    connected: usize,
    known: usize,
    unnamed: usize,
}

#[derive(Default)]
struct Shares {
    accepted: String,
    rejected: String,
    percent: String,
    work: String,
}

struct Best {
    difficulty: String,
    of_block: String,
}

struct Job {
    height: String,
    reward: String,
    fees: String,
    age: String,
    difficulty: String,
}

struct Epoch {
    number: u64,
    work: String,
    closed: Vec<Closed>,
}

struct Closed {
    number: u64,
    reward: String,
    wait: String,
}

struct Node {
    version: String,
    height: String,
    percent: String,
    syncing: bool,
    behind: String,
    /// Empty while it cannot be known.
    left: String,
    peers: u32,
    disk: String,
    pruned: bool,
}

struct Block {
    height: String,
    hash: String,
    finder: String,
    ago: String,
    stamp: String,
    state: &'static str,
    class: &'static str,
    note: String,
}

/// `GET /`
pub async fn show(State(app): State<Shared>, visitor: Visitor, Query(wish): Query<Wish>) -> Response {
    let now = app.now();
    let (span, points) = {
        let history = app.history();
        let span = Span::named(&wish.span).unwrap_or_else(|| history.telling(now.at));
        (span, history.total(span, now.at))
    };
    let chart = chart::rates(&points, span, "Hash rate of the box");
    page(&Page::new(&now, &visitor, span, chart))
}

impl Page {
    fn new(now: &Snapshot, visitor: &Visitor, span: Span, chart: String) -> Self {
        let pool = now.pool.as_ref();
        let rates = pool.map(|pool| pool.hashrate).unwrap_or_default();
        let job = pool.and_then(|pool| pool.job.as_ref());
        Self {
            frame: Frame::of(now, visitor, Section::Overview, "Overview"),
            span,
            chart,
            rate: words::hashrate(rates.ten_minutes),
            rate_hour: words::hashrate(rates.hour),
            rate_day: words::hashrate(rates.day),
            shows_miners: pool.is_some_and(|pool| !pool.workers.is_empty()),
            miners: pool.map(Miners::new).unwrap_or_default(),
            shares: pool.map(|pool| Shares::new(&pool.shares)).unwrap_or_default(),
            best: pool.and_then(|pool| Best::new(pool, job)),
            job: job.map(Job::new),
            upstream: Upstream::of(now),
            round: rounds(now).into_iter().next(),
            odds: job.and_then(|job| Odds::at(rates.ten_minutes, job.network_difficulty)),
            epoch: now.mint.as_ref().map(|mint| Epoch::new(mint, &now.epochs)),
            node: now.node.as_ref().map(|node| Node::new(node, now)),
            blocks: pool.map(|pool| blocks(pool, now.at)).unwrap_or_default(),
            mode: pool.map_or(pool::Mode::Pool, |pool| pool.mode).name(),
        }
    }
}

impl Miners {
    fn new(pool: &pool::Status) -> Self {
        let connected = pool.workers.iter().filter(|worker| worker.connected);
        let named: u32 = connected.clone().map(|worker| worker.connections).sum();
        Self {
            connected: connected.count(),
            known: pool.workers.len(),
            unnamed: usize::try_from(pool.connections.saturating_sub(named)).unwrap_or_default(),
        }
    }
}

impl Shares {
    fn new(shares: &pool::Shares) -> Self {
        let rejected: u64 = shares.rejected.values().sum();
        Self {
            accepted: words::grouped(shares.accepted),
            rejected: words::grouped(rejected),
            percent: percent(rejected, shares.accepted),
            work: words::ehash(shares.work_ehash),
        }
    }
}

/// The share of the rejected in all, in per cent with a digit or two.
pub fn percent(rejected: u64, accepted: u64) -> String {
    let all = rejected.saturating_add(accepted);
    if all == 0 || rejected == 0 {
        return "0\u{a0}%".to_owned();
    }
    let percent = rejected as f64 / all as f64 * 100.0;
    if percent < 0.01 { "under 0.01\u{a0}%".to_owned() } else { format!("{percent:.2}\u{a0}%") }
}

impl Best {
    fn new(pool: &pool::Status, job: Option<&pool::Job>) -> Option<Self> {
        let best = pool.shares.best.as_ref()?;
        let of_block = job.map_or_else(String::new, |job| {
            let part = best.difficulty / job.network_difficulty;
            if part >= 1.0 {
                "enough for a block at today's difficulty".to_owned()
            } else {
                format!("a block takes {} times as much", words::scaled(1.0 / part))
            }
        });
        Some(Self { difficulty: words::difficulty(best.difficulty), of_block })
    }
}

impl Job {
    fn new(job: &pool::Job) -> Self {
        Self {
            height: words::grouped(job.height.into()),
            reward: words::bitcoin(job.reward_sat),
            fees: words::bitcoin(job.fees_sat),
            age: words::duration(job.age_ms / 1000),
            difficulty: words::difficulty(job.network_difficulty),
        }
    }
}

impl Epoch {
    fn new(mint: &mint::Status, epochs: &[mint::Epoch]) -> Self {
        let open = epochs.iter().find(|epoch| epoch.n == mint.epoch);
        let waiting = epochs.iter().filter(|epoch| epoch.blocks_to_maturity.is_some_and(|blocks| blocks > 0));
        let closed = waiting.take(3).map(|epoch| Closed {
            number: epoch.n.get(),
            reward: words::sats(epoch.reward),
            wait: format!("{} blocks", epoch.blocks_to_maturity.unwrap_or_default()),
        });
        Self {
            number: mint.epoch.get(),
            work: open.map_or_else(String::new, |epoch| words::ehash(epoch.work)),
            closed: closed.collect(),
        }
    }
}

impl Node {
    fn new(node: &NodeState, now: &Snapshot) -> Self {
        let left = now.sync_left_s.filter(|_| node.syncing);
        let behind = node.headers.saturating_sub(node.height);
        Self {
            version: node.version.clone(),
            height: words::grouped(node.height.into()),
            // Never a full hundred while it is not done.
            percent: format!("{:.2}", (node.progress * 100.0).min(if node.syncing { 99.99 } else { 100.0 })),
            syncing: node.syncing,
            behind: match behind {
                0 => format!("newest block from {}", words::ago(node.tip_time, now.at)),
                1 => "1 block to go".to_owned(),
                blocks => format!("{} blocks to go", words::grouped(blocks.into())),
            },
            left: left
                .map(|left| format!("about {} left", words::duration(left.max(60))))
                .unwrap_or_default(),
            peers: node.peers,
            disk: words::bytes(node.disk_bytes),
            pruned: node.pruned,
        }
    }
}

fn blocks(pool: &pool::Status, now: u64) -> Vec<Block> {
    let shown = pool.blocks.iter().take(BLOCKS).map(|block| {
        let (state, class, note) = match (block.confirmed, &block.lost, &block.trouble) {
            (true, ..) => ("in the chain", "well", String::new()),
            (_, Some(reason), _) => ("lost", "alarm", reason.clone()),
            (.., Some(trouble)) => ("sent", "warning", trouble.clone()),
            (.., None) => ("sent", "idle", String::new()),
        };
        Block {
            height: words::grouped(block.height.into()),
            hash: block.hash.clone(),
            finder: block.finder.clone().unwrap_or_else(|| "found before a restart".to_owned()),
            ago: words::ago(block.found_at, now),
            stamp: words::stamp(block.found_at),
            state,
            class,
            note,
        }
    });
    shown.collect()
}
