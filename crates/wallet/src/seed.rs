//! Telling seeds apart without showing them.

use bip39::Mnemonic;
use bitcoin::bip32::Xpriv;
use bitcoin::secp256k1::Secp256k1;

/// Words that are no BIP39 seed. The words themselves are never in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are not the words of a BIP39 seed; check their order and spelling")]
pub struct NotASeed;

/// The fingerprint of the seed with these words: the master key's of BIP 32, eight hex digits. It
/// names a seed and tells nothing about it.
///
/// # Errors
/// [`NotASeed`].
pub fn fingerprint(words: &str) -> Result<String, NotASeed> {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let seed = Mnemonic::parse(words).map_err(|_| NotASeed)?.to_seed("");
    let master = Xpriv::new_master(bitcoin::Network::Bitcoin, &seed).map_err(|_| NotASeed)?;
    Ok(master.fingerprint(&Secp256k1::new()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_that_of_bip32_and_a_wrong_word_is_not_repeated() {
        // BIP 39's first test vector, whose master key other wallets show as 73c5da0a.
        let words = ["abandon"; 11].join(" ") + " about";
        assert_eq!(fingerprint(&words).unwrap(), "73c5da0a");
        assert_eq!(fingerprint(&format!("  {}\n", words.to_uppercase())).unwrap(), "73c5da0a");
        let wrong = fingerprint(&words.replace("about", "secretword")).unwrap_err();
        assert!(!wrong.to_string().contains("secretword"));
    }
}
