//! Settings of the pool: raw as written, then checked once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use poolbox_accounting::{Difficulty, Mode as Wanted, Network};
use poolbox_journal::RedisSettings;
use poolbox_service::{Misconfigured, load_settings};
use poolbox_stratum::VardiffLimits;
use poolbox_stratum::server::Limits;
use poolbox_work_source::blocks::RpcConfig;
use serde::Deserialize;

use crate::origin::{Origin, RawNode, RawTemplateProvider, RawUpstream};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    network: Network,
    #[serde(default = "usual_mode")]
    mode: Wanted,
    data_dir: PathBuf,
    coinbase_descriptor_file: Option<PathBuf>,
    api_socket: Option<PathBuf>,
    log_file: Option<PathBuf>,
    #[serde(default = "default_stale_after_s")]
    stale_after_s: u64,
    #[serde(default)]
    node: RawNode,
    template_provider: Option<RawTemplateProvider>,
    upstream: Option<RawUpstream>,
    #[serde(default)]
    stratum_v1: RawPort,
    stratum_v1_tls: Option<RawOptionalPort>,
    #[serde(default)]
    stratum_v2: RawPort,
    redis: Option<RedisSettings>,
    #[serde(default)]
    difficulty: RawDifficulty,
    #[serde(default)]
    limits: RawLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPort {
    listen: Option<SocketAddr>,
}

/// Off without its section, and with an empty address.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOptionalPort {
    listen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDifficulty {
    start: Option<f64>,
    min: Option<f64>,
    free_shares: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    connections: Option<usize>,
    connections_per_address: Option<usize>,
    shares_per_second: Option<u32>,
}

const fn usual_mode() -> Wanted {
    Wanted::Pool
}

const fn default_stale_after_s() -> u64 {
    120
}

/// Whom the blocks pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The mint's wallet, known by its public descriptor as `poolbox-mint init` writes it.
    Pool {
        /// The descriptor.
        coinbase_descriptor_file: PathBuf,
    },
    /// Whom an upstream pool says.
    Proxy,
    /// The miner that finds them.
    Solo,
}

/// Settings of the pool.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Network of the node.
    pub network: Network,
    /// Whom the blocks pay.
    pub mode: Mode,
    /// Journal, and the local API's socket unless set otherwise.
    pub data_dir: PathBuf,
    /// Socket of the local API.
    pub api_socket: PathBuf,
    /// Where the log goes besides standard error.
    pub log_file: Option<PathBuf>,
    /// How long miners are kept while the node gives no templates.
    pub stale_after: Duration,
    /// Where jobs come from.
    pub origin: Origin,
    /// The node's RPC, the second way for found blocks.
    pub rpc: Option<RpcConfig>,
    /// Where Sv1 miners connect.
    pub stratum_v1: SocketAddr,
    /// Where Sv1 miners connect over TLS, if they may.
    pub stratum_v1_tls: Option<SocketAddr>,
    /// Where Sv2 miners connect.
    pub stratum_v2: SocketAddr,
    /// Where the quote queue is sent, when the mint is elsewhere.
    pub redis: Option<RedisSettings>,
    /// Where a miner starts that says nothing about itself.
    pub start_difficulty: Difficulty,
    /// Between what a miner's difficulty moves.
    pub difficulty_limits: VardiffLimits,
    /// What clients may take of the server.
    pub limits: Limits,
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
        let mode = match (raw.mode, raw.coinbase_descriptor_file) {
            (Wanted::Pool, Some(coinbase_descriptor_file)) => Mode::Pool { coinbase_descriptor_file },
            (Wanted::Pool, None) => {
                return Err(Misconfigured::new(
                    "coinbase_descriptor_file is missing: name the file that `poolbox-mint init` wrote, or set \
                     mode = \"solo\" or \"proxy\"",
                ));
            }
            (Wanted::Solo, None) => Mode::Solo,
            (Wanted::Solo, Some(_)) => {
                return Err(Misconfigured::new(
                    "coinbase_descriptor_file has no use in mode = \"solo\", where a block pays its miner; \
                     remove one of them",
                ));
            }
            (Wanted::Proxy, None) => Mode::Proxy,
            (Wanted::Proxy, Some(_)) => {
                return Err(Misconfigured::new(
                    "coinbase_descriptor_file has no use in mode = \"proxy\", where a block pays whom the \
                     upstream pool says; remove one of them",
                ));
            }
        };
        let origin = match (&mode, raw.upstream) {
            (Mode::Proxy, upstream) => {
                Origin::check_upstream(&raw.node, raw.template_provider.as_ref(), upstream)?
            }
            (Mode::Pool { .. } | Mode::Solo, None) => Origin::check(&raw.node, raw.template_provider)?,
            (Mode::Pool { .. } | Mode::Solo, Some(_)) => {
                return Err(Misconfigured::new(
                    "[upstream] is for mode = \"proxy\", where the miners work for another pool; set that mode, \
                     or remove the section",
                ));
            }
        };
        let (start_difficulty, difficulty_limits) = difficulties(&raw.difficulty, raw.network)?;
        if raw.stale_after_s == 0 {
            return Err(Misconfigured::new(
                "stale_after_s = 0 would close every miner at once; use 60 or more",
            ));
        }
        let port = |listen: RawPort, port| listen.listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], port)));
        let usual = Limits::default();
        Ok(Self {
            network: raw.network,
            mode,
            api_socket: raw.api_socket.unwrap_or_else(|| raw.data_dir.join("pool.sock")),
            data_dir: raw.data_dir,
            log_file: raw.log_file,
            stale_after: Duration::from_secs(raw.stale_after_s),
            origin,
            rpc: raw.node.rpc()?,
            stratum_v1: port(raw.stratum_v1, 3333),
            stratum_v1_tls: optional_port("stratum_v1_tls.listen", raw.stratum_v1_tls, 4333)?,
            stratum_v2: port(raw.stratum_v2, 34254),
            redis: raw.redis,
            start_difficulty,
            difficulty_limits,
            limits: Limits {
                connections: limit(raw.limits.connections, usual.connections),
                connections_per_address: limit(
                    raw.limits.connections_per_address,
                    usual.connections_per_address,
                ),
                shares_per_second: raw.limits.shares_per_second.unwrap_or(usual.shares_per_second),
                ..usual
            },
        })
    }
}

