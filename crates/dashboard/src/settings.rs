//! Settings of the dashboard: raw as written, then checked once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use poolbox_service::{Misconfigured, NodeSettings, load_settings};
use serde::Deserialize;

use crate::alerts::{AlertSettings, Kind, LEAST_SILENCE_S, Topic, Way};
use crate::choices::Place;

/// Where pages are served unless `listen` says otherwise.
const LISTEN: &str = "0.0.0.0:80";
/// A miner without a share for so long is silent, unless `silent_after_s` says otherwise.
const SILENT_AFTER_S: u64 = 900;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    data_dir: PathBuf,
    listen: Option<SocketAddr>,
    listen_tls: Option<SocketAddr>,
    log_file: Option<PathBuf>,
    pool_socket: PathBuf,
    mint_socket: Option<PathBuf>,
    log_dir: Option<PathBuf>,
    #[serde(default)]
    host_names: Vec<String>,
    miner_host: Option<String>,
    #[serde(default)]
    loopback_miners: bool,
    coinbase_descriptor_file: Option<PathBuf>,
    node: Option<NodeSettings>,
    #[serde(rename = "box")]
    place: Option<Place>,
    #[serde(default)]
    alerts: RawAlerts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlerts {
    webhook: Option<String>,
    webhook_file: Option<PathBuf>,
    ntfy: Option<String>,
    ntfy_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    events: Option<Vec<String>>,
    silent_after_s: Option<u64>,
}

/// Settings of the dashboard.
#[derive(Clone, Debug)]
pub struct Settings {
    /// History, password and what was changed at miners.
    pub data_dir: PathBuf,
    /// Where pages are served.
    pub listen: SocketAddr,
    /// Where they are served encrypted too; nowhere unless set.
    pub listen_tls: Option<SocketAddr>,
    /// Where the log goes besides standard error.
    pub log_file: Option<PathBuf>,
    /// The pool's local API.
    pub pool_socket: PathBuf,
    /// The mint's local API; none on a box without a mint.
    pub mint_socket: Option<PathBuf>,
    /// One log file a service; none where there are no files.
    pub log_dir: Option<PathBuf>,
    /// Names by which browsers may ask, in lower case, besides addresses, `localhost` and `*.local`.
    pub host_names: Vec<String>,
    /// Name or address that miners are told instead of the box's address in their network.
    pub miner_host: Option<String>,
    /// Whether miners on this machine may be changed: for tests and the demo.
    pub loopback_miners: bool,
    /// The public descriptor that every coinbase must pay in mode pool.
    pub coinbase_descriptor_file: Option<PathBuf>,
    /// The node's RPC, for its sync and version; none when it is not to be asked.
    pub node: Option<NodeSettings>,
    /// Where the box's settings are chosen; none where they are files for a person to edit.
    pub place: Option<Place>,
    /// What is told to whom.
    pub alerts: AlertSettings,
}

impl Settings {
    /// Reads and checks the settings file.
    ///
    /// # Errors
    /// [`Misconfigured`], naming the key.
    pub fn load(path: &Path) -> Result<Self, Misconfigured> {
        let raw: Raw = load_settings(path)?;
        let listen = match raw.listen {
            Some(listen) => listen,
            None => LISTEN.parse().map_err(|_| Misconfigured::new("listen is no address"))?,
        };
        if raw.listen_tls == Some(listen) {
            return Err(Misconfigured::new(format!(
                "listen and listen_tls are both {listen}; change one of them"
            )));
        }
        if let Some(host) = &raw.miner_host
            && !is_host(host)
        {
            return Err(Misconfigured::new(format!(
                "miner_host = \"{host}\" is no host name or address; use one such as \"192.168.1.20\""
            )));
        }
        Ok(Self {
            data_dir: raw.data_dir,
            listen,
            listen_tls: raw.listen_tls,
            log_file: raw.log_file,
            pool_socket: raw.pool_socket,
            mint_socket: raw.mint_socket,
            log_dir: raw.log_dir,
            host_names: raw.host_names.iter().map(|name| name.to_lowercase()).collect(),
            miner_host: raw.miner_host,
            loopback_miners: raw.loopback_miners,
            coinbase_descriptor_file: raw.coinbase_descriptor_file,
            node: raw.node,
            place: raw.place.map(Place::check).transpose()?,
            alerts: raw.alerts.check()?,
        })
    }
}

