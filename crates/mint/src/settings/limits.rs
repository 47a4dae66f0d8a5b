//! `[limits]`: what clients may take of the public API.

use std::time::Duration;

use poolbox_service::Misconfigured;
use serde::Deserialize;

/// What clients may take of the public API. An address is a household: one IPv4 address, or one
/// /64 of IPv6. Zero requests or quotes: any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// Requests of one address a minute; as many may come at once. A large one counts for several.
    pub requests_per_minute: u32,
    /// The same for loopback: the box's own wallets, and whatever runs beside the mint.
    pub requests_per_minute_local: u32,
    /// Quotes that one address may ask for in an hour, to mint and to melt.
    pub quotes_per_hour: u32,
    /// The same for loopback.
    pub quotes_per_hour_local: u32,
    /// How long a client may take to send a request, or to read a part of its answer.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_address: 128,
            requests_per_minute: 600,
            requests_per_minute_local: 120_000,
            quotes_per_hour: 120,
            quotes_per_hour_local: 60_000,
            patience: Duration::from_secs(30),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    connections: Option<usize>,
    connections_per_address: Option<usize>,
    requests_per_minute: Option<u32>,
    requests_per_minute_local: Option<u32>,
    quotes_per_hour: Option<u32>,
    quotes_per_hour_local: Option<u32>,
    patience_s: Option<u64>,
}

impl RawLimits {
    pub(super) fn check(self) -> Result<Limits, Misconfigured> {
        let standard = Limits::default();
        let limits = Limits {
            connections: self.connections.unwrap_or(standard.connections),
            connections_per_address: self.connections_per_address.unwrap_or(standard.connections_per_address),
            requests_per_minute: self.requests_per_minute.unwrap_or(standard.requests_per_minute),
            requests_per_minute_local: self
                .requests_per_minute_local
                .unwrap_or(standard.requests_per_minute_local),
            quotes_per_hour: self.quotes_per_hour.unwrap_or(standard.quotes_per_hour),
            quotes_per_hour_local: self.quotes_per_hour_local.unwrap_or(standard.quotes_per_hour_local),
            patience: self.patience_s.map_or(standard.patience, Duration::from_secs),
        };
        let must_be_positive = [
            ("connections", limits.connections == 0),
            ("connections_per_address", limits.connections_per_address == 0),
            ("patience_s", limits.patience.is_zero()),
        ];
        match must_be_positive.into_iter().find(|(_, zero)| *zero) {
            Some((setting, _)) => Err(Misconfigured::new(format!(
                "limits.{setting} = 0 would serve nobody; set 1 or more, or leave it out"
            ))),
            None => Ok(limits),
        }
    }
}
