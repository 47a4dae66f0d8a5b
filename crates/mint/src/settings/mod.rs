//! The mint's settings: as written (raw), then checked once into the types the rest uses. A section
//! of the file is a file here.

mod epochs;
mod lightning;
mod limits;
mod payouts;
mod queue;
mod treasury;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use poolbox_accounting::{EpochRules, FeePpm, Network};
use poolbox_journal::RedisSettings;
use poolbox_service::{Misconfigured, NodeSettings};
use serde::Deserialize;

use crate::units::EPOCHS_AHEAD;
use epochs::RawEpochs;
use lightning::RawLightning;
pub use lightning::{LightningSettings, NoPeer, Peer};
pub use limits::Limits;
use limits::RawLimits;
use payouts::RawPayouts;
pub use payouts::{PayoutSettings, Terms};
pub use queue::QueueSource;
use treasury::RawTreasury;
pub use treasury::TreasurySettings;

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Network of the node.
    pub network: Network,
    /// Seed, databases and descriptor live here.
    pub data_dir: PathBuf,
    /// Where the Cashu API listens.
    pub listen: SocketAddr,
    /// How wallets reach the Cashu API, without a slash at the end.
    pub public_url: String,
    /// Whose quote queue is read.
    pub queue: QueueSource,
    /// The local API's socket.
    pub api_socket: PathBuf,
    /// Where the log is written besides standard error.
    pub log_file: Option<PathBuf>,
    /// The node's RPC.
    pub node: NodeSettings,
    /// When epochs close, become final and settle.
    pub rules: EpochRules,
    /// How long a round of mode proxy is open at least, in seconds.
    pub min_round_time_s: u64,
    /// Payments in and out on-chain.
    pub treasury: TreasurySettings,
    /// The Lightning node, if there is one.
    pub lightning: Option<LightningSettings>,
    /// What clients may take of the public API.
    pub limits: Limits,
    /// The pool's fee on rewards.
    pub fee: FeePpm,
    /// Height from which a new mint reads the chain; by default a day before the tip.
    pub first_block: Option<u32>,
    /// Standing payouts.
    pub payouts: PayoutSettings,
    /// Epochs whose units are named in advance; not in the file.
    pub epochs_ahead: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSettings {
    network: Network,
    data_dir: PathBuf,
    #[serde(default = "default_listen")]
    listen: SocketAddr,
    public_url: Option<String>,
    journal: Option<PathBuf>,
    redis: Option<RedisSettings>,
    api_socket: Option<PathBuf>,
    log_file: Option<PathBuf>,
    node: NodeSettings,
    #[serde(default)]
    epochs: RawEpochs,
    #[serde(default)]
    treasury: RawTreasury,
    lightning: Option<RawLightning>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    fee_ppm: u32,
    first_block: Option<u32>,
    #[serde(default)]
    payouts: RawPayouts,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 3338))
}

impl Settings {
    /// Reads and checks the settings file at `path`.
    ///
    /// # Errors
    /// One sentence naming the file, the setting and the remedy.
    pub fn load(path: &Path) -> Result<Self, Misconfigured> {
        poolbox_service::load_settings::<RawSettings>(path)?.check()
    }
}

