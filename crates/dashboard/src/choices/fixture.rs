//! An appliance's settings folders, for tests. The programs that check files are fakes, named so; the real
//! ones are asked in the browser test.

use std::collections::BTreeMap;
use std::path::Path;

use tempfile::TempDir;

use super::{Choices, Place};

/// Refuses what the mint would: a threshold of 10 sats, and whatever says `refused`. Never written to here:
/// a program that is open for writing anywhere cannot be started.
pub const FAKE_CHECK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-check.sh");

/// The folders, with an image of mainnet and devnet.
pub struct Fixture {
    dir: TempDir,
    /// As the dashboard's settings name them.
    pub place: Place,
}

impl Fixture {
    /// With nothing chosen.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for network in ["mainnet", "devnet"] {
            let folder = at("image").join(network);
            std::fs::create_dir_all(&folder).unwrap();
            let pool = format!(
                "network = \"{network}\"\nmode = \"pool\"\ndata_dir = \"/p/{network}\"\n\
                 coinbase_descriptor_file = \"/c\"\n[node]\nrpc_port = 8332\n"
            );
            let mint =
                format!("network = \"{network}\"\ndata_dir = \"/m/{network}\"\n[node]\nrpc_port = 8332\n");
            std::fs::write(folder.join("pool.toml"), pool).unwrap();
            std::fs::write(folder.join("mint.toml"), mint).unwrap();
        }
        for name in ["chosen", "force", "data"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let place: Place = toml::from_str(&Self::section(dir.path())).unwrap();
        Self { place: place.check().unwrap(), dir }
    }

    fn section(dir: &Path) -> String {
        let dir = dir.display();
        format!(
            "settings_dir = '{dir}/chosen'\nin_force_dir = '{dir}/force'\nimage_dir = '{dir}/image'\n\
             network = 'mainnet'\nnetworks = ['mainnet', 'devnet']\nupdates_from = 'https://example.org/'\n\
             services = ['template-provider', 'node', 'pool', 'mint', 'dashboard']\n\
             pool_program = '{FAKE_CHECK}'\nmint_program = '{FAKE_CHECK}'\n"
        )
    }

    /// The section `[box]` of `dashboard.toml`.
    pub fn in_settings(&self) -> String {
        format!("[box]\n{}", Self::section(self.dir.path()))
    }

    /// As the dashboard opens it.
    pub fn choices(&self) -> Choices {
        Choices::open(self.place.clone(), &self.dir.path().join("data"))
    }

    /// Writes a file as if it had been chosen.
    pub fn choose(&self, path: &str, text: &str) {
        let path = self.place.settings_dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// As an update of the box: other words in the image's files of a network.
    pub fn update(&self, network: &str, from: &str, to: &str) {
        for file in ["pool.toml", "mint.toml"] {
            let path = self.place.image_dir.join(network).join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, text.replace(from, to)).unwrap();
        }
    }

    /// Every file that is chosen, by its path.
    pub fn chosen(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        collect(&self.place.settings_dir, "", &mut files);
        files
    }
}

fn collect(folder: &Path, below: &str, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}
