//! What is told, and what is not: once, in order, and never in a storm.

use poolbox_api::pool::Block;

use super::event::{News, Topic};
use super::watch::{Kept, Watch};
use crate::disk::Disk;
use crate::feed::Snapshot;
use crate::fixture::{self, NOW};
use crate::versions::Versions;

const SILENT_AFTER_S: u64 = 900;

/// A box that is looked at every ten seconds.
struct Watched {
    watch: Watch,
    now: Snapshot,
}

impl Watched {
    fn new(workers: usize) -> Self {
        let mut now = fixture::snapshot(workers);
        let pool = now.pool.as_mut().unwrap();
        pool.blocks.clear();
        let mut all = Self { watch: Watch::default(), now };
        assert_eq!(all.look(), [], "what was before is no news");
        all
    }

    fn pool(&mut self) -> &mut poolbox_api::pool::Status {
        self.now.pool.as_mut().unwrap()
    }

    fn look(&mut self) -> Vec<News> {
        self.watch.step(&self.now, SILENT_AFTER_S)
    }

    /// Lets time pass, while miners send shares unless they are among `silent`.
    fn pass(&mut self, seconds: u64, silent: &[usize]) -> Vec<News> {
        let mut news = Vec::new();
        for _ in 0..seconds / 10 {
            self.now.at += 10;
            let at = self.now.at;
            if let Some(pool) = &mut self.now.pool {
                for (nth, worker) in pool.workers.iter_mut().enumerate() {
                    if !silent.contains(&nth) {
                        worker.last_share_at = Some(at);
                    }
                }
            }
            news.extend(self.look());
        }
        news
    }

    fn find(&mut self, height: u32) {
        let at = self.now.at;
        let block = Block {
            height,
            hash: format!("{height:064}"),
            finder: Some("garage.axe0000".to_owned()),
            found_at: at,
            confirmed: false,
            lost: None,
            trouble: None,
        };
        self.pool().blocks.insert(0, block);
    }

    /// As the dashboard does it: what is kept is read again, the rest begins anew.
    fn restart(&mut self) {
        let kept = serde_json::to_vec(&self.watch.kept).unwrap();
        self.watch = Watch::new(serde_json::from_slice::<Kept>(&kept).unwrap());
    }
}

fn told(news: &[News]) -> Vec<(Topic, bool)> {
    news.iter().map(|news| (news.topic, news.over)).collect()
}

#[test]
fn a_block_is_told_once_and_those_that_follow_it_closely_together() {
    let mut all = Watched::new(1);
    all.find(900_001);
    let news = all.look();
    assert_eq!(told(&news), [(Topic::BlockFound, false)]);
    assert_eq!(news[0].text, "Block 900,001 was found by garage.axe0000.");
    all.restart();
    assert_eq!(all.look(), [], "not again after a restart");
    for height in 900_002..900_005 {
        all.find(height);
        assert_eq!(all.pass(10, &[]), []);
    }
    let news = all.pass(700, &[]);
    assert_eq!(told(&news), [(Topic::BlockFound, false)]);
    assert!(news[0].text.starts_with("3 blocks were found. The newest is 900,004"), "{}", news[0].text);
}

#[test]
fn blocks_that_were_there_before_the_first_look_are_no_news() {
    let mut watch = Watch::default();
    assert_eq!(watch.step(&fixture::snapshot(1), SILENT_AFTER_S), []);
}

#[test]
fn a_best_share_is_told_with_its_finder_and_not_more_than_once_an_hour() {
    let mut all = Watched::new(1);
    let better = |all: &mut Watched, difficulty| {
        all.pool().shares.best.as_mut().unwrap().difficulty = difficulty;
        all.pool().workers[0].shares.best.as_mut().unwrap().difficulty = difficulty;
    };
    better(&mut all, 2e6);
    assert_eq!(all.pass(600, &[]), [], "the first hours bring many");
    better(&mut all, 3e6);
    let news = all.pass(3600, &[]);
    assert_eq!(told(&news), [(Topic::BestShare, false)]);
    assert!(news[0].text.contains("3.00\u{a0}M, found by garage.axe0000"), "{}", news[0].text);
    assert_eq!(all.pass(7200, &[]), [], "the same is no news");
}

