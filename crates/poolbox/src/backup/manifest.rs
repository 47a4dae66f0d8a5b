//! What a backup says about itself: its first entry, read before anything else of it.

use std::path::{Component, Path, PathBuf};

use poolbox_accounting::Network;
use serde::{Deserialize, Serialize};

/// Name of the entry.
pub const NAME: &str = "manifest.json";
/// What this program writes; it reads nothing newer.
pub const FORMAT: u32 = 1;
/// Folders of a state directory that backups hold.
pub const FOLDERS: [&str; 4] = ["wallets", "mint", "pool", "dashboard"];
/// File of a state directory that names its network.
pub const STAMP: &str = "network";

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Form of the backup.
    pub format: u32,
    /// Version of the program that made it.
    pub version: String,
    /// When, Unix seconds.
    pub made_at: u64,
    /// Of the box.
    pub network: Network,
    /// Of the mint.
    pub seed: SeedReference,
    /// Every other entry, in order.
    pub files: Vec<Entry>,
    /// What is not in it, and why.
    pub left_out: Vec<LeftOut>,
}

/// Which seed the box has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedReference {
    /// BIP 32's master fingerprint.
    pub fingerprint: String,
    /// Whether the words are in the backup.
    pub included: bool,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Below the state directory.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

/// Something that is not in the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Below the state directory.
    pub path: PathBuf,
    /// In a sentence.
    pub reason: String,
}

impl Manifest {
    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }

    /// Whether every path stays within a state directory and is there once.
    pub fn is_sound(&self) -> bool {
        let mut paths: Vec<&PathBuf> = self.files.iter().map(|file| &file.path).collect();
        paths.sort_unstable();
        paths.windows(2).all(|pair| pair[0] != pair[1]) && paths.iter().all(|path| stays_inside(path))
    }
}

fn stays_inside(path: &Path) -> bool {
    let mut parts = path.components();
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let first = parts.next().and_then(|part| part.as_os_str().to_str());
    let below = parts.next().is_some();
    plain && first.is_some_and(|first| if below { FOLDERS.contains(&first) } else { first == STAMP })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        let entry = |path: &&str| Entry { path: path.into(), size: 1, sha256: String::new() };
        Manifest {
            format: FORMAT,
            version: "0".into(),
            made_at: 1,
            network: Network::Devnet,
            seed: SeedReference { fingerprint: "73c5da0a".into(), included: true },
            files: paths.iter().map(entry).collect(),
            left_out: Vec::new(),
        }
    }

    #[test]
    fn no_entry_leaves_the_state_directory_or_comes_twice() {
        assert!(manifest(&["network", "mint/seed", "wallets/bob/seed", "pool/blocks/1"]).is_sound());
        let hostile = [
            "/etc/passwd",
            "mint/../../etc/passwd",
            "../mint/seed",
            "node/bitcoin.conf",
            "mint",
            "./mint/seed",
            "",
            "logs/x",
        ];
        for path in hostile {
            assert!(!manifest(&[path]).is_sound(), "{path}");
        }
        assert!(!manifest(&["mint/seed", "mint/seed"]).is_sound());
    }
}
