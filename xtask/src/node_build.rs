//! Builds bitcoin-node from the source that Cargo.lock pins, once for all checkouts of a machine.
//!
//! The result appears in the cache whole or not at all: everything is made in a folder beside it, which is
//! renamed at the end. One build at a time; whoever comes second waits and uses the first one's result.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::build_log::BuildLog;
use crate::cache;
use crate::failure::run;
use crate::node_version;
use crate::progress::{Steps, expected};
use crate::terminal::{self, LiveLine, say, spoken};
use crate::workspace::CoreSource;

/// Only what the box uses, optimised just enough: that makes the build short.
const CMAKE_FLAGS: [&str; 12] = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_CXX_FLAGS_RELEASE=-O1",
    "-DENABLE_IPC=ON",
    "-DENABLE_WALLET=OFF",
    "-DBUILD_TESTS=OFF",
    "-DBUILD_BENCH=OFF",
    "-DBUILD_TX=OFF",
    "-DBUILD_UTIL=OFF",
    "-DBUILD_FUZZ_BINARY=OFF",
    "-DENABLE_EXTERNAL_SIGNER=OFF",
    "-DINSTALL_MAN=OFF",
    "-DWITH_EMBEDDED_ASMAP=OFF",
];

const PROGRAMS: [&str; 2] = ["bitcoin-node", "bitcoin-cli"];

/// Builds under way have names that start so, followed by the process that makes them.
const UNDER_WAY: &str = ".building-";

/// A node to be built, or built before, and its place in the cache.
pub struct Recipe {
    source: PathBuf,
    core_version: String,
    nodes: PathBuf,
    home: PathBuf,
}

impl Recipe {
    /// The recipe for this source, with its place in this cache.
    pub fn new(source: &CoreSource, cache: &Path) -> Result<Self> {
        let description = source.folder.join("CMakeLists.txt");
        let text = fs::read_to_string(&description)
            .with_context(|| format!("cannot read {}", description.display()))?;
        let core_version = core_version(&text)
            .with_context(|| format!("{} does not tell Core's version", description.display()))?;
        let nodes = cache.join("node");
        let home = nodes.join(key(&core_version, &source.pin, &CMAKE_FLAGS));
        Ok(Self { source: source.folder.clone(), core_version, nodes, home })
    }

    /// The node, where it was built before and still runs here.
    pub fn built(&self) -> Option<PathBuf> {
        let node = self.home.join("bin").join(PROGRAMS[0]);
        node_version::ask(&node).is_ok().then_some(node)
    }

    /// Builds the node, unless somebody else did meanwhile, and returns its path.
    pub fn build(&self) -> Result<PathBuf> {
        let _lock = cache::lock(&self.nodes.join(".lock"), "another build of bitcoin-node is under way")?;
        if let Some(node) = self.built() {
            return Ok(node);
        }
        self.remove_remains();
        let under_way = self.nodes.join(format!("{UNDER_WAY}{}", std::process::id()));
        let result = self.build_in(&under_way);
        self.remove_remains();
        result?;
        self.built().with_context(|| format!("{} was built but does not run", self.home.display()))
    }

