//! Variable difficulty against simulated miners, from an ESP32 to a hall of machines: how long until
//! the share rate is right, how right it stays, and that it then stays put. All hours are simulated
//! and all chance is seeded.
//!
//! `cargo test -p poolbox-stratum --test vardiff_simulation -- --nocapture table` prints the table
//! that docs/difficulty.md shows.

#![allow(clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod connection;
mod summary;

use connection::{Connection, Machine, Record, per_minute};
use poolbox_accounting::{Difficulty, Network};
use poolbox_stratum::{Class, Introduction, Start, Vardiff, VardiffLimits};
use summary::{BAND, Summary, quantile};

const LIMITS: VardiffLimits = VardiffLimits { min: Difficulty::MIN, max: Difficulty::MAX };
const HOUR_MS: f64 = 3_600_000.0;
const SEEDS: u64 = 20;

fn power(log2: i8) -> Difficulty {
    Difficulty::from_log2(log2).unwrap()
}

/// As the pool begins on mainnet with what is known of a miner; 512 where nothing is.
fn begin(about: Introduction<'_>) -> Vardiff {
    Vardiff::begin(Start::choose(&about, Network::Mainnet, power(9)), LIMITS, 0)
}

fn agent(user_agent: &str) -> Vardiff {
    begin(Introduction { user_agent, ..Introduction::default() })
}

fn wish(log2: i8) -> Vardiff {
    begin(Introduction { wish: Some(power(log2)), ..Introduction::default() })
}

/// At 2^10 so many shares a minute.
fn hashrate_for(shares_a_minute: f64) -> f64 {
    shares_a_minute / per_minute(1.0, power(10))
}

fn moves_after(record: &Record, from_ms: f64) -> usize {
    record.difficulties.iter().filter(|(at, _)| *at > from_ms).count()
}

fn shares_between(record: &Record, from_ms: f64, to_ms: f64) -> usize {
    record.shares.iter().filter(|at| (from_ms..to_ms).contains(*at)).count()
}

/// The difficulties that were set after `from_ms`, for the message of a failed test.
fn story(record: &Record, from_ms: f64) -> Vec<(f64, i8)> {
    let later = record.difficulties.iter().filter(|(at, _)| *at > from_ms);
    later.map(|(at, difficulty)| ((at / 100.0).round() / 10.0, difficulty.log2())).collect()
}

#[test]
fn table() {
    const HOURS: f64 = 4.0;
    let miners = [
        ("50 kH/s", 5e4, "NerdMinerV2/V1.8.3"),
        ("250 kH/s", 2.5e5, "NerdMinerV2/V1.8.3"),
        ("1 MH/s", 1e6, "NMMiner"),
        ("10 MH/s", 1e7, "cpuminer/2.5.1"),
        ("60 MH/s", 6e7, "poolbox-miner/0.1.0"),
        ("1 GH/s", 1e9, "cgminer/4.13.1"),
        ("30 GH/s", 3e10, "cgminer/4.13.1"),
        ("500 GH/s", 5e11, "bitaxe/BM1366/v2.9.0"),
        ("1.2 TH/s", 1.2e12, "bitaxe/BM1370/v2.9.0"),
        ("5 TH/s", 5e12, "NerdQAxe++/BM1370/v1.0.30"),
        ("14 TH/s", 1.4e13, "bmminer/2.0.0"),
        ("100 TH/s", 1e14, "Antminer S19"),
        ("200 TH/s", 2e14, "whatsminer/v1.1"),
        ("500 TH/s", 5e14, "Antminer S21"),
    ];
    println!(
        "| hash rate | start | first share | in band, median | 9 of 10 | slowest | shares a minute | changes an hour | refused |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, hashrate, user_agent) in miners {
        let starts = [
            ("user agent", agent(user_agent)),
            ("nothing known", agent("")),
            ("asks for 2^-12", wish(-12)),
            ("asks for 2^20", wish(20)),
        ];
        for (start, vardiff) in starts.into_iter().skip(usize::from(Class::of(user_agent).is_none())) {
            let machine = Machine::steady(hashrate);
            let run = |seed| Connection::open(vec![machine.clone()], vardiff.clone(), seed).run(HOURS);
            let all: Vec<Summary> =
                (0..SEEDS).map(|seed| Summary::steady(&run(seed), &machine, HOURS)).collect();
            let mean =
                |value: &dyn Fn(&Summary) -> f64| all.iter().map(value).sum::<f64>() / all.len() as f64;
            let converged = |share| quantile(all.iter().map(|summary| summary.converged_min), share);
            let first = quantile(all.iter().map(|summary| summary.first_share_min), 0.9);
            let rate = mean(&|summary| summary.per_minute);
            let changes = mean(&|summary| summary.changes_an_hour);
            let rejected: usize = all.iter().map(|summary| summary.rejected).sum();
            println!(
                "| {name} | {start}, 2^{} | {} | {} | {} | {} | {rate:.1} | {changes:.2} | {rejected} |",
                vardiff.difficulty().log2(),
                minutes(first),
                minutes(converged(0.5)),
                minutes(converged(0.9)),
                minutes(converged(1.0)),
            );
            assert_eq!(rejected, 0, "{name}, {start}");
            assert!(first <= 15.0, "{name}, {start}: first share after {first} min");
            assert!(converged(0.5) <= 15.0, "{name}, {start}: in band after {} min", converged(0.5));
            assert!(converged(0.9) <= 60.0, "{name}, {start}: in band after {} min", converged(0.9));
            assert!(changes <= 0.3, "{name}, {start}: {changes} changes an hour");
            let reachable = per_minute(hashrate, Difficulty::MIN).min(*BAND.start());
            assert!((reachable * 0.95..=*BAND.end()).contains(&rate), "{name}, {start}: {rate} a minute");
        }
    }
}

