//! Where a box keeps its things.

use std::path::{Path, PathBuf};

use poolbox_api::{Client, ClientError};
use poolbox_service::Misconfigured;

/// Variable that names the state directory.
pub const VARIABLE: &str = "POOLBOX_STATE";
/// Where the appliance keeps its state.
const BOX: &str = "/var/lib/poolbox";

/// The state directory: one folder for each process, logs and wallets beside them.
#[derive(Clone, Debug)]
pub struct Place(PathBuf);

impl Place {
    /// The directory given, else the appliance's, else the demo's in the home directory.
    pub fn find(given: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(given) = given {
            return Ok(Self(std::path::absolute(&given)?));
        }
        if Path::new(BOX).is_dir() {
            return Ok(Self(BOX.into()));
        }
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
        let state =
            state.ok_or_else(|| Misconfigured::new("neither HOME nor --state is set; pass --state DIR"))?;
        Ok(Self(state.join("poolbox/demo")))
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The folder of one process.
    pub fn of(&self, process: &str) -> PathBuf {
        self.0.join(process)
    }

    /// One log file a process.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// One folder a wallet.
    pub fn wallet(&self, name: &str) -> PathBuf {
        self.0.join("wallets").join(name)
    }

    /// The pool's local API.
    pub fn pool(&self) -> Result<Client, ClientError> {
        Client::new(self.of("pool").join("pool.sock"))
    }

    /// The mint's local API.
    pub fn mint(&self) -> Result<Client, ClientError> {
        Client::new(self.of("mint").join("mint.sock"))
    }
}
