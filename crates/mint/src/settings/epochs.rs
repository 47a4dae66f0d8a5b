//! `[epochs]`: when epochs close, become final and settle.

use poolbox_accounting::{EpochRules, Network};
use poolbox_service::Misconfigured;
use serde::Deserialize;

/// Confirmations after which a coinbase can be spent; a rule of Bitcoin.
const COINBASE_MATURITY: u32 = 100;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEpochs {
    min_epoch_time_s: Option<u32>,
    confirmations: Option<u32>,
    announcement_grace_s: Option<u64>,
    min_round_time_s: Option<u64>,
}

/// Twenty hours: upstream pools that pay every day do so at about the same time.
const MIN_ROUND_TIME_S: u64 = 20 * 3600;

impl RawEpochs {
    /// How long a round of mode proxy is open at least.
    pub(super) fn min_round_time_s(&self, network: Network) -> u64 {
        let usual = match network {
            Network::Devnet | Network::Regtest => 0,
            Network::Mainnet | Network::Testnet4 | Network::Signet => MIN_ROUND_TIME_S,
        };
        self.min_round_time_s.unwrap_or(usual)
    }

    pub(super) fn check(self, network: Network) -> Result<EpochRules, Misconfigured> {
        let (min_epoch_time_s, confirmations) = match network {
            // Blocks come every few seconds there.
            Network::Devnet => (20, 1),
            _ => (0, 6),
        };
        let standard = EpochRules::default();
        let rules = EpochRules {
            min_epoch_time_s: self.min_epoch_time_s.unwrap_or(min_epoch_time_s),
            final_confirmations: self.confirmations.unwrap_or(confirmations),
            maturity_confirmations: COINBASE_MATURITY,
            announcement_grace_s: self.announcement_grace_s.unwrap_or(standard.announcement_grace_s),
        };
        if !(1..=COINBASE_MATURITY).contains(&rules.final_confirmations) {
            return Err(Misconfigured::new(format!(
                "epochs.confirmations = {} must be from 1 to {COINBASE_MATURITY}",
                rules.final_confirmations
            )));
        }
        Ok(rules)
    }
}
