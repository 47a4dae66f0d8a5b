//! Files that are there whole or not at all, also when the power goes.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Mode of a file that only its owner reads.
const SECRET: u32 = 0o600;

/// Writes a file in the place of another. `mode` says who may read it (as 0o640), less what the umask takes away.
///
/// # Errors
/// I/O errors with the path; what was there before is then still there.
pub fn write_whole(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || -> Result<()> {
        let partial = write_partial(path, content, mode)?;
        std::fs::rename(partial, path)?;
        // The name is on disk with its folder.
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(Ok(()), sync)
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// Writes a new file that only its owner can read (mode 0600).
///
/// # Errors
/// I/O errors with their path; a file that exists is never replaced.
pub fn write_secret(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let write = || -> Result<()> {
        let partial = write_partial(path, content, SECRET)?;
        let linked = std::fs::hard_link(&partial, path);
        let removed = std::fs::remove_file(&partial);
        linked.and(removed)
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// Writes a file that only its owner can read (mode 0600) in the place of another.
///
/// # Errors
/// I/O errors with the path; what was there before is then still there.
pub fn replace_secret(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    write_whole(path, content, SECRET)
}

/// The content beside its place, on disk.
fn write_partial(path: &Path, content: &[u8], mode: u32) -> Result<PathBuf> {
    let partial = path.with_extension("partial");
    // One that was left half done may be readable by more people.
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
    file.write_all(content).and_then(|()| file.sync_all()).inspect_err(|_| {
        // A full disk is not made fuller.
        let _ = std::fs::remove_file(&partial);
    })?;
    Ok(partial)
}

fn sync(folder: &Path) -> Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_is_private_and_never_replaced_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        write_secret(&path, b"first").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(write_secret(&path, b"second").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        replace_secret(&path, b"third").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"third");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_left_half_done_is_neither_kept_nor_shown_to_more_people() {
        let dir = tempfile::tempdir().unwrap();
        let (path, partial) = (dir.path().join("notes.json"), dir.path().join("notes.partial"));
        std::fs::write(&partial, "half of a longer text").unwrap();
        std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o644)).unwrap();
        write_whole(&path, b"whole", 0o600).unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"whole".to_vec(), 0o600));
        // In the way for good.
        std::fs::create_dir(&partial).unwrap();
        let error = write_whole(&path, b"other", 0o600).unwrap_err();
        assert!(format!("{error:#}").contains("notes.json"), "{error:#}");
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }
}
