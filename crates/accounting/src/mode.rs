//! The modes of a box: for whom its miners work, and what a share earns.

use serde::{Deserialize, Serialize};

/// For whom the miners work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// For the mint: a block of the box's own node pays its wallet.
    Pool,
    /// For an upstream pool, which pays the mint.
    Proxy,
    /// For themselves: a block of the box's own node pays the miner that finds it.
    Solo,
}

/// What a share earns its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Earns {
    /// Ehash of the epoch.
    Ehash,
    /// A part of the upstream pool's next payment, in sats.
    Sats,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Pool, Self::Proxy, Self::Solo];

    /// The mode of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The lower-case name used in settings and exports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Proxy => "proxy",
            Self::Solo => "solo",
        }
    }

    /// What a share earns; nothing where the block itself is the pay.
    pub const fn earns(self) -> Option<Earns> {
        match self {
            Self::Pool => Some(Earns::Ehash),
            Self::Proxy => Some(Earns::Sats),
            Self::Solo => None,
        }
    }
}
