//! Every key of the mint, from one seed, each purpose with a derivation of its own (BIP 85), so
//! that no two wallets or services ever share a key. The seed never leaves this file's types.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::Context;
use bip39::Mnemonic;
use bitcoin::Address;
use bitcoin::bip32::{ChildNumber, DerivationPath, Fingerprint, Xpriv, Xpub};
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256, sha512};
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use miniscript::{Descriptor, DescriptorPublicKey};
use poolbox_accounting::{Network, Owner};
use poolbox_service::{Misconfigured, write_secret};

use crate::seed::Renewal;

/// Words of a new seed: 128 bits.
const WORDS: usize = 12;
/// BIP 85: purpose of all derived entropy.
const BIP85: u32 = 83_696_968;
/// BIP 85: application "BIP39 mnemonic".
const MNEMONIC: u32 = 39;
/// BIP 85: application "HEX".
const HEX: u32 = 128_169;

/// What derived entropy is for. The numbers are BIP 85 indices: never reuse or renumber one.
#[derive(Clone, Copy)]
enum Purpose {
    /// Signs ecash: cdk's signatory.
    Signatory = 0,
    /// Locks the quotes of owners that hold no key.
    Owners = 1,
    /// Names quotes, so that their ids can be recomputed but not guessed.
    Quotes = 2,
    /// Seeds the wallets that the box has for owners without a key.
    Purses = 3,
    /// Makes the secrets with which owners claim.
    Claims = 4,
}

/// Letters of claim secrets: none that is taken for another.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const SECRET_LETTERS: usize = 20;

/// Indices of the child mnemonics. The treasury's wallet and the Lightning node derive the same keys
/// from the same words.
const TREASURY: u32 = 0;
const LIGHTNING: u32 = 1;

