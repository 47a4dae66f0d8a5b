//! The mint's settings: as written (raw), then checked once into the types the rest uses.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use poolbox_accounting::{EpochRules, FeePpm, Network};
use poolbox_service::Misconfigured;
use serde::Deserialize;

/// Confirmations after which a coinbase can be spent; a rule of Bitcoin.
const COINBASE_MATURITY: u32 = 100;

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
    /// The pool's journal, whose quote queue is read.
    pub journal: PathBuf,
    /// The local API's socket.
    pub api_socket: PathBuf,
    /// Where the log is written besides standard error.
    pub log_file: Option<PathBuf>,
    /// The node's RPC.
    pub node: NodeSettings,
    /// When epochs close, become final and settle.
    pub rules: EpochRules,
    /// The pool's fee on rewards.
    pub fee: FeePpm,
    /// Height from which a new mint reads the chain; by default a day before the tip.
    pub first_block: Option<u32>,
}

/// How to reach the node's RPC.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Who we are.
    pub login: NodeLogin,
}

/// Where the RPC's user and password are found. They are read again whenever the node refuses
/// them, so both ways survive a node restart.
#[derive(Clone, Debug)]
pub enum NodeLogin {
    /// The node's own cookie, new at each of its starts.
    Cookie(PathBuf),
    /// A user and a file with the password (`rpcauth`, or `rpcuser` and `rpcpassword`).
    Password {
        /// `rpcuser`.
        user: String,
        /// File whose only line is `rpcpassword`.
        file: PathBuf,
    },
}

/// A user and password as given to the node. Debug output hides the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// RPC user.
    pub user: String,
    /// RPC password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl NodeLogin {
    /// Reads user and password.
    ///
    /// # Errors
    /// One sentence naming the setting and the file.
    pub fn read(&self) -> Result<Credentials, Misconfigured> {
        let read = |setting: &str, file: &Path| {
            std::fs::read_to_string(file).map_err(|error| {
                let file = file.display();
                Misconfigured::new(format!(
                    "node.{setting} {file} cannot be read ({error}); is the node running, and may this user read it?"
                ))
            })
        };
        match self {
            Self::Cookie(file) => {
                let text = read("cookie_file", file)?;
                let (user, password) = text.trim().split_once(':').ok_or_else(|| {
                    Misconfigured::new(format!(
                        "node.cookie_file {} is no cookie; name the node's .cookie",
                        file.display()
                    ))
                })?;
                Ok(Credentials { user: user.to_owned(), password: password.to_owned() })
            }
            Self::Password { user, file } => {
                let password = read("password_file", file)?.trim().to_owned();
                Ok(Credentials { user: user.clone(), password })
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSettings {
    network: Network,
    data_dir: PathBuf,
    #[serde(default = "default_listen")]
    listen: SocketAddr,
    public_url: Option<String>,
    journal: PathBuf,
    api_socket: Option<PathBuf>,
    log_file: Option<PathBuf>,
    node: RawNode,
    #[serde(default)]
    epochs: RawEpochs,
    #[serde(default)]
    fee_ppm: u32,
    first_block: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    #[serde(default = "default_rpc_host")]
    rpc_host: String,
    rpc_port: u16,
    cookie_file: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEpochs {
    min_epoch_time_s: Option<u32>,
    confirmations: Option<u32>,
    announcement_grace_s: Option<u64>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 3338))
}

fn default_rpc_host() -> String {
    "127.0.0.1".to_owned()
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
            journal: self.journal,
            api_socket: self.api_socket.unwrap_or_else(|| self.data_dir.join("mint.sock")),
            data_dir: self.data_dir,
            log_file: self.log_file,
            node: self.node.check()?,
            rules: self.epochs.check(self.network)?,
            fee,
            first_block: self.first_block,
        })
    }
}

impl RawNode {
    fn check(self) -> Result<NodeSettings, Misconfigured> {
        let login = match (self.cookie_file, self.user, self.password_file) {
            (Some(file), None, None) => NodeLogin::Cookie(file),
            (None, Some(user), Some(file)) => NodeLogin::Password { user, file },
            _ => {
                return Err(Misconfigured::new(
                    "[node] needs either cookie_file, or user and password_file; give one of the two",
                ));
            }
        };
        Ok(NodeSettings { host: self.rpc_host, port: self.rpc_port, login })
    }
}

impl RawEpochs {
    fn check(self, network: Network) -> Result<EpochRules, Misconfigured> {
        let (min_epoch_time_s, confirmations) = match network {
            // Blocks come every few seconds there.
            Network::Devnet => (20, 1),
            _ => (0, 6),
        };
        let standard = EpochRules::default();
        let rules = EpochRules {
            min_epoch_time_s: self.min_epoch_time_s.unwrap_or(min_epoch_time_s),
            final_confirmations: self.confirmations.unwrap_or(confirmations),
            maturity_confirmations: COINBASE_MATURITY,
            announcement_grace_s: self.announcement_grace_s.unwrap_or(standard.announcement_grace_s),
        };
        if !(1..=COINBASE_MATURITY).contains(&rules.final_confirmations) {
            return Err(Misconfigured::new(format!(
                "epochs.confirmations = {} must be from 1 to {COINBASE_MATURITY}",
                rules.final_confirmations
            )));
        }
        Ok(rules)
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
    }

    #[test]
    fn mistakes_name_the_setting() {
        let cases = [
            (SHORT.to_owned(), "cookie_file"),
            (format!("{SHORT}user = 'u'"), "password_file"),
            (format!("{SHORT}cookie_file = '/c'\n[epochs]\nconfirmations = 0"), "epochs.confirmations"),
            (format!("fee_ppm = 2000000\n{SHORT}cookie_file = '/c'"), "fee_ppm"),
            (format!("public_url = 'box'\n{SHORT}cookie_file = '/c'"), "public_url"),
            (format!("sead = 'x'\n{SHORT}"), "sead"),
        ];
        for (text, setting) in cases {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(setting), "{error}");
        }
    }

    #[test]
    fn a_cookie_is_read_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".cookie");
        std::fs::write(&file, "__cookie__:s3cret\n").unwrap();
        let login = NodeLogin::Cookie(file).read().unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("__cookie__", "s3cret"));
        assert!(!format!("{login:?}").contains("s3cret"));
    }
}
