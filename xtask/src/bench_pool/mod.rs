//! `cargo xtask bench pool`: our pool and the reference implementation's, in turn, on the same node with the
//! same load. What is measured and how is told in docs/bench.md.

mod cases;
mod report;
mod runs;
mod servers;
mod spread;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use lexopt::{Arg, ValueExt};
use serde_json::json;

use self::cases::{CASES, Case};
use self::report::{Row, machine, print_table};
use self::runs::{Bench, Pace};
use self::servers::{Cores, Programs, Stage};
use crate::failure::{bad_flag, run as run_command, usage};
use crate::rig::{Chain, Network, Rig};
use crate::terminal::{as_stderr, say, spoken};
use crate::workspace::cargo;
use crate::{peers, setup};

const HELP: &str = "\
cargo xtask bench pool [--json] [--only CASE]… [--quick]

Our pool and pool_sv2 (with translator_sv2 for Sv1) in turn on the same node with the same load
generator, the server on one core and the load on the other. A table on standard error; --json prints
an object on standard output as well.

  --only CASE  only the cases whose names begin so; may be given several times
  --quick      short and rough, to try things out: its figures are no results

Under 15 minutes, not counting what is built first. The cases:
";

/// What the command line asks for.
#[derive(Debug)]
enum Wish {
    Help,
    Run { chosen: Vec<&'static Case>, json: bool, pace: Pace },
}

/// Runs the command.
pub fn run(arguments: &[OsString]) -> Result<()> {
    let (chosen, json, pace) = match parse(arguments)? {
        Wish::Run { chosen, json, pace } => (chosen, json, pace),
        Wish::Help => {
            print!("{HELP}");
            CASES.iter().for_each(|case| println!("  {:32} {}", case.name, case.what));
            return Ok(());
        }
    };
    let programs = make_ready()?;
    let start = Instant::now();
    let rig = Rig::new()?;
    let cores = Cores::of_this_machine();
    let chain = Chain::start(&rig, "node", &programs.node, Network::Regtest, cores.load)?;
    let mut bench = Bench::new(Stage { rig: &rig, chain: &chain, programs: &programs, cores }, pace);
    bench.run(&chosen);
    let rows: Vec<Row> = chosen.iter().map(|case| bench.row(case)).collect();
    print_table(&rows);
    say(&format!("measured in {}.", spoken(start.elapsed())));
    if json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        let machine = machine(cores, &rig.disk("journal")?);
        println!(
            "{}",
            json!({ "cases": rows, "machine": machine, "quick": pace.quick, "runs": bench.reports() })
        );
    }
    Ok(())
}

/// Builds and installs every program.
fn make_ready() -> Result<Programs> {
    let ready = setup::everything()?;
    let build = ["build", "--release", "--package", "poolbox-pool", "--package", "poolbox-miner"];
    run_command(cargo(build).stdout(as_stderr()?))?;
    let ours = |name| ready.workspace.target.join("release").join(name);
    let theirs = |peer: peers::Peer| -> Result<PathBuf, String> {
        peer.install().map_err(|error| {
            let sentence = format!("{} cannot be installed: {error:#}", peer.name);
            say(&sentence);
            sentence
        })
    };
    Ok(Programs {
        pool: ours("poolbox-pool"),
        miner: ours("poolbox-miner"),
        reference_pool: theirs(peers::POOL),
        translator: theirs(peers::TRANSLATOR),
        node: ready.node,
    })
}

fn parse(arguments: &[OsString]) -> Result<Wish> {
    let bad = |error: lexopt::Error| bad_flag(&error, "bench pool");
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut only, mut json, mut pace, mut help) = (Vec::new(), false, Pace::FULL, false);
    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => help = true,
            Arg::Long("json") => json = true,
            Arg::Long("quick") => pace = Pace::QUICK,
            Arg::Long("only") => only.push(parser.value().and_then(|value| value.string()).map_err(bad)?),
            other => return Err(bad(other.unexpected())),
        }
    }
    if help {
        return Ok(Wish::Help);
    }
    if let Some(name) = only.iter().find(|name| !CASES.iter().any(|case| case.name.starts_with(*name))) {
        let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        return Err(usage(format!("--only {name}: there is no such case; use {}.", names.join(", "))));
    }
    let wanted = |case: &&Case| only.is_empty() || only.iter().any(|name| case.name.starts_with(name));
    Ok(Wish::Run { chosen: CASES.iter().filter(wanted).collect(), json, pace })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wish> {
        parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn all_cases_run_unless_some_are_chosen() {
        let chosen = |line| match parsed(line).unwrap() {
            Wish::Run { chosen, .. } => chosen.len(),
            Wish::Help => panic!("help"),
        };
        assert_eq!(chosen("--json"), CASES.len());
        assert_eq!(chosen("--only ack_p99_ms --quick"), 1);
        assert_eq!(chosen("--only ack --only sv1_cpu"), 3);
    }

    #[test]
    fn an_unknown_case_is_refused_with_the_names_there_are() {
        let error = parsed("--only speed").unwrap_err();
        assert!(error.to_string().contains("--only speed: there is no such case; use extended_shares_per_s"));
        assert_eq!(crate::failure::exit_code(&error), std::process::ExitCode::from(2));
    }
}
