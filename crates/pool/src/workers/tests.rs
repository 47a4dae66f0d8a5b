use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use poolbox_accounting::{Network, Work};
use poolbox_api::pool::{self, HashRates};
use poolbox_stratum::{Protocol, RejectReason, WorkerChange};

use super::runs::Run;
use super::*;

const MEBI: u64 = 1 << 20;

fn identity(user: &str) -> Arc<Identity> {
    Arc::new(Identity::parse(user, Network::Devnet).unwrap())
}

fn at(seconds: u64) -> Moment {
    Moment { ms: seconds * 1000, unix: 1_700_000_000 + seconds }
}

fn run(identity: &Arc<Identity>, shares: u64, ehash: u64) -> Run {
    let best = BlockHash::from_byte_array([5; 32]);
    Run { identity: Arc::clone(identity), shares, work: Work::from_ehash(ehash), best }
}

fn runs<const N: usize>(runs: [Run; N]) -> Runs {
    runs.into_iter().collect()
}

fn seen(identity: &Arc<Identity>, agent: &str, fit: Option<i8>, change: WorkerChange) -> WorkerSeen {
    WorkerSeen {
        identity: Arc::clone(identity),
        protocol: Protocol::Sv2,
        user_agent: agent.into(),
        difficulty: Difficulty::ONE,
        measured: fit.map(|log2| Difficulty::from_log2(log2).unwrap()),
        change,
    }
}

fn rejected(identity: &Arc<Identity>) -> RejectedShare {
    RejectedShare { identity: Some(Arc::clone(identity)), reason: RejectReason::Stale }
}

/// The worker by this name in a listing.
fn told(workers: &Workers, name: &str, now: Moment) -> pool::Worker {
    workers.listing(now).in_order().workers().into_iter().find(|worker| worker.name == name).unwrap()
}

#[test]
fn a_workers_life_is_told() {
    let (mut workers, one) = (Workers::new(), identity("garage.one"));
    workers.seen(&seen(&one, "bitaxe", None, WorkerChange::Joined), at(0));
    workers.seen(&seen(&one, "bitaxe", None, WorkerChange::Joined), at(10));
    workers.accepted(&runs([run(&one, 1, 100)]), at(20));
    workers.accepted(&runs([run(&one, 2, 200), run(&one, 3, 300)]), at(40));
    workers.rejected(&rejected(&one));
    workers.rejected(&rejected(&one));
    let worker = told(&workers, "one", at(60));
    assert_eq!(
        (worker.owner.as_str(), worker.protocol, worker.connections),
        ("garage", pool::Protocol::Sv2, 2)
    );
    assert_eq!((worker.connected, worker.connected_since), (true, Some(at(0).unix)));
    assert_eq!((worker.shares.accepted, worker.shares.work_ehash.ehash()), (6, 600));
    assert_eq!(worker.shares.rejected, [("stale".to_owned(), 2)].into());
    assert_eq!(worker.last_share_at, Some(at(40).unix));
    assert_eq!(worker.hashrate.minute, 500 * MEBI / 40);
    assert_eq!(worker.shares.best.unwrap().hash, "05".repeat(32));

    workers.seen(&seen(&one, "bitaxe", None, WorkerChange::Left), at(70));
    assert!(told(&workers, "one", at(70)).connected);
    workers.seen(&seen(&one, "bitaxe", None, WorkerChange::Left), at(80));
    let worker = told(&workers, "one", at(90));
    assert_eq!((worker.connected, worker.connected_since), (false, None));
}

#[test]
fn an_owner_has_the_speed_of_all_its_workers_and_the_box_of_all_owners() {
    let mut workers = Workers::new();
    let everybody = ["attic.one", "garage.one", "garage.two"].map(identity);
    for second in (0..=120).step_by(4) {
        workers.accepted(&everybody.iter().map(|identity| run(identity, 1, 40)).collect(), at(second));
    }
    let listing = workers.listing(at(120)).in_order();
    let owners = listing.owners();
    let told: Vec<_> =
        owners.iter().map(|owner| (owner.owner.as_str(), owner.workers, owner.connected)).collect();
    assert_eq!(told, [("attic", 1, 0), ("garage", 2, 0)]);
    let one = owners[0].hashrate;
    assert!(one.minute.abs_diff(10 * MEBI) < MEBI, "{one:?}");
    assert_eq!(owners[1].hashrate.ten_minutes, 2 * one.ten_minutes);
    let all = listing.hashrate().minute;
    assert!(all.abs_diff(3 * one.minute) < one.minute / 4, "{all}");
    assert_eq!(listing.shares().accepted, 93);
}

