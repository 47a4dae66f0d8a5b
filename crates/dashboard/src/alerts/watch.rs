//! Decides what is news: snapshots in, news out. No I/O and no clock of its own; what has to outlive a restart
//! is in [`Kept`].
//!
//! Nothing is told twice, and nothing in a storm: miners that fall silent together are one event, blocks and
//! best shares that follow each other closely are gathered, and after a restart of pool, node or box everybody
//! has the time again that a miner may be silent.

use std::collections::{BTreeMap, VecDeque};

use poolbox_api::pool;
use serde::{Deserialize, Serialize};

use super::event::{News, Topic};
use super::state::State;
use crate::feed::Snapshot;
use crate::pages::miners::title;
use crate::words;

/// Two snapshots further apart than this do not belong together: the box slept, or its clock was set.
const MAX_GAP_S: u64 = 300;
/// Miners that fall silent, or return, within this time are one event.
const TOGETHER_S: u64 = 120;
/// Blocks within this time after one that was told are gathered, and so are miners that fall silent.
const PAUSE_S: u64 = 600;
/// The same for best shares, of which the first hours bring many.
const BEST_PAUSE_S: u64 = 3600;
/// The same for what comes and goes.
const STATE_PAUSE_S: u64 = 1800;
/// Blocks that are remembered; the pool tells of a hundred.
const MAX_BLOCKS: usize = 200;
/// Names in one sentence.
const MAX_NAMES: usize = 5;

/// A worker that sends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Silence {
    /// It was so when the watch began: nobody is told.
    Old,
    /// To be told.
    New,
    /// Was told; so will be its return.
    Told,
}

/// What is remembered past a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// All of it is of this network.
    network: String,
    /// Hashes of blocks that were seen, the newest last.
    blocks: VecDeque<String>,
    /// Blocks that were not told yet.
    blocks_waiting: u32,
    /// The hardest hash that was seen.
    best: f64,
    /// Whether it was not told yet.
    best_waits: bool,
    /// Workers that send nothing.
    silent: BTreeMap<String, Silence>,
    /// Workers whose return was not told yet.
    returned: Vec<String>,
    /// What is so now, and whether it was told.
    states: BTreeMap<Topic, bool>,
    /// When a topic was told last, Unix seconds.
    told_at: BTreeMap<Topic, u64>,
}

/// Follows the box.
#[derive(Debug, Default)]
pub struct Watch {
    /// What is remembered past a restart.
    pub kept: Kept,
    /// When the last snapshot was taken.
    last: Option<u64>,
    /// Since when the pool has had work for miners.
    serving_since: Option<u64>,
    /// Since when a state has been other than `states` says.
    turned: BTreeMap<Topic, u64>,
    /// When the first of the miners fell silent, or returned, that are told next.
    first_silent: Option<u64>,
    first_returned: Option<u64>,
}

impl Watch {
    /// Goes on from what was kept.
    pub fn new(kept: Kept) -> Self {
        Self { kept, ..Self::default() }
    }

    /// What is news in `now`. A miner counts as silent after `silent_after_s` seconds without a share.
    pub fn step(&mut self, now: &Snapshot, silent_after_s: u64) -> Vec<News> {
        let at = now.at;
        if self.last.is_none_or(|last| at.checked_sub(last).is_none_or(|gap| gap > MAX_GAP_S)) {
            self.serving_since = None;
            self.turned.clear();
        }
        self.last = Some(at);
        let mut news = Vec::new();
        if let Some(pool) = &now.pool {
            if self.kept.network != pool.network.name() {
                self.begin(pool, at, silent_after_s);
            }
            self.blocks(pool, at, &mut news);
            self.best(pool, at, &mut news);
        }
        self.miners(now, silent_after_s, &mut news);
        let was_full = self.kept.states.contains_key(&Topic::DiskFull);
        for state in State::all(now, was_full) {
            self.turn(state, at, &mut news);
        }
        news
    }

    /// Notes what there is before anything is news.
    fn begin(&mut self, pool: &pool::Status, at: u64, silent_after_s: u64) {
        let silent = pool.workers.iter().filter(|worker| !sent_lately(worker, at, silent_after_s));
        self.kept = Kept {
            network: pool.network.name().to_owned(),
            blocks: pool.blocks.iter().rev().map(|block| block.hash.clone()).collect(),
            best: pool.shares.best.as_ref().map_or(0.0, |best| best.difficulty),
            silent: silent.map(|worker| (title(worker), Silence::Old)).collect(),
            told_at: [(Topic::BestShare, at)].into(),
            ..Kept::default()
        };
        self.turned.clear();
    }

