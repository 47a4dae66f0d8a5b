//! What is pinned, as the lock files say it. Reads files, asks nobody.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Crates whose release matters by itself: protocols, money, the node. The others follow them.
const CRATES: [&str; 6] =
    ["bitcoin_core_sv2", "cdk", "cdk-bdk", "cdk-ldk-node", "libbitcoinkernel-sys", "stratum-core"];

/// Where a pin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An input of the flake, at GitHub.
    Flake {
        /// `owner/repository`.
        repository: String,
        /// Whether it is a tag, which must not move; a branch may.
        tag: bool,
    },
    /// A crate of Cargo.lock.
    Crate,
    /// A program that the flake takes from crates.io.
    Program,
    /// The compiler.
    Rust,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flake { .. } => "flake input",
            Self::Crate => "crate",
            Self::Program => "flake program",
            Self::Rust => "compiler",
        })
    }
}

/// Something of others at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// As `pins update` takes it.
    pub name: String,
    /// Where it comes from.
    pub kind: Kind,
    /// Tag, branch or version.
    pub version: String,
    /// Commit, where there is one.
    pub revision: Option<String>,
    /// Day of the commit, where it is known.
    pub date: Option<String>,
    /// What its content must hash to, in the form of its lock file.
    pub hash: Option<String>,
    /// The file that holds the pin.
    pub file: &'static str,
}

/// Every pin of the checkout at `root`.
pub fn read(root: &Path) -> Result<Vec<Pin>> {
    let text = |name: &str| {
        std::fs::read_to_string(root.join(name))
            .with_context(|| format!("cannot read {}", root.join(name).display()))
    };
    let mut pins = flake(&text("flake.lock")?).context("flake.lock")?;
    pins.extend(crates(&text("Cargo.lock")?).context("Cargo.lock")?);
    pins.extend(programs(&text("nix/packages.nix")?));
    pins.push(rust(&text("rust-toolchain.toml")?).context("rust-toolchain.toml")?);
    Ok(pins)
}

fn flake(lock: &str) -> Result<Vec<Pin>> {
    let lock: Value = serde_json::from_str(lock)?;
    let inputs = lock["nodes"]["root"]["inputs"].as_object().context("names no inputs")?;
    inputs
        .iter()
        .map(|(name, node)| {
            let node = &lock["nodes"][node.as_str().context("an input follows another")?];
            let text = |part: &str, key: &str| {
                let value = node[part][key].as_str().map(str::to_owned);
                value.with_context(|| format!("{name} has no {part}.{key}"))
            };
            let version = text("original", "ref")?;
            let tag =
                version.chars().any(|c| c.is_ascii_digit()) && version.contains('.') && name != "nixpkgs";
            let repository = format!("{}/{}", text("locked", "owner")?, text("locked", "repo")?);
            Ok(Pin {
                name: name.clone(),
                kind: Kind::Flake { repository, tag },
                version,
                revision: Some(text("locked", "rev")?),
                date: node["locked"]["lastModified"].as_i64().map(day),
                hash: Some(text("locked", "narHash")?),
                file: "flake.lock",
            })
        })
        .collect()
}

fn crates(lock: &str) -> Result<Vec<Pin>> {
    let lock: toml::Table = lock.parse()?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("names no packages")?;
    let text =
        |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    Ok(packages
        .iter()
        .filter(|package| text(package, "name").is_some_and(|name| CRATES.contains(&name.as_str())))
        .filter_map(|package| {
            Some(Pin {
                name: text(package, "name")?,
                kind: Kind::Crate,
                version: text(package, "version")?,
                revision: None,
                date: None,
                hash: text(package, "checksum"),
                file: "Cargo.lock",
            })
        })
        .collect())
}

/// The programs of crates.io among the flake's packages: each has `pname`, `version` and `hash` in this order.
fn programs(nix: &str) -> Vec<Pin> {
    let value = |line: &str, key: &str| {
        let rest = line.trim().strip_prefix(key)?.trim_start().strip_prefix("= \"")?;
        rest.strip_suffix("\";").map(str::to_owned)
    };
    let (mut pins, mut name, mut version) = (Vec::new(), None, None);
    for line in nix.lines() {
        name = value(line, "pname").or(name);
        version = value(line, "version").or(version);
        if let Some(hash) = value(line, "hash")
            && let (Some(name), Some(version)) = (name.take(), version.take())
        {
            let (kind, file) = (Kind::Program, "nix/packages.nix");
            pins.push(Pin { name, kind, version, revision: None, date: None, hash: Some(hash), file });
        }
    }
    pins
}

