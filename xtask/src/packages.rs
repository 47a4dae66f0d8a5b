//! The programs and libraries of the system that a build needs, and their installation where they are
//! missing: with apt-get on Debian and Ubuntu, elsewhere by telling what to install.

use std::io::IsTerminal;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::cache;
use crate::failure::{self, usage};
use crate::terminal::{as_stderr, say};

/// What is to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The workspace's crates.
    pub crates: bool,
    /// bitcoin-node.
    pub node: bool,
    /// Their tests, which run against programs of others.
    pub tests: bool,
}

/// A package of Debian and Ubuntu.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: &'static str,
    /// How one sees that it is there, however it came there.
    shows: Shows,
    why: &'static str,
    /// What it is needed for.
    serves: Needs,
}

#[derive(Debug, PartialEq, Eq)]
enum Shows {
    /// A program on PATH.
    Program(&'static str),
    /// A file in the include directory beside a directory of PATH.
    Header(&'static str),
}

const NODE: Needs = Needs { node: true, crates: false, tests: false };
const CRATES: Needs = Needs { node: false, crates: true, tests: false };
const NODE_AND_CRATES: Needs = Needs { node: true, crates: true, tests: false };
const NOTHING: Needs = Needs { node: false, crates: false, tests: false };
const TESTS: Needs = Needs { node: false, crates: false, tests: true };

/// All of them.
const PACKAGES: [Package; 13] = [
    Package { name: "g++", shows: Shows::Program("c++"), why: "compiles bitcoin-node", serves: NODE },
    Package { name: "cmake", shows: Shows::Program("cmake"), why: "prepares the node's build", serves: NODE },
    Package {
        name: "ninja-build",
        shows: Shows::Program("ninja"),
        why: "runs the node's build",
        serves: NODE,
    },
    Package {
        name: "pkg-config",
        shows: Shows::Program("pkg-config"),
        why: "finds the libraries for the node's build",
        serves: NODE,
    },
    Package {
        name: "libboost-dev",
        shows: Shows::Header("boost/version.hpp"),
        why: "containers that bitcoin-node uses",
        serves: NODE,
    },
    Package {
        name: "capnproto",
        shows: Shows::Program("capnp"),
        why: "compiles the messages between pool and node",
        serves: NODE_AND_CRATES,
    },
    Package {
        name: "libcapnp-dev",
        shows: Shows::Header("capnp/c++.capnp"),
        why: "what those messages are built on",
        serves: NODE_AND_CRATES,
    },
    Package {
        name: "protobuf-compiler",
        shows: Shows::Program("protoc"),
        why: "compiles the messages of the mint's signatory",
        serves: CRATES,
    },
    Package {
        name: "redis-server",
        shows: Shows::Program("redis-server"),
        why: "the quote queue between machines, in tests",
        serves: TESTS,
    },
    Package {
        name: "nodejs",
        shows: Shows::Program("node"),
        why: "runs the wallet cashu-ts in tests",
        serves: TESTS,
    },
    Package { name: "npm", shows: Shows::Program("npm"), why: "brings cashu-ts", serves: TESTS },
    Package {
        name: "chromium",
        shows: Shows::Program("chromium"),
        why: "the browser of the dashboard's tests",
        serves: TESTS,
    },
    Package {
        name: "chromium-driver",
        shows: Shows::Program("chromedriver"),
        why: "drives that browser",
        serves: TESTS,
    },
];

impl Package {
    fn needed(&self, needs: Needs) -> bool {
        let Needs { crates, node, tests } = self.serves;
        (needs.crates && crates) || (needs.node && node) || (needs.tests && tests)
    }

    fn present(&self) -> bool {
        match self.shows {
            Shows::Program(name) => on_path(name).is_some(),
            Shows::Header(name) => path_directories()
                .iter()
                .filter_map(|bin| bin.parent())
                .any(|prefix| prefix.join("include").join(name).is_file()),
        }
    }
}

/// What makes and reads the partitions of the appliance's disk.
const DISKS: [Package; 4] = [
    Package {
        name: "systemd-repart",
        shows: Shows::Program("systemd-repart"),
        why: "makes the partitions of the appliance's disk",
        serves: NOTHING,
    },
    Package { name: "fdisk", shows: Shows::Program("sfdisk"), why: "reads them", serves: NOTHING },
    Package {
        name: "dosfstools",
        shows: Shows::Program("mkfs.vfat"),
        why: "formats the boot partition",
        serves: NOTHING,
    },
    Package {
        name: "e2fsprogs",
        shows: Shows::Program("mkfs.ext4"),
        why: "formats the data partition",
        serves: NOTHING,
    },
];

/// Installs what is missing, after saying so. Without anything missing, nothing is run.
pub fn install(needs: Needs) -> Result<()> {
    install_missing(&|| {
        PACKAGES.iter().filter(|package| package.needed(needs) && !package.present()).collect()
    })
}

/// The same for `cargo xtask box`'s disks.
pub fn install_for_disks() -> Result<()> {
    install_missing(&|| DISKS.iter().filter(|package| !package.present()).collect())
}

fn install_missing(missing: &dyn Fn() -> Vec<&'static Package>) -> Result<()> {
    let lacking = missing();
    if lacking.is_empty() {
        return Ok(());
    }
    let root = root_for(&lacking)?;
    let _lock = cache::lock(&cache::folder()?.join("install.lock"), "another installation is under way")?;
    // Whoever held the lock may have brought some of them.
    let lacking = missing();
    if lacking.is_empty() {
        return Ok(());
    }
    say("the build needs packages that this machine lacks; installing them with apt-get:");
    for package in &lacking {
        say(&format!("  {:18} {}", package.name, package.why));
    }
    apt_get(&root, &["update"])?;
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(lacking.iter().map(|package| package.name));
    apt_get(&root, &install)
}

impl Shows {
    fn name(&self) -> &'static str {
        match self {
            Self::Program(name) | Self::Header(name) => name,
        }
    }
}

/// The words before apt-get that make it run as root: none, or sudo. Where there is no way to install,
/// the error says what to install.
fn root_for(lacking: &[&Package]) -> Result<Vec<&'static str>> {
    let names: Vec<&str> = lacking.iter().map(|package| package.name).collect();
    let names = names.join(" ");
    if on_path("apt-get").is_none() {
        let shown: Vec<&str> = lacking.iter().map(|package| package.shows.name()).collect();
        return Err(usage(format!(
            "this machine lacks {}; install what Debian calls {names} and run the command again.",
            shown.join(", "),
        )));
    }
    let me = std::fs::metadata("/proc/self").context("cannot read /proc/self")?.uid();
    if me == 0 {
        return Ok(vec![]);
    }
    if on_path("sudo").is_some() {
        let mut asks_nothing = Command::new("sudo");
        asks_nothing.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if asks_nothing.status().is_ok_and(|status| status.success()) {
            return Ok(vec!["sudo", "-n"]);
        }
        if std::io::stdin().is_terminal() {
            return Ok(vec!["sudo"]);
        }
    }
    Err(usage(format!(
        "packages are missing and only root may install them: run `apt-get install -y \
         --no-install-recommends {names}` as root, then the command again.",
    )))
}