    /// Whether a topic may be told again.
    fn is_due(&self, topic: Topic, at: u64, pause: u64) -> bool {
        let since = self.kept.told_at.get(&topic).and_then(|told| at.checked_sub(*told));
        // A clock that was set back does not make anybody wait.
        since.is_none_or(|since| since >= pause)
    }

    fn tell(&mut self, topic: Topic, at: u64, text: String, news: &mut Vec<News>) {
        self.kept.told_at.insert(topic, at);
        news.push(News { topic, over: false, text });
    }

    fn blocks(&mut self, pool: &pool::Status, at: u64, news: &mut Vec<News>) {
        for block in pool.blocks.iter().rev() {
            if !self.kept.blocks.contains(&block.hash) {
                self.kept.blocks.push_back(block.hash.clone());
                self.kept.blocks_waiting = self.kept.blocks_waiting.saturating_add(1);
            }
        }
        let surplus = self.kept.blocks.len().saturating_sub(MAX_BLOCKS);
        self.kept.blocks.drain(..surplus);
        if self.kept.blocks_waiting == 0 || !self.is_due(Topic::BlockFound, at, PAUSE_S) {
            return;
        }
        let newest = pool.blocks.iter().max_by_key(|block| block.found_at).map(|block| {
            let finder = block.finder.as_deref().map(|finder| format!(" by {}", plain(finder)));
            (words::grouped(block.height.into()), finder.unwrap_or_default())
        });
        let text = match (self.kept.blocks_waiting, newest) {
            (1, Some((height, finder))) => format!("Block {height} was found{finder}."),
            (count, Some((height, finder))) => {
                format!("{count} blocks were found. The newest is {height}, found{finder}.")
            }
            (count, None) => format!("{count} blocks were found."),
        };
        self.kept.blocks_waiting = 0;
        self.tell(Topic::BlockFound, at, text, news);
    }

    fn best(&mut self, pool: &pool::Status, at: u64, news: &mut Vec<News>) {
        let Some(best) = &pool.shares.best else { return };
        if best.difficulty > self.kept.best {
            (self.kept.best, self.kept.best_waits) = (best.difficulty, true);
        }
        if !self.kept.best_waits || !self.is_due(Topic::BestShare, at, BEST_PAUSE_S) {
            return;
        }
        let by = pool.workers.iter().find(|worker| {
            worker.shares.best.as_ref().is_some_and(|theirs| theirs.difficulty >= self.kept.best)
        });
        let by = by.map(|worker| format!(", found by {}", plain(&title(worker)))).unwrap_or_default();
        let of_block = pool.job.as_ref().map(|job| job.network_difficulty / self.kept.best);
        let of_block = of_block.filter(|times| *times > 1.0);
        let of_block =
            of_block.map(|times| format!(" A block takes {} times as much.", words::scaled(times)));
        let text = format!(
            "The hardest share so far has a difficulty of {}{by}.{}",
            words::difficulty(self.kept.best),
            of_block.unwrap_or_default()
        );
        self.kept.best_waits = false;
        self.tell(Topic::BestShare, at, text, news);
    }

    fn miners(&mut self, now: &Snapshot, silent_after_s: u64, news: &mut Vec<News>) {
        let at = now.at;
        // While there is nothing to mine, or nobody to tell of it, silence is not the miners'.
        let serving = now.pool.as_ref().filter(|pool| {
            pool.source.connected && pool.job.is_some() && pool.halted.is_none() && !pool.journal.failing
        });
        let Some(pool) = serving else {
            self.serving_since = None;
            return;
        };
        let serving_since = (*self.serving_since.get_or_insert(at)).max(pool.started_at);
        for worker in &pool.workers {
            let Some(last) = worker.last_share_at else { continue };
            let name = title(worker);
            if sent_lately(worker, at, silent_after_s) {
                if self.kept.silent.remove(&name) == Some(Silence::Told) {
                    self.kept.returned.push(name);
                }
            } else if at.saturating_sub(last.max(serving_since)) >= silent_after_s {
                self.kept.silent.entry(name).or_insert(Silence::New);
            }
        }
        // Whom the pool forgot is forgotten here.
        let known: std::collections::BTreeSet<_> = pool.workers.iter().map(title).collect();
        self.kept.silent.retain(|name, _| known.contains(name));
        self.tell_silent(pool, at, news);
        self.tell_returned(at, news);
    }

