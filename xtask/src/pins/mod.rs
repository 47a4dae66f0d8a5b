//! `cargo xtask pins`: everything of others that this repository pins, whether it is still there unchanged, and
//! whether there is something newer. `pins update` moves one, with its hash. Pins name tags: a branch moves, and a
//! commit without a name can vanish.

mod ask;
mod locks;
mod nar;
mod registry;
mod update;

use std::ffi::OsString;

use anyhow::{Result, bail};
use lexopt::Arg;
use serde_json::{Value, json};

use crate::failure::{bad_flag, usage};
use crate::terminal::say;
use crate::workspace::Workspace;
use ask::Found;
use locks::Pin;

const HELP: &str = "\
cargo xtask pins [--offline] [--json]
cargo xtask pins update NAME [VERSION]

Lists each pinned upstream with its version, revision, date and hash, and asks the network whether it is
still there unchanged and whether there is something newer. What cannot be reached is said to be so; it
does not fail the command. A pin that vanished or changed does. --offline asks nobody.

update moves one pin to VERSION (a tag, or a crate's version; the newest when it is not given), with its
hash. An input of the flake needs nix, or the program that NIX_HERE names; a crate, and a program that the
flake takes from crates.io, need the registry only. See docs/pins.md.
";

/// Runs the command.
pub fn run(arguments: &[OsString]) -> Result<()> {
    match parse(arguments)? {
        Wanted::Help => {
            print!("{HELP}");
            Ok(())
        }
        Wanted::List { offline, json } => list(offline, json),
        Wanted::Update { name, version } => update::run(&Workspace::load()?.root, &name, version.as_deref()),
    }
}

fn list(offline: bool, as_json: bool) -> Result<()> {
    let pins = locks::read(&Workspace::load()?.root)?;
    let (mut rows, mut broken) = (Vec::new(), Vec::new());
    for pin in &pins {
        let found = if offline { Found::NotAsked } else { ask::ask(pin) };
        if as_json {
            rows.push(row(pin, &found));
        } else {
            println!("{}", line(pin, &found));
        }
        if found.is_broken() {
            broken.push(format!("{}: {found}", pin.name));
        }
    }
    if as_json {
        println!("{}", Value::Array(rows));
    }
    if broken.is_empty() {
        say(&format!("{} pins; docs/pins.md tells how to move one.", pins.len()));
        return Ok(());
    }
    bail!("{}; docs/pins.md tells what to do when a source vanishes", broken.join("; "))
}

fn line(pin: &Pin, found: &Found) -> String {
    let Pin { name, kind, version, revision, date, hash, .. } = pin;
    let none = || "-".to_owned();
    format!(
        "{name:22} {kind:13} {version:16} {:40} {:10} {}\n{:22} {found}",
        revision.clone().unwrap_or_else(none),
        date.clone().unwrap_or_else(none),
        hash.clone().unwrap_or_else(none),
        "",
    )
}

fn row(pin: &Pin, found: &Found) -> Value {
    json!({
        "name": pin.name, "kind": pin.kind.to_string(), "version": pin.version, "revision": pin.revision,
        "date": pin.date, "hash": pin.hash, "file": pin.file, "state": found.to_string(),
        "broken": found.is_broken(),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Help,
    List { offline: bool, json: bool },
    Update { name: String, version: Option<String> },
}

fn parse(arguments: &[OsString]) -> Result<Wanted> {
    let bad = |error: lexopt::Error| bad_flag(&error, "pins");
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut offline, mut json, mut words) = (false, false, Vec::new());
    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Wanted::Help),
            Arg::Long("offline") => offline = true,
            Arg::Long("json") => json = true,
            Arg::Value(word) => words.push(word.to_string_lossy().into_owned()),
            other => return Err(bad(other.unexpected())),
        }
    }
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(Wanted::List { offline, json }),
        ["update", name] => Ok(Wanted::Update { name: name.into(), version: None }),
        ["update", name, version] => Ok(Wanted::Update { name: name.into(), version: Some(version.into()) }),
        ["update"] => Err(usage("update which pin? `cargo xtask pins --offline` lists them.")),
        [other, ..] => Err(usage(format!("pins has no command {other}; see cargo xtask pins --help."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wanted> {
        parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_is_understood() {
        assert_eq!(parsed("--json").unwrap(), Wanted::List { offline: false, json: true });
        let update = Wanted::Update { name: "sv2-tp".into(), version: Some("v1.1.1".into()) };
        assert_eq!(parsed("update sv2-tp v1.1.1").unwrap(), update);
        assert_eq!(parsed("update --help").unwrap(), Wanted::Help);
        assert!(parsed("update").unwrap_err().to_string().contains("which pin"));
        assert!(parsed("upgrade cdk").is_err());
    }
}