fn apt_get(root: &[&str], arguments: &[&str]) -> Result<()> {
    // `env` because sudo passes no environment on. A machine just started often installs updates by
    // itself: wait for them.
    let words = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"];
    let mut words = root.iter().chain(&words).chain(arguments);
    let mut command = Command::new(words.next().context("no command")?);
    command.args(words).stdin(if root == ["sudo"] { Stdio::inherit() } else { Stdio::null() });
    failure::run(command.stdout(as_stderr()?))
        .context("the packages could not be installed; install them yourself and run the command again")
}

/// The first executable of this name on PATH.
pub fn on_path(program: &str) -> Option<PathBuf> {
    path_directories().into_iter().map(|directory| directory.join(program)).find(|path| executable(path))
}

fn path_directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect()
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(needs: Needs) -> Vec<&'static str> {
        PACKAGES.iter().filter(|package| package.needed(needs)).map(|package| package.name).collect()
    }

    #[test]
    fn the_crates_alone_need_only_the_message_compilers() {
        assert_eq!(names(CRATES), ["capnproto", "libcapnp-dev", "protobuf-compiler"]);
    }

    #[test]
    fn the_node_alone_needs_no_protoc() {
        assert!(names(NODE).contains(&"capnproto"));
        assert!(!names(NODE).contains(&"protobuf-compiler"));
        assert!(!names(NODE).contains(&"redis-server"));
    }

    #[test]
    fn programs_are_looked_for_on_path() {
        assert!(on_path("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(on_path("no-such-program-anywhere"), None);
        // A directory of that name is no program.
        assert_eq!(on_path("."), None);
    }

    #[test]
    fn with_nothing_needed_nothing_is_installed() {
        install(Needs { crates: false, node: false, tests: false }).unwrap();
    }
}
