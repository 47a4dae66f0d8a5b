//! Is this program a Bitcoin Core node that Poolbox can use? It says so itself, by `--version`.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The first release whose mining interface Poolbox speaks.
const OLDEST_MAJOR: u32 = 31;

/// Why a program is not a usable node; completes the sentence "PATH …".
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// There is no such file, or it cannot be run.
    DoesNotRun(String),
    /// It answers, but not like Bitcoin Core.
    NoCoreNode,
    /// Bitcoin Core before the mining interface.
    TooOld(String),
    /// Another program of Bitcoin Core, without interprocess communication.
    Other(String),
    /// A node whose `bitcoin-cli`, which the tests call, lies elsewhere.
    WithoutCli,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoesNotRun(why) => write!(f, "does not run ({why})"),
            Self::NoCoreNode => f.write_str("is not a Bitcoin Core node"),
            Self::TooOld(version) => {
                write!(f, "is Bitcoin Core {version}, and Poolbox needs {OLDEST_MAJOR} or later")
            }
            Self::Other(name) => write!(f, "is {name}, which lacks the interface that bitcoin-node has"),
            Self::WithoutCli => f.write_str("has no bitcoin-cli beside it"),
        }
    }
}

/// Runs `program --version` and judges the answer, and whether what belongs to it is there.
pub fn ask(program: &Path) -> Result<(), Unusable> {
    // Before it says so, it would open settings and configuration in the home directory: a real node's
    // files perhaps, and two that start at once get in each other's way.
    let answer = Command::new(program)
        .args(["--version", "-noconf", "-nosettings", "-datadir=/"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Unusable::DoesNotRun(error.to_string()))?;
    let said = String::from_utf8_lossy(&answer.stdout);
    if !answer.status.success() && said.trim().is_empty() {
        let complaint = String::from_utf8_lossy(&answer.stderr);
        let why = complaint.lines().next().unwrap_or_default();
        let colon = if why.is_empty() { "" } else { ": " };
        return Err(Unusable::DoesNotRun(format!("{}{colon}{why}", answer.status)));
    }
    parse(&said)?;
    if program.with_file_name("bitcoin-cli").is_file() { Ok(()) } else { Err(Unusable::WithoutCli) }
}

/// Reads the first line of a version notice: `Bitcoin Core daemon version v31.0.0 bitcoin-node`.
fn parse(said: &str) -> Result<(), Unusable> {
    let line = said.lines().next().unwrap_or_default();
    let mut words =
        line.strip_prefix("Bitcoin Core daemon version v").ok_or(Unusable::NoCoreNode)?.split_whitespace();
    let version = words.next().unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let major = major.ok_or(Unusable::NoCoreNode)?;
    if major < OLDEST_MAJOR {
        return Err(Unusable::TooOld(version.into()));
    }
    match words.next() {
        Some("bitcoin-node") => Ok(()),
        other => Err(Unusable::Other(other.unwrap_or("bitcoind").into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiprocess_node_from_31_on_is_usable() {
        for version in ["31.0.0", "31.99.0-unk", "32.1.0rc1", "100.0.0"] {
            let said = format!("Bitcoin Core daemon version v{version} bitcoin-node\nCopyright (C) 2009\n");
            assert_eq!(parse(&said), Ok(()));
        }
    }

    #[test]
    fn an_older_node_is_not() {
        let said = "Bitcoin Core daemon version v30.2.0 bitcoin-node\n";
        assert_eq!(parse(said), Err(Unusable::TooOld("30.2.0".into())));
    }

    #[test]
    fn a_node_without_the_interface_is_not() {
        let said = "Bitcoin Core daemon version v31.0.0 bitcoind\n";
        assert_eq!(parse(said), Err(Unusable::Other("bitcoind".into())));
        assert_eq!(parse("Bitcoin Core daemon version v31.0.0\n"), Err(Unusable::Other("bitcoind".into())));
    }

    #[test]
    fn another_program_is_not() {
        for said in ["", "cat (GNU coreutils) 9.1\n", "Bitcoin Core RPC client version v31.0.0 bitcoin-cli\n"]
        {
            assert_eq!(parse(said), Err(Unusable::NoCoreNode), "{said}");
        }
        assert_eq!(parse("Bitcoin Core daemon version vnext bitcoin-node"), Err(Unusable::NoCoreNode));
    }

    #[test]
    fn a_node_needs_its_bitcoin_cli_beside_it() {
        let folder = std::env::temp_dir().join(format!("xtask-cli-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let node = folder.join("bitcoin-node");
        // Written by another process: a file that this one has open for writing cannot be run, and a test
        // beside this one may just be starting a process that inherits it.
        let version = "#!/bin/sh\necho Bitcoin Core daemon version v31.0.0 bitcoin-node";
        let write = ["-c", "echo \"$1\" > \"$0\" && chmod +x \"$0\""];
        assert!(Command::new("sh").args(write).arg(&node).arg(version).status().unwrap().success());
        assert_eq!(ask(&node), Err(Unusable::WithoutCli));
        std::fs::write(folder.join("bitcoin-cli"), "").unwrap();
        assert_eq!(ask(&node), Ok(()));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_program_that_does_not_run_is_told_with_the_reason() {
        assert!(matches!(ask(Path::new("/no/such/node")), Err(Unusable::DoesNotRun(_))));
        let error = ask(Path::new("/etc/passwd")).unwrap_err();
        assert!(matches!(error, Unusable::DoesNotRun(_)), "{error}");
    }
}