impl RawAlerts {
    /// Addresses are secrets: no sentence repeats one.
    fn check(self) -> Result<AlertSettings, Misconfigured> {
        let token = self.token_file.as_deref().map(|file| secret("token_file", file)).transpose()?;
        let mut ways = Vec::new();
        for (kind, address, file) in
            [(Kind::Webhook, self.webhook, self.webhook_file), (Kind::Ntfy, self.ntfy, self.ntfy_file)]
        {
            let name = kind.name();
            let address = match (address, file) {
                (Some(_), Some(_)) => {
                    let sentence = format!("[alerts] has both {name} and {name}_file; give one of the two");
                    return Err(Misconfigured::new(sentence));
                }
                (None, Some(file)) => secret(&format!("{name}_file"), &file)?,
                (Some(address), None) => address,
                (None, None) => continue,
            };
            let token = token.clone().filter(|_| kind == Kind::Ntfy);
            let way = Way::new(kind, &address, token).map_err(|why| {
                Misconfigured::new(format!("the address of {name} in [alerts] {why}; correct {name}"))
            })?;
            ways.push(way);
        }
        if token.is_some() && !ways.iter().any(|way| way.kind == Kind::Ntfy) {
            return Err(Misconfigured::new("token_file in [alerts] is for ntfy; set ntfy, or leave it out"));
        }
        let topic = |name: &String| {
            Topic::named(name).ok_or_else(|| {
                let known = Topic::CHOICES.map(Topic::name).join(", ");
                Misconfigured::new(format!("events in [alerts] names \"{name}\"; choose among {known}"))
            })
        };
        let topics = match &self.events {
            None => Topic::CHOICES.into(),
            Some(names) => names.iter().map(topic).collect::<Result<_, _>>()?,
        };
        let silent_after_s = self.silent_after_s.unwrap_or(SILENT_AFTER_S);
        if silent_after_s < LEAST_SILENCE_S {
            return Err(Misconfigured::new(format!(
                "silent_after_s = {silent_after_s} in [alerts] would call luck silence; use {LEAST_SILENCE_S} or more"
            )));
        }
        Ok(AlertSettings { ways, topics, silent_after_s })
    }
}

/// The only line of a file.
fn secret(setting: &str, file: &Path) -> Result<String, Misconfigured> {
    let read = std::fs::read_to_string(file);
    let text = read.map_err(|error| {
        let file = file.display();
        Misconfigured::new(format!("{setting} {file} in [alerts] cannot be read: {error}; change {setting}"))
    })?;
    Ok(text.trim().to_owned())
}

/// A host name or IPv4 address: what fits into a miner's settings.
fn is_host(host: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    !host.is_empty() && host.len() <= 253 && host.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "data_dir = \"/tmp/d\"\npool_socket = \"/tmp/pool.sock\"\n";

    const BOX: &str = "[box]\nsettings_dir = '/c'\nin_force_dir = '/f'\nimage_dir = '/i'\nnetwork = 'mainnet'\n\
        networks = ['mainnet', 'devnet']\nservices = ['node', 'pool', 'mint']\npool_program = '/p'\n\
        mint_program = '/m'\n";

    fn load(text: &str) -> Result<Settings, Misconfigured> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::load(file.path())
    }

    #[test]
    fn the_least_settings_suffice() {
        let settings = load(LEAST).unwrap();
        assert_eq!(settings.listen, LISTEN.parse().unwrap());
        assert!(settings.mint_socket.is_none() && settings.node.is_none() && settings.place.is_none());
        assert!(load(&format!("{LEAST}{BOX}")).unwrap().place.is_some());
    }

    #[test]
    fn a_mistake_names_its_key() {
        for (text, key) in [
            (format!("{LEAST}pol_socket = 1"), "pol_socket"),
            (format!("{LEAST}listen_tls = \"{LISTEN}\""), "listen_tls"),
            (format!("{LEAST}miner_host = \"a b\""), "miner_host"),
            (format!("{LEAST}[node]\nrpc_port = 1"), "cookie_file"),
            ("data_dir = \"/tmp/d\"".to_owned(), "pool_socket"),
            (format!("{LEAST}{}", BOX.replace("'mainnet', ", "")), "box.networks"),
            (format!("{LEAST}{}", BOX.replace("'pool', ", "")), "box.services"),
            (format!("{LEAST}{}", BOX.replace("mint_program", "# no")), "box.mint_program"),
            (format!("{LEAST}{}", BOX.replace("'mint'", "'sshd'")), "sshd"),
            (format!("{LEAST}[alerts]\nwebhook = \"hooks/S3CRET\""), "webhook"),
            (format!("{LEAST}[alerts]\nntfy = \"https://ntfy.sh/\""), "TOPIC"),
            (format!("{LEAST}[alerts]\nevents = [\"block\"]"), "block-found"),
            (format!("{LEAST}[alerts]\nsilent_after_s = 5"), "silent_after_s"),
            (format!("{LEAST}[alerts]\ntoken_file = \"/no/such\""), "token_file"),
            (format!("{LEAST}[alerts]\nwebhook = \"http://a/S3CRET\"\nwebhook_file = \"x\""), "webhook_file"),
        ] {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
            assert!(!error.contains("S3CRET"), "an address of a webhook is a secret: {error}");
        }
    }
}
