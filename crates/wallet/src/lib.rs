//! A Cashu wallet on disk: cdk's wallet with a seed, for every unit of one mint. The command line
//! claims with it for owners who hold their key; the mint itself claims with it for owners whose key
//! the box holds.

mod fragments;
mod melt;
mod pocket;
mod purse;
mod seed;
mod slip;

pub use fragments::fragments;
pub use melt::MeltOffer;
pub use pocket::Pocket;
pub use purse::{Connector, Purse};
pub use seed::{NotASeed, fingerprint};
pub use slip::{Slip, Standing};
