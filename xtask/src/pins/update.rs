//! Moving one pin, with its hash. What cannot be done by a program is told to the person.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::ask::{newest_like, refs};
use super::locks::{self, Kind, Pin};
use super::{nar, registry};
use crate::cache;
use crate::failure::{self, shown, usage};
use crate::terminal::say;
use crate::workspace::cargo;

/// Moves the pin `name` of the checkout at `root` to `version`, or to the newest.
pub fn run(root: &Path, name: &str, version: Option<&str>) -> Result<()> {
    let pins = locks::read(root)?;
    let pin = pins.iter().find(|pin| pin.name == name).ok_or_else(|| {
        let names: Vec<&str> = pins.iter().map(|pin| pin.name.as_str()).collect();
        usage(format!("there is no pin {name}; use one of {}.", names.join(", ")))
    })?;
    match &pin.kind {
        Kind::Flake { repository, tag } => flake_input(root, pin, repository, *tag, version),
        Kind::Crate => {
            let newest = || registry::release(name, None).map(|release| release.newest);
            let version = version.map_or_else(newest, |version| Ok(version.to_owned()));
            let version = version.map_err(|why| usage(format!("{name}: {why}; name the version.")))?;
            let mut update =
                cargo(["update", "--package", &format!("{name}@{}", pin.version), "--precise", &version]);
            failure::run(update.current_dir(root))?;
            say(&format!("{name}: {} is now {version} in Cargo.lock. Run the tests.", pin.version));
            Ok(())
        }
        Kind::Program => program(root, pin, version),
        Kind::Rust => Err(usage(
            "rust moves together with nixpkgs: set the channel in rust-toolchain.toml to the rustc of the new nixpkgs.",
        )),
    }
}

fn flake_input(root: &Path, pin: &Pin, repository: &str, tag: bool, version: Option<&str>) -> Result<()> {
    let name = &pin.name;
    let version = match version {
        Some(version) => version.to_owned(),
        None if tag => {
            let refs = refs(repository).map_err(|why| usage(format!("{name}: {why}; name the tag.")))?;
            newest_like(&pin.version, &refs)
                .ok_or_else(|| usage(format!("{name} is at {}, and there is no newer tag.", pin.version)))?
        }
        None => pin.version.clone(),
    };
    let locked = locked_node(repository, &version)?;
    let lock_file = root.join("flake.lock");
    let lock = std::fs::read_to_string(&lock_file)?;
    let flake_file = root.join("flake.nix");
    let flake = std::fs::read_to_string(&flake_file)?;
    let (lock, flake) = moved(&lock, &flake, pin, repository, &version, locked)?;
    std::fs::write(&lock_file, lock).with_context(|| format!("cannot write {}", lock_file.display()))?;
    std::fs::write(&flake_file, flake).with_context(|| format!("cannot write {}", flake_file.display()))?;
    say(&format!(
        "{name}: {} is now {version}, in flake.nix and flake.lock. Run nix flake check.",
        pin.version
    ));
    Ok(())
}

/// A program that the flake takes from crates.io: version and hash in nix/packages.nix, and the Cargo.lock in the
/// crate, which the flake has a copy of.
fn program(root: &Path, pin: &Pin, version: Option<&str>) -> Result<()> {
    let name = &pin.name;
    let release = |version: Option<&str>| {
        registry::release(name, version).map_err(|why| usage(format!("{name}: {why}; name another version.")))
    };
    let version = match version {
        Some(version) => version.to_owned(),
        None => release(None)?.newest,
    };
    let source = registry::unpack(&release(Some(&version))?.file, &cache::folder()?.join("pins"))?;
    let hash = nar::hash(&source)?;
    let lock = std::fs::read_to_string(source.join("Cargo.lock"));
    std::fs::remove_dir_all(&source).with_context(|| format!("remove {}", source.display()))?;
    let lock =
        lock.with_context(|| format!("{name} {version} has no Cargo.lock, which the flake builds it with"))?;
    // Nix would have to be told a hash of each, which only a build tells.
    ensure!(
        !lock.contains("\"git+"),
        "{name} {version} needs crates that are not of crates.io; stay where you are"
    );
    let nix_file = root.join(pin.file);
    let nix = repinned(&std::fs::read_to_string(&nix_file)?, pin, &version, &hash)?;
    let lock_file = root.join("nix/locks").join(format!("{name}.lock"));
    std::fs::write(&lock_file, lock).with_context(|| format!("cannot write {}", lock_file.display()))?;
    std::fs::write(&nix_file, nix).with_context(|| format!("cannot write {}", nix_file.display()))?;
    say(&format!(
        "{name}: {} is now {version} with {hash}, in {} and nix/locks/{name}.lock. Build it: nix build .#{}",
        pin.version,
        pin.file,
        name.replace('_', "-"),
    ));
    Ok(())
}