    fn build_in(&self, under_way: &Path) -> Result<()> {
        let cores = terminal::cores();
        let length = expected(cores);
        say(&format!(
            "building bitcoin-node {} once for this machine: about {} on {cores} cores.",
            self.core_version,
            spoken(length),
        ));
        let tree = under_way.join("tree");
        let bin = under_way.join("node").join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
        let mut log = BuildLog::create(self.nodes.join("build.log"), "bitcoin-node")?;
        say(&format!("the output of the build is in {}", log.path().display()));

        let start = Instant::now();
        let mut line = LiveLine::new();
        let mut configure = Command::new("cmake");
        configure.arg("-S").arg(&self.source).arg("-B").arg(&tree).args(["-G", "Ninja"]).args(CMAKE_FLAGS);
        log.record(configure, |_| line.show("bitcoin-node: preparing the build"))?;
        let mut ninja = Command::new("ninja");
        ninja.arg("-C").arg(&tree).args(PROGRAMS).env("NINJA_STATUS", "[%f/%t] ");
        let mut steps = Steps::NONE;
        let ninja_start = Instant::now();
        log.record(ninja, |output| {
            steps = output.and_then(Steps::parse).unwrap_or(steps);
            let left = spoken(steps.left(ninja_start.elapsed(), length));
            line.show(&format!("bitcoin-node: {} %, about {left} left", steps.percent()));
        })?;
        drop(line);
        for program in PROGRAMS {
            run(Command::new("strip").arg("-o").arg(bin.join(program)).arg(tree.join("bin").join(program)))?;
        }
        if let Err(why) = node_version::ask(&bin.join(PROGRAMS[0])) {
            bail!("what was built {why}; the log is {}", log.path().display());
        }
        // One that no longer runs may lie there.
        if self.home.exists() {
            fs::remove_dir_all(&self.home)
                .with_context(|| format!("cannot remove {}", self.home.display()))?;
        }
        fs::rename(under_way.join("node"), &self.home)
            .with_context(|| format!("cannot rename to {}", self.home.display()))?;
        say(&format!("bitcoin-node {} is built, in {}.", self.core_version, spoken(start.elapsed())));
        Ok(())
    }

    /// Removes what builds leave, this one's and those of killed ones. Called with the lock held. What
    /// cannot be removed (a compiler of a killed build may still be writing) is left to the next time.
    fn remove_remains(&self) {
        let Ok(entries) = fs::read_dir(&self.nodes) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNDER_WAY) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// The folder's name: what it is, and a hash of everything that decides what comes out.
fn key(core_version: &str, pin: &str, flags: &[&str]) -> String {
    let inputs = format!("{pin} {} {}", std::env::consts::ARCH, flags.join(" "));
    format!("{core_version}-{}", &cache::short_hash(&inputs)[..8])
}

/// Core's version from its `CMakeLists.txt`, as in `31.99.0`.
fn core_version(cmake_lists: &str) -> Result<String> {
    let part = |name: &str| {
        let start = format!("set(CLIENT_VERSION_{name} ");
        cmake_lists.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix(')'))
    };
    let parts: Vec<&str> = ["MAJOR", "MINOR", "BUILD"].into_iter().filter_map(part).collect();
    ensure!(parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()), "no CLIENT_VERSION");
    Ok(parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_key_changes_with_source_and_flags_only() {
        let key_of = |pin, flags: &[&str]| key("31.99.0", pin, flags);
        let first = key_of("libbitcoinkernel-sys 0.4.1", &["-DA=ON"]);
        assert!(first.starts_with("31.99.0-") && first.len() == "31.99.0-".len() + 8, "{first}");
        assert_eq!(first, key_of("libbitcoinkernel-sys 0.4.1", &["-DA=ON"]));
        assert_ne!(first, key_of("libbitcoinkernel-sys 0.4.2", &["-DA=ON"]));
        assert_ne!(first, key_of("libbitcoinkernel-sys 0.4.1", &["-DA=OFF"]));
    }

    #[test]
    fn cores_version_is_read_from_its_cmake_lists() {
        let text =
            "set(CLIENT_VERSION_MAJOR 31)\nset(CLIENT_VERSION_MINOR 99)\nset(CLIENT_VERSION_BUILD 0)\n";
        assert_eq!(core_version(text).unwrap(), "31.99.0");
        assert!(core_version("set(CLIENT_VERSION_MAJOR 31)\n").is_err());
    }

    #[test]
    fn remains_of_a_killed_build_are_removed_and_finished_ones_stay() {
        let nodes = std::env::temp_dir().join(format!("xtask-nodes-{}", std::process::id()));
        let recipe = Recipe {
            source: "/nowhere".into(),
            core_version: "31.99.0".into(),
            home: nodes.join("31.99.0-00000000"),
            nodes: nodes.clone(),
        };
        fs::create_dir_all(nodes.join(".building-1/tree")).unwrap();
        fs::create_dir_all(nodes.join("31.0.0-11111111/bin")).unwrap();
        recipe.remove_remains();
        assert!(!nodes.join(".building-1").exists());
        assert!(nodes.join("31.0.0-11111111/bin").exists());
        fs::remove_dir_all(nodes).unwrap();
    }
}
