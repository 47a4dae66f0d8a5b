//! Where a pool is and what it speaks.

use std::fmt;
use std::str::FromStr;

use crate::sv2::{AuthorityKey, NoAuthorityKey};

/// Begins the URL of a Stratum V1 pool.
const SV1: &str = "stratum+tcp://";
/// Begins the URL of a Stratum V2 pool.
const SV2: &str = "stratum2+tcp://";

/// Where the pool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUrl {
    /// What it speaks.
    pub protocol: Protocol,
    /// Name or address; IPv6 addresses without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// What a pool speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Stratum V1, in the clear.
    Sv1,
    /// Stratum V2 with Noise.
    Sv2 {
        /// Who must have certified the pool; anyone where this is `None`.
        authority: Option<AuthorityKey>,
    },
}

/// A URL that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No URL of a pool.
    #[error(
        "write it as stratum+tcp://HOST:PORT (Stratum V1, for example stratum+tcp://poolbox.local:3333) \
         or stratum2+tcp://HOST:PORT/KEY (Stratum V2; the pool's key may be left out)"
    )]
    NotStratum,
    /// No number after the last colon.
    #[error(
        "the port is missing or no number from 1 to 65535; \
         Stratum V1 pools mostly use 3333, Stratum V2 pools 34254"
    )]
    Port,
    /// No key after the port.
    #[error(transparent)]
    Authority(#[from] NoAuthorityKey),
}

impl FromStr for PoolUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (place, protocol) = match (text.strip_prefix(SV1), text.strip_prefix(SV2)) {
            (Some(place), _) => (place.trim_end_matches('/'), Protocol::Sv1),
            (None, Some(rest)) => {
                let (place, key) = rest.split_once('/').unwrap_or((rest, ""));
                let authority = if key.is_empty() { None } else { Some(key.parse()?) };
                (place, Protocol::Sv2 { authority })
            }
            (None, None) => return Err(UrlError::NotStratum),
        };
        let (host, port) = place.rsplit_once(':').ok_or(UrlError::Port)?;
        let port = port.parse().ok().filter(|&port| port != 0).ok_or(UrlError::Port)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(UrlError::NotStratum);
        }
        Ok(Self { protocol, host: host.to_owned(), port })
    }
}

impl fmt::Display for PoolUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, host, port } = self;
        f.write_str(if *protocol == Protocol::Sv1 { SV1 } else { SV2 })?;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")?;
        } else {
            write!(f, "{host}:{port}")?;
        }
        match protocol {
            Protocol::Sv2 { authority: Some(key) } => write!(f, "/{key}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_back() {
        for url in [
            "stratum+tcp://poolbox.local:3333",
            "stratum+tcp://[::1]:3333",
            "stratum2+tcp://poolbox.local:34254",
            "stratum2+tcp://[::1]:34254/9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72",
        ] {
            assert_eq!(url.parse::<PoolUrl>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn other_urls_are_refused() {
        let error = |url: &str| url.parse::<PoolUrl>().unwrap_err();
        assert_eq!(error("poolbox.local:3333"), UrlError::NotStratum);
        assert_eq!(error("stratum+ssl://poolbox.local:4333"), UrlError::NotStratum);
        assert_eq!(error("stratum+tcp://:3333"), UrlError::NotStratum);
        for scheme in [SV1, SV2] {
            for port in ["", ":", ":0", ":70000", ":http"] {
                assert_eq!(error(&format!("{scheme}poolbox.local{port}")), UrlError::Port);
            }
        }
        let mistyped =
            "stratum2+tcp://poolbox.local:34254/9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH71";
        assert_eq!(error(mistyped), UrlError::Authority(NoAuthorityKey));
    }
}
