//! The workspace as cargo sees it, and cargo itself.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::failure::{self, run};
use crate::terminal::{self, as_stderr, say};

/// The crate that carries the source of Bitcoin Core.
const CORE_SOURCE: &str = "libbitcoinkernel-sys";

/// The time that one core needs to build everything anew.
const FIRST_BUILD: Duration = Duration::from_secs(25 * 60);

/// What `cargo metadata` tells about this checkout.
pub struct Workspace {
    /// The checkout.
    pub root: PathBuf,
    /// Where cargo puts what it builds.
    pub target: PathBuf,
    /// The crate with Bitcoin Core's source, as Cargo.lock pins it.
    pub core_source: CoreSource,
}

/// Bitcoin Core's source as a crate.
pub struct CoreSource {
    /// Name and version, as in `libbitcoinkernel-sys 0.4.1`.
    pub pin: String,
    /// The folder that holds Core's `CMakeLists.txt`.
    pub folder: PathBuf,
}

impl Workspace {
    /// Asks cargo, which fetches what Cargo.lock names and is not there yet.
    pub fn load() -> Result<Self> {
        let mut command = cargo(["metadata", "--locked", "--format-version", "1"]);
        let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
        failure::check(&command, output.status)?;
        let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
        Self::parse(&metadata).context("cargo metadata lacks a part")
    }

    fn parse(metadata: &Value) -> Option<Self> {
        let source = metadata["packages"].as_array()?.iter().find(|crate_| crate_["name"] == CORE_SOURCE)?;
        let manifest = PathBuf::from(source["manifest_path"].as_str()?);
        Some(Self {
            root: metadata["workspace_root"].as_str()?.into(),
            target: metadata["target_directory"].as_str()?.into(),
            core_source: CoreSource {
                pin: format!("{CORE_SOURCE} {}", source["version"].as_str()?),
                folder: manifest.parent()?.join("bitcoin"),
            },
        })
    }

    /// Where the programs of the dev profile are.
    pub fn binaries(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// Builds every program of the workspace in the dev profile. cargo shows how far it is.
    pub fn build_binaries(&self, more: &[&str]) -> Result<()> {
        if !self.binaries().join("poolbox-mint").exists() {
            let cores = terminal::cores();
            let length = terminal::spoken(FIRST_BUILD.div_f64(cores as f64));
            say(&format!("building Poolbox: about {length} on {cores} cores the first time."));
        }
        run(cargo(["build", "--workspace", "--bins"]).args(more).stdout(as_stderr()?))
    }
}

/// cargo, as the user would call it.
pub fn cargo<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    without_cargo_run(&mut command);
    command
}

/// Takes away what `cargo run` told us about ourselves: some build scripts ask for exactly these
/// variables and would run again, and all that hangs on them, at each change between us and the shell.
pub fn without_cargo_run(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let ours = name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.starts_with(start))
        });
        if ours {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cores_source_lies_in_the_crate_that_cargo_names() {
        let metadata = json!({
            "workspace_root": "/w",
            "target_directory": "/t",
            "packages": [
                {"name": "anyhow", "version": "1.0.0", "manifest_path": "/r/anyhow/Cargo.toml"},
                {"name": "libbitcoinkernel-sys", "version": "0.4.1", "manifest_path": "/r/k/Cargo.toml"},
            ],
        });
        let workspace = Workspace::parse(&metadata).unwrap();
        assert_eq!(workspace.binaries(), PathBuf::from("/t/debug"));
        assert_eq!(workspace.core_source.pin, "libbitcoinkernel-sys 0.4.1");
        assert_eq!(workspace.core_source.folder, PathBuf::from("/r/k/bitcoin"));
    }

    #[test]
    fn this_workspace_pins_cores_source() {
        let workspace = Workspace::load().unwrap();
        assert!(workspace.core_source.folder.join("CMakeLists.txt").is_file());
    }
}