impl RawSettings {
    fn check(self) -> Result<Settings, Misconfigured> {
        let fee = FeePpm::new(self.fee_ppm).map_err(|error| Misconfigured::new(error.to_string()))?;
        let public_url = self.public_url.unwrap_or_else(|| format!("http://{}", self.listen));
        if !public_url.starts_with("http://") && !public_url.starts_with("https://") {
            return Err(Misconfigured::new(format!(
                "public_url = \"{public_url}\" is no URL; write http:// or https:// before it"
            )));
        }
        Ok(Settings {
            network: self.network,
            listen: self.listen,
            public_url: public_url.trim_end_matches('/').to_owned(),
            queue: QueueSource::check(self.journal, self.redis)?,
            api_socket: self.api_socket.unwrap_or_else(|| self.data_dir.join("mint.sock")),
            data_dir: self.data_dir,
            log_file: self.log_file,
            node: self.node,
            min_round_time_s: self.epochs.min_round_time_s(self.network),
            rules: self.epochs.check(self.network)?,
            treasury: self.treasury.check(self.network)?,
            lightning: self.lightning.map(RawLightning::check).transpose()?,
            limits: self.limits.check()?,
            fee,
            first_block: self.first_block,
            payouts: self.payouts.check(self.network)?,
            epochs_ahead: EPOCHS_AHEAD,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, Misconfigured> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mint.toml");
        std::fs::write(&file, text).unwrap();
        Settings::load(&file)
    }

    const SHORT: &str = "network = 'devnet'\ndata_dir = '/m'\njournal = '/p/j'\n[node]\nrpc_port = 1\n";

    #[test]
    fn defaults_follow_the_network() {
        let settings = load(&format!("{SHORT}cookie_file = '/n/.cookie'")).unwrap();
        assert_eq!(settings.public_url, "http://127.0.0.1:3338");
        assert_eq!(settings.api_socket, PathBuf::from("/m/mint.sock"));
        assert_eq!((settings.rules.min_epoch_time_s, settings.rules.final_confirmations), (20, 1));
        let mainnet = format!("{SHORT}cookie_file = '/n/.cookie'").replace("devnet", "mainnet");
        let rules = load(&mainnet).unwrap().rules;
        assert_eq!((rules.min_epoch_time_s, rules.final_confirmations), (0, 6));
        let round_time = |text: &str| load(text).unwrap().min_round_time_s;
        assert_eq!((settings.min_round_time_s, round_time(&mainnet)), (0, 72_000));
        assert_eq!(round_time(&format!("{mainnet}\n[epochs]\nmin_round_time_s = 60")), 60);
    }

    #[test]
    fn pools_elsewhere_come_by_redis() {
        let text = format!("{SHORT}cookie_file = '/c'\n[redis]\naddress = 'queue.lan:6379'\ntls = true\n");
        let settings = load(&text.replace("journal", "#")).unwrap();
        assert!(matches!(settings.queue, QueueSource::Redis(redis) if redis.address() == "queue.lan:6379"));
    }

    #[test]
    fn mistakes_name_the_setting() {
        let cases = [
            (SHORT.to_owned(), "cookie_file"),
            (format!("{SHORT}user = 'u'"), "password_file"),
            (format!("{SHORT}cookie_file = '/c'\n[epochs]\nconfirmations = 0"), "epochs.confirmations"),
            (format!("{SHORT}cookie_file = '/c'\n[treasury]\nconfirmations = 0"), "treasury.confirmations"),
            (format!("{SHORT}cookie_file = '/c'\n[lightning]\npeers = ['me@home']"), "lightning.peers"),
            (format!("{SHORT}cookie_file = '/c'\n[lightning]\nannounce = [':']"), "lightning.announce"),
            (format!("{SHORT}cookie_file = '/c'\n[limits]\nconnections = 0"), "limits.connections"),
            (format!("fee_ppm = 2000000\n{SHORT}cookie_file = '/c'"), "fee_ppm"),
            (format!("public_url = 'box'\n{SHORT}cookie_file = '/c'"), "public_url"),
            (
                format!("{SHORT}cookie_file = '/c'\n[payouts]\nonchain_threshold_sat = 10"),
                "onchain_threshold_sat",
            ),
            (
                format!("{SHORT}cookie_file = '/c'\n[payouts]\nlightning_max_fee_ppm = 2000000"),
                "lightning_max_fee_ppm",
            ),
            (format!("{SHORT}cookie_file = '/c'\n[payouts]\nstand_in_host = '1.2.3.4:80'"), "stand_in_host"),
            (format!("sead = 'x'\n{SHORT}cookie_file = '/c'"), "sead"),
            (format!("{SHORT}cookie_file = '/c'").replace("journal", "#"), "journal is missing"),
            (format!("{SHORT}cookie_file = '/c'\n[redis]\naddress = 'q:1'"), "journal and [redis]"),
            (format!("{SHORT}cookie_file = '/c'\n[redis]\naddress = 'redis://q:1'"), "host:port"),
        ];
        for (text, setting) in cases {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(setting), "{error}");
        }
    }
}
