//! Who the coinbase pays: the mint's wallet, known here by its public descriptor only.

use std::path::Path;
use std::str::FromStr;

use miniscript::{Descriptor, DescriptorPublicKey};
use poolbox_accounting::Network;
use poolbox_service::Misconfigured;
use poolbox_stratum::PayoutOutput;

/// The address of the descriptor that coinbases pay. One and the same for every block, so that a
/// person can check it.
const COINBASE_INDEX: u32 = 0;

/// Reads the descriptor that the mint wrote and derives the output that every coinbase pays.
///
/// # Errors
/// [`Misconfigured`] when it is not there or holds private keys or keys of another network.
pub fn coinbase_output(file: &Path, network: Network) -> Result<PayoutOutput, Misconfigured> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Misconfigured::new(format!(
            "coinbase_descriptor_file {shown} cannot be read ({error}); `poolbox-mint init` writes it"
        ))
    })?;
    let wrong = |reason: String| {
        Misconfigured::new(format!(
            "coinbase_descriptor_file {shown} is no public descriptor of {network} ({reason}); \
             use the one that `poolbox-mint init` wrote"
        ))
    };
    let text = text.trim();
    let mainnet = network == Network::Mainnet;
    if text.contains("xpub") != mainnet {
        return Err(wrong("its keys are of another network".into()));
    }
    let descriptor =
        Descriptor::<DescriptorPublicKey>::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let definite =
        descriptor.at_derivation_index(COINBASE_INDEX).map_err(|error| wrong(error.to_string()))?;
    Ok(PayoutOutput::new(definite.script_pubkey()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // BIP 84's test vector: the account key of "abandon … about".
    const BIP84: &str = "wpkh([73c5da0a/84'/0'/0']xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZXYVUhLv1VMrjPC7PW6V/0/*)";

    fn read(text: &str, network: Network) -> Result<PayoutOutput, Misconfigured> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        coinbase_output(file.path(), network)
    }

    #[test]
    fn the_first_address_is_paid() {
        let output = read(BIP84, Network::Mainnet).unwrap();
        let address =
            bitcoin::Address::from_script(output.script().unwrap(), bitcoin::Network::Bitcoin).unwrap();
        assert_eq!(address.to_string(), "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu");
    }

    #[test]
    fn keys_of_another_network_and_private_keys_are_refused() {
        assert!(read(BIP84, Network::Devnet).unwrap_err().to_string().contains("another network"));
        assert!(read("wpkh(nonsense)", Network::Devnet).is_err());
        assert!(
            coinbase_output(Path::new("/nowhere"), Network::Devnet).unwrap_err().to_string().contains("init")
        );
    }
}