/// All keys of one mint. Debug output shows none of them.
#[derive(Clone)]
pub struct Keys {
    network: Network,
    signatory: [u8; 64],
    treasury: Mnemonic,
    lightning: Mnemonic,
    owners: [u8; 64],
    quotes: [u8; 64],
    purses: [u8; 64],
    claims: [u8; 64],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// Reads the seed words at `path`; makes them when there is no such file. A seed that was restored
    /// from its words alone signs with keys of its own (see [`crate::seed`]).
    ///
    /// # Errors
    /// [`Misconfigured`] when the file holds no valid seed, I/O errors with the path.
    pub fn load_or_create(path: &Path, network: Network) -> anyhow::Result<Self> {
        let words = match std::fs::read_to_string(path) {
            Ok(words) => words,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let words = Mnemonic::generate(WORDS).context("make a seed")?.to_string();
                write_secret(path, format!("{words}\n").as_bytes())?;
                tracing::info!(file = %path.display(), "new seed written; back it up");
                words
            }
            Err(error) => return Err(error).with_context(|| format!("read the seed at {}", path.display())),
        };
        let mut keys = Self::from_words(&words, network).map_err(|_| {
            // The library's reason could quote a word of the seed.
            let path = path.display();
            Misconfigured::new(format!("{path} holds no BIP39 seed; restore it from your backup"))
        })?;
        if let Some(renewal) = Renewal::read(path)? {
            keys.renew_signatory(renewal.at);
        }
        Ok(keys)
    }

    /// Signs from now on with keys that no mint of this seed has signed with before.
    fn renew_signatory(&mut self, generation: u64) {
        let mut engine = HmacEngine::<sha512::Hash>::new(&self.signatory);
        engine.input(b"signatory generation ");
        engine.input(&generation.to_be_bytes());
        self.signatory = Hmac::from_engine(engine).to_byte_array();
    }

    /// The keys of the seed with these BIP39 words.
    ///
    /// # Errors
    /// When they are no valid mnemonic.
    pub fn from_words(words: &str, network: Network) -> anyhow::Result<Self> {
        let seed = Mnemonic::parse(words.trim())?.to_seed("");
        Self::from_master(&Xpriv::new_master(bitcoin::Network::Bitcoin, &seed)?, network)
    }

    fn from_master(master: &Xpriv, network: Network) -> anyhow::Result<Self> {
        let words = |index| {
            Ok::<_, anyhow::Error>(Mnemonic::from_entropy(&bip85(master, &[MNEMONIC, 0, 12, index])?[..16])?)
        };
        Ok(Self {
            network,
            signatory: bip85(master, &[HEX, 64, Purpose::Signatory as u32])?,
            treasury: words(TREASURY)?,
            lightning: words(LIGHTNING)?,
            owners: bip85(master, &[HEX, 64, Purpose::Owners as u32])?,
            quotes: bip85(master, &[HEX, 64, Purpose::Quotes as u32])?,
            purses: bip85(master, &[HEX, 64, Purpose::Purses as u32])?,
            claims: bip85(master, &[HEX, 64, Purpose::Claims as u32])?,
        })
    }

    /// Seed of the signatory.
    pub const fn signatory_seed(&self) -> &[u8; 64] {
        &self.signatory
    }

    /// Child mnemonic of the treasury's wallet (BIP 85, 12 English words).
    pub const fn treasury_mnemonic(&self) -> &Mnemonic {
        &self.treasury
    }

    /// Child mnemonic of the Lightning node (BIP 85, 12 English words).
    pub const fn lightning_mnemonic(&self) -> &Mnemonic {
        &self.lightning
    }

    /// The treasury's external descriptor (BIP 84), public, with origin and checksum. The pool pays
    /// coinbases to its index 0.
    ///
    /// # Errors
    /// When a derivation is invalid, which no seed has ever met.
    pub fn coinbase_descriptor(&self) -> anyhow::Result<Descriptor<DescriptorPublicKey>> {
        let secp = Secp256k1::new();
        let master = Xpriv::new_master(self.network.to_bitcoin(), &self.treasury.to_seed(""))?;
        let coin = if self.network == Network::Mainnet { 0 } else { 1 };
        let account = Xpub::from_priv(&secp, &master.derive_priv(&secp, &hardened(&[84, coin, 0])?)?);
        let origin: Fingerprint = master.fingerprint(&secp);
        let text = format!("wpkh([{origin}/84'/{coin}'/0']{account}/0/*)");
        Descriptor::from_str(&text).context("form the treasury's descriptor")
    }

    /// The address that coinbases pay: index 0 of the descriptor.
    ///
    /// # Errors
    /// As [`Self::coinbase_descriptor`].
    pub fn coinbase_address(&self) -> anyhow::Result<Address> {
        let first = self.coinbase_descriptor()?.at_derivation_index(0)?;
        Ok(first.address(self.network.to_bitcoin())?)
    }

    /// The key that the quotes of an owner without a key of its own are locked to; none for an
    /// owner that is a key.
    ///
    /// # Errors
    /// For an owner whose digest is no valid key: one text in 2^128.
    pub fn held_for(&self, owner: &Owner) -> anyhow::Result<Option<SecretKey>> {
        if matches!(owner, Owner::Key(_)) {
            return Ok(None);
        }
        let digest = hmac(&self.owners, &[owner.to_string().as_bytes()]);
        Ok(Some(SecretKey::from_slice(&digest).context("derive the owner's key")?))
    }

    /// Seed of the wallet that the box has for an owner (NUT-13); none for an owner that is a key.
    pub fn purse_seed(&self, owner: &Owner) -> Option<[u8; 64]> {
        if matches!(owner, Owner::Key(_)) {
            return None;
        }
        let mut engine = HmacEngine::<sha512::Hash>::new(&self.purses);
        engine.input(owner.to_string().as_bytes());
        Some(Hmac::from_engine(engine).to_byte_array())
    }

    /// The `number`-th secret with which an owner claims: 20 letters and digits, 100 bits.
    pub fn claim_secret(&self, owner: &Owner, number: u32) -> String {
        let digest = hmac(&self.claims, &[&number.to_be_bytes(), owner.to_string().as_bytes()]);
        let letters = digest.iter().take(SECRET_LETTERS).map(|byte| LETTERS[usize::from(byte % 32)]);
        letters.map(char::from).collect()
    }

    /// The public key (NUT-20) that an owner's quotes are locked to.
    ///
    /// # Errors
    /// As [`Self::held_for`].
    pub fn lock_of(&self, owner: &Owner) -> anyhow::Result<PublicKey> {
        match (owner, self.held_for(owner)?) {
            (Owner::Key(key), _) => Ok(*key),
            (_, Some(secret)) => Ok(secret.public_key(&Secp256k1::new())),
            (_, None) => anyhow::bail!("no key for owner {owner}"),
        }
    }

    /// Name of the `index`-th quote of `lock` in `unit`: 16 bytes that nobody else can compute.
    pub fn quote_name(&self, unit: &str, lock: &PublicKey, index: u32) -> [u8; 16] {
        let digest = hmac(&self.quotes, &[&lock.serialize(), &index.to_be_bytes(), unit.as_bytes()]);
        let mut name = [0; 16];
        name.copy_from_slice(&digest[..16]);
        name
    }
}

/// BIP 85: `HMAC-SHA512(key = "bip-entropy-from-k", msg = k)`, k the private key at the path.
fn bip85(master: &Xpriv, path: &[u32]) -> anyhow::Result<[u8; 64]> {
    let child = master.derive_priv(&Secp256k1::new(), &hardened(&[&[BIP85], path].concat())?)?;
    let mut engine = HmacEngine::<sha512::Hash>::new(b"bip-entropy-from-k");
    engine.input(&child.private_key.secret_bytes());
    Ok(Hmac::from_engine(engine).to_byte_array())
}

