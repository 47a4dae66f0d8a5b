//! The networks a box can run on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network of the node. Devnet is a private signet whose challenge is OP_TRUE: real difficulty,
/// a block every few seconds on a laptop, no peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Bitcoin.
    Mainnet,
    /// BIP 94 test network.
    Testnet4,
    /// The public signet (BIP 325).
    Signet,
    /// Local chain with free blocks.
    Regtest,
    /// Private signet with challenge `51`.
    Devnet,
}

/// A name that is no network of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown network \"{0}\"; use mainnet, testnet4, signet, regtest or devnet")]
pub struct UnknownNetwork(pub String);

impl Network {
    const ALL: [Self; 5] = [Self::Mainnet, Self::Testnet4, Self::Signet, Self::Regtest, Self::Devnet];

    /// The lower-case name used in settings and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet4 => "testnet4",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
            Self::Devnet => "devnet",
        }
    }

    /// The node's own name for it, as in `-chain=` and `getblockchaininfo`.
    pub const fn core_name(self) -> &'static str {
        match self {
            Self::Mainnet => "main",
            Self::Testnet4 => "testnet4",
            Self::Signet | Self::Devnet => "signet",
            Self::Regtest => "regtest",
        }
    }

    /// Address and key prefixes. Devnet shares signet's.
    pub const fn to_bitcoin(self) -> bitcoin::Network {
        match self {
            Self::Mainnet => bitcoin::Network::Bitcoin,
            Self::Testnet4 => bitcoin::Network::Testnet4,
            Self::Signet | Self::Devnet => bitcoin::Network::Signet,
            Self::Regtest => bitcoin::Network::Regtest,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(name: &str) -> Result<Self, UnknownNetwork> {
        Self::ALL
            .into_iter()
            .find(|network| network.name() == name)
            .ok_or_else(|| UnknownNetwork(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for network in Network::ALL {
            assert_eq!(network.name().parse(), Ok(network));
        }
        assert!("bitcoin".parse::<Network>().is_err());
    }
}
