//! What crates.io has of a release: cargo brings it, and checks it against its index. Nothing is built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::ask::said;
use super::nar;
use crate::failure;
use crate::workspace::cargo;

/// A release of a crate.
pub struct Release {
    /// The newest release that the registry has.
    pub newest: String,
    /// The crate's file, in cargo's cache.
    pub file: PathBuf,
}

/// Asks the registry for a release, the newest unless `version` is given, and brings it.
///
/// # Errors
/// What cargo said.
pub fn release(name: &str, version: Option<&str>) -> Result<Release, String> {
    let spec = version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}"));
    let mut info = cargo(["info", "--quiet", &spec]);
    // Elsewhere than in the workspace, which would answer for the registry.
    let text = said(info.current_dir("/"))?;
    let (told, newest) =
        parse_info(&text).ok_or_else(|| format!("the registry tells no version of {name}"))?;
    let name = format!("{name}-{told}.crate");
    let file = cached(&name).ok_or_else(|| format!("cargo has not kept {name}"))?;
    Ok(Release { newest, file })
}

/// Whether this is how cargo says that there is no such release, rather than that nobody answered.
pub fn is_missing(said: &str) -> bool {
    said.contains("could not find `")
}

/// SHA-256 of a crate's file, as Cargo.lock has it.
pub fn checksum(file: &Path) -> Result<String> {
    nar::sha256(|out| {
        let mut file = std::fs::File::open(file).with_context(|| format!("read {}", file.display()))?;
        std::io::copy(&mut file, out)?;
        Ok(())
    })
}

/// Unpacks a crate's file into a folder of its own below `folder`, and gives that.
pub fn unpack(file: &Path, folder: &Path) -> Result<PathBuf> {
    let name = file.file_stem().context("a crate's file has no name")?;
    let to = folder.join(name);
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--gzip").arg("--file").arg(file).arg("--directory").arg(folder);
    failure::run(tar.stdin(Stdio::null()))?;
    Ok(to)
}

fn cached(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))?;
    let registries = std::fs::read_dir(home.join("registry/cache")).ok()?;
    registries.flatten().map(|registry| registry.path().join(name)).find(|path| path.is_file())
}

/// The release that `cargo info` tells of, and the newest: `version: 1.2.3`, or `version: 1.2.3 (latest 1.2.4)`.
fn parse_info(text: &str) -> Option<(String, String)> {
    let line = text.lines().find_map(|line| line.strip_prefix("version: "))?;
    let told = line.split(' ').next()?;
    let latest = line.split_once("(latest ").and_then(|(_, rest)| rest.split([' ', ')']).next());
    Some((told.to_owned(), latest.unwrap_or(told).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_answer_is_read() {
        let told = |text| parse_info(text).map(|(told, newest)| format!("{told} {newest}"));
        assert_eq!(told("cdk\nA kit\nversion: 0.18.3\nlicense: MIT\n").as_deref(), Some("0.18.3 0.18.3"));
        assert_eq!(told("version: 0.18.3 (latest 0.18.4)\n").as_deref(), Some("0.18.3 0.18.4"));
        assert_eq!(told("cdk\n"), None);
    }

    #[test]
    fn a_release_that_is_gone_is_told_from_a_registry_that_does_not_answer() {
        assert!(is_missing(
            "error: could not find `cdk@9.9.9` in registry `https://github.com/rust-lang/crates.io-index`"
        ));
        assert!(!is_missing("download of config.json failed: could not resolve host: index.crates.io"));
    }
}
