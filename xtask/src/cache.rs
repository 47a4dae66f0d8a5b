//! The cache outside the checkout: what is dear to make and the same for every checkout.
//!
//! `$POOLBOX_CACHE`, else `$XDG_CACHE_HOME/poolbox`, else `~/.cache/poolbox`. May be deleted at any time.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::failure::usage;
use crate::terminal::say;

/// Held until dropped; the system frees it when this process dies, however it dies.
#[must_use = "the lock ends when this is dropped"]
pub struct Lock {
    _file: File,
}

/// The cache's folder; not made yet.
pub fn folder() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = choose(set("POOLBOX_CACHE"), set("XDG_CACHE_HOME"), set("HOME"))
        .ok_or_else(|| usage("there is no place for the cache: set POOLBOX_CACHE to a directory."))?;
    std::path::absolute(&folder).with_context(|| format!("{} cannot be made absolute", folder.display()))
}

fn choose(poolbox: Option<OsString>, xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    if let Some(folder) = poolbox {
        return Some(folder.into());
    }
    // The XDG specification says that a relative path is to be ignored.
    let base = xdg.map(PathBuf::from).filter(|folder| folder.is_absolute());
    Some(base.or_else(|| Some(PathBuf::from(home?).join(".cache")))?.join("poolbox"))
}

/// Waits until nobody else holds this lock, saying so when that takes a while.
pub fn lock(path: &Path, whom_we_wait_for: &str) -> Result<Lock> {
    let failed = || format!("cannot lock {}; POOLBOX_CACHE names another place", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make {}; POOLBOX_CACHE names another place", folder.display()))?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).with_context(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say(&format!("{whom_we_wait_for}; waiting for it to end."));
            file.lock().with_context(failed)?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
    }
    Ok(Lock { _file: file })
}

/// A short name for some text that differs whenever the text does: 64-bit FNV-1a. Unlike the standard
/// library's hasher it stays the same from one Rust release to the next.
pub fn short_hash(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(poolbox: Option<&str>, xdg: Option<&str>, home: Option<&str>) -> Option<PathBuf> {
        choose(poolbox.map(Into::into), xdg.map(Into::into), home.map(Into::into))
    }

    #[test]
    fn the_nearest_setting_decides_where_the_cache_is() {
        assert_eq!(chosen(Some("/p"), Some("/x"), Some("/h")), Some("/p".into()));
        assert_eq!(chosen(None, Some("/x"), Some("/h")), Some("/x/poolbox".into()));
        assert_eq!(chosen(None, Some("relative"), Some("/h")), Some("/h/.cache/poolbox".into()));
        assert_eq!(chosen(None, None, Some("/h")), Some("/h/.cache/poolbox".into()));
        assert_eq!(chosen(None, None, None), None);
    }

    #[test]
    fn the_short_hash_is_fnv_1a() {
        // From the algorithm's published test vectors.
        assert_eq!(short_hash(""), "cbf29ce484222325");
        assert_eq!(short_hash("foobar"), "85944171f73967e8");
    }

    #[test]
    fn a_lock_lets_nobody_in_until_it_is_dropped() {
        let folder = std::env::temp_dir().join(format!("xtask-lock-{}", std::process::id()));
        let path = folder.join("lock");
        let held = lock(&path, "nobody").unwrap();
        let other = File::open(&path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        // Waits, because a process that another test is just starting may hold it for a moment.
        other.lock().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }
}
