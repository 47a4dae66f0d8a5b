//! `cargo xtask demo`: makes the machine ready, builds the programs and becomes `poolbox demo`, which runs
//! the box. The flags are that command's; they are checked here first, because a build may take an hour.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use lexopt::{Arg, ValueExt};

use crate::failure::{bad_flag, usage};
use crate::{setup, workspace};

const HELP: &str = "\
cargo xtask demo [OPTIONS]

Runs the whole box on devnet, a private network with real difficulty: node, pool, mint and miners.
Ctrl-C stops it; the next start goes on with the same chain and balances.

  --until STEP        stop with status 0 once STEP is reached:
                      first-share, first-token, block or settled
  --json              print a summary of what was measured on standard output
  --timeout SECONDS   stop with status 1 when it takes longer, not counting what is built first
  --fresh             start over, with a new chain and new balances
  --state DIR         where chain, balances and logs are kept
  --stratum-port N    where Stratum V1 miners connect (3333)
  --stratum-v2-port N where Stratum V2 miners connect (34254)
  --mint-port N       where wallets connect (3338)
  --dashboard-port N  where browsers see the box (3380)
  --dashboard-tls-port N
                      where they see it encrypted (3443 or a free one)
";

const STEPS: [&str; 4] = ["first-share", "first-token", "block", "settled"];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Help,
    /// The flags, checked, as they are passed on.
    Demo,
}

/// Runs the command. Returns only when it could not become the demo.
pub fn run(arguments: Vec<OsString>) -> Result<()> {
    if check(&arguments)? == Wish::Help {
        print!("{HELP}");
        return Ok(());
    }
    let ready = setup::everything()?;
    let binaries = ready.workspace.binaries();
    ready.workspace.build_binaries(&[])?;
    let mut demo = Command::new(binaries.join("poolbox"));
    demo.arg("demo").args(arguments).arg("--bin-dir").arg(&binaries).arg("--node").arg(ready.node);
    workspace::without_cargo_run(&mut demo);
    Err(demo.exec()).with_context(|| format!("cannot start {}", binaries.join("poolbox").display()))
}

fn check(arguments: &[OsString]) -> Result<Wish> {
    let bad = |error: lexopt::Error| bad_flag(&error, "demo");
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut wish = Wish::Demo;
    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => wish = Wish::Help,
            Arg::Long("json" | "fresh") => {}
            Arg::Long("until") => step(parser.value().map_err(bad)?)?,
            Arg::Long("timeout") => seconds(parser.value().map_err(bad)?)?,
            Arg::Long("state") => state(&parser.value().map_err(bad)?)?,
            Arg::Long("stratum-port") => port("--stratum-port", parser.value().map_err(bad)?)?,
            Arg::Long("stratum-v2-port") => port("--stratum-v2-port", parser.value().map_err(bad)?)?,
            Arg::Long("mint-port") => port("--mint-port", parser.value().map_err(bad)?)?,
            Arg::Long("dashboard-port") => port("--dashboard-port", parser.value().map_err(bad)?)?,
            Arg::Long("dashboard-tls-port") => port("--dashboard-tls-port", parser.value().map_err(bad)?)?,
            other => return Err(bad(other.unexpected())),
        }
    }
    Ok(wish)
}

fn step(value: OsString) -> Result<()> {
    if STEPS.iter().any(|step| value == *step) {
        return Ok(());
    }
    Err(usage(format!("--until {}: there is no such step; use {}.", value.display(), STEPS.join(", "))))
}

fn seconds(value: OsString) -> Result<()> {
    match value.parse::<u64>() {
        Ok(1..) => Ok(()),
        _ => Err(usage(format!(
            "--timeout {}: give whole seconds, at least 1, as in --timeout 1800.",
            value.display()
        ))),
    }
}

fn port(flag: &str, value: OsString) -> Result<()> {
    let Ok(port @ 1..) = value.parse::<u16>() else {
        return Err(usage(format!("{flag} {}: give a port from 1 to 65535.", value.display())));
    };
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(usage(format!("{flag} {port} cannot be used ({error}); give another port."))),
    }
}

fn state(value: &OsString) -> Result<()> {
    let path = Path::new(value);
    if value.is_empty() || (path.exists() && !path.is_dir()) {
        return Err(usage(format!("--state {}: that is no directory; give another.", path.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(line: &str) -> Result<Wish> {
        let arguments: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        check(&arguments)
    }

    #[track_caller]
    fn refused(line: &str, sentence: &str) {
        let error = checked(line).unwrap_err();
        assert_eq!(crate::failure::exit_code(&error), std::process::ExitCode::from(2));
        assert!(error.to_string().contains(sentence), "{error}");
    }

    #[test]
    fn every_flag_of_the_demo_is_accepted() {
        assert_eq!(checked("").unwrap(), Wish::Demo);
        assert_eq!(checked("--until settled --json --timeout 1800").unwrap(), Wish::Demo);
        assert_eq!(checked("--until=first-share --fresh --state /no/such/place").unwrap(), Wish::Demo);
        assert_eq!(checked("--json --help").unwrap(), Wish::Help);
    }

    #[test]
    fn a_free_port_is_accepted() {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        // Several tries, because anybody may take a port that was free a moment ago.
        let accepted = |flag| (0..10).any(|_| checked(&format!("{flag} {}", free())).is_ok());
        assert!(
            ["--stratum-port", "--stratum-v2-port", "--mint-port", "--dashboard-port"]
                .into_iter()
                .all(accepted)
        );
    }

    #[test]
    fn unknown_flags_and_words_are_refused() {
        refused("--untill settled", "invalid option '--untill'; see cargo xtask demo --help");
        refused("settled", "unexpected argument \"settled\"");
        refused("--json=yes", "--json");
        refused("-f", "-f");
    }

    #[test]
    fn bad_values_are_refused_with_the_remedy() {
        refused("--until done", "use first-share, first-token, block, settled");
        refused("--until", "--until");
        refused("--timeout soon", "--timeout soon: give whole seconds");
        refused("--timeout 0", "at least 1");
        refused("--timeout -5", "give whole seconds");
        refused("--mint-port 65536", "--mint-port 65536: give a port from 1 to 65535");
        refused("--stratum-port 0", "give a port from 1 to 65535");
        refused("--state /etc/passwd", "that is no directory");
        refused("--state=", "that is no directory");
    }

    #[test]
    fn a_port_in_use_is_refused() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        refused(&format!("--stratum-port {port}"), "give another port");
    }
}
