//! What the demo needs before it starts: checked first, written after, so that a mistake changes nothing.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context;
use poolbox_accounting::Network;
use poolbox_service::{Misconfigured, claim_data_dir, free_port, write_secret};
use tokio::process::Command;

use super::Options;
use super::ports::Ports;
use crate::place::Place;

/// Folders and files that `--fresh` removes; nothing else in the state directory is touched.
const OWN: [&str; 6] = ["node", "pool", "mint", "dashboard", "wallets", "logs"];
/// File that is locked for as long as the demo runs.
const LOCK: &str = "demo.lock";
const PROGRAMS: [&str; 4] = ["poolbox-pool", "poolbox-mint", "poolbox-dashboard", "poolbox-miner"];
/// User of the node's RPC. Its password is made at the first start.
const RPC_USER: &str = "poolbox";

/// A demo that can be started.
pub struct Setup {
    place: Place,
    fresh: bool,
    bin_dir: PathBuf,
    node: PathBuf,
    ports: Ports,
}

/// A demo whose files are written.
pub struct Ready {
    /// The state directory.
    pub place: Place,
    /// The bitcoin-node program; bitcoin-cli lies beside it.
    pub node: PathBuf,
    /// Where it is reached.
    pub ports: Ports,
    bin_dir: PathBuf,
    /// Held for as long as the demo runs.
    _lock: File,
}

impl Ready {
    /// Path of one of our programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    /// The settings file of one of our processes.
    pub fn settings(&self, process: &str) -> PathBuf {
        self.place.of(process).join(format!("{process}.toml"))
    }

    /// Where Sv1 miners connect.
    pub fn stratum_v1(&self) -> String {
        format!("stratum+tcp://127.0.0.1:{}", self.ports.stratum_v1)
    }

    /// Where Sv2 miners connect, with the key that the pool made at its first start.
    ///
    /// # Errors
    /// When the pool has not started yet.
    pub fn stratum_v2(&self) -> anyhow::Result<String> {
        let path = self.place.of("pool").join("sv2_authority.pub");
        let key = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(format!("stratum2+tcp://127.0.0.1:{}/{}", self.ports.stratum_v2, key.trim()))
    }

    /// Where browsers see the box.
    pub fn dashboard(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.dashboard)
    }

    /// Where browsers see it encrypted.
    pub fn dashboard_tls(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.dashboard_tls)
    }

    /// The node's data directory.
    pub fn node_dir(&self) -> PathBuf {
        self.place.of("node")
    }
}

impl Setup {
    /// Checks programs, ports and the state directory. Nothing is written.
    pub async fn check(place: &Place, options: &Options) -> anyhow::Result<Self> {
        let bin_dir = match &options.bin_dir {
            Some(dir) => dir.clone(),
            None => std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default(),
        };
        for program in PROGRAMS {
            if !bin_dir.join(program).is_file() {
                let dir = bin_dir.display();
                return Err(Misconfigured::new(format!(
                    "{program} is not in {dir}; build it, or name its folder with --bin-dir"
                ))
                .into());
            }
        }
        let node = check_node(&options.node).await?;
        check_state(place)?;
        if place.of(LOCK).exists() {
            // Before the ports, which a demo that runs here holds as well.
            drop(lock(place)?);
        }
        let ports = Ports::check(options)?;
        Ok(Self { place: place.clone(), fresh: options.fresh, bin_dir, node, ports })
    }

    /// Makes the state directory and writes every settings file.
    pub fn prepare(self) -> anyhow::Result<Ready> {
        let Self { place, fresh, bin_dir, node, ports } = self;
        claim_data_dir(place.root(), Network::Devnet)?;
        let lock = lock(&place)?;
        if fresh {
            for name in OWN {
                let path = place.of(name);
                if path.exists() {
                    std::fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
                }
            }
        }
        for name in OWN {
            std::fs::create_dir_all(place.of(name))
                .with_context(|| format!("make {}", place.of(name).display()))?;
        }
        let ready = Ready { place, node, ports, bin_dir, _lock: lock };
        ready.write_settings()?;
        Ok(ready)
    }
}