#[test]
fn miners_that_fall_silent_together_are_one_event_and_so_is_their_return() {
    let mut all = Watched::new(9);
    let news = all.pass(SILENT_AFTER_S + 300, &[0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(told(&news), [(Topic::MinerSilent, false)]);
    assert!(news[0].text.starts_with("7 miners are silent: garage.axe0000, "), "{}", news[0].text);
    assert!(news[0].text.ends_with("and 2 more."), "{}", news[0].text);
    all.restart();
    assert_eq!(all.pass(7200, &[0, 1, 2, 3, 4, 5, 6]), [], "told once, also past a restart");
    let news = all.pass(300, &[0]);
    assert_eq!(told(&news), [(Topic::MinerSilent, true)]);
    assert!(news[0].text.starts_with("6 miners mine again: "), "{}", news[0].text);
}

#[test]
fn one_miner_is_told_with_how_long_and_whether_it_is_connected() {
    let mut all = Watched::new(2);
    all.pool().workers[1].connected = false;
    let news = all.pass(SILENT_AFTER_S + 200, &[1]);
    let text = &news[0].text;
    assert_eq!(text, "garage.axe0001 is silent: its last share came 17 min ago, and it is not connected.");
}

#[test]
fn a_miner_that_was_silent_before_the_watch_began_is_nobodys_news() {
    let mut now = fixture::snapshot(2);
    now.pool.as_mut().unwrap().workers[1].last_share_at = Some(NOW - 90_000);
    now.pool.as_mut().unwrap().workers[0].last_share_at = None;
    let mut all = Watched { watch: Watch::default(), now };
    assert_eq!(all.look(), []);
    assert_eq!(all.pass(7200, &[0, 1]), []);
    assert_eq!(all.pass(600, &[]), [], "nor is its return, as nobody was told that it was away");
}

#[test]
fn a_restart_of_the_pool_or_a_clock_that_is_set_calls_no_miner_silent() {
    let mut all = Watched::new(5);
    let pool = all.now.pool.take();
    all.now.pool_trouble = Some("the pool does not answer".to_owned());
    let news = all.pass(3600, &[]);
    assert_eq!(told(&news), [(Topic::PoolAway, false)]);
    all.now.pool = pool;
    all.now.pool_trouble = None;
    let everybody = [0, 1, 2, 3, 4];
    let news = all.pass(SILENT_AFTER_S - 60, &everybody);
    assert_eq!(told(&news), [(Topic::PoolAway, true)], "they have the time again to come back");
    assert_eq!(all.pass(600, &[]), []);
    all.now.at += 86_400 * 30;
    assert_eq!(all.pass(SILENT_AFTER_S - 60, &everybody), [], "nobody was watched in that month");
}

#[test]
fn while_there_is_no_work_silence_is_the_nodes_and_not_the_miners() {
    let mut all = Watched::new(3);
    all.pool().source.connected = false;
    all.pool().source.trouble = Some("the node does not answer".to_owned());
    let news = all.pass(7200, &[0, 1, 2]);
    assert_eq!(told(&news), [(Topic::NodeStale, false)]);
    assert!(news[0].text.contains("the node does not answer"), "{}", news[0].text);
    all.pool().source.connected = true;
    assert_eq!(told(&all.pass(600, &[])), [(Topic::NodeStale, true)]);
}

#[test]
fn a_node_that_catches_up_is_told_when_it_is_done_and_a_short_pause_never() {
    let mut all = Watched::new(0);
    all.pool().source.connected = false;
    assert_eq!(all.pass(120, &[]), []);
    all.pool().source.connected = true;
    assert_eq!(all.pass(600, &[]), [], "two minutes are a restart");
    all.now.node = Some(crate::node::NodeState {
        version: "Satoshi:31.0.0".to_owned(),
        height: 1,
        headers: 900_000,
        progress: 0.1,
        syncing: true,
        pruned: true,
        disk_bytes: 0,
        peers: 8,
        tip_time: 0,
        started_at: None,
    });
    all.pool().source.connected = false;
    assert_eq!(all.pass(7200, &[]), [], "expected");
    all.pool().source.connected = true;
    assert_eq!(told(&all.pass(120, &[])), [(Topic::NodeStale, true)]);
}

#[test]
fn what_is_grave_is_told_at_once_and_what_comes_and_goes_not_each_time() {
    let mut all = Watched::new(1);
    all.pool().halted = Some("output 0 pays somebody else".to_owned());
    let news = all.pass(10, &[]);
    assert_eq!(told(&news), [(Topic::CoinbaseMismatch, false)]);
    assert!(news[0].text.contains("pays somebody else"));
    all.pool().halted = None;
    assert_eq!(told(&all.pass(120, &[])), [(Topic::CoinbaseMismatch, true)]);
    for _ in 0..5 {
        all.pool().halted = Some("again".to_owned());
        assert_eq!(all.pass(60, &[]), []);
        all.pool().halted = None;
        assert_eq!(all.pass(120, &[]), []);
    }
    all.pool().halted = Some("it stays".to_owned());
    assert_eq!(told(&all.pass(1800, &[])), [(Topic::CoinbaseMismatch, false)], "told when it stays");
}

#[test]
fn a_disk_that_fills_up_is_told_once_until_there_is_room_again() {
    let gib = |free: u64| Some(Disk { free_bytes: free << 30, total_bytes: 1000 << 30 });
    let mut all = Watched::new(1);
    for (free, expected) in [
        (500, vec![]),
        (49, vec![(Topic::DiskFull, false)]),
        (51, vec![]),
        (49, vec![]),
        (90, vec![(Topic::DiskFull, true)]),
    ] {
        all.now.disk = gib(free);
        assert_eq!(told(&all.pass(10, &[])), expected, "{free} GiB free");
    }
    all.restart();
    all.now.disk = None;
    assert_eq!(all.pass(60, &[]), [], "what cannot be known is no news");
}

#[test]
fn an_update_is_told_when_it_is_ready_when_it_runs_and_when_it_was_given_up() {
    let versions = |running: &str, installed: Option<&str>, failed: Option<&str>| {
        let owned = |version: Option<&str>| version.map(str::to_owned);
        let (installed, failed) = (owned(installed), owned(failed));
        Some(Versions { running: running.to_owned(), installed, failed, offered: None })
    };
    let mut all = Watched::new(1);
    let mut seen = |now: Option<Versions>, restart: bool| {
        if restart {
            all.restart();
        }
        all.now.versions = now;
        all.pass(2000, &[])
    };
    assert_eq!(seen(versions("0.1.0", None, None), false), []);
    let ready = seen(versions("0.1.0", Some("0.2.0"), None), false);
    assert_eq!(told(&ready), [(Topic::UpdateReady, false)]);
    assert!(ready[0].text.starts_with("Version 0.2.0 is installed and waits"), "{}", ready[0].text);
    assert_eq!(seen(None, true), [], "the system has not looked yet");
    let runs = seen(versions("0.2.0", None, None), false);
    assert_eq!(told(&runs), [(Topic::UpdateReady, true)]);
    assert_eq!(runs[0].text, "No update waits any more; the box runs version 0.2.0.");
    let failed = seen(versions("0.2.0", None, Some("0.3.0")), true);
    assert_eq!(told(&failed), [(Topic::UpdateFailed, false)]);
    assert!(failed[0].text.contains("0.3.0 did not work") && failed[0].text.contains("runs 0.2.0"));
    assert_eq!(seen(versions("0.2.0", None, Some("0.3.0")), true), [], "once");
}

#[test]
fn another_network_begins_anew() {
    let mut all = Watched::new(2);
    all.find(900_001);
    all.look();
    all.pool().network = poolbox_accounting::Network::Mainnet;
    for nth in 0..50 {
        all.find(nth);
    }
    assert_eq!(all.pass(3600, &[]), []);
}

#[test]
fn a_hostile_name_leaves_the_house_as_letters() {
    let mut all = Watched::new(1);
    all.pool().workers[0].name = "<!channel> @everyone `x`\u{202e}\n".to_owned();
    let news = all.pass(SILENT_AFTER_S + 200, &[0]);
    assert!(news[0].text.starts_with("garage.··channel··@everyone··x··· is silent"), "{}", news[0].text);
}
