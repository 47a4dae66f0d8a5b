//! The seed as its owner meets it: shown until it is written down, and restored from its words.
//!
//! The seed alone brings back every key: the treasury's coins and the keys of household names. It
//! does not bring back the books. A mint without its books does not know which of its ecash was
//! spent, so it must not honour any of it: a restored seed signs with a *new generation* of keys,
//! and ecash of the lost mint is not taken. What brings everything back is a backup.

use std::path::{Path, PathBuf};

use anyhow::Context;
use poolbox_accounting::Network;
use poolbox_service::{Misconfigured, claim_data_dir, write_secret};
use serde::{Deserialize, Serialize};

/// The words.
pub const FILE: &str = "seed";
/// Its presence says that the owner has written the words down.
const CONFIRMED: &str = "seed.confirmed";
/// What must not exist where a seed is restored.
const BOOKS: &str = "mint.sqlite";
/// Words that an owner enters to show that all are written down.
const ASKED: usize = 2;

/// A seed that was restored from its words alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// When, Unix seconds; also the generation of the signing keys.
    pub at: u64,
    /// The height from which the treasury looks for its coins.
    pub since: u32,
}

impl Renewal {
    fn place(seed: &Path) -> PathBuf {
        seed.with_extension("renewed")
    }

    /// Of the seed at this path; none for a seed that was made here or came with its backup.
    ///
    /// # Errors
    /// When the record beside the seed cannot be read: without it the wrong keys would sign.
    pub fn read(seed: &Path) -> anyhow::Result<Option<Self>> {
        let place = Self::place(seed);
        match std::fs::read(&place) {
            Ok(bytes) => {
                let renewal = serde_json::from_slice(&bytes);
                renewal.map(Some).with_context(|| format!("read {}", place.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", place.display())),
        }
    }
}

/// Refuses a data directory that a mint has used.
///
/// # Errors
/// [`Misconfigured`] naming what is there.
pub fn refuse_existing(data_dir: &Path) -> Result<(), Misconfigured> {
    let existing = [data_dir.join(FILE), data_dir.join(BOOKS)].into_iter().find(|path| path.exists());
    existing.map_or(Ok(()), |existing| {
        let existing = existing.display();
        Err(Misconfigured::new(format!(
            "{existing} exists; a seed is restored into an empty data_dir only: move this one away first"
        )))
    })
}

/// Writes the seed with these words into a data directory that has none.
///
/// # Errors
/// [`Misconfigured`] when there is a seed or a mint's database, or when the words are none.
pub fn restore(
    data_dir: &Path,
    network: Network,
    words: &str,
    since: u32,
    now: u64,
) -> anyhow::Result<String> {
    refuse_existing(data_dir)?;
    let seed = data_dir.join(FILE);
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let fingerprint =
        poolbox_wallet::fingerprint(&words).map_err(|error| Misconfigured::new(error.to_string()))?;
    claim_data_dir(data_dir, network)?;
    let renewal = serde_json::to_vec(&Renewal { at: now, since })?;
    // A leftover of a restore that was cut off before its seed was there.
    let _ = std::fs::remove_file(Renewal::place(&seed));
    write_secret(&Renewal::place(&seed), &renewal)?;
    write_secret(&seed, format!("{words}\n").as_bytes())?;
    // Whoever typed the words has them.
    confirm(data_dir, now)?;
    Ok(fingerprint)
}

/// The words at `data_dir`.
///
/// # Errors
/// When the file cannot be read.
pub fn words(data_dir: &Path) -> anyhow::Result<Vec<String>> {
    let path = data_dir.join(FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// When the owner confirmed to have the words, Unix seconds.
///
/// # Errors
/// When the record is there and cannot be read.
pub fn confirmed_at(data_dir: &Path) -> anyhow::Result<Option<u64>> {
    let path = data_dir.join(CONFIRMED);
    match std::fs::read_to_string(&path) {
        // Whatever it holds, the words were confirmed: they are not shown again.
        Ok(text) => Ok(Some(text.trim().parse().unwrap_or_default())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Records that the owner has the words; they are not shown again.
///
/// # Errors
/// When the record cannot be written.
pub fn confirm(data_dir: &Path, now: u64) -> anyhow::Result<()> {
    if confirmed_at(data_dir)?.is_none() {
        write_secret(&data_dir.join(CONFIRMED), format!("{now}\n").as_bytes())?;
    }
    Ok(())
}

/// Which words to ask for, counted from 1, in ascending order.
pub fn question(words: usize) -> Vec<usize> {
    let mut places: Vec<(uuid::Uuid, usize)> =
        (1..=words).map(|place| (uuid::Uuid::new_v4(), place)).collect();
    places.sort_unstable();
    let mut asked: Vec<usize> = places.into_iter().take(ASKED).map(|(_, place)| place).collect();
    asked.sort_unstable();
    asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    const WORDS: &str = "install scatter logic circle pencil average fall shoe quantum disease suspect usage";

    #[test]
    fn a_restored_seed_has_the_old_addresses_and_signs_with_new_keys() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("mint");
        let old = Keys::from_words(WORDS, Network::Regtest).unwrap();
        restore(&data, Network::Regtest, &format!(" {}\n", WORDS.to_uppercase()), 7, 1_800_000_000).unwrap();
        let new = Keys::load_or_create(&data.join(FILE), Network::Regtest).unwrap();
        assert_eq!(new.coinbase_address().unwrap(), old.coinbase_address().unwrap());
        assert_ne!(new.signatory_seed(), old.signatory_seed());
        let renewal = Renewal::read(&data.join(FILE)).unwrap().unwrap();
        assert_eq!(renewal, Renewal { at: 1_800_000_000, since: 7 });
        assert!(confirmed_at(&data).unwrap().is_some(), "whoever restores has the words");
    }

    #[test]
    fn a_seed_is_never_restored_over_one_or_over_books() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |what: &str| {
            let error = restore(dir.path(), Network::Regtest, WORDS, 0, 1).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("move"), "{error}");
        };
        std::fs::write(dir.path().join("mint.sqlite"), "books").unwrap();
        refused("mint.sqlite");
        std::fs::remove_file(dir.path().join("mint.sqlite")).unwrap();
        restore(dir.path(), Network::Regtest, WORDS, 0, 1).unwrap();
        refused("seed");
        assert_eq!(words(dir.path()).unwrap().join(" "), WORDS);
    }

    #[test]
    fn wrong_words_are_not_repeated_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let error =
            restore(&dir.path().join("mint"), Network::Regtest, "install secretword", 0, 1).unwrap_err();
        assert!(!format!("{error:#}").contains("secretword"), "{error:#}");
        assert!(!dir.path().join("mint").exists());
    }

    #[test]
    fn a_damaged_record_of_a_renewal_stops_the_mint() {
        let dir = tempfile::tempdir().unwrap();
        restore(dir.path(), Network::Regtest, WORDS, 0, 1).unwrap();
        std::fs::write(dir.path().join("seed.renewed"), "{").unwrap();
        assert!(Keys::load_or_create(&dir.path().join(FILE), Network::Regtest).is_err());
    }

    #[test]
    fn two_different_words_are_asked_for() {
        for _ in 0..50 {
            let asked = question(12);
            assert!(asked.len() == 2 && asked[0] < asked[1] && asked[0] >= 1 && asked[1] <= 12, "{asked:?}");
        }
    }
}