#[test]
fn what_fits_a_miner_is_known_by_name_and_by_what_it_calls_itself() {
    let (mut workers, one) = (Workers::new(), identity("garage"));
    workers.seen(&seen(&one, "bitaxe", Some(9), WorkerChange::Joined), at(0));
    workers.seen(&seen(&one, "nerd", Some(-9), WorkerChange::Joined), at(1));
    workers.seen(&seen(&one, "bitaxe", Some(10), WorkerChange::Retargeted), at(2));
    workers.seen(&seen(&one, "bitaxe", None, WorkerChange::Left), at(3));
    let fit = |agent| workers.fit(&one, agent).map(Difficulty::log2);
    assert_eq!((fit("bitaxe"), fit("nerd"), fit("avalon")), (Some(10), Some(-9), None));
    assert_eq!(workers.fit(&identity("attic"), "bitaxe"), None);
    for number in 0..20 {
        workers.seen(&seen(&one, &number.to_string(), Some(1), WorkerChange::Joined), at(4));
    }
    assert!(workers.fit(&one, "19").is_some() && workers.fit(&one, "0").is_none(), "bounded");
}

#[test]
fn a_restart_forgets_no_worker_only_its_speed_and_its_connections() {
    let (mut workers, one) = (Workers::new(), identity("garage.one"));
    workers.seen(&seen(&one, "bitaxe", Some(9), WorkerChange::Joined), at(0));
    workers.accepted(&runs([run(&one, 1, 100)]), at(1));
    workers.accepted(&runs([run(&one, 1, 100)]), at(2));
    workers.rejected(&rejected(&one));
    workers.seen(&seen(&identity("attic.free"), "load", None, WorkerChange::Joined), at(2));
    assert!(workers.news_to_remember() && !workers.news_to_remember());
    let text = serde_json::to_string(&workers.listing(at(5)).remembered()).unwrap();
    let again = Workers::from_remembered(serde_json::from_str(&text).unwrap(), Network::Devnet);
    let (before, after) = (told(&workers, "one", at(5)), told(&again, "one", at(5)));
    assert_eq!((&after.shares, after.last_share_at), (&before.shares, before.last_share_at));
    assert_eq!((after.connections, after.connected_since, after.hashrate), (0, None, HashRates::default()));
    assert_eq!(again.fit(&one, "bitaxe").map(Difficulty::log2), Some(9));
    assert_eq!(again.listing(at(5)).shares(), workers.listing(at(5)).shares());
}

#[test]
fn a_full_register_forgets_who_is_away_and_never_who_is_connected() {
    let mut workers = Workers::new();
    let [connected, worked, idle] = ["a.connected", "a.worked", "a.idle"].map(identity);
    workers.seen(&seen(&connected, "", None, WorkerChange::Joined), at(0));
    workers.accepted(&runs([run(&worked, 1, 1)]), at(0));
    workers.seen(&seen(&idle, "", None, WorkerChange::Left), at(1));
    for number in 0..MAX_WORKERS as u64 {
        workers.rejected(&rejected(&identity(&format!("b.{number}"))));
    }
    assert!(workers.known.len() <= MAX_WORKERS);
    // Of those without a share, the one that was seen last is still there.
    for kept in [&connected, &worked, &idle] {
        assert!(workers.known.contains_key(kept), "{kept:?}");
    }
    for number in 0..MAX_WORKERS as u64 {
        let other = identity(&format!("c.{number}"));
        workers.seen(&seen(&other, "", None, WorkerChange::Joined), at(2));
    }
    assert_eq!(workers.known.len(), MAX_WORKERS);
    let late = identity("d.late");
    workers.seen(&seen(&late, "", None, WorkerChange::Joined), at(3));
    workers.accepted(&runs([run(&late, 1, 1)]), at(3));
    assert!(workers.known.contains_key(&connected) && !workers.known.contains_key(&late));
    assert_eq!(workers.listing(at(3)).shares().accepted, 2, "the box counts it all the same");
}
