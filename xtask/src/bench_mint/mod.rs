//! `cargo xtask bench mint`: credits, signatures and redemptions a second of the real mint, and whether
//! mining feels it. The mint's own part is the bench of crates/mint; here it is run, and a pool beside it.
//! What is measured and how is told in docs/bench.md.

mod beside;

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use lexopt::Arg;
use serde_json::{Map, Value, json};

use crate::failure::{bad_flag, check};
use crate::setup::{self, Ready};
use crate::terminal::{say, spoken};
use crate::workspace::cargo;

const HELP: &str = "\
cargo xtask bench mint [--json] [--quick]

The real mint in the release profile: how fast it credits a journal of a million shares of a thousand
owners, signs, and redeems; and how long miners wait for their acknowledgements with and without a mint
that credits beside the pool. A table on standard error; --json prints an object on standard output.

  --quick      short and rough, to try things out: its figures are no results

A few minutes, not counting what is built first.
";

/// What the command line asks for.
#[derive(Debug, Default)]
struct Wish {
    help: bool,
    json: bool,
    quick: bool,
}

/// Runs the command.
pub fn run(arguments: &[OsString]) -> Result<()> {
    let Wish { help, json, quick } = parse(arguments)?;
    if help {
        print!("{HELP}");
        return Ok(());
    }
    let ready = setup::everything()?;
    let start = Instant::now();
    let mut results = own(&ready, quick)?;
    results.insert("mining".into(), beside::measure(&ready, quick)?);
    results.insert("machine".into(), machine());
    print_table(&results);
    say(&format!("measured in {}.", spoken(start.elapsed())));
    if json {
        results.insert("quick".into(), quick.into());
        println!("{}", Value::Object(results));
    }
    Ok(())
}

/// The mint's own bench, with these arguments.
fn bench(ready: &Ready, quick: bool, more: &[&str]) -> Command {
    let mut command = cargo(["bench", "--package", "poolbox-mint", "--bench", "bench_mint", "--"]);
    command.args(quick.then_some("--quick")).args(more).env("BITCOIN_NODE", &ready.node);
    command
}

fn own(ready: &Ready, quick: bool) -> Result<Map<String, Value>> {
    let mut command = bench(ready, quick, &[]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start the bench")?;
    check(&command, output.status)?;
    serde_json::from_slice(&output.stdout).context("the bench did not print JSON")
}

/// How crowded the machine was tells what the figures are worth.
fn machine() -> Value {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<f64> = load.split_whitespace().take(3).filter_map(|figure| figure.parse().ok()).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({ "cores": cores, "load_average_at_end": load })
}

fn print_table(results: &Map<String, Value>) {
    let row = |name: &str, unit: &str, path: &[&str]| {
        let value = path.iter().fold(results.get(path[0]), |value, key| match value {
            Some(value) if *key != path[0] => value.get(key),
            value => value,
        });
        say(&format!("  {name:38} {:>12} {unit}", value.map_or_else(|| "-".to_owned(), Value::to_string)));
    };
    row("credits", "shares/s", &["credits", "credits_per_s"]);
    row("  all of them", "s", &["credits", "seconds"]);
    row("signatures, 10 a request", "/s", &["ecash", "signatures_10_a_request", "per_s"]);
    row("signatures, 200 a request", "/s", &["ecash", "signatures_200_a_request", "per_s"]);
    row("redemptions, one client", "/s", &["ecash", "redeem_1_client", "per_s"]);
    row("redemptions, 8 clients", "/s", &["ecash", "redeem_8_clients", "per_s"]);
    row("acknowledgement p99, pool alone", "ms", &["mining", "alone", "ack_p99_ms"]);
    row("acknowledgement p99, mint crediting", "ms", &["mining", "with_mint", "ack_p99_ms"]);
}

fn parse(arguments: &[OsString]) -> Result<Wish> {
    let bad = |error: lexopt::Error| bad_flag(&error, "bench mint");
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut wish = Wish::default();
    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => wish.help = true,
            Arg::Long("json") => wish.json = true,
            Arg::Long("quick") => wish.quick = true,
            other => return Err(bad(other.unexpected())),
        }
    }
    Ok(wish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_flag_is_wrong_usage() {
        assert!(parse(&["--json".into(), "--quick".into()]).is_ok_and(|wish| wish.json && wish.quick));
        let error = parse(&["--slow".into()]).unwrap_err();
        assert_eq!(crate::failure::exit_code(&error), std::process::ExitCode::from(2));
    }
}
