//! `cargo xtask bench`: runs the entries of `benches`. Those that start several programs and take longer are
//! commands of their own, and run only when they are named.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use lexopt::Arg;
use serde_json::{Map, Value};

use crate::benches::{BENCHES, Bench};
use crate::failure::{bad_flag, check, run as run_command, usage};
use crate::packages::{self, Needs};
use crate::terminal::{as_stderr, say};
use crate::workspace::{Workspace, cargo};
use crate::{bench_mint, bench_pages, bench_pool};

const HELP: &str = "\
cargo xtask bench [NAME] [--json]

Runs one bench, or all but `pool`, `mint` and `pages`, in the release profile. --json prints an object on standard output
that holds each bench's result under its name. The benches:

  pool         our pool against the reference implementation's (bench pool --help tells more)
  mint         credits, signatures and redemptions a second, and whether mining feels it
  pages        bytes and time of the dashboard's pages with a thousand miners
";

/// Runs a bench with its own arguments.
type Run = fn(&[OsString]) -> Result<()>;
/// The benches that are commands of their own.
const COMMANDS: [(&str, Run); 3] =
    [("pool", bench_pool::run), ("mint", bench_mint::run), ("pages", bench_pages::run)];

/// What the command line asks for.
enum Wish {
    Help,
    Run { chosen: Vec<&'static Bench>, json: bool },
}

/// Runs the command.
pub fn run(arguments: Vec<OsString>) -> Result<()> {
    if let Some((name, rest)) = arguments.split_first()
        && let Some((_, run)) = COMMANDS.iter().find(|(command, _)| name == command)
    {
        return run(rest);
    }
    let (chosen, json) = match parse(&arguments)? {
        Wish::Run { chosen, json } => (chosen, json),
        Wish::Help => {
            print!("{HELP}");
            BENCHES.iter().for_each(|bench| println!("  {:12} {}", bench.name, bench.measures));
            return Ok(());
        }
    };
    let workspace = Workspace::load()?;
    packages::install(Needs { crates: true, node: false, tests: false })?;
    let mut results = Map::new();
    for bench in chosen {
        say(&format!("{}: {}", bench.name, bench.measures));
        run_command(cargo(["build", "--release", "--package", bench.program]).stdout(as_stderr()?))?;
        let mut command = Command::new(workspace.target.join("release").join(bench.program));
        command.args(bench.arguments);
        if json {
            results.insert(bench.name.into(), json_of(command.arg("--json"))?);
        } else {
            run_command(&mut command)?;
        }
    }
    if json {
        println!("{}", Value::Object(results));
    }
    Ok(())
}

fn json_of(command: &mut Command) -> Result<Value> {
    let output = command.stderr(Stdio::inherit()).output().context("cannot start the bench")?;
    check(command, output.status)?;
    serde_json::from_slice(&output.stdout).context("the bench did not print JSON")
}

fn parse(arguments: &[OsString]) -> Result<Wish> {
    let bad = |error: lexopt::Error| bad_flag(&error, "bench");
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut named, mut json, mut help) = (None, false, false);
    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => help = true,
            Arg::Long("json") => json = true,
            Arg::Value(name) if named.is_none() => named = Some(find(&name)?),
            other => return Err(bad(other.unexpected())),
        }
    }
    if help {
        return Ok(Wish::Help);
    }
    Ok(Wish::Run { chosen: named.map_or_else(|| BENCHES.iter().collect(), |bench| vec![bench]), json })
}

fn find(name: &OsString) -> Result<&'static Bench> {
    BENCHES.iter().find(|bench| name == bench.name).ok_or_else(|| {
        let names: Vec<&str> =
            COMMANDS.iter().map(|(name, _)| *name).chain(BENCHES.iter().map(|bench| bench.name)).collect();
        usage(format!("there is no bench {}; use {}.", name.display(), names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wish> {
        parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn without_a_name_all_benches_run() {
        let Ok(Wish::Run { chosen, json: false }) = parsed("") else { panic!("not a run") };
        assert_eq!(chosen.len(), BENCHES.len());
    }

    #[test]
    fn one_is_chosen_by_its_name() {
        let Ok(Wish::Run { chosen, json: true }) = parsed("hashrate --json") else { panic!("not a run") };
        assert_eq!(chosen.iter().map(|bench| bench.name).collect::<Vec<_>>(), ["hashrate"]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_there_are() {
        let Err(error) = parsed("hashrat") else { panic!("accepted") };
        assert_eq!(error.to_string(), "there is no bench hashrat; use pool, mint, pages, hashrate.");
        assert_eq!(crate::failure::exit_code(&error), std::process::ExitCode::from(2));
    }

    #[test]
    fn names_differ() {
        let mut names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BENCHES.len());
    }
}
