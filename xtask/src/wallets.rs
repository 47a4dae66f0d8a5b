//! Cashu wallets that were not written here, for the tests: cashu-ts, which most web wallets stand on, and
//! the library with which they read animated QR codes.
//!
//! npm installs them as `interop/cashu-ts/package-lock.json` pins them, into the cache; nothing of them
//! enters the checkout, and none of their install scripts is run.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build_log::BuildLog;
use crate::packages::{self, Needs};
use crate::terminal::say;
use crate::{cache, setup};

const HELP: &str = "\
cargo xtask wallets

Installs the wallet that the mint's tests run beside cdk's own, and prints its folder: what the tests
want in POOLBOX_CASHU_TS.
";

const PACKAGE: &str = include_str!("../../interop/cashu-ts/package.json");
const LOCK: &str = include_str!("../../interop/cashu-ts/package-lock.json");
const WALLET: &str = include_str!("../../interop/cashu-ts/wallet.mjs");

/// Runs the command.
pub fn run(arguments: &[OsString]) -> Result<()> {
    if setup::only_help(arguments, "wallets")? {
        print!("{HELP}");
        return Ok(());
    }
    packages::install(Needs { crates: false, node: false, tests: true })?;
    println!("{}", install()?.display());
    Ok(())
}

/// The folder with the wallet, installed if it was not yet. Needs npm.
pub fn install() -> Result<PathBuf> {
    let cache = cache::folder()?.join("wallets");
    let folder = cache.join(format!("cashu-ts-{}", cache::short_hash(LOCK)));
    let _lock = cache::lock(&cache.join(".lock"), "another installation of wallets is under way")?;
    if !folder.is_dir() {
        say("installing cashu-ts with npm, once for this machine: a wallet for the mint's tests.");
        let partial = folder.with_extension("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
        write(&partial.join("package.json"), PACKAGE)?;
        write(&partial.join("package-lock.json"), LOCK)?;
        let mut log = BuildLog::create(cache.join("cashu-ts.log"), "cashu-ts")?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&partial);
        log.record(npm, |_| {})?;
        fs::rename(&partial, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    write(&folder.join("wallet.mjs"), WALLET)?;
    Ok(folder)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_pinned_by_its_hash_and_by_no_place_to_load_it_from() {
        let packages = LOCK.matches("\"node_modules/").count();
        assert!(packages > 2);
        assert_eq!(LOCK.matches("\"integrity\": \"sha512-").count(), packages);
        assert!(!LOCK.contains("\"resolved\""));
    }
}
