//! The stage `run`: the appliance's evaluated units under a real systemd, with real programs, on devnet, once with a
//! template provider and once without. What is looked at is in `probe.sh`, which runs inside.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::evaluator::{BOX, BOX_IPC, Evaluator};
use super::{provider, tree};
use crate::terminal::{as_stderr, say};
use crate::workspace::cargo;
use crate::{cache, failure, setup};

const PROBE: &str = include_str!("probe.sh");
/// How long the whole probe may take.
const PATIENCE_S: u64 = 900;
/// What `systemd-analyze security` may say at most of a unit of ours.
const WORST_SCORE: f64 = 1.5;
const PROGRAMS: [&str; 5] = ["poolbox", "poolbox-dashboard", "poolbox-miner", "poolbox-mint", "poolbox-pool"];

/// Runs the stage.
pub fn run(evaluator: &Evaluator, release: bool) -> Result<Value> {
    let ready = setup::everything()?;
    let built = if release {
        failure::run(cargo(["build", "--workspace", "--bins", "--release"]).stdout(as_stderr()?))?;
        ready.workspace.target.join("release")
    } else {
        // As the tests build them, so that nothing is built twice.
        ready.workspace.build_binaries(&["--tests"])?;
        ready.workspace.binaries()
    };
    let mut programs: Vec<PathBuf> = PROGRAMS.iter().map(|name| built.join(name)).collect();
    programs.push(provider::find_or_build(evaluator)?);
    programs.push(ready.node.with_file_name("bitcoin-cli"));
    programs.push(ready.node);

    let folder = cache::folder()?.join("box");
    let _lock = cache::lock(&folder.join(".lock"), "another box runs")?;
    let bin = folder.join("tree");
    let _ = std::fs::remove_dir_all(&bin);
    tree::make(&bin, &programs)?;
    let mut seen = Map::new();
    for (appliance, name) in [(BOX, "sv2-tp"), (BOX_IPC, "ipc")] {
        say(&format!("templates from {name}:"));
        seen.insert(name.into(), boot(evaluator, appliance, &bin, &folder.join(name))?);
    }
    Ok(Value::Object(seen))
}

/// Boots one appliance with the programs of `bin`; the log of it is kept in `folder`.
fn boot(evaluator: &Evaluator, appliance: &str, bin: &Path, folder: &Path) -> Result<Value> {
    std::fs::create_dir_all(folder)?;
    let (units, probe, log) = (folder.join("units.json"), folder.join("probe.sh"), folder.join("boot.log"));
    std::fs::write(&units, evaluator.units(appliance)?.to_string())?;
    std::fs::write(&probe, PROBE)?;
    let start = Instant::now();
    let (said, content) = evaluator.boot(&units, bin, &probe, PATIENCE_S)?;
    std::fs::write(&log, &said).with_context(|| format!("cannot write {}", log.display()))?;

    let report = Report::of(&said);
    report.passed.iter().for_each(|line| say(&format!("  {line}")));
    if !report.failed.is_empty() || !content {
        bail!("{}; the log is {}", report.failed.join("; "), log.display());
    }
    ensure!(!report.scores.is_empty(), "no unit was scored; the log is {}", log.display());
    for (unit, score) in &report.scores {
        let score = score.as_f64().unwrap_or(10.0);
        ensure!(score <= WORST_SCORE, "{unit} is exposed: systemd-analyze security says {score}");
    }
    let seconds = start.elapsed().as_secs();
    Ok(json!({ "checks": report.passed.len(), "seconds": seconds, "scores": report.scores }))
}

/// What the probe said.
#[derive(Debug, Default)]
struct Report {
    passed: Vec<String>,
    failed: Vec<String>,
    scores: Map<String, Value>,
}

impl Report {
    fn of(said: &str) -> Self {
        let mut report = Self::default();
        let probe = said.split_once("--- probe\n").map_or(said, |(_, probe)| probe);
        for line in probe.lines() {
            match line.split_once("  ").map(|(word, rest)| (word, rest.trim())) {
                Some(("ok", rest)) => report.passed.push(rest.to_owned()),
                Some(("FAILED", rest)) => report.failed.push(rest.to_owned()),
                Some(("score", rest)) => {
                    if let Some((unit, score)) = rest.split_once(' ') {
                        report
                            .scores
                            .insert(unit.to_owned(), score.parse::<f64>().map_or(Value::Null, Value::from));
                    }
                }
                _ => {}
            }
        }
        if report.passed.is_empty() && report.failed.is_empty() {
            report.failed.push("the probe said nothing".to_owned());
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probes_lines_are_read_and_the_journals_are_not() {
        let report = Report::of(
            "--- journal\nFAILED  to say\n--- probe\nok  a thing\nFAILED  another\nscore  poolbox-pool.service 1.0\nnoise\n",
        );
        assert_eq!(report.passed, ["a thing"]);
        assert_eq!(report.failed, ["another"]);
        assert_eq!(report.scores["poolbox-pool.service"], 1.0);
    }

    #[test]
    fn a_silent_probe_is_a_failure() {
        assert_eq!(Report::of("").failed.len(), 1);
    }
}
