//! The load generator: `poolbox-miner load`, and what it reports.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Launch, Process, Rig, wait};

/// What to load a pool with.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    /// The pool, `stratum+tcp://…` or `stratum2+tcp://…`.
    pub url: String,
    /// Its key, for Sv2.
    pub authority: Option<String>,
    /// `throughput`, `latency`, `jobs` or `idle`.
    pub mode: &'a str,
    /// `standard` or `extended`, for Sv2.
    pub channel: &'a str,
    /// How many miners.
    pub connections: u32,
    /// For how long.
    pub seconds: u32,
    /// Shares a second in all.
    pub rate: Option<u32>,
    /// Shares that each miner may have under way.
    pub window: Option<u32>,
}

/// What became of the load.
#[derive(Clone, Debug)]
pub struct LoadReport(pub Value);

impl Load<'_> {
    /// Starts it.
    pub fn start(&self, rig: &Rig, program: &Path, core: Option<usize>) -> Result<Process> {
        let Self { url, authority, mode, channel, connections, seconds, rate, window } = self;
        let mut words = vec!["load".to_owned()];
        let mut say = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        say("--url", url.clone());
        say("--mode", (*mode).to_owned());
        say("--connections", connections.to_string());
        say("--seconds", seconds.to_string());
        if let Some(authority) = authority {
            say("--authority", authority.clone());
            say("--channel", (*channel).to_owned());
        }
        if let Some(rate) = rate {
            say("--rate", rate.to_string());
        }
        if let Some(window) = window {
            say("--window", window.to_string());
        }
        rig.start(Launch {
            name: "load",
            program,
            arguments: words.into_iter().map(Into::into).collect(),
            environment: &[],
            core,
            result: true,
        })
    }

    /// Waits until all its miners are connected.
    pub fn wait_until_connected(&self, load: &mut Process, patience: Duration) -> Result<()> {
        let port = self.url.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port = port.with_context(|| format!("{} has no port", self.url))?;
        let wanted = self.connections as usize;
        wait(&format!("{wanted} connections"), patience, || {
            load.must_run()?;
            Ok((connected(port)? >= wanted).then_some(()))
        })
    }
}

impl LoadReport {
    /// Reads what the load generator printed.
    pub fn of(load: Process) -> Result<Self> {
        let log = load.log_tail();
        let (status, text) = load.result()?;
        ensure!(status.success(), "the load generator failed ({status}):\n{log}");
        Ok(Self(serde_json::from_str(text.trim()).context("the load generator printed no JSON")?))
    }

    /// A figure, by its name or its path with dots.
    pub fn figure(&self, name: &str) -> Result<f64> {
        let value = name.split('.').fold(&self.0, |value, part| &value[part]);
        value.as_f64().with_context(|| format!("the load generator did not report {name}"))
    }

    /// Shares that were refused, for whatever reason.
    pub fn refused(&self) -> u64 {
        let reasons = self.0["rejected"].as_object();
        let rejected: u64 = reasons.map_or(0, |reasons| reasons.values().filter_map(Value::as_u64).sum());
        rejected + self.0["stale"].as_u64().unwrap_or_default()
    }

    /// For each new job: how many connections it reached, and when the first and the last, Unix
    /// microseconds.
    pub fn jobs(&self) -> Vec<(u64, u64, u64)> {
        let jobs = self.0["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let job =
            |job: &Value| Some((job["n"].as_u64()?, job["first_us"].as_u64()?, job["last_us"].as_u64()?));
        jobs.iter().filter_map(job).collect()
    }
}

/// Established connections to a local port, seen from the side that listens.
fn connected(port: u16) -> Result<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp").context("cannot read /proc/net/tcp")?;
    Ok(count_connected(&table, port))
}

fn count_connected(table: &str, port: u16) -> usize {
    let local = format!(":{port:04X}");
    let established = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (here, _there, state) = (fields.next(), fields.next(), fields.next());
        here.is_some_and(|here| here.ends_with(&local)) && state == Some("01")
    };
    table.lines().filter(established).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_established_connections_of_the_server_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
                     0: 0100007F:0D05 00000000:0000 0A 0\n   \
                     1: 0100007F:0D05 0100007F:C001 01 0\n   \
                     2: 0100007F:C001 0100007F:0D05 01 0\n   \
                     3: 0100007F:0D05 0100007F:C002 06 0\n";
        assert_eq!(count_connected(table, 3333), 1);
    }

    #[test]
    fn figures_are_found_by_path() {
        let report = LoadReport(serde_json::json!({"ack_us": {"p99": 12.5}, "stale": 1,
            "rejected": {"duplicate-share": 2},
            "jobs": [{"n": 2, "first_us": 5, "p50_us": 6, "last_us": 9}]}));
        assert!((report.figure("ack_us.p99").unwrap() - 12.5).abs() < f64::EPSILON);
        assert!(report.figure("ack_us.p50").is_err());
        assert_eq!(report.refused(), 3);
        assert_eq!(report.jobs(), [(2, 5, 9)]);
    }
}
