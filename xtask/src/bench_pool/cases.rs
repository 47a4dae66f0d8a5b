//! The cases, one entry each: a figure, the run that yields it, and what it should be.

/// A figure of the bench.
#[derive(Debug)]
pub struct Case {
    /// What one calls it, with its unit at the end.
    pub name: &'static str,
    /// What it measures.
    pub what: &'static str,
    /// Which run yields it.
    pub run: Run,
    /// Whether more of it is better.
    pub more_is_better: bool,
    /// How many times better than the peer we aim to be, and must be at least.
    pub ratio: Option<(f64, f64)>,
    /// What it should not pass: what we aim at, and the most that is allowed.
    pub limit: Option<(f64, f64)>,
}

/// A load on a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Run {
    /// Extended channels, as fast as they are acknowledged.
    Extended,
    /// Standard channels, likewise.
    Standard,
    /// A fixed rate of shares from many.
    Latency,
    /// New blocks with a thousand extended channels.
    Blocks1000,
    /// A thousand that do nothing.
    Idle,
    /// New blocks with five thousand, and what is left when they are gone.
    Blocks5000,
    /// Extended channels; the peer acknowledges ten shares at once.
    Batched,
    /// Sv1 miners, through the translator at the peer's.
    Sv1,
}

impl Run {
    /// All of them. Those that share a server come one after the other.
    pub const ALL: [Self; 8] = [
        Self::Extended,
        Self::Standard,
        Self::Latency,
        Self::Blocks1000,
        Self::Idle,
        Self::Blocks5000,
        Self::Batched,
        Self::Sv1,
    ];
}

const fn case(name: &'static str, run: Run, what: &'static str) -> Case {
    Case { name, what, run, more_is_better: false, ratio: None, limit: None }
}

/// All of them.
pub const CASES: &[Case] = &[
    Case {
        more_is_better: true,
        ratio: Some((10.0, 5.0)),
        ..case("extended_shares_per_s", Run::Extended, "extended channels, every share acknowledged")
    },
    Case {
        limit: Some((2.0, 4.0)),
        ..case("extended_cpu_us_per_share", Run::Extended, "CPU time of the server for each of them")
    },
    Case {
        more_is_better: true,
        ratio: Some((10.0, 5.0)),
        ..case("standard_shares_per_s", Run::Standard, "standard channels, every share acknowledged")
    },
    Case {
        limit: Some((2.0, 4.0)),
        ..case("standard_cpu_us_per_share", Run::Standard, "CPU time of the server for each of them")
    },
    Case {
        more_is_better: true,
        ..case("batched_shares_per_s", Run::Batched, "extended channels, the peer with share_batch_size = 10")
    },
    case("batched_cpu_us_per_share", Run::Batched, "CPU time of the server for each of them"),
    case("ack_p50_ms", Run::Latency, "1,000 shares/s from 1,000 connections: half are acknowledged within"),
    Case {
        limit: Some((10.0, 10.0)),
        ..case("ack_p99_ms", Run::Latency, "1,000 shares/s from 1,000 connections: 99 % within")
    },
    Case {
        limit: Some((10.0, 10.0)),
        ..case("block_1000_ms", Run::Blocks1000, "new block: from the template to the last of 1,000")
    },
    Case {
        limit: Some((40.0, 40.0)),
        ..case("block_5000_ms", Run::Blocks5000, "new block: from the template to the last of 5,000")
    },
    Case {
        limit: Some((12.0, 12.0)),
        ..case("memory_kb_per_connection", Run::Idle, "resident memory for each of 1,000 connections")
    },
    Case {
        // A tenth of what 5,000 connections may take.
        limit: Some((6.0, 6.0)),
        ..case("memory_kept_mb", Run::Blocks5000, "resident memory kept after 5,000 connections closed")
    },
    Case {
        more_is_better: true,
        ratio: Some((10.0, 10.0)),
        ..case("sv1_shares_per_s", Run::Sv1, "Sv1 miners: our Sv1 port; translator_sv2 before pool_sv2")
    },
    Case {
        ratio: Some((10.0, 10.0)),
        ..case("sv1_cpu_us_per_share", Run::Sv1, "CPU time of all server programs for each of them")
    },
    case(
        "sv1_steady_cpu_us_per_share",
        Run::Sv1,
        "the same at 15,000 shares/s, or what the peer keeps up with",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_every_run_is_used() {
        let mut names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CASES.len());
        assert!(Run::ALL.iter().all(|run| CASES.iter().any(|case| case.run == *run)));
    }
}
