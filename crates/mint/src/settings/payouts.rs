//! `[payouts]`: when owners are paid, and what a payout may cost.

use std::net::SocketAddr;

use poolbox_accounting::{FeePpm, Network, Sats};
use poolbox_service::Misconfigured;
use serde::Deserialize;

/// An output of a transaction costs as much for little as for much.
const ONCHAIN_THRESHOLD: u64 = 200_000;
/// 2 %: with the threshold above, enough for some 20 sat/vB.
const ONCHAIN_MAX_FEE_PPM: u32 = 20_000;
/// Below that, routing fees are mostly the least that a node charges.
const LIGHTNING_THRESHOLD: u64 = 2_000;
/// 3 %. The mint sets aside the most that routing may cost, and returns what it did not.
const LIGHTNING_MAX_FEE_PPM: u32 = 30_000;
/// Below that a transaction's output is not worth its fee anywhere.
const LEAST_ONCHAIN: u64 = 1_000;

/// The defaults of one kind of payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The balance from which on an owner is paid.
    pub threshold: Sats,
    /// The highest fee, as a part of the payout.
    pub max_fee: FeePpm,
}

/// Standing payouts.
#[derive(Clone, Debug)]
pub struct PayoutSettings {
    /// To bitcoin addresses.
    pub onchain: Terms,
    /// To Lightning addresses and BOLT12 offers.
    pub lightning: Terms,
    /// For tests: this server on this machine is asked, in plain HTTP, in place of the host of every
    /// Lightning address.
    pub stand_in_host: Option<SocketAddr>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPayouts {
    onchain_threshold_sat: Option<u64>,
    onchain_max_fee_ppm: Option<u32>,
    lightning_threshold_sat: Option<u64>,
    lightning_max_fee_ppm: Option<u32>,
    stand_in_host: Option<SocketAddr>,
}

impl RawPayouts {
    pub(super) fn check(self, network: Network) -> Result<PayoutSettings, Misconfigured> {
        let onchain = terms(
            "onchain",
            self.onchain_threshold_sat.unwrap_or(ONCHAIN_THRESHOLD),
            LEAST_ONCHAIN,
            self.onchain_max_fee_ppm.unwrap_or(ONCHAIN_MAX_FEE_PPM),
        )?;
        let lightning = terms(
            "lightning",
            self.lightning_threshold_sat.unwrap_or(LIGHTNING_THRESHOLD),
            1,
            self.lightning_max_fee_ppm.unwrap_or(LIGHTNING_MAX_FEE_PPM),
        )?;
        if let Some(host) = self.stand_in_host {
            let private = matches!(network, Network::Regtest | Network::Devnet);
            if !private || !host.ip().is_loopback() {
                return Err(Misconfigured::new(format!(
                    "payouts.stand_in_host = \"{host}\" is for tests on regtest or devnet, at a loopback address; leave it out"
                )));
            }
        }
        Ok(PayoutSettings { onchain, lightning, stand_in_host: self.stand_in_host })
    }
}

fn terms(kind: &str, threshold: u64, least: u64, max_fee_ppm: u32) -> Result<Terms, Misconfigured> {
    if threshold < least {
        return Err(Misconfigured::new(format!(
            "payouts.{kind}_threshold_sat = {threshold} must be {least} or more"
        )));
    }
    let max_fee = FeePpm::new(max_fee_ppm).map_err(|_| {
        Misconfigured::new(format!(
            "payouts.{kind}_max_fee_ppm = {max_fee_ppm} must be at most 1000000 (the payout itself)"
        ))
    })?;
    Ok(Terms { threshold: Sats::new(threshold), max_fee })
}