fn minutes(minutes: f64) -> String {
    match minutes * 60.0 {
        seconds if seconds < 1.0 => "at once".into(),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        _ => format!("{minutes:.0} min"),
    }
}

/// Over all hash rates alike (two octaves, evenly by ratio), far into the steady state.
#[test]
fn a_steady_miner_is_left_alone_for_days() {
    const HOURS: f64 = 48.0;
    let (mut ideal, mut runs) = (0, 0);
    for step in 0..32u32 {
        let hashrate = hashrate_for(10.0 * (f64::from(step) / 16.0).exp2());
        for seed in 0..4 {
            let machine = Machine::steady(hashrate);
            let connection = Connection::open(vec![machine.clone()], agent("bitaxe"), seed);
            let record = connection.run(HOURS);
            // Whoever sits at the very edge of the band may be moved once more; nobody comes back.
            let late = moves_after(&record, 4.0 * HOUR_MS);
            assert!(late <= 1, "{hashrate} seed {seed}: {:?}", story(&record, 4.0 * HOUR_MS));
            let last = record.difficulties.last().map(|(_, difficulty)| per_minute(hashrate, *difficulty));
            let last = last.unwrap_or_default();
            assert!((9.5..=23.5).contains(&last), "{hashrate} seed {seed}: {last} a minute");
            ideal += usize::from((12.0..=20.0).contains(&last));
            runs += 1;
        }
    }
    println!("{ideal} of {runs} steady miners between 12 and 20 shares a minute");
    // log2(20 / 12) = 73.7 % is what powers of two allow.
    assert!(ideal * 100 >= runs * 70, "only {ideal} of {runs} between 12 and 20 shares a minute");
}

#[test]
fn a_flood_is_over_within_seconds() {
    for hashrate in [1e9, 1e12, 1e14, 5e14] {
        let floods = (0..SEEDS).map(|seed| {
            let machine = Machine { most_shares: 10_000.0, ..Machine::steady(hashrate) };
            let record = Connection::open(vec![machine], wish(-12), seed).run(0.1);
            let second = shares_between(&record, 10_000.0, 20_000.0);
            assert!(second <= 12, "{hashrate} seed {seed}: {second} shares, {:?}", story(&record, 0.0));
            shares_between(&record, 0.0, 10_000.0)
        });
        let most = floods.max().unwrap_or_default();
        println!("{hashrate:e} hashes a second at 2^-12: at most {most} shares in ten seconds");
        assert!(most <= 9_000, "{hashrate}: {most} shares");
    }
}

#[test]
fn the_smallest_miner_finds_its_first_share_in_minutes() {
    for seed in 0..SEEDS {
        let first = |vardiff| {
            let machine = Machine::steady(5e4);
            Summary::steady(&Connection::open(vec![machine.clone()], vardiff, seed).run(1.0), &machine, 1.0)
                .first_share_min
        };
        let (known, asks, unknown) = (first(agent("NerdMinerV2/V1.8.3")), first(wish(9)), first(agent("")));
        assert!(known < 3.0, "seed {seed}: {known} min");
        assert!(asks < 12.0 && unknown < 12.0, "seed {seed}: {asks}, {unknown} min");
    }
}

