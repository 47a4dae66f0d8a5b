//! Finding and starting the node's programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The bitcoin-node to test with.
pub fn bitcoin_node() -> PathBuf {
    match std::env::var_os("BITCOIN_NODE") {
        Some(path) => PathBuf::from(path),
        None => panic!("BITCOIN_NODE is not set: run `cargo xtask test`, which finds or builds the node"),
    }
}

/// The bitcoin-cli beside it.
pub fn bitcoin_cli() -> PathBuf {
    bitcoin_node().with_file_name("bitcoin-cli")
}

/// A command without terminal input or output.
pub fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A TCP port of the loopback interface that nobody listens at.
pub fn free_port() -> u16 {
    poolbox_service::free_port().expect("the loopback interface has free ports")
}
