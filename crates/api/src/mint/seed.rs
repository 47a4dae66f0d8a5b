//! The seed at the mint's local API: shown until its owner has written it down, then never again.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Path of [`Seed`].
pub const SEED: &str = "/seed";
/// Path whose `POST` gives the [`SeedWords`]; refused once they were confirmed.
pub const SEED_SHOW: &str = "/seed/show";
/// Path that takes a [`SeedConfirmation`] and gives a [`Seed`].
pub const SEED_CONFIRM: &str = "/seed/confirm";

/// What may be known of the seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// Names the seed and tells nothing about it: BIP 32's master fingerprint, eight hex digits.
    pub fingerprint: String,
    /// When the owner confirmed to have the words, Unix seconds; until then they can be shown.
    pub confirmed_at: Option<u64>,
    /// When it was restored from its words alone, Unix seconds; none otherwise.
    pub renewed_at: Option<u64>,
}

/// The words. Whoever has them has the treasury.
#[derive(Clone, Serialize, Deserialize)]
pub struct SeedWords {
    /// In order.
    pub words: Vec<String>,
    /// The places, counted from 1, of the words that the owner enters to confirm.
    pub ask: Vec<usize>,
}

impl fmt::Debug for SeedWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeedWords(…)")
    }
}

/// One word of the seed.
#[derive(Clone, Serialize, Deserialize)]
pub struct SeedWord {
    /// Its place, counted from 1.
    pub position: usize,
    /// The word.
    pub word: String,
}

impl fmt::Debug for SeedWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeedWord({}, …)", self.position)
    }
}

/// The words that were asked for: the owner has written all of them down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedConfirmation {
    /// In any order.
    pub words: Vec<SeedWord>,
}
