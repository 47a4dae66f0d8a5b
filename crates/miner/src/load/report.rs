//! What was measured, as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;

use crate::load::modes::Measured;
use crate::load::options::{LoadOptions, Mode};
use crate::load::tally::{Block, Tally};
use crate::url::Protocol;

/// The result.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `sv1` or `sv2`.
    protocol: &'static str,
    mode: Mode,
    connections: u32,
    /// How long the load lasted.
    seconds: f64,
    /// Shares sent.
    submitted: u64,
    /// Shares accepted.
    acknowledged: u64,
    /// Shares refused, by reason.
    rejected: BTreeMap<String, u64>,
    /// Shares refused because another block had been found.
    stale: u64,
    /// Shares accepted a second, up to the end of the load.
    shares_per_s: f64,
    /// Microseconds from writing a share to its acknowledgement.
    ack_us: Times,
    /// The blocks that were found meanwhile.
    jobs: Vec<Spread>,
    /// Microseconds of processor time that the generator used for each share accepted.
    generator_cpu_us_per_share: f64,
    /// Milliseconds until every connection had its first job.
    connect_ms: f64,
}

/// A distribution.
#[derive(Debug, Serialize)]
struct Times {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// When the miners heard of a block: microseconds since 1970.
#[derive(Debug, Serialize)]
struct Spread {
    /// How many did.
    n: usize,
    /// The first of them.
    first_us: u64,
    /// The one in the middle.
    p50_us: u64,
    /// The last.
    last_us: u64,
}

impl Report {
    /// Of this load.
    pub fn new(options: &LoadOptions, measured: &Measured, tally: Tally) -> Self {
        if tally.miscounted > 0 {
            tracing::warn!(
                acknowledgements = tally.miscounted,
                "the pool counted other shares than were waiting"
            );
        }
        let microseconds = |part| rounded(tally.times.percentile(part).as_secs_f64() * 1e6);
        let ack_us = Times {
            p50: microseconds(0.5),
            p90: microseconds(0.9),
            p99: microseconds(0.99),
            max: rounded(tally.times.max().as_secs_f64() * 1e6),
        };
        let shares = measured.acknowledged as f64;
        let per_share = if shares > 0.0 { measured.cpu.as_secs_f64() * 1e6 / shares } else { 0.0 };
        Self {
            protocol: if options.url.protocol == Protocol::Sv1 { "sv1" } else { "sv2" },
            mode: options.mode,
            connections: options.connections,
            seconds: rounded(measured.time.as_secs_f64()),
            submitted: tally.submitted,
            acknowledged: tally.acknowledged,
            stale: tally.stale,
            shares_per_s: rounded(shares / measured.time.as_secs_f64()),
            ack_us,
            jobs: tally.blocks.iter().map(|block| Spread::new(block, measured.epoch)).collect(),
            rejected: tally.rejected,
            generator_cpu_us_per_share: rounded(per_share),
            connect_ms: rounded(measured.connecting.as_secs_f64() * 1e3),
        }
    }

    /// Whether the load was any.
    ///
    /// # Errors
    /// Shares were sent and none was accepted.
    pub fn check(&self) -> anyhow::Result<()> {
        let sends = matches!(self.mode, Mode::Throughput | Mode::Latency);
        if !sends || self.acknowledged > 0 {
            return Ok(());
        }
        match self.rejected.iter().max_by_key(|(_, count)| **count) {
            Some((reason, count)) => {
                bail!(
                    "none of {} shares was accepted; {count} were refused with \"{reason}\"",
                    self.submitted
                )
            }
            None => bail!("none of {} shares was accepted, and {} were stale", self.submitted, self.stale),
        }
    }
}

impl Spread {
    /// `epoch` is when the times began, since 1970.
    fn new(block: &Block, epoch: Duration) -> Self {
        let absolute = |at: Option<&u64>| {
            let time = epoch + Duration::from_nanos(at.copied().unwrap_or_default());
            u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
        };
        let heard = &block.heard;
        Self {
            n: heard.len(),
            first_us: absolute(heard.first()),
            p50_us: absolute(heard.get((heard.len() - 1) / 2)),
            last_us: absolute(heard.last()),
        }
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