fn hardened(path: &[u32]) -> anyhow::Result<DerivationPath> {
    let steps: Result<Vec<_>, _> = path.iter().map(|&index| ChildNumber::from_hardened_idx(index)).collect();
    Ok(steps?.into())
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    for part in parts {
        engine.input(part);
    }
    Hmac::<sha256::Hash>::from_engine(engine).to_byte_array()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const WORDS: &str = "install scatter logic circle pencil average fall shoe quantum disease suspect usage";

    fn keys() -> Keys {
        Keys::from_words(WORDS, Network::Devnet).unwrap()
    }

    fn household(name: &str) -> Owner {
        Owner::Household(name.to_owned())
    }

    #[test]
    fn child_words_are_those_of_bip85() {
        // BIP 85's own test vector for m/83696968'/39'/0'/12'/0', whose master key is given as xprv.
        let xprv = "xprv9s21ZrQH143K2LBWUUQRFXhucrQqBpKdRRxNVq2zBqsx8HVqFk2uYo8kmbaLLHRdqtQpUm98uKfu3vca1LqdGhUtyoFnCNkfmXRyPXLjbKb";
        let keys = Keys::from_master(&xprv.parse().unwrap(), Network::Mainnet).unwrap();
        assert_eq!(
            keys.treasury_mnemonic().to_string(),
            "girl mad pet galaxy egg matter matrix prison refuse sense ordinary nose"
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_keys() {
        let (a, b) = (keys(), keys());
        assert_eq!(a.signatory_seed(), b.signatory_seed());
        assert_eq!(a.coinbase_address().unwrap(), b.coinbase_address().unwrap());
        assert_eq!(a.lock_of(&household("garage")).unwrap(), b.lock_of(&household("garage")).unwrap());
    }

    #[test]
    fn no_two_purposes_owners_or_quotes_share_a_key() {
        let keys = keys();
        let lock = keys.lock_of(&household("garage")).unwrap();
        let secret = |name| keys.held_for(&household(name)).unwrap().unwrap().secret_bytes().to_vec();
        let mut seen = HashSet::new();
        let all = [
            keys.signatory_seed()[..32].to_vec(),
            keys.treasury_mnemonic().to_seed("")[..32].to_vec(),
            keys.lightning_mnemonic().to_seed("")[..32].to_vec(),
            keys.quotes[..32].to_vec(),
            keys.purse_seed(&household("garage")).unwrap()[..32].to_vec(),
            keys.purse_seed(&household("attic")).unwrap()[..32].to_vec(),
            keys.claim_secret(&household("garage"), 1).into_bytes(),
            keys.claim_secret(&household("garage"), 2).into_bytes(),
            keys.claim_secret(&household("attic"), 1).into_bytes(),
            secret("garage"),
            secret("attic"),
            keys.quote_name("ehash-1", &lock, 0).to_vec(),
            keys.quote_name("ehash-1", &lock, 1).to_vec(),
            keys.quote_name("ehash-2", &lock, 0).to_vec(),
        ];
        assert!(all.into_iter().all(|key| seen.insert(key)));
    }

    #[test]
    fn a_renewed_signatory_signs_with_other_keys_and_the_rest_stays() {
        let (old, mut new) = (keys(), keys());
        new.renew_signatory(1_800_000_000);
        assert_ne!(old.signatory_seed(), new.signatory_seed());
        let mut other = keys();
        other.renew_signatory(1_800_000_001);
        assert_ne!(other.signatory_seed(), new.signatory_seed());
        assert_eq!(old.coinbase_address().unwrap(), new.coinbase_address().unwrap());
        assert_eq!(old.lock_of(&household("garage")).unwrap(), new.lock_of(&household("garage")).unwrap());
    }

    #[test]
    fn a_public_key_locks_its_own_quotes_and_the_box_does_not_hold_it() {
        let key = keys().lock_of(&household("garage")).unwrap();
        assert_eq!(keys().lock_of(&Owner::Key(key)).unwrap(), key);
        assert!(keys().held_for(&Owner::Key(key)).unwrap().is_none());
    }

    #[test]
    fn the_descriptor_is_public_with_origin_and_checksum() {
        let text = keys().coinbase_descriptor().unwrap().to_string();
        assert!(
            text.starts_with("wpkh([") && text.contains("/84'/1'/0']tpub") && text.contains("/0/*)#"),
            "{text}"
        );
        assert!(keys().coinbase_address().unwrap().to_string().starts_with("tb1q"));
    }

    #[test]
    fn a_seed_is_made_once_and_a_damaged_one_is_refused_without_quoting_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        let made = Keys::load_or_create(&path, Network::Regtest).unwrap();
        let read = Keys::load_or_create(&path, Network::Regtest).unwrap();
        assert_eq!(made.signatory_seed(), read.signatory_seed());
        assert_eq!(format!("{made:?}"), "Keys(…)");
        std::fs::write(&path, "install scatter secretword").unwrap();
        let error = Keys::load_or_create(&path, Network::Regtest).unwrap_err().to_string();
        assert!(!error.contains("secretword") && error.contains("backup"), "{error}");
    }
}
