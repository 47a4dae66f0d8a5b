//! `cargo xtask box`: what can be shown of the appliance on a machine without Nix. Its flake is evaluated, the
//! evaluated units run under a real systemd with the programs just built, and its partitions are made on blank
//! files. `$NIX_HERE` names the program that evaluates and boots; without it there is nothing to do.

mod disks;
mod evaluator;
mod names;
mod provider;
mod run;
mod tree;

use std::ffi::OsString;
use std::time::Instant;

use anyhow::{Result, bail};
use lexopt::{Arg, ValueExt};
use serde_json::{Map, Value, json};

use crate::failure::{bad_flag, usage};
use crate::terminal::{say, spoken};
use evaluator::Evaluator;

const HELP: &str = "\
cargo xtask box [--json] [--release] [--only STAGE]…

What can be shown of the appliance on a machine without Nix, with the program that $NIX_HERE names:
it evaluates flakes and boots evaluated units. Without $NIX_HERE this says so and does nothing.
--release takes release builds of our programs. --json prints an object on standard output as well.
The stages:
";

/// One stage: gives what it saw, or fails.
#[derive(Debug)]
struct Stage {
    name: &'static str,
    what: &'static str,
    run: fn(&Evaluator, bool) -> Result<Value>,
}

const STAGES: [Stage; 3] = [
    Stage {
        name: "evaluate",
        what: "every output of the flake, for both architectures, and whether boxes find their updates",
        run: |evaluator, _| evaluator.check(),
    },
    Stage {
        name: "disks",
        what: "the partitions that systemd-repart makes, on disks of several sizes",
        run: |evaluator, _| disks::run(evaluator),
    },
    Stage {
        name: "run",
        what: "the appliance's units on devnet, with miners behind its firewall",
        run: run::run,
    },
];

/// Runs the command.
pub fn run(arguments: &[OsString]) -> Result<()> {
    let Some(options) = parse(arguments)? else {
        print!("{HELP}");
        STAGES.iter().for_each(|stage| println!("  {:10} {}", stage.name, stage.what));
        return Ok(());
    };
    let Some(evaluator) = Evaluator::find()? else {
        say("box: skipped. NIX_HERE names no program that evaluates flakes without Nix on this machine.");
        if options.json {
            println!("{}", json!({ "skipped": "NIX_HERE is not set" }));
        }
        return Ok(());
    };
    let (mut seen, mut failed) = (Map::new(), Vec::new());
    for stage in options.stages {
        say(&format!("{}: {}", stage.name, stage.what));
        let start = Instant::now();
        match (stage.run)(&evaluator, options.release) {
            Ok(saw) => {
                say(&format!("{}: passed, in {}", stage.name, spoken(start.elapsed())));
                let seconds = start.elapsed().as_secs();
                seen.insert(stage.name.into(), json!({ "passed": true, "seconds": seconds, "saw": saw }));
            }
            Err(error) => {
                say(&format!("{}: FAILED: {error:#}", stage.name));
                failed.push(stage.name);
                seen.insert(stage.name.into(), json!({ "passed": false, "error": format!("{error:#}") }));
            }
        }
    }
    if options.json {
        println!("{}", Value::Object(seen));
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

struct Options {
    stages: Vec<&'static Stage>,
    release: bool,
    json: bool,
}

fn parse(arguments: &[OsString]) -> Result<Option<Options>> {
    let bad = |error: lexopt::Error| bad_flag(&error, "box");
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut only, mut json, mut release, mut help) = (Vec::new(), false, false, false);
    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => help = true,
            Arg::Long("json") => json = true,
            Arg::Long("release") => release = true,
            Arg::Long("only") => only.push(parser.value().and_then(|value| value.string()).map_err(bad)?),
            other => return Err(bad(other.unexpected())),
        }
    }
    if let Some(name) = only.iter().find(|name| !STAGES.iter().any(|stage| stage.name == *name)) {
        let names: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        return Err(usage(format!("--only {name}: there is no such stage; use {}.", names.join(", "))));
    }
    let wanted = |stage: &&Stage| only.is_empty() || only.iter().any(|name| name == stage.name);
    let stages = STAGES.iter().filter(wanted).collect();
    Ok((!help).then_some(Options { stages, release, json }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Options>> {
        parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn all_stages_run_unless_some_are_chosen() {
        assert_eq!(parsed("").unwrap().unwrap().stages.len(), STAGES.len());
        let options = parsed("--json --only disks").unwrap().unwrap();
        assert_eq!((options.stages.len(), options.stages[0].name, options.json), (1, "disks", true));
        assert!(parsed("--help").unwrap().is_none());
        let error = parsed("--only disk").err().unwrap().to_string();
        assert_eq!(error, "--only disk: there is no such stage; use evaluate, disks, run.");
    }
}
