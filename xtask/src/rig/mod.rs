//! Real programs side by side, for benches and interoperability tests: a node, our pool, other people's
//! programs, each with a log file, all on loopback.
//!
//! Whatever happens to this process, a failure, Ctrl-C or a kill, its programs end and their folders go: a
//! `sh` that outlives it sees to that. Only after a failed check are the logs kept.

mod chain;
mod load;
mod ours;
mod process;
mod theirs;
mod warden;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use self::chain::{Chain, Network, NewBlock};
pub use self::load::{Load, LoadReport};
pub use self::ours::{OurPool, OurSettings};
pub use self::process::{Launch, Process, Usage};
pub use self::theirs::{AUTHORITY, ReferencePool, Translator};
use self::warden::Warden;
use crate::cache;

/// How often something is looked at that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The folders of one run, and the guard over its programs.
pub struct Rig {
    /// Short enough for unix sockets; the node lives here.
    near: PathBuf,
    /// On the disk that holds the cache: journal and logs.
    disk: PathBuf,
    warden: Arc<Warden>,
}

impl Rig {
    /// Makes the folders.
    pub fn new() -> Result<Self> {
        let id = std::process::id();
        let near = Path::new("/tmp").join(format!("pbx-{id}"));
        let disk = cache::folder()?.join("rig").join(id.to_string());
        for folder in [&near, &disk] {
            if folder.exists() {
                fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
            }
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let warden = Arc::new(Warden::start(&[&near, &disk])?);
        Ok(Self { near, disk, warden })
    }

    /// A new folder with a short path.
    pub fn near(&self, name: &str) -> Result<PathBuf> {
        folder(self.near.join(name))
    }

    /// A new folder on the cache's disk.
    pub fn disk(&self, name: &str) -> Result<PathBuf> {
        folder(self.disk.join(name))
    }

    /// Keeps logs and data when this run ends, and tells where.
    pub fn keep(&self) -> String {
        self.warden.keep();
        format!("the logs are in {}, the node's own in {}", self.disk.display(), self.near.display())
    }

    /// Starts a program.
    pub fn start(&self, launch: Launch<'_>) -> Result<Process> {
        Process::start(launch, &self.disk, Arc::clone(&self.warden))
    }
}

fn folder(path: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// A TCP port of loopback that nobody listens on right now.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("loopback has no free port")?;
    Ok(listener.local_addr().context("cannot read the port")?.port())
}

/// Waits until something is so.
pub fn wait<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().with_context(|| format!("while waiting for {what}"))? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", patience.as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until a program takes connections.
pub fn wait_for_port(process: &mut Process, port: u16, patience: Duration) -> Result<()> {
    let what = format!("{} to take connections", process.name());
    wait(&what, patience, || {
        process.must_run()?;
        Ok(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(drop))
    })
}
