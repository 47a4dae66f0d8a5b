//! `[treasury]`: sats coming in and going out on-chain.

use poolbox_accounting::Network;
use poolbox_service::Misconfigured;
use serde::Deserialize;

/// More would only make people wait.
const MOST_CONFIRMATIONS: u32 = 100;

/// How the treasury treats payments that are no coinbases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreasurySettings {
    /// Confirmations after which a payment in or out is taken for final.
    pub confirmations: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTreasury {
    confirmations: Option<u32>,
}

impl RawTreasury {
    pub(super) fn check(self, network: Network) -> Result<TreasurySettings, Misconfigured> {
        let usual = match network {
            Network::Devnet | Network::Regtest => 1,
            _ => 3,
        };
        let confirmations = self.confirmations.unwrap_or(usual);
        if !(1..=MOST_CONFIRMATIONS).contains(&confirmations) {
            return Err(Misconfigured::new(format!(
                "treasury.confirmations = {confirmations} must be from 1 to {MOST_CONFIRMATIONS}"
            )));
        }
        Ok(TreasurySettings { confirmations })
    }
}
