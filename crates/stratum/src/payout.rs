//! Who a channel's coinbase pays.

use std::str::FromStr;
use std::sync::Arc;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Script, ScriptBuf};
use poolbox_accounting::{Identity, Mode, Network, Owner};

/// The output that takes the whole value of a template, or whatever the upstream's job pays. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PayoutOutput(Option<Arc<Script>>);

impl PayoutOutput {
    /// Pays whom the upstream pool says.
    pub const UPSTREAM: Self = Self(None);

    /// Pays `script`.
    pub fn new(script: ScriptBuf) -> Self {
        Self(Some(script.into_boxed_script().into()))
    }

    /// What it pays; none where an upstream pool says.
    pub fn script(&self) -> Option<&Script> {
        self.0.as_deref()
    }
}

/// Whom coinbases pay: the mode of the pool.
#[derive(Clone, Debug)]
pub enum PayoutPolicy {
    /// Mode pool: every coinbase pays the mint's wallet.
    Pool(PayoutOutput),
    /// Mode solo: each channel's coinbase pays its own miner, whose owner must be an address.
    Solo(Network),
    /// Mode proxy: coinbases are those of an upstream pool.
    Upstream,
}

/// An owner whom no coinbase can pay; worded for the miner's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this box mines solo: a block pays its miner, so the user name must be a bitcoin address of {0}")]
pub struct NoAddress(Network);

impl PayoutPolicy {
    /// The mode of a pool whose coinbases pay so.
    pub const fn mode(&self) -> Mode {
        match self {
            Self::Pool(_) => Mode::Pool,
            Self::Solo(_) => Mode::Solo,
            Self::Upstream => Mode::Proxy,
        }
    }

    /// What the coinbases of this worker pay.
    ///
    /// # Errors
    /// [`NoAddress`] in mode solo.
    pub fn output_for(&self, identity: &Identity) -> Result<PayoutOutput, NoAddress> {
        match self {
            Self::Pool(output) => Ok(output.clone()),
            Self::Upstream => Ok(PayoutOutput::UPSTREAM),
            Self::Solo(network) => {
                let Owner::Address(address) = &identity.owner else { return Err(NoAddress(*network)) };
                let address = Address::<NetworkUnchecked>::from_str(address).ok();
                let address = address.and_then(|address| address.require_network(network.to_bitcoin()).ok());
                Ok(PayoutOutput::new(address.ok_or(NoAddress(*network))?.script_pubkey()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solo_pays_the_miners_own_address_and_nobody_without_one() {
        let solo = PayoutPolicy::Solo(Network::Devnet);
        let identity = |user: &str| Identity::parse(user, Network::Devnet).unwrap();
        let address = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
        let paid = solo.output_for(&identity(&format!("{address}.rig"))).unwrap();
        let expected = Address::from_str(address).unwrap().assume_checked().script_pubkey();
        assert_eq!(paid.script(), Some(expected.as_script()));
        let refused = solo.output_for(&identity("garage.rig")).unwrap_err().to_string();
        assert!(refused.contains("must be a bitcoin address of devnet"), "{refused}");
    }
}