impl Ready {
    fn write_settings(&self) -> anyhow::Result<()> {
        let password_file = self.node_dir().join("rpc.password");
        if !password_file.exists() {
            write_secret(&password_file, random_hex().as_bytes())?;
        }
        let password = std::fs::read_to_string(&password_file).context("read the node's RPC password")?;
        // Not a fixed port: a real signet node may run on this machine.
        let rpc_port = free_port()?;
        let node_log = self.place.logs().join("node.log");
        let conf = self.node_dir().join("bitcoin.conf");
        if conf.exists() {
            std::fs::remove_file(&conf).with_context(|| format!("replace {}", conf.display()))?;
        }
        // maxtipage: a chain that slept for days must not count as initial block download.
        let bitcoin_conf = format!(
            "chain=signet\nprinttoconsole=0\nlogtimemicros=1\ndebuglogfile={}\n\n[signet]\nsignetchallenge=51\nipcbind=unix\n\
             server=1\nlisten=0\nconnect=0\nmaxtipage=3153600000\nrpcbind=127.0.0.1\nrpcallowip=127.0.0.1\nrpcport={rpc_port}\n\
             rpcuser={RPC_USER}\nrpcpassword={password}\n",
            node_log.display(),
        );
        write_secret(&conf, bitcoin_conf.as_bytes())?;
        let mut pool = toml::toml! {
            network = "devnet"
            stale_after_s = 60
        };
        let text = |path: PathBuf| toml::Value::from(path.display().to_string());
        pool.insert("data_dir".into(), text(self.place.of("pool")));
        pool.insert(
            "coinbase_descriptor_file".into(),
            text(self.place.of("mint").join("coinbase.descriptor")),
        );
        let socket = self.node_dir().join("signet/node.sock");
        let rpc = [
            ("rpc_port", i64::from(rpc_port).into()),
            ("user", RPC_USER.into()),
            ("password_file", text(password_file)),
        ];
        let node = [("ipc_socket", text(socket))].into_iter().chain(rpc.clone());
        pool.insert("node".into(), table(node));
        for (protocol, port) in [("stratum_v1", self.ports.stratum_v1), ("stratum_v2", self.ports.stratum_v2)]
        {
            pool.insert(protocol.into(), table([("listen", format!("127.0.0.1:{port}").into())]));
        }
        write(&self.settings("pool"), &pool)?;

        let mut mint = toml::toml! {
            network = "devnet"
            first_block = 0
        };
        mint.insert("data_dir".into(), text(self.place.of("mint")));
        mint.insert("listen".into(), format!("127.0.0.1:{}", self.ports.mint).into());
        mint.insert("journal".into(), text(self.place.of("pool").join("journal.sqlite")));
        mint.insert("node".into(), table(rpc.clone()));
        write(&self.settings("mint"), &mint)?;

        let dashboard = [
            ("data_dir", text(self.place.of("dashboard"))),
            ("listen", format!("127.0.0.1:{}", self.ports.dashboard).into()),
            ("listen_tls", format!("127.0.0.1:{}", self.ports.dashboard_tls).into()),
            ("pool_socket", text(self.place.of("pool").join("pool.sock"))),
            ("mint_socket", text(self.place.of("mint").join("mint.sock"))),
            ("log_dir", text(self.place.logs())),
            ("coinbase_descriptor_file", text(self.place.of("mint").join("coinbase.descriptor"))),
            // The fakes of tests run on this machine.
            ("loopback_miners", true.into()),
            ("node", table(rpc)),
        ];
        let dashboard = dashboard.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
        write(&self.settings("dashboard"), &dashboard)
    }
}

fn table<'a>(entries: impl IntoIterator<Item = (&'a str, toml::Value)>) -> toml::Value {
    toml::Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn write(path: &Path, settings: &toml::Table) -> anyhow::Result<()> {
    std::fs::write(path, toml::to_string(settings)?).with_context(|| format!("write {}", path.display()))
}

/// Bitcoin Core 31 or later, by what it says of itself; `NAME` without a slash is looked up on PATH.
async fn check_node(node: &Path) -> anyhow::Result<PathBuf> {
    let shown = node.display();
    let remedy =
        "name Bitcoin Core 31 or later with --node or BITCOIN_NODE; `cargo xtask node` finds or builds it";
    // Before it says so, it would open settings and configuration in the home directory: a real node's
    // files perhaps, and two that start at once get in each other's way.
    let nothing_opened = ["-noconf", "-nosettings", "-datadir=/"];
    let said = Command::new(node).arg("--version").args(nothing_opened).output().await;
    let said = said.map_err(|error| {
        Misconfigured::new(format!("the node {shown} cannot be started ({error}); {remedy}"))
    })?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.lines().next().and_then(|line| line.strip_prefix("Bitcoin Core daemon version v"));
    let major =
        version.and_then(|version| version.split('.').next()).and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(31..) => Ok(node.to_owned()),
        Some(old) => {
            Err(Misconfigured::new(format!("the node {shown} is Bitcoin Core {old}; {remedy}")).into())
        }
        None => Err(Misconfigured::new(format!("{shown} is no Bitcoin Core node; {remedy}")).into()),
    }
}

/// A directory that is empty, absent, or a demo's.
fn check_state(place: &Place) -> anyhow::Result<()> {
    let root = place.root();
    let shown = root.display();
    // node/signet/node.sock and the others must fit into a unix socket's 107 bytes.
    if root.as_os_str().len() > 107 - "/node/signet/node.sock".len() {
        return Err(Misconfigured::new(format!(
            "--state {shown} is too long for unix sockets; use a shorter path"
        ))
        .into());
    }
    if let Ok(found) = std::fs::read_to_string(root.join("network")) {
        let found = found.trim();
        if found == Network::Devnet.name() {
            return Ok(());
        }
        let sentence =
            format!("--state {shown} belongs to {found}, and a demo runs on devnet; use another directory");
        return Err(Misconfigured::new(sentence).into());
    }
    match std::fs::read_dir(root) {
        Ok(mut entries) => match entries.next() {
            Some(_) => {
                let sentence =
                    format!("--state {shown} is not empty and no demo's; use a new or empty directory");
                Err(Misconfigured::new(sentence).into())
            }
            None => Ok(()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Misconfigured::new(format!("--state {shown} cannot be used: {error}")).into()),
    }
}

fn lock(place: &Place) -> anyhow::Result<File> {
    let path = place.of(LOCK);
    let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let shown = place.root().display();
            Err(Misconfigured::new(format!("another demo runs in {shown}; stop it or use another --state"))
                .into())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

/// 32 random bytes in hex.
fn random_hex() -> String {
    cdk::nuts::SecretKey::generate().to_secret_hex()
}