#[test]
fn latency_and_a_stalling_network_change_nothing() {
    for (latency_ms, stall_ms) in [(5_000.0, 0.0), (200.0, 30_000.0), (1_000.0, 60_000.0)] {
        for seed in 0..SEEDS {
            let machine = Machine { latency_ms, ..Machine::steady(hashrate_for(16.0)) };
            let stalls =
                (1..40).map(|nth| (f64::from(nth) * 347_000.0, f64::from(nth) * 347_000.0 + stall_ms));
            let connection = Connection::open(vec![machine], wish(10), seed).with_stalls(stalls);
            let record = connection.run(4.0);
            assert_eq!(record.rejected, 0);
            // A first look may err; it is put right. A minute's stall may meet a natural gap, rarely.
            let most = if stall_ms > 30_000.0 { (6, 3) } else { (3, 0) };
            let moves = (moves_after(&record, 0.0), moves_after(&record, HOUR_MS));
            assert!(moves.0 <= most.0 && moves.1 <= most.1, "{stall_ms}: {:?}", story(&record, 0.0));
        }
    }
}

#[test]
fn a_hash_rate_that_doubles_or_halves_is_followed() {
    for (ratio, most) in [(2.0, 20.0), (0.5, 45.0), (16.0, 6.0), (1.0 / 16.0, 20.0)] {
        let times = (0..SEEDS).map(|seed| {
            let (before, after) = (hashrate_for(15.0), hashrate_for(15.0) * ratio);
            let hashrates = vec![(0.0, before), (2.0 * HOUR_MS, after)];
            let machine = Machine { hashrates, ..Machine::steady(before) };
            let record = Connection::open(vec![machine], agent("bitaxe"), seed).run(4.0);
            assert_eq!(record.rejected, 0);
            Summary::of(&record, after, 2.0 * HOUR_MS, 4.0).converged_min
        });
        let times: Vec<f64> = times.collect();
        let (median, most_of_them) =
            (quantile(times.iter().copied(), 0.5), quantile(times.iter().copied(), 0.9));
        println!("× {ratio}: in band after {median:.1} min, 9 of 10 after {most_of_them:.1} min");
        assert!(most_of_them <= most, "× {ratio}: {times:?}");
    }
}

#[test]
fn a_miner_that_was_off_for_an_hour_comes_back_without_a_flood() {
    for hashrate in [hashrate_for(15.0), 1e14] {
        for seed in 0..SEEDS {
            let hashrates = vec![(0.0, hashrate), (HOUR_MS, 0.0), (2.0 * HOUR_MS, hashrate)];
            let machine = Machine { hashrates, ..Machine::steady(hashrate) };
            let record = Connection::open(vec![machine], agent(""), seed).run(4.0);
            let back = Summary::of(&record, hashrate, 2.0 * HOUR_MS, 4.0);
            let flood = shares_between(&record, 2.0 * HOUR_MS, 2.0 * HOUR_MS + 10_000.0);
            assert_eq!(record.rejected, 0);
            assert!(flood <= 150, "seed {seed}: {flood} shares, {:?}", story(&record, HOUR_MS));
            assert!(back.converged_min <= 70.0, "seed {seed}: {:?}", story(&record, HOUR_MS));
        }
    }
}

#[test]
fn a_hundred_machines_behind_one_connection_are_one_miner() {
    for seed in 0..4 {
        // Half of them leave after two hours; each takes its own time for a new job.
        let machine = |nth: u32| Machine {
            hashrates: if nth.is_multiple_of(2) {
                vec![(0.0, 1e12)]
            } else {
                vec![(0.0, 1e12), (2.0 * HOUR_MS, 0.0)]
            },
            latency_ms: 100.0 + 40.0 * f64::from(nth),
            ..Machine::steady(1e12)
        };
        let record = Connection::open((0..100).map(machine).collect(), agent(""), seed).run(4.0);
        assert_eq!(record.rejected, 0);
        let all = Summary::of(
            &Record { difficulties: record.until(2.0 * HOUR_MS), ..record.clone() },
            1e14,
            0.0,
            2.0,
        );
        let half = Summary::of(&record, 5e13, 2.0 * HOUR_MS, 4.0);
        assert!(all.converged_min <= 30.0, "seed {seed}: {:?}", story(&record, 0.0));
        assert!(half.converged_min <= 60.0, "seed {seed}: {:?}", story(&record, 2.0 * HOUR_MS));
        assert!(half.changes_an_hour <= 1.0, "seed {seed}: {:?}", story(&record, 2.0 * HOUR_MS));
    }
}
