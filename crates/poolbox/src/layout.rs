//! How data lie in a state directory. The demo has `mint` and `pool` of its one network; a box whose network can be
//! chosen keeps them once for each, as `mint/devnet`. Commands and backups call files as the demo does, so that a
//! backup of either can be restored to either.

use std::path::{Component, Path, PathBuf};

use poolbox_accounting::Network;
use poolbox_service::Misconfigured;

/// Folders that may be there once for each network.
const APART: [&str; 2] = ["mint", "pool"];
/// File that names the network of the folder it is in.
const STAMP: &str = "network";
/// On an appliance, the network that its owner chose.
const CHOICE: &str = "settings/network";

/// A state directory, seen as one network's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
    /// Where each network has folders of its own, the one that is meant.
    network: Option<Network>,
}

impl Layout {
    /// The box at `root`. Of several networks `wanted`, else the one that its owner chose.
    ///
    /// # Errors
    /// [`Misconfigured`] when the data of `wanted` are not there, or nothing tells which network is meant.
    pub fn of(root: &Path, wanted: Option<Network>) -> anyhow::Result<Self> {
        let stamp = APART.iter().find_map(|folder| named_in(&root.join(folder).join(STAMP)));
        let found = stamp.map_or_else(|| networks(root), |only| vec![only]);
        let choice = || named_in(&root.join(CHOICE)).filter(|choice| found.contains(choice));
        let meant = match (wanted, found.as_slice()) {
            // Whoever reads then says what is missing.
            (_, []) => None,
            (None, [only]) => Some(*only),
            (None, _) => choice(),
            (Some(wanted), _) => Some(wanted).filter(|wanted| found.contains(wanted)),
        };
        if meant.is_none() && !found.is_empty() {
            let names: Vec<&str> = found.iter().map(|network| network.name()).collect();
            let (root, names) = (root.display(), names.join(", "));
            return Err(
                Misconfigured::new(format!("{root} has data of {names}; name one with --network")).into()
            );
        }
        Ok(Self { root: root.to_owned(), network: meant.filter(|_| stamp.is_none()) })
    }

    /// The box that data of `network` will make of `root`, which may have none.
    pub fn with_data_of(network: Network, root: &Path) -> Self {
        Self { root: root.to_owned(), network: Some(network).filter(|_| !networks(root).is_empty()) }
    }

    /// The state directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file or folder is that a directory of one network has at `path`.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        let mut parts = path.components();
        match (self.network, parts.next()) {
            (Some(network), Some(Component::Normal(first))) if APART.iter().any(|name| first == *name) => {
                let mut place = self.root.join(first).join(network.name());
                place.extend(parts);
                place
            }
            _ => self.root.join(path),
        }
    }
}

/// The networks that have folders of their own below `root`, by name.
fn networks(root: &Path) -> Vec<Network> {
    let entries =
        APART.iter().filter_map(|folder| std::fs::read_dir(root.join(folder)).ok()).flatten().flatten();
    let mut found: Vec<Network> = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    found.sort_by_key(|network| network.name());
    found.dedup();
    found
}

/// The network that a file of one word names.
fn named_in(file: &Path) -> Option<Network> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_directory_of_one_network_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "mint/network", "devnet\n");
        let layout = Layout::of(dir.path(), None).unwrap();
        assert_eq!(layout.at("mint/seed"), dir.path().join("mint/seed"));
        assert_eq!(Layout::of(dir.path(), Some(Network::Devnet)).unwrap(), layout);
        assert_eq!(Layout::with_data_of(Network::Devnet, dir.path()), layout);
        let error = Layout::of(dir.path(), Some(Network::Mainnet)).unwrap_err().to_string();
        assert!(error.contains("has data of devnet"), "{error}");
        assert!(Layout::of(Path::new("/nonexistent"), None).is_ok());
    }

    #[test]
    fn of_several_networks_the_chosen_one_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "mint/devnet/network", "devnet\n");
        let devnet = Layout::of(dir.path(), None).unwrap();
        assert_eq!(devnet.at("mint/bdk/x"), dir.path().join("mint/devnet/bdk/x"));
        assert_eq!(devnet.at("pool"), dir.path().join("pool/devnet"));
        assert_eq!(devnet.at("wallets/bob/seed"), dir.path().join("wallets/bob/seed"));

        put(dir.path(), "pool/mainnet/network", "mainnet\n");
        let error = Layout::of(dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("devnet, mainnet; name one with --network"), "{error}");
        assert_eq!(Layout::of(dir.path(), Some(Network::Devnet)).unwrap(), devnet);
        put(dir.path(), "settings/network", "signet\n");
        assert!(Layout::of(dir.path(), None).is_err());
        put(dir.path(), "settings/network", "devnet\n");
        assert_eq!(Layout::of(dir.path(), None).unwrap(), devnet);
        assert!(Layout::of(dir.path(), Some(Network::Regtest)).is_err());
        let new = Layout::with_data_of(Network::Regtest, dir.path());
        assert_eq!(new.at("mint/seed"), dir.path().join("mint/regtest/seed"));
    }
}
