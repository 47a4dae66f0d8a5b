//! A process's data directory: private, and of one network for ever.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
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

#[cfg(test)]
mod tests {
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
}
