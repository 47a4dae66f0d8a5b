//! `[box]`: where an appliance keeps what its owner chose, and what may be chosen.

use std::path::PathBuf;

use poolbox_accounting::Network;
use poolbox_service::Misconfigured;
use serde::Deserialize;

use super::Service;
use crate::backups::BackupPlace;

/// What the dashboard needs to know to change the box's settings. Without it, it only shows them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// What is chosen; the dashboard alone writes there.
    pub settings_dir: PathBuf,
    /// The settings files that the services were started with.
    pub in_force_dir: PathBuf,
    /// The settings files of a box on which nothing was chosen, one folder a network.
    pub image_dir: PathBuf,
    /// The network until one is chosen.
    pub network: Network,
    /// The networks that may be chosen.
    pub networks: Vec<Network>,
    /// The services that are restarted for a change, in the order of their restart.
    pub services: Vec<Service>,
    /// Program that knows what may be in `pool.toml`.
    pub pool_program: PathBuf,
    /// Program that knows what may be in `mint.toml`; none on a box without a mint.
    pub mint_program: Option<PathBuf>,
    /// Where new versions are looked for; none when they are not.
    pub updates_from: Option<String>,
    /// What the system says of the versions that are there; none where nothing says it.
    pub versions_file: Option<PathBuf>,
    /// How backups are made and restored; none on a box without a mint.
    pub backup: Option<BackupPlace>,
}

impl Place {
    /// The section, if what it names fits together.
    ///
    /// # Errors
    /// [`Misconfigured`], naming the key.
    pub fn check(self) -> Result<Self, Misconfigured> {
        let wrong = |sentence: &str| Err(Misconfigured::new(sentence));
        if !self.networks.contains(&self.network) {
            return wrong("box.network is not among box.networks; add it there");
        }
        if !self.services.contains(&Service::Pool) {
            return wrong("box.services lacks \"pool\"; a box without a pool has nothing to set");
        }
        if self.services.contains(&Service::Mint) != self.mint_program.is_some() {
            return wrong("box.services and box.mint_program belong together; give both or neither");
        }
        Ok(self)
    }
}
