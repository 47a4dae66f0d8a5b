//! Programs that were not written here: what the pool is measured against and must work together with.
//!
//! They come from crates.io, are built as their users build them, and live in the cache; nothing of them
//! enters the checkout.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::build_log::BuildLog;
use crate::packages::{self, Needs};
use crate::terminal::{LiveLine, say, spoken};
use crate::workspace::cargo;
use crate::{cache, setup};

const HELP: &str = "\
cargo xtask peers

Installs the programs of others that benches and interoperability tests run, and prints their paths.
They are built from crates.io, which takes about ten minutes on two cores, and kept in the cache for
every checkout of this machine.
";

/// A program of another project, pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its crate, and the program in it.
    pub name: &'static str,
    /// The release that is built.
    pub version: &'static str,
    /// What it is here for.
    pub role: &'static str,
}

/// The reference implementation's pool.
pub const POOL: Peer =
    Peer { name: "pool_sv2", version: "0.7.0", role: "the pool that ours is measured against" };
/// Its translator, which lets Sv1 miners mine at an Sv2 pool.
pub const TRANSLATOR: Peer =
    Peer { name: "translator_sv2", version: "0.6.0", role: "Sv1 miners at an Sv2 pool, ours or theirs" };

/// All of them.
pub const PEERS: [Peer; 2] = [POOL, TRANSLATOR];

/// What would make the build another one than its users have.
const OUR_FLAGS: [&str; 5] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER"];

/// Runs the command.
pub fn run(arguments: &[OsString]) -> Result<()> {
    if setup::only_help(arguments, "peers")? {
        print!("{HELP}");
        return Ok(());
    }
    for peer in PEERS {
        println!("{}", peer.install()?.display());
    }
    Ok(())
}

impl Peer {
    /// The program, installed if it was not yet. Both together take about ten minutes on two cores.
    pub fn install(self) -> Result<PathBuf> {
        let peers = cache::folder()?.join("peers");
        if let Some(program) = self.installed(&peers) {
            return Ok(program);
        }
        let _lock = cache::lock(&peers.join(".lock"), "another installation of peers is under way")?;
        if let Some(program) = self.installed(&peers) {
            return Ok(program);
        }
        packages::install(Needs { crates: true, node: false, tests: false })?;
        let Self { name, version, role } = self;
        say(&format!("installing {name} {version} from crates.io, once for this machine: {role}."));
        let mut log = BuildLog::create(peers.join(format!("{name}.log")), name)?;
        let mut install = cargo(["install", "--locked"]);
        install.args(["--version", &format!("={version}"), name]).arg("--root").arg(self.root(&peers));
        install.env("CARGO_TARGET_DIR", peers.join("target"));
        // Away from the checkout, whose .cargo/config.toml is not meant for others.
        install.current_dir(&peers);
        for flag in OUR_FLAGS {
            install.env_remove(flag);
        }
        let (start, mut line, mut compiled) = (Instant::now(), LiveLine::new(), 0);
        log.record(install, |output| {
            compiled += u32::from(output.is_some_and(|line| line.trim_start().starts_with("Compiling ")));
            line.show(&format!("{name}: {compiled} crates compiled, {}", spoken(start.elapsed())));
        })?;
        drop(line);
        say(&format!("{name} {version} is installed, in {}.", spoken(start.elapsed())));
        self.installed(&peers).with_context(|| format!("{name} was installed without a program {name}"))
    }

    fn installed(self, peers: &Path) -> Option<PathBuf> {
        // cargo moves the program there when it is whole.
        Some(self.root(peers).join("bin").join(self.name)).filter(|program| program.is_file())
    }

    fn root(self, peers: &Path) -> PathBuf {
        peers.join(format!("{}-{}", self.name, self.version))
    }
}