/// nix/packages.nix with another release of a program.
fn repinned(nix: &str, pin: &Pin, version: &str, hash: &str) -> Result<String> {
    let (file, name) = (pin.file, &pin.name);
    let start = format!("pname = \"{name}\";");
    let at = nix.find(&start).with_context(|| format!("{file} has no {start}"))? + start.len();
    let end = nix[at..].find("pname = ").map_or(nix.len(), |length| at + length);
    let mut block = nix[at..end].to_owned();
    for (key, old, new) in [("version", Some(&pin.version), version), ("hash", pin.hash.as_ref(), hash)] {
        let old = format!("{key} = \"{}\";", old.context("the pin has no hash")?);
        ensure!(
            block.matches(&old).count() == 1,
            "{file} does not say {old} once of {name}; change it there"
        );
        block = block.replace(&old, &format!("{key} = \"{new}\";"));
    }
    Ok(format!("{}{block}{}", &nix[..at], &nix[end..]))
}

/// What flake.lock is to say of a commit, with the hash of its content, from whoever can compute it here.
fn locked_node(repository: &str, version: &str) -> Result<Value> {
    let (mut command, inner) = match std::env::var_os("NIX_HERE").filter(|value| !value.is_empty()) {
        Some(evaluator) => {
            let mut command = Command::new(evaluator);
            command.args(["hash", repository, version]);
            (command, None)
        }
        None => {
            let mut command = Command::new("nix");
            command.args([
                "--extra-experimental-features",
                "nix-command flakes",
                "flake",
                "metadata",
                "--json",
            ]);
            command.arg(format!("github:{repository}/{version}"));
            (command, Some("locked"))
        }
    };
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        usage(format!(
            "{} cannot be started ({error}); the hash is computed by nix: install it, or set NIX_HERE.",
            shown(&command)
        ))
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}", shown(&command), said.trim());
    let value: Value = serde_json::from_slice(&output.stdout).context("the locked node is no JSON")?;
    let node = inner.map_or(value.clone(), |key| value[key].clone());
    ensure!(node["narHash"].is_string() && node["rev"].is_string(), "there is no hash in {node}");
    Ok(node)
}

/// flake.lock and flake.nix with the pin moved.
fn moved(
    lock: &str,
    flake: &str,
    pin: &Pin,
    repository: &str,
    version: &str,
    locked: Value,
) -> Result<(String, String)> {
    let old = format!("\"github:{repository}/{}\"", pin.version);
    ensure!(flake.matches(&old).count() == 1, "flake.nix does not name {old} once; change it there");
    let flake = flake.replace(&old, &format!("\"github:{repository}/{version}\""));
    let mut lock: Value = serde_json::from_str(lock)?;
    let node =
        lock["nodes"].get_mut(&pin.name).with_context(|| format!("flake.lock has no node {}", pin.name))?;
    node["locked"] = locked;
    node["original"]["ref"] = version.into();
    Ok((format!("{}\n", serde_json::to_string_pretty(&lock)?), flake))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pin() -> Pin {
        Pin {
            name: "made-up".into(),
            kind: Kind::Flake { repository: "o/r".into(), tag: true },
            version: "v1".into(),
            revision: Some("aa".into()),
            date: None,
            hash: Some("sha256-A=".into()),
            file: "flake.lock",
        }
    }

    const LOCK: &str = r#"{"nodes": {"made-up": {"flake": false, "locked": {"rev": "aa"}, "original": {"ref": "v1"}},
        "other": {"locked": {"rev": "bb"}}}, "version": 7}"#;

    #[test]
    fn a_moved_pin_changes_both_files_and_no_other_pin() {
        let flake = "inputs.made-up = { url = \"github:o/r/v1\"; flake = false; };";
        let new = json!({ "rev": "cc", "narHash": "sha256-C=" });
        let (lock, flake) = moved(LOCK, flake, &pin(), "o/r", "v2", new).unwrap();
        assert!(flake.contains("github:o/r/v2") && !flake.contains("v1"));
        let lock: Value = serde_json::from_str(&lock).unwrap();
        let node = &lock["nodes"]["made-up"];
        assert_eq!(
            (&node["locked"]["narHash"], &node["original"]["ref"]),
            (&json!("sha256-C="), &json!("v2"))
        );
        assert_eq!((&node["flake"], &lock["nodes"]["other"]["locked"]["rev"]), (&json!(false), &json!("bb")));
    }

    #[test]
    fn a_moved_program_changes_its_own_version_and_hash_only() {
        let block = |name: &str, version: &str, hash: &str| {
            format!("crate {{ pname = \"{name}\"; version = \"{version}\"; hash = \"{hash}\"; }}\n")
        };
        let nix = block("first", "v1", "sha256-A=")
            + &block("made-up", "v1", "sha256-A=")
            + &block("last", "v1", "sha256-A=");
        let moved = repinned(&nix, &pin(), "v2", "sha256-B=").unwrap();
        assert_eq!(
            moved,
            block("first", "v1", "sha256-A=")
                + &block("made-up", "v2", "sha256-B=")
                + &block("last", "v1", "sha256-A=")
        );
        let error = repinned(&block("made-up", "v0", "sha256-A="), &pin(), "v2", "").unwrap_err().to_string();
        assert!(error.contains("does not say version = \"v1\"; once"), "{error}");
        assert!(repinned(&block("other", "v1", ""), &pin(), "v2", "").is_err());
    }

    #[test]
    fn a_flake_that_names_it_otherwise_is_left_alone() {
        let error = moved(LOCK, "github:o/r/main", &pin(), "o/r", "v2", json!({})).unwrap_err().to_string();
        assert!(error.contains("change it there"), "{error}");
    }
}