    fn tell_silent(&mut self, pool: &pool::Status, at: u64, news: &mut Vec<News>) {
        let fresh = self.kept.silent.iter().filter(|(_, silence)| **silence == Silence::New);
        let fresh: Vec<String> = fresh.map(|(name, _)| name.clone()).collect();
        if !is_together(&mut self.first_silent, fresh.is_empty(), at)
            || !self.is_due(Topic::MinerSilent, at, PAUSE_S)
        {
            return;
        }
        self.first_silent = None;
        let text = match fresh.as_slice() {
            [name] => {
                let worker = pool.workers.iter().find(|worker| title(worker) == *name);
                let last = worker.and_then(|worker| worker.last_share_at).unwrap_or(at);
                let gone = worker.is_some_and(|worker| !worker.connected);
                format!(
                    "{} is silent: its last share came {}{}.",
                    plain(name),
                    words::ago(last, at),
                    if gone { ", and it is not connected" } else { "" }
                )
            }
            names => format!("{} miners are silent: {}.", names.len(), list(names)),
        };
        for name in fresh {
            self.kept.silent.insert(name, Silence::Told);
        }
        self.tell(Topic::MinerSilent, at, text, news);
    }

    fn tell_returned(&mut self, at: u64, news: &mut Vec<News>) {
        if !is_together(&mut self.first_returned, self.kept.returned.is_empty(), at) {
            return;
        }
        self.first_returned = None;
        let names = std::mem::take(&mut self.kept.returned);
        let text = match names.as_slice() {
            [name] => format!("{} mines again.", plain(name)),
            names => format!("{} miners mine again: {}.", names.len(), list(names)),
        };
        news.push(News { topic: Topic::MinerSilent, over: true, text });
    }

    /// Takes a state as it is now; tells its beginning and its end.
    fn turn(&mut self, state: State, at: u64, news: &mut Vec<News>) {
        let State { topic, holds, patience, expected, begun, over } = state;
        let told = self.kept.states.get(&topic).copied();
        let Some(holds) = holds else {
            self.turned.remove(&topic);
            return;
        };
        if told.is_some() == holds {
            self.turned.remove(&topic);
            if told != Some(false) || !self.is_due(topic, at, STATE_PAUSE_S) {
                return;
            }
        } else {
            let since = at.saturating_sub(*self.turned.entry(topic).or_insert(at));
            if since < if holds { patience.0 } else { patience.1 } {
                return;
            }
            self.turned.remove(&topic);
        }
        if !holds {
            self.kept.states.remove(&topic);
            if told == Some(true) {
                news.push(News { topic, over: true, text: over });
            }
        } else if expected {
            self.kept.states.insert(topic, true);
        } else {
            let due = self.is_due(topic, at, STATE_PAUSE_S);
            self.kept.states.insert(topic, due);
            if due {
                self.tell(topic, at, begun, news);
            }
        }
    }
}

fn sent_lately(worker: &pool::Worker, at: u64, silent_after_s: u64) -> bool {
    worker.last_share_at.is_none_or(|last| at.saturating_sub(last) < silent_after_s)
}

/// Whether those who are to be told together had the time to come together.
fn is_together(first: &mut Option<u64>, nobody: bool, at: u64) -> bool {
    if nobody {
        *first = None;
        return false;
    }
    let since = *first.get_or_insert(at);
    at.checked_sub(since).is_none_or(|waited| waited >= TOGETHER_S)
}

/// The first few names.
fn list(names: &[String]) -> String {
    let mut text = names.iter().take(MAX_NAMES).map(|name| plain(name)).collect::<Vec<_>>().join(", ");
    if names.len() > MAX_NAMES {
        text.push_str(&format!(" and {} more", names.len() - MAX_NAMES));
    }
    text
}

/// A name that a miner gave itself, as far as it may go out of the house: short, and nothing that a program
/// there could take for more than a name.
fn plain(name: &str) -> String {
    let fits = |c: char| if c.is_alphanumeric() || ".-_@+/".contains(c) { c } else { '·' };
    let mut text: String = name.chars().take(48).map(fits).collect();
    if name.chars().count() > 48 {
        text.push('…');
    }
    text
}
