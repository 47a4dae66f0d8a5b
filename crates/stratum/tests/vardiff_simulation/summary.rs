//! What a simulated connection's record amounts to.

use poolbox_accounting::Difficulty;

use crate::connection::{Machine, Record, per_minute};

/// Shares a minute between which nobody is moved in the long run.
pub const BAND: std::ops::RangeInclusive<f64> = 10.0..=22.5;

/// Of one connection over some hours.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// When the first share came, in minutes.
    pub first_share_min: f64,
    /// From when the rate stayed within [`BAND`] (or at the easiest difficulty), in minutes.
    pub converged_min: f64,
    /// Shares a minute afterwards, as counted.
    pub per_minute: f64,
    /// Changes an hour afterwards.
    pub changes_an_hour: f64,
    pub rejected: usize,
}

impl Summary {
    /// Of a machine that was steady from `from_ms` on.
    pub fn of(record: &Record, hashrate: f64, from_ms: f64, hours: f64) -> Self {
        let end = hours * 3_600_000.0;
        let fits = |difficulty: Difficulty| {
            let rate = per_minute(hashrate, difficulty);
            BAND.contains(&rate) || difficulty == Difficulty::MIN && rate < *BAND.start()
        };
        // Each difficulty holds until the next one.
        let ends = record.difficulties.iter().skip(1).map(|(at, _)| *at).chain([end]);
        let converged = record
            .difficulties
            .iter()
            .zip(ends)
            .filter(|((_, difficulty), until)| !fits(*difficulty) && *until > from_ms)
            .map(|(_, until)| until)
            .fold(from_ms, f64::max);
        let rest_ms = (end - converged).max(1.0);
        let after = |at: &&f64| **at >= converged;
        let shares = record.shares.iter().filter(after).count() as f64;
        let changes =
            record.difficulties.iter().map(|(at, _)| at).filter(|at| **at > converged).count() as f64;
        let first = record.shares.iter().find(|at| **at >= from_ms).copied().unwrap_or(f64::INFINITY);
        Self {
            first_share_min: (first - from_ms) / 60_000.0,
            converged_min: (converged - from_ms) / 60_000.0,
            per_minute: shares / rest_ms * 60_000.0,
            changes_an_hour: changes / rest_ms * 3_600_000.0,
            rejected: record.rejected,
        }
    }

    pub fn steady(record: &Record, machine: &Machine, hours: f64) -> Self {
        Self::of(record, machine.hashrate(0.0), 0.0, hours)
    }
}

/// The value that `part` of them do not exceed.
pub fn quantile(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}