/// A limit as set; zero is none.
fn limit(set: Option<usize>, usual: usize) -> usize {
    match set {
        None => usual,
        Some(0) => usize::MAX,
        Some(limit) => limit,
    }
}

fn optional_port(
    key: &str,
    raw: Option<RawOptionalPort>,
    port: u16,
) -> Result<Option<SocketAddr>, Misconfigured> {
    match raw.map(|raw| raw.listen) {
        None => Ok(None),
        Some(None) => Ok(Some(SocketAddr::from(([0, 0, 0, 0], port)))),
        Some(Some(listen)) if listen.is_empty() => Ok(None),
        Some(Some(listen)) => listen.parse().map(Some).map_err(|_| {
            Misconfigured::new(format!(
                "{key} = \"{listen}\" is no address; use one such as \"0.0.0.0:{port}\", or \"\" for none"
            ))
        }),
    }
}

/// Where miners start, and between what their difficulty moves.
fn difficulties(raw: &RawDifficulty, network: Network) -> Result<(Difficulty, VardiffLimits), Misconfigured> {
    if raw.free_shares {
        if network != Network::Regtest {
            return Err(Misconfigured::new(
                "difficulty.free_shares = true makes shares worth nothing and is for load tests on regtest; \
                 remove it",
            ));
        }
        return Ok((Difficulty::FREE, VardiffLimits { min: Difficulty::FREE, max: Difficulty::FREE }));
    }
    let min = difficulty("difficulty.min", raw.min, Difficulty::MIN)?;
    // A CPU on devnet, a Bitaxe anywhere else: what is most likely to connect first.
    let likely = if network == Network::Devnet { min } else { LIKELY_START };
    let start = difficulty("difficulty.start", raw.start, likely)?;
    if start < min {
        return Err(Misconfigured::new(format!(
            "difficulty.start = {start} is below difficulty.min = {min}; raise it"
        )));
    }
    Ok((start, VardiffLimits { min, max: Difficulty::MAX }))
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
    fn a_template_provider_takes_the_place_of_the_nodes_socket() {
        let provider = LEAST.replace("ipc_socket", "# no");
        let provider = format!(
            "{provider}\nrpc_port = 1\ncookie_file = \"/c\"\n[template_provider]\naddress = \"box:8442\""
        );
        let settings = load(&provider).unwrap();
        assert!(matches!(settings.origin, Origin::TemplateProvider(config) if config.address == "box:8442"));
        assert_eq!(settings.rpc.unwrap().url, "http://127.0.0.1:1");
        assert!(load(LEAST).unwrap().rpc.is_none());
    }

    #[test]
    fn solo_needs_no_mint() {
        let solo =
            LEAST.replace("coinbase_descriptor_file = \"/tmp/mint/coinbase.descriptor\"", "mode = \"solo\"");
        assert_eq!(load(&solo).unwrap().mode, Mode::Solo);
    }

    const PROXY: &str = r#"
        network = "mainnet"
        mode = "proxy"
        data_dir = "/tmp/pool"
        [upstream]
        url = "stratum+tcp://mine.ocean.xyz:3334"
        user = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.box"
    "#;

    #[test]
    fn a_proxy_needs_an_upstream_and_no_node() {
        let settings = load(PROXY).unwrap();
        assert_eq!(settings.mode, Mode::Proxy);
        assert!(matches!(&settings.origin, Origin::Upstream(config) if config.password == "x"));
        let secret = load(&format!("{PROXY}\npassword = \"hunter2\"")).unwrap();
        assert!(!format!("{secret:?}").contains("hunter2"));
        let with_rpc = format!("{PROXY}\n[node]\nrpc_port = 1\ncookie_file = \"/c\"");
        assert!(load(&with_rpc).unwrap().rpc.is_some());
        for (text, key) in [
            (PROXY.replace("[upstream]", "[elsewhere]"), "elsewhere"),
            (PROXY.split("[upstream]").next().unwrap().to_owned(), "[upstream]"),
            (PROXY.replace("stratum+tcp", "http"), "upstream.url"),
            (format!("{PROXY}\nca_file = \"/c\""), "upstream.ca_file"),
            (PROXY.replace("url =", "# no"), "url"),
            (PROXY.replace("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.box", ""), "upstream.user"),
            (PROXY.replace("\"proxy\"", "\"solo\""), "[upstream]"),
            (format!("coinbase_descriptor_file = \"/d\"\n{PROXY}"), "coinbase_descriptor_file"),
            (format!("{PROXY}\n[node]\nipc_socket = \"/n\""), "node.ipc_socket"),
            (format!("{PROXY}\n[template_provider]\naddress = \"a:1\""), "[template_provider]"),
        ] {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(key), "{key}: {error}");
        }
    }

    #[test]
    fn tls_is_off_unless_it_has_a_section_with_an_address() {
        let tls = |section: &str| load(&format!("{LEAST}\n{section}")).unwrap().stratum_v1_tls;
        assert_eq!(tls(""), None);
        assert_eq!(tls("[stratum_v1_tls]\nlisten = \"\""), None);
        assert_eq!(tls("[stratum_v1_tls]"), Some("0.0.0.0:4333".parse().unwrap()));
        let loopback = "[stratum_v1_tls]\nlisten = \"127.0.0.1:4334\"";
        assert_eq!(tls(loopback), Some("127.0.0.1:4334".parse().unwrap()));
    }

    #[test]
    fn the_queue_stays_in_the_journal_unless_it_is_sent() {
        assert_eq!(load(LEAST).unwrap().redis, None);
        let sent = load(&format!("{LEAST}\n[redis]\naddress = \"queue.lan:6379\"\ntls = true")).unwrap();
        assert_eq!(sent.redis.unwrap().address(), "queue.lan:6379");
    }

    #[test]
    fn a_mistake_names_its_key() {
        for (text, key) in [
            (format!("stale_after_s = 0\n{LEAST}"), "stale_after_s"),
            (format!("netwrk = 1\n{LEAST}"), "netwrk"),
            (format!("mode = \"solo\"\n{LEAST}"), "coinbase_descriptor_file"),
            (LEAST.replace("coinbase_descriptor_file", "# no"), "coinbase_descriptor_file"),
            (LEAST.replace("ipc_socket", "# no"), "node.ipc_socket"),
            (format!("{LEAST}\n[template_provider]\naddress = \"127.0.0.1:8442\""), "[template_provider]"),
            (format!("{LEAST}\nrpc_port = 38332"), "cookie_file"),
            (format!("{LEAST}\ncookie_file = \"/n/.cookie\""), "node.rpc_port"),
            (
                format!(
                    "{}\n[template_provider]\naddress = \"127.0.0.1:8442\"\nauthority_key = \"9x\"",
                    LEAST.replace("ipc_socket", "# no")
                ),
                "template_provider.authority_key",
            ),
            (format!("{LEAST}\n[difficulty]\nstart = -1.0"), "difficulty.start"),
            (format!("{LEAST}\n[redis]\naddress = \"queue.lan\""), "address"),
            (format!("{LEAST}\n[stratum_v1_tls]\nlisten = \"4333\""), "stratum_v1_tls.listen"),
            (format!("{LEAST}\n[difficulty]\nfree_shares = true"), "free_shares"),
            (format!("{LEAST}\n[difficulty]\nmin = 4.0\nstart = 1.0"), "difficulty.min"),
        ] {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
