//! Our own pool, with settings for one run.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Chain, Launch, Process, Rig, free_port, wait, wait_for_port};

/// Pays to a public key that anybody can sign for: the curve's generator, whose secret is 1.
pub const PAYS_NOBODY: &str = "wpkh(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)";
const PATIENCE: Duration = Duration::from_secs(30);

/// What differs from run to run.
#[derive(Clone, Copy)]
pub struct OurSettings<'a> {
    /// poolbox-pool.
    pub program: &'a Path,
    /// Names its log and its folder.
    pub name: &'a str,
    /// Whether nearly every hash is a share: for load on regtest.
    pub free_shares: bool,
    /// The only core it may run on.
    pub core: Option<usize>,
}

/// poolbox-pool, taking miners.
pub struct OurPool {
    /// The program.
    pub process: Process,
    /// Where Sv1 miners connect.
    pub stratum_v1: u16,
    /// Where Sv2 miners connect.
    pub stratum_v2: u16,
    /// Its authority key, base58check.
    pub authority: String,
    /// Its local API.
    pub socket: PathBuf,
}

impl OurPool {
    /// Starts it and waits until it has work for miners.
    pub fn start(rig: &Rig, chain: &Chain, settings: OurSettings<'_>) -> Result<Self> {
        let OurSettings { program, name, free_shares, core } = settings;
        let data_dir = rig.disk(name)?;
        let socket = rig.near(name)?.join("pool.sock");
        let descriptor = data_dir.join("coinbase.descriptor");
        fs::write(&descriptor, PAYS_NOBODY).context("cannot write the descriptor")?;
        let (stratum_v1, stratum_v2) = (free_port()?, free_port()?);
        let config = data_dir.join("pool.toml");
        let mut text = format!(
            "network = \"{network}\"\ndata_dir = {data_dir:?}\ncoinbase_descriptor_file = {descriptor:?}\n\
             api_socket = {socket:?}\nstale_after_s = 3600\n\
             [node]\nipc_socket = {node:?}\n\
             [stratum_v1]\nlisten = \"127.0.0.1:{stratum_v1}\"\n\
             [stratum_v2]\nlisten = \"127.0.0.1:{stratum_v2}\"\n\
             [limits]\nshares_per_second = 0\nconnections = 0\nconnections_per_address = 0\n",
            network = chain.network().name(),
            node = chain.socket(),
        );
        if free_shares {
            text.push_str("[difficulty]\nfree_shares = true\n");
        }
        fs::write(&config, text).context("cannot write pool.toml")?;
        let process = rig.start(Launch {
            name,
            program,
            arguments: vec!["--config".into(), config.into()],
            environment: &[("POOLBOX_LOG", "warn")],
            core,
            result: false,
        })?;
        let authority = data_dir.join("sv2_authority.pub");
        let mut pool = Self { process, stratum_v1, stratum_v2, authority: String::new(), socket };
        wait_for_port(&mut pool.process, stratum_v1, PATIENCE)?;
        wait_for_port(&mut pool.process, stratum_v2, PATIENCE)?;
        wait("our pool to have work", PATIENCE, || {
            pool.process.must_run()?;
            // Its socket may come after its ports.
            let status = pool.status().ok();
            Ok(status.filter(|status| status["source"]["height"].is_u64()).map(drop))
        })?;
        let key =
            fs::read_to_string(&authority).with_context(|| format!("cannot read {}", authority.display()))?;
        pool.authority = key.trim().to_owned();
        Ok(pool)
    }

    /// What it says of itself.
    pub fn status(&self) -> Result<Value> {
        get(&self.socket, "/status").context("our pool tells no status")
    }
}

/// One answer of a local API: JSON over HTTP over a unix socket.
fn get(socket: &Path, path: &str) -> Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("that was no HTTP") };
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{}", head.lines().next().unwrap_or_default());
    }
    serde_json::from_str(body).context("the answer is no JSON")
}
