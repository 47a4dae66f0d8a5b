//! `cargo xtask ci`: what a change must pass. Runs every step even when one fails, so that one run tells
//! all that is wrong.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::terminal::{say, spoken};
use crate::workspace::cargo;
use crate::{failure, setup, test};

const HELP: &str = "\
cargo xtask ci

Format, lints, tests and docs, each timed, with a summary at the end. Fails when one of them does.
";

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 4] = [("format", format), ("lints", lints), ("tests", tests), ("docs", docs)];

/// Runs the command.
pub fn run(arguments: Vec<OsString>) -> Result<()> {
    if setup::only_help(&arguments, "ci")? {
        print!("{HELP}");
        return Ok(());
    }
    // Before the first step, because lints and docs need what is installed here.
    setup::with_tests()?;
    let results: Vec<(&str, Result<()>, Duration)> = STEPS.into_iter().map(timed).collect();
    for (name, result, time) in &results {
        let verdict = result.as_ref().map_or_else(|error| format!("{error:#}"), |()| "passed".into());
        say(&format!("{name:7} {:>7}  {verdict}", spoken(*time)));
    }
    let failed: Vec<&str> = results.iter().filter(|(_, r, _)| r.is_err()).map(|(name, ..)| *name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn timed((name, step): Step) -> (&'static str, Result<()>, Duration) {
    say(&format!("{name} …"));
    let start = Instant::now();
    let result = step();
    (name, result, start.elapsed())
}

fn format() -> Result<()> {
    failure::run(&mut cargo(["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    failure::run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn tests() -> Result<()> {
    test::run(vec![])
}

fn docs() -> Result<()> {
    failure::run(cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}
