//! Settings of the pool: raw as written, then checked once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use poolbox_accounting::{Difficulty, Network};
use poolbox_service::{Misconfigured, load_settings};
use poolbox_stratum::VardiffLimits;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    network: Network,
    data_dir: PathBuf,
    coinbase_descriptor_file: PathBuf,
    api_socket: Option<PathBuf>,
    log_file: Option<PathBuf>,
    #[serde(default = "default_stale_after_s")]
    stale_after_s: u64,
    node: RawNode,
    #[serde(default)]
    stratum_v1: RawStratum,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    ipc_socket: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawStratum {
    listen: SocketAddr,
    start_difficulty: Option<f64>,
    min_difficulty: Option<f64>,
}

impl Default for RawStratum {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([0, 0, 0, 0], 3333)), start_difficulty: None, min_difficulty: None }
    }
}

const fn default_stale_after_s() -> u64 {
    120
}

/// Settings of the pool.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Network of the node.
    pub network: Network,
    /// Journal, and the local API's socket unless set otherwise.
    pub data_dir: PathBuf,
    /// Public descriptor of the wallet that coinbases pay, as `poolbox-mint init` writes it.
    pub coinbase_descriptor_file: PathBuf,
    /// Socket of the local API.
    pub api_socket: PathBuf,
    /// Where the log goes besides standard error.
    pub log_file: Option<PathBuf>,
    /// How long miners are kept while the node gives no templates.
    pub stale_after: Duration,
    /// The node's IPC socket.
    pub node_socket: PathBuf,
    /// Where Sv1 miners connect.
    pub stratum_v1: SocketAddr,
    /// Where a miner starts that says nothing about itself.
    pub start_difficulty: Difficulty,
    /// Between what a miner's difficulty moves.
    pub difficulty_limits: VardiffLimits,
}

impl Settings {
    /// Reads and checks the settings file.
    ///
    /// # Errors
    /// [`Misconfigured`], naming the key.
    pub fn load(path: &Path) -> Result<Self, Misconfigured> {
        Self::check(load_settings(path)?)
    }

    fn check(raw: Raw) -> Result<Self, Misconfigured> {
        let min = difficulty("stratum_v1.min_difficulty", raw.stratum_v1.min_difficulty, Difficulty::MIN)?;
        // A CPU on devnet, a Bitaxe anywhere else: what is most likely to connect first.
        let likely = if raw.network == Network::Devnet { min } else { LIKELY_START };
        let start = difficulty("stratum_v1.start_difficulty", raw.stratum_v1.start_difficulty, likely)?;
        if start < min {
            return Err(Misconfigured::new(format!(
                "stratum_v1.start_difficulty = {start} is below stratum_v1.min_difficulty = {min}; raise it"
            )));
        }
        if raw.stale_after_s == 0 {
            return Err(Misconfigured::new(
                "stale_after_s = 0 would close every miner at once; use 60 or more",
            ));
        }
        Ok(Self {
            network: raw.network,
            api_socket: raw.api_socket.unwrap_or_else(|| raw.data_dir.join("pool.sock")),
            data_dir: raw.data_dir,
            coinbase_descriptor_file: raw.coinbase_descriptor_file,
            log_file: raw.log_file,
            stale_after: Duration::from_secs(raw.stale_after_s),
            node_socket: raw.node.ipc_socket,
            stratum_v1: raw.stratum_v1.listen,
            start_difficulty: start,
            difficulty_limits: VardiffLimits { min, max: Difficulty::MAX },
        })
    }
}

/// 512: a share every two seconds from 1 TH/s.
const LIKELY_START: Difficulty = match Difficulty::from_log2(9) {
    Ok(difficulty) => difficulty,
    Err(_) => Difficulty::ONE,
};

fn difficulty(key: &str, value: Option<f64>, default: Difficulty) -> Result<Difficulty, Misconfigured> {
    let Some(value) = value else { return Ok(default) };
    Difficulty::at_most(value)
        .ok_or_else(|| Misconfigured::new(format!("{key} = {value} must be a positive number, such as 512")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"
        network = "devnet"
        data_dir = "/tmp/pool"
        coinbase_descriptor_file = "/tmp/mint/coinbase.descriptor"
        [node]
        ipc_socket = "/tmp/node/signet/node.sock"
    "#;

    fn load(text: &str) -> Result<Settings, Misconfigured> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::load(file.path())
    }

    #[test]
    fn the_least_settings_suffice() {
        let settings = load(LEAST).unwrap();
        assert_eq!(settings.start_difficulty, Difficulty::MIN);
        assert_eq!(settings.api_socket, Path::new("/tmp/pool/pool.sock"));
        assert_eq!(load(&LEAST.replace("devnet", "mainnet")).unwrap().start_difficulty, LIKELY_START);
    }

    #[test]
    fn a_mistake_names_its_key() {
        for (text, key) in [
            (format!("stale_after_s = 0\n{LEAST}"), "stale_after_s"),
            (format!("netwrk = 1\n{LEAST}"), "netwrk"),
            (format!("{LEAST}\n[stratum_v1]\nstart_difficulty = -1.0"), "stratum_v1.start_difficulty"),
            (
                format!("{LEAST}\n[stratum_v1]\nmin_difficulty = 4.0\nstart_difficulty = 1.0"),
                "min_difficulty",
            ),
        ] {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