fn rust(toolchain: &str) -> Result<Pin> {
    let table: toml::Table = toolchain.parse()?;
    let channel = table.get("toolchain").and_then(|it| it.get("channel")).and_then(toml::Value::as_str);
    Ok(Pin {
        name: "rust".into(),
        kind: Kind::Rust,
        version: channel.context("names no channel")?.into(),
        revision: None,
        date: None,
        hash: None,
        file: "rust-toolchain.toml",
    })
}

/// The day of a Unix time, as in `2026-08-09`.
fn day(unix: i64) -> String {
    // Years begin in March here, so that the leap day is a year's last.
    let days = unix.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + i64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAKE: &str = r#"{"nodes": {
        "made-up": {"locked": {"lastModified": 1786313170, "narHash": "sha256-A=", "owner": "o", "repo": "r",
            "rev": "aa", "type": "github"}, "original": {"ref": "v1.2", "owner": "o", "repo": "r"}},
        "nixpkgs": {"locked": {"lastModified": 0, "narHash": "sha256-B=", "owner": "NixOS", "repo": "nixpkgs",
            "rev": "bb", "type": "github"}, "original": {"ref": "nixos-26.05"}},
        "root": {"inputs": {"made-up": "made-up", "nixpkgs": "nixpkgs"}}}, "root": "root"}"#;

    #[test]
    fn a_flakes_inputs_are_pins_with_revision_day_and_hash() {
        let pins = flake(FLAKE).unwrap();
        assert_eq!(pins.len(), 2);
        let pin = &pins[0];
        assert_eq!((pin.name.as_str(), pin.version.as_str()), ("made-up", "v1.2"));
        assert_eq!(pin.kind, Kind::Flake { repository: "o/r".into(), tag: true });
        assert_eq!(pin.date.as_deref(), Some("2026-08-09"));
        assert_eq!((pin.revision.as_deref(), pin.hash.as_deref()), (Some("aa"), Some("sha256-A=")));
        assert!(matches!(pins[1].kind, Kind::Flake { tag: false, .. }));
    }

    #[test]
    fn an_input_without_a_hash_is_named() {
        let error = flake(&FLAKE.replace("narHash\": \"sha256-A=", "x\": \"")).unwrap_err().to_string();
        assert!(error.contains("made-up has no locked.narHash"), "{error}");
    }

    #[test]
    fn crates_that_matter_are_pins_and_others_are_not() {
        let lock = "[[package]]\nname = \"cdk\"\nversion = \"0.18.3\"\nchecksum = \"cc\"\n\
                    [[package]]\nname = \"libc\"\nversion = \"0.2.0\"\n";
        let pins = crates(lock).unwrap();
        assert_eq!(pins.len(), 1);
        assert_eq!((pins[0].version.as_str(), pins[0].hash.as_deref()), ("0.18.3", Some("cc")));
    }

    #[test]
    fn programs_are_read_from_the_flakes_packages() {
        let nix =
            "  a = crate {\n    pname = \"tool\";\n    version = \"1.0\";\n    hash = \"sha256-C=\";\n  };\n";
        let pins = programs(nix);
        assert_eq!((pins.len(), pins[0].name.as_str(), pins[0].version.as_str()), (1, "tool", "1.0"));
    }

    #[test]
    fn this_checkout_names_every_upstream() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let pins = read(root).unwrap();
        for name in
            ["nixpkgs", "bitcoin-sv2", "sv2-tp", "cdk", "libbitcoinkernel-sys", "pool_sv2", "cdk-cli", "rust"]
        {
            assert!(pins.iter().any(|pin| pin.name == name), "{name}");
        }
        let unpinned: Vec<&Pin> =
            pins.iter().filter(|pin| pin.hash.is_none() && pin.kind != Kind::Rust).collect();
        assert!(unpinned.is_empty(), "{unpinned:?}");
    }

    #[test]
    fn days_are_told_right_around_leap_days() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(1_709_164_800), "2024-02-29");
        assert_eq!(day(1_709_251_200), "2024-03-01");
    }
}
