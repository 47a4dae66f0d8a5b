use std::collections::{BTreeMap, HashSet};

use poolbox_accounting::{JournalId, Network, QueueSeq, ShareSeq, Work};
use poolbox_api::pool::{
    BestShare, Block, Delivery, HashRates, Job, Journal, Latency, Mode, Owner, Shares, Source, Upstream,
    Worker,
};

use super::*;
use crate::latency::Histogram;

/// A sample: name, labels and value.
type Sample = (String, BTreeMap<String, String>, f64);

fn worker(owner: &str, name: &str) -> Worker {
    Worker {
        owner: owner.into(),
        name: name.into(),
        protocol: Protocol::Sv1,
        user_agent: "bitaxe \"BM1366\"\n".into(),
        connected: true,
        connections: 1,
        connected_since: Some(1),
        difficulty_log2: -3,
        hashrate: HashRates { minute: 4, ten_minutes: 3, hour: 2, day: 1 },
        shares: Shares {
            accepted: 6,
            rejected: [("stale".to_owned(), 2)].into(),
            work_ehash: Work::from_ehash(600),
            best: Some(BestShare { difficulty: 1234.5, hash: "00".repeat(32) }),
        },
        last_share_at: Some(1_700_000_000),
    }
}

fn status(workers: Vec<Worker>) -> Status {
    let block = |lost: Option<&str>, confirmed| Block {
        height: 1,
        hash: String::new(),
        finder: None,
        found_at: 1,
        confirmed,
        lost: lost.map(str::to_owned),
        trouble: None,
    };
    Status {
        network: Network::Devnet,
        version: "1.2.3".into(),
        mode: Mode::Solo,
        started_at: 1_700_000_000,
        uptime_s: 60,
        stratum_v1: "stratum+tcp://127.0.0.1:3333".into(),
        stratum_v1_tls: None,
        stratum_v2: "stratum2+tcp://127.0.0.1:34254/KEY".into(),
        halted: Some("because".into()),
        connections: 5,
        connections_by: [(Protocol::Sv1, 3), (Protocol::Sv2, 2)].into(),
        hashrate: HashRates { minute: 4, ten_minutes: 3, hour: 2, day: 1 },
        shares: workers.first().map(|worker| worker.shares.clone()).unwrap_or_default(),
        source: Source { connected: true, trouble: None, height: Some(9) },
        upstream: Some(Upstream {
            url: "stratum+tcp://pool.example:3333".into(),
            user: "somebody".into(),
            difficulty: Some(1000.5),
            accepted: 7,
            rejected: [("stale".to_owned(), 3)].into(),
            waiting: 1,
            last_accepted_at: Some(1_700_000_100),
        }),
        job: Some(Job {
            number: 1,
            age_ms: 1500,
            height: 9,
            prev_hash: String::new(),
            template_time: 1_700_000_000,
            network_difficulty: 0.001,
            reward_sat: 5_000_000_100,
            fees_sat: 100,
            coinbases: Vec::new(),
        }),
        latency: Latency::default(),
        delivery: Some(Delivery {
            address: "queue.lan:6379".into(),
            sent: QueueSeq::new(5),
            waiting: 2,
            trouble: Some("away".into()),
        }),
        journal: Journal {
            identity: JournalId::new([1; 16]),
            shares: 10,
            work_ehash: Work::from_ehash(1000),
            waiting: 2,
            queued_through: ShareSeq::new(7),
            oldest_unqueued_ms: Some(1500),
            commit_us: 250,
            failing: false,
        },
        owners: vec![Owner {
            owner: "garage".into(),
            hashrate: HashRates::default(),
            workers: 1,
            connected: 1,
        }],
        workers,
        blocks: vec![block(None, true), block(None, false), block(Some("late"), false), block(None, true)],
    }
}

/// Reads a page as Prometheus does; whatever breaks the format fails the test.
fn read(page: &str) -> Vec<Sample> {
    let (mut samples, mut families, mut seen) = (Vec::new(), HashSet::new(), HashSet::new());
    let (mut family, mut kind) = ("", "");
    assert!(page.ends_with('\n'));
    for line in page.strip_suffix('\n').unwrap().split('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split_once(' ').unwrap().0;
            assert!(families.insert(family), "{family} is told of once");
            continue;
        }
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, of_kind) = told.split_once(' ').unwrap();
            assert_eq!(name, family);
            kind = of_kind;
            continue;
        }
        let (name, labels, value) = sample(line);
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is in {family}"));
        let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.contains(&suffix), "{line}");
        assert_eq!(kind == "counter", family.ends_with("_total"), "{family}");
        assert!(family.starts_with("poolbox_") && value.is_finite(), "{line}");
        assert!(seen.insert((name.clone(), labels.clone())), "{line} is told once");
        samples.push((name, labels, value));
    }
    samples
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        let mut inside = inside;
        loop {
            let (label, quoted) = inside.split_once("=\"").unwrap();
            assert!(label.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
            let (mut value, mut chars) = (String::new(), quoted.char_indices());
            let end = loop {
                match chars.next().unwrap() {
                    (end, '"') => break end,
                    (_, '\\') => value.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        c => panic!("\\{c} in {line}"),
                    }),
                    (_, c) => value.push(c),
                }
            };
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            inside = &quoted[end + 1..];
            match inside.strip_prefix(',') {
                Some(more) => inside = more,
                None => break,
            }
        }
        rest = inside.strip_prefix('}').unwrap();
    }
    let value = rest.strip_prefix(' ').unwrap();
    (name.to_owned(), labels, if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() })
}

fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| {
        sample.0 == name
            && labels.iter().all(|(label, value)| sample.1.get(*label).is_some_and(|is| is == value))
    };
    let fitting: Vec<_> = samples.iter().filter(fits).collect();
    let [one] = fitting.as_slice() else { panic!("{} samples of {name} {labels:?}", fitting.len()) };
    one.2
}

fn latency(times_us: &[u64]) -> Histogram {
    let mut histogram = Histogram::new();
    times_us.iter().for_each(|time| histogram.add(*time));
    histogram
}

#[test]
fn the_page_tells_what_the_status_tells() {
    let page = page(&status(vec![worker("garage", "one")]), &latency(&[100, 200, 3000, 90_000_000]));
    let samples = read(&page);
    let told = |name, labels: &[(&str, &str)]| value(&samples, name, labels);
    assert_eq!(told("poolbox_info", &[("version", "1.2.3"), ("network", "devnet"), ("mode", "solo")]), 1.0);
    assert_eq!(told("poolbox_halted", &[]), 1.0);
    assert_eq!(told("poolbox_connections", &[("protocol", "sv2")]), 2.0);
    assert_eq!(told("poolbox_workers", &[("connected", "true")]), 1.0);
    assert_eq!(told("poolbox_hashrate_hashes_per_second", &[("window", "10m")]), 3.0);
    assert_eq!(told("poolbox_blocks", &[("state", "chain")]), 2.0);
    assert_eq!(told("poolbox_blocks", &[("state", "lost")]), 1.0);
    assert_eq!(told("poolbox_job_age_seconds", &[]), 1.5);
    assert_eq!(told("poolbox_job_fees_sats", &[]), 100.0);
    assert_eq!(told("poolbox_journal_unqueued_shares", &[]), 3.0);
    assert_eq!(told("poolbox_journal_commit_seconds", &[]), 0.00025);
    assert_eq!(told("poolbox_queue_unsent_entries", &[]), 2.0);
    assert_eq!(told("poolbox_queue_failing", &[]), 1.0);
    assert_eq!(told("poolbox_upstream_difficulty", &[]), 1000.5);
    assert_eq!(told("poolbox_upstream_shares_accepted_total", &[]), 7.0);
    assert_eq!(told("poolbox_upstream_shares_rejected_total", &[("reason", "stale")]), 3.0);
    let one = [("owner", "garage"), ("worker", "one")];
    assert_eq!(told("poolbox_worker_shares_accepted_total", &one), 6.0);
    assert_eq!(told("poolbox_worker_difficulty", &one), 0.125);
    assert_eq!(told("poolbox_worker_best_share_difficulty", &one), 1234.5);
    assert_eq!(told("poolbox_worker_shares_rejected_total", &[one[0], one[1], ("reason", "stale")]), 2.0);
    assert_eq!(told("poolbox_worker_hashrate_hashes_per_second", &[one[1], ("window", "1d")]), 1.0);
    let bucket = |le| told("poolbox_job_latency_seconds_bucket", &[("le", le)]);
    assert_eq!((bucket("0.000128"), bucket("0.004096"), bucket("+Inf")), (1.0, 3.0, 4.0));
    assert_eq!(told("poolbox_job_latency_seconds_count", &[]), 4.0);
    assert_eq!(told("poolbox_job_latency_seconds_sum", &[]), 90.0033);
    assert!(!page.contains("KEY") && !page.contains("bitaxe"));
}

#[test]
fn no_name_breaks_the_page() {
    let names =
        ["\"} 1\npoolbox_halted 0", "\\", "a\\\"b", "\n\n", "{}", "é😀", "", "# TYPE x gauge", "a\r\nb"];
    let workers = names.iter().map(|name| worker(name, name)).collect();
    let samples = read(&page(&status(workers), &latency(&[])));
    for name in names {
        let labels = [("owner", name), ("worker", name)];
        assert_eq!(value(&samples, "poolbox_worker_shares_accepted_total", &labels), 6.0, "{name:?}");
    }
    assert_eq!(value(&samples, "poolbox_halted", &[]), 1.0);
}

#[test]
fn a_crowd_has_no_labels_beyond_the_first_thousand() {
    let mut crowd: Vec<_> = (0..3000).map(|number| worker("crowd", &number.to_string())).collect();
    for (number, worker) in crowd.iter_mut().enumerate() {
        worker.last_share_at = Some(number as u64);
    }
    crowd[0].connected = false;
    let samples = read(&page(&status(crowd), &latency(&[])));
    let labelled = samples.iter().filter(|(name, ..)| name == "poolbox_worker_connections").count();
    assert_eq!(labelled, MAX_LABELLED);
    assert_eq!(value(&samples, "poolbox_worker_connections", &[("worker", "2999")]), 1.0);
    assert_eq!(value(&samples, "poolbox_workers", &[("connected", "true")]), 2999.0);
}

#[test]
fn a_pool_that_just_started_has_a_page() {
    let mut young = status(Vec::new());
    (young.job, young.owners, young.halted, young.upstream) = (None, Vec::new(), None, None);
    let samples = read(&page(&young, &latency(&[])));
    assert_eq!(value(&samples, "poolbox_halted", &[]), 0.0);
    assert_eq!(value(&samples, "poolbox_job_latency_seconds_bucket", &[("le", "+Inf")]), 0.0);
}
