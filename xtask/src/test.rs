//! `cargo xtask test`: every test, with a real node and the workspace's own programs at hand.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::failure;
use crate::setup::{self, Ready};
use crate::wallets;
use crate::workspace::cargo;

const HELP: &str = "\
cargo xtask test [ARGUMENTS OF cargo test]

Runs every test: cargo test --workspace, with BITCOIN_NODE set to a bitcoin-node, POOLBOX_BIN_DIR to
the folder of the programs just built and POOLBOX_CASHU_TS to that of the wallet cashu-ts. Arguments go on to cargo test:

  cargo xtask test a_share_is_credited_once      the tests whose name contains this
  cargo xtask test -p poolbox-journal            the tests of one crate
  cargo xtask test -- --nocapture                arguments for the tests themselves
";

/// Runs the command.
pub fn run(arguments: Vec<OsString>) -> Result<()> {
    if arguments.first().is_some_and(|first| first == "--help" || first == "-h") {
        print!("{HELP}");
        return Ok(());
    }
    let ready = setup::with_tests()?;
    let wallet = wallets::install()?;
    // With --tests cargo decides on features as it does for the tests, and builds each crate once.
    ready.workspace.build_binaries(&["--tests"])?;
    failure::run(cargo_test(&ready, &arguments).env("POOLBOX_CASHU_TS", wallet))
}

/// The command that runs the tests, once the programs are built.
fn cargo_test(ready: &Ready, arguments: &[OsString]) -> Command {
    let mut command = cargo(["test"]);
    if !chooses_crates(arguments) {
        command.arg("--workspace");
    }
    command.args(arguments);
    command.env("BITCOIN_NODE", &ready.node).env("POOLBOX_BIN_DIR", ready.workspace.binaries());
    command
}

/// Whether `-p` or its like says which crates to test.
fn chooses_crates(arguments: &[OsString]) -> bool {
    let ours = arguments.iter().map_while(|argument| argument.to_str().filter(|argument| *argument != "--"));
    let mut chooses = ours.map(|argument| argument.starts_with("--package") || argument.starts_with("-p"));
    chooses.any(|chosen| chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chooses(line: &str) -> bool {
        chooses_crates(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_crates_are_chosen() {
        assert!(!chooses(""));
        assert!(!chooses("a_test --release"));
        assert!(!chooses("-- -p"));
        assert!(chooses("-p poolbox-journal"));
        assert!(chooses("-ppoolbox-journal"));
        assert!(chooses("replay --package=poolbox-journal"));
    }
}
