//! What an upstream pool paid.

use std::fmt;

use bitcoin::Txid;
use bitcoin::hashes::sha256;
use serde::{Deserialize, Serialize};

use crate::Sats;

/// Names a payment for good: it is shared out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentId {
    /// An output of a transaction, or of a block's coinbase.
    Onchain {
        /// The transaction.
        txid: Txid,
        /// The output's place in it.
        vout: u32,
    },
    /// A Lightning payment, by its hash.
    Lightning {
        /// Payment hash.
        hash: sha256::Hash,
    },
}

/// Written with letters, digits and hyphens only, as keys of records want it.
impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Onchain { txid, vout } => write!(f, "onchain-{txid}-{vout}"),
            Self::Lightning { hash } => write!(f, "lightning-{hash}"),
        }
    }
}

/// Money that an upstream pool sent to the mint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Its name.
    pub id: PaymentId,
    /// How much.
    pub sats: Sats,
    /// When it arrived, Unix seconds: of its block, on-chain.
    pub at: u64,
    /// Whether it cannot vanish any more and can be spent.
    pub is_final: bool,
}
