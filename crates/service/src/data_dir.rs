//! A process's data directory: private, and of one network for ever.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use poolbox_accounting::Network;

use crate::Misconfigured;

/// File that names the network of a data directory.
const STAMP: &str = "network";

/// Makes `dir` (mode 0750) if need be and stamps it with `network`; one stamped with another
/// network is refused and left as it is.
///
/// # Errors
/// [`Misconfigured`] for another network's directory or one that cannot be made, other I/O errors
/// with their path.
pub fn claim_data_dir(dir: &Path, network: Network) -> anyhow::Result<()> {
    let stamp = dir.join(STAMP);
    match std::fs::read_to_string(&stamp) {
        Ok(found) if found.trim() == network.name() => return Ok(()),
        Ok(found) => {
            let found = found.trim();
            let dir = dir.display();
            return Err(Misconfigured::new(format!(
                "data directory {dir} belongs to {found}, not {network}; set network = \"{found}\" or use another directory"
            ))
            .into());
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("read {}", stamp.display())),
    }
    let made = DirBuilder::new().recursive(true).mode(0o750).create(dir);
    made.map_err(|error| {
        let dir = dir.display();
        Misconfigured::new(format!("data directory {dir} cannot be made: {error}; use another directory"))
    })?;
    std::fs::write(&stamp, format!("{network}\n")).with_context(|| format!("write {}", stamp.display()))
}

/// Writes a new file that only its owner can read (mode 0600), complete or not at all.
///
/// # Errors
/// I/O errors with their path; a file that exists is never replaced.
pub fn write_secret(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::hard_link(&partial, path)
    };
    let written = write();
    let removed = std::fs::remove_file(&partial);
    written.and(removed).with_context(|| format!("write {}", path.display()))
}

/// Writes a file that only its owner can read in the place of another, complete or not at all.
///
/// # Errors
/// I/O errors with their path.
pub fn replace_secret(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    if fresh.exists() {
        std::fs::remove_file(&fresh).with_context(|| format!("remove {}", fresh.display()))?;
    }
    write_secret(&fresh, content)?;
    std::fs::rename(&fresh, path).with_context(|| format!("replace {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_of_another_network_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("mint");
        claim_data_dir(&data, Network::Devnet).unwrap();
        claim_data_dir(&data, Network::Devnet).unwrap();
        let error = claim_data_dir(&data, Network::Mainnet).unwrap_err();
        assert!(
            error.downcast_ref::<Misconfigured>().is_some_and(|e| e.to_string().contains("devnet")),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(data.join(STAMP)).unwrap(), "devnet\n");
    }

    #[test]
    fn a_secret_is_private_and_never_replaced_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        write_secret(&path, b"first").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_secret(&path, b"second").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        replace_secret(&path, b"third").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"third");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
