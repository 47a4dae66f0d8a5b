//! `cargo xtask`: the commands of whoever works on Poolbox, from a machine with only Rust to the running
//! demo. Each command is a file of its own; what they share is in `setup` (packages, node), `workspace`
//! (cargo) and `terminal` (what is said). Nothing here is part of the box.
//!
//! Standard output carries results only (a path, JSON, test reports); everything said on the way goes to
//! standard error. Exit status: 0 done, 2 wrong usage or configuration (nothing was changed), otherwise
//! the status of the program that failed, or 1.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks to its user")]

mod appliance;
mod bench;
mod bench_mint;
mod bench_pages;
mod bench_pool;
mod benches;
mod build_log;
mod cache;
mod ci;
mod demo;
mod failure;
mod interop;
mod node;
mod node_build;
mod node_version;
mod packages;
mod peers;
mod pins;
mod progress;
mod rig;
mod screenshots;
mod setup;
mod terminal;
mod test;
mod wallets;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::failure::usage;

const HELP: &str = "\
cargo xtask COMMAND [OPTIONS]

  demo     run the whole box on a private network, from the node to spendable sats
  test     run every test (arguments go on to cargo test)
  bench    run the benches
  interop  run the pool together with programs that were not written here
  ci       format, lints, tests, docs: what a change must pass
  box      run the appliance's own units and partitions, where its evaluator is
  node     find or build bitcoin-node and print its path
  pins     list what is pinned of others, and move a pin
  peers    install the programs of others and print their paths
  screenshots
           pictures of a running dashboard's pages
  wallets  install the wallet of others that the tests run, and print its folder

`cargo xtask COMMAND --help` tells more. What is missing on the machine is installed on Debian and
Ubuntu, after saying so; elsewhere it is named.
";

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::say(&format!("{error:#}"));
            failure::exit_code(&error)
        }
    }
}

fn run(mut arguments: Vec<OsString>) -> Result<()> {
    if arguments.is_empty() {
        return Err(usage(format!("which command? {COMMANDS}.")));
    }
    let command = arguments.remove(0);
    match command.to_str() {
        Some("demo") => demo::run(arguments),
        Some("test") => test::run(arguments),
        Some("bench") => bench::run(arguments),
        Some("interop") => interop::run(&arguments),
        Some("ci") => ci::run(arguments),
        Some("box") => appliance::run(&arguments),
        Some("node") => node::run(arguments),
        Some("pins") => pins::run(&arguments),
        Some("peers") => peers::run(&arguments),
        Some("screenshots") => screenshots::run(&arguments),
        Some("wallets") => wallets::run(&arguments),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(usage(format!("there is no command {}; {COMMANDS}.", command.display()))),
    }
}

const COMMANDS: &str = "use demo, test, bench, interop, box, ci, node, pins, peers, screenshots or wallets \
    (cargo xtask --help tells more)";
