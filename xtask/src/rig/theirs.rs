//! The reference implementation's programs, with settings for one run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::ours::PAYS_NOBODY;
use super::{Chain, Launch, Process, Rig, free_port, wait_for_port};

/// The authority key that the reference implementation's examples use.
pub const AUTHORITY: &str = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";
/// Its secret half, which is as public.
const AUTHORITY_SECRET: &str = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";
const PATIENCE: Duration = Duration::from_secs(30);
/// It closes a channel that sends far more shares than it expects between two blocks: it shall expect any
/// number.
const ENDLESS: f64 = 1e6;
/// Their default log costs a fourth of their speed: measured is the better figure.
const QUIET: &[(&str, &str)] = &[("RUST_LOG", "warn")];

/// pool_sv2, taking miners.
pub struct ReferencePool {
    /// The program.
    pub process: Process,
    /// Where Sv2 miners connect.
    pub port: u16,
}

impl ReferencePool {
    /// Starts it. It acknowledges shares in batches of `share_batch_size`.
    pub fn start(
        rig: &Rig,
        chain: &Chain,
        program: &Path,
        name: &str,
        share_batch_size: u32,
        core: Option<usize>,
    ) -> Result<Self> {
        let port = free_port()?;
        let config = rig.disk(name)?.join("pool.toml");
        let text = format!(
            "authority_public_key = \"{AUTHORITY}\"\nauthority_secret_key = \"{AUTHORITY_SECRET}\"\n\
             cert_validity_sec = 86400\nlisten_address = \"127.0.0.1:{port}\"\n\
             coinbase_reward_script = \"{PAYS_NOBODY}\"\nserver_id = 1\npool_signature = \"bench\"\n\
             shares_per_minute = {ENDLESS:?}\nshare_batch_size = {share_batch_size}\n\
             [template_provider_type.BitcoinCoreIpc]\nversion = 31\nnetwork = \"{network}\"\n\
             data_dir = {node:?}\nfee_threshold = 100\nmin_interval = 5\n",
            network = chain.network().core_name(),
            node = chain.folder(),
        );
        fs::write(&config, text).with_context(|| format!("cannot write the settings of {name}"))?;
        let arguments = vec!["--config".into(), config.into()];
        let launch = Launch { name, program, arguments, environment: QUIET, core, result: false };
        let mut pool = Self { process: rig.start(launch)?, port };
        wait_for_port(&mut pool.process, port, PATIENCE)?;
        Ok(pool)
    }
}

/// translator_sv2, taking Sv1 miners.
pub struct Translator {
    /// The program.
    pub process: Process,
    /// Where Sv1 miners connect.
    pub port: u16,
}

impl Translator {
    /// Starts it before an Sv2 pool on loopback. `hash_rate` is what it tells the pool of each miner.
    pub fn start(
        rig: &Rig,
        program: &Path,
        (pool, authority): (u16, &str),
        hash_rate: f64,
        core: Option<usize>,
    ) -> Result<Self> {
        let name = "translator";
        let port = free_port()?;
        let config = rig.disk(name)?.join("translator.toml");
        let text = format!(
            "downstream_address = \"127.0.0.1\"\ndownstream_port = {port}\n\
             max_supported_version = 2\nmin_supported_version = 2\ndownstream_extranonce2_size = 4\n\
             verify_payout = false\naggregate_channels = false\nsupported_extensions = []\n\
             [downstream_difficulty_config]\nmin_individual_miner_hashrate = {hash_rate:?}\n\
             shares_per_minute = 6.0\nenable_vardiff = false\njob_keepalive_interval_secs = 60\n\
             [[upstreams]]\naddress = \"127.0.0.1\"\nport = {pool}\nauthority_pubkey = \"{authority}\"\n\
             user_identity = \"interop\"\n",
        );
        fs::write(&config, text).with_context(|| format!("cannot write the settings of {name}"))?;
        let arguments = vec!["--config".into(), config.into()];
        let launch = Launch { name, program, arguments, environment: QUIET, core, result: false };
        let mut translator = Self { process: rig.start(launch)?, port };
        wait_for_port(&mut translator.process, port, PATIENCE)?;
        Ok(translator)
    }
}
