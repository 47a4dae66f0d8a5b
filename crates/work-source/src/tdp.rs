//! Templates from a template provider over the network: Stratum V2's Template Distribution Protocol,
//! encrypted with Noise over TCP. Providers are sv2-tp beside a Bitcoin Core, and Sjors' `bitcoind -sv2`.
//!
//! sv2-tp 1.1 sends each new tip with a template made on it from the whole mempool, and better ones after its
//! `-templateinterval`. Whatever a provider sends for the present tip is passed on at once, and a template
//! that belongs to a tip it did not tell of ends the connection: the next one begins with the present tip.
//! (sv2-tp tells only the first of several clients of a new tip, as one pool and a job declarator would be.)
//!
//! The source lives on a thread of its own: taking in a block's transactions must not hold up miners.

mod frame;
mod key;
mod line;

use std::io;

use tokio::runtime;

use crate::WorkSource;
use crate::feed::Feed;
use crate::session::keep_up;
use crate::tcp::Endpoint;
pub use key::{AuthorityKey, KeyError};

/// How to reach the template provider and what to ask of it. How often templates come, and for how
/// much more fees, is the provider's own setting.
#[derive(Clone, Debug)]
pub struct TdpConfig {
    /// Host and port, such as `127.0.0.1:8442`. A name is looked up at each connection.
    pub address: String,
    /// The key that the provider's certificate must be signed with. Without it nobody knows whose
    /// templates these are: for a provider on the same machine only.
    pub authority_key: Option<AuthorityKey>,
    /// Room that templates leave for payouts, in serialised bytes of outputs. The provider adds what
    /// the rest of a coinbase needs.
    pub payouts_size: u32,
    /// Signature operations that templates leave for payouts.
    pub payouts_sigops: u16,
}

impl TdpConfig {
    /// A provider at `address`, and room for some 30 payouts.
    pub fn new(address: impl Into<String>, authority_key: Option<AuthorityKey>) -> Self {
        Self { address: address.into(), authority_key, payouts_size: 1_000, payouts_sigops: 400 }
    }
}

/// A configuration that can never work, or a system out of threads.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No host, or no port.
    #[error("\"{0}\" is no address of a template provider; write host and port, such as 127.0.0.1:8442")]
    Address(String),
    /// The system refused.
    #[error("cannot start the thread of the work source: {0}")]
    Thread(#[from] io::Error),
}

/// Starts the source. A template provider that is not there yet is waited for.
///
/// # Errors
/// A [`StartError`] when waiting would be in vain.
pub fn start(config: TdpConfig) -> Result<WorkSource, StartError> {
    let Some(endpoint) = Endpoint::read(&config.address) else {
        return Err(StartError::Address(config.address));
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (source, feed) = Feed::new();
    std::thread::Builder::new().name("template-provider".into()).spawn(move || {
        runtime.block_on(keep_up(feed, async |feed| line::run(&config, &endpoint, feed).await));
    })?;
    Ok(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused_at_once() {
        for wrong in ["", "node.local:0", "::1:8442"] {
            assert!(matches!(start(TdpConfig::new(wrong, None)), Err(StartError::Address(_))));
        }
    }
}
