//! Owners: who a share's work belongs to, read once from the user name a miner sends.

use std::fmt;
use std::str::FromStr;

use bitcoin::Address;
use bitcoin::address::ParseError;
use bitcoin::secp256k1::PublicKey;

use crate::Network;

/// Longest owner part that is read; a BOLT12 offer with blinded paths stays below it.
const MAX_OWNER_CHARS: usize = 1024;
/// Longest household or worker name.
const MAX_NAME_CHARS: usize = 63;
/// Owner of shares whose miner sent no user name.
const DEFAULT_HOUSEHOLD: &str = "home";
/// Worker of a user name without one.
const DEFAULT_WORKER: &str = "worker";

/// Who the work belongs to. Its text form is canonical: parsing it gives the same owner back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A compressed public key: only its holder can mint.
    Key(PublicKey),
    /// A bitcoin address of the box's network: a standing payout rule.
    Address(String),
    /// A Lightning address (LUD-16): a standing payout rule.
    Lightning(String),
    /// A BOLT12 offer: a standing payout rule.
    Offer(String),
    /// A name within the house, lower case; the box holds its key.
    Household(String),
}

/// An owner and the name of one of their machines: `owner[.worker]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Who is paid.
    pub owner: Owner,
    /// Which machine; `worker` where the user name names none.
    pub worker: String,
}

/// A user name that cannot be paid; each message is shown in the miner's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// Looks like an address and is none.
    #[error(
        "user name \"{0}\" looks like a bitcoin address but is not valid ({1}); check it for typing errors"
    )]
    BadAddress(String, String),
    /// An address of another network.
    #[error("user name \"{address}\" is an address of another network; this box runs on {network}")]
    WrongNetwork {
        /// As given.
        address: String,
        /// Of the box.
        network: Network,
    },
    /// Looks like a public key and is none.
    #[error("user name \"{0}\" looks like a public key but is not valid; check it for typing errors")]
    BadKey(String),
    /// Looks like a Lightning address and is none.
    #[error("user name \"{0}\" looks like a Lightning address but is not valid; write it as name@domain")]
    BadLightningAddress(String),
    /// Too long, or with characters that are neither letters, digits nor simple punctuation.
    #[error(
        "user name \"{0}\" is not usable; use up to 63 letters, digits, - or _, then a dot and a worker name"
    )]
    BadName(String),
}

impl Identity {
    /// Reads a miner's user name (Sv1 `mining.authorize`, Sv2 `user_identity`): the owner, a dot
    /// (after a Lightning address a slash) and the worker.
    ///
    /// # Errors
    /// [`OwnerError`], worded for the miner's log.
    pub fn parse(user: &str, network: Network) -> Result<Self, OwnerError> {
        let user = user.trim();
        let split = if user.contains('@') { user.split_once('/') } else { user.split_once('.') };
        let (owner, worker) = split.unwrap_or((user, ""));
        let worker = if worker.is_empty() { DEFAULT_WORKER } else { worker };
        let plain = |c: char| c.is_ascii_graphic();
        if worker.len() > MAX_NAME_CHARS || !worker.chars().all(plain) {
            return Err(OwnerError::BadName(shorten(user)));
        }
        Ok(Self { owner: Owner::parse(owner, network)?, worker: worker.to_owned() })
    }
}

impl Owner {
    /// Reads the owner part alone.
    ///
    /// # Errors
    /// [`OwnerError`], worded for the miner's log.
    pub fn parse(text: &str, network: Network) -> Result<Self, OwnerError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::Household(DEFAULT_HOUSEHOLD.to_owned()));
        }
        if text.len() > MAX_OWNER_CHARS {
            return Err(OwnerError::BadName(shorten(text)));
        }
        let lower = text.to_ascii_lowercase();
        if lower.contains('@') {
            return parse_lightning(&lower);
        }
        if lower.starts_with("npub1") {
            return parse_npub(&lower);
        }
        if lower.len() == 66 && lower.chars().all(|c| c.is_ascii_hexdigit()) {
            return PublicKey::from_str(&lower).map(Self::Key).map_err(|_| OwnerError::BadKey(text.into()));
        }
        if lower.starts_with("lno1") {
            let body = |c: char| c.is_ascii_alphanumeric();
            return if lower.chars().all(body) {
                Ok(Self::Offer(lower))
            } else {
                Err(OwnerError::BadName(shorten(text)))
            };
        }
        if looks_like_address(text) {
            return parse_address(text, network);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if lower.len() > MAX_NAME_CHARS || !lower.chars().all(plain) {
            return Err(OwnerError::BadName(shorten(text)));
        }
        Ok(Self::Household(lower))
    }
}

fn parse_lightning(lower: &str) -> Result<Owner, OwnerError> {
    let bad = || OwnerError::BadLightningAddress(shorten(lower));
    let (name, domain) = lower.split_once('@').ok_or_else(bad)?;
    let name_ok = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
    let label_ok =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let domain_ok = domain.contains('.') && domain.split('.').all(label_ok);
    if name_ok && domain_ok { Ok(Owner::Lightning(lower.to_owned())) } else { Err(bad()) }
}

/// NIP-19: a bech32 x-only key. BIP 340 takes such a key as the point with even y.
fn parse_npub(lower: &str) -> Result<Owner, OwnerError> {
    let bad = || OwnerError::BadKey(shorten(lower));
    let checked =
        bech32::primitives::decode::CheckedHrpstring::new::<bech32::Bech32>(lower).map_err(|_| bad())?;
    let mut key = vec![2u8];
    key.extend(checked.byte_iter());
    if checked.hrp().as_str() != "npub" {
        return Err(bad());
    }
    PublicKey::from_slice(&key).map(Owner::Key).map_err(|_| bad())
}

/// Anything with a segwit prefix, or the length and first character of a base58 address.
fn looks_like_address(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let segwit = ["bc1", "tb1", "bcrt1"].iter().any(|prefix| lower.starts_with(prefix)) && lower.len() > 13;
    let base58 = (26..=35).contains(&text.len())
        && text.starts_with(['1', '3', 'm', 'n', '2'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() && !"0OIl".contains(c));
    segwit || base58
}

fn parse_address(text: &str, network: Network) -> Result<Owner, OwnerError> {
    let reason = |error: ParseError| OwnerError::BadAddress(shorten(text), error.to_string());
    let address = Address::from_str(text).map_err(reason)?;
    let wrong = |_| OwnerError::WrongNetwork { address: text.to_owned(), network };
    Ok(Owner::Address(address.require_network(network.to_bitcoin()).map_err(wrong)?.to_string()))
}

/// Keeps an error message readable whatever was sent.
fn shorten(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    if clean.len() < text.len() { format!("{clean}…") } else { clean }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "{key}"),
            Self::Address(text) | Self::Lightning(text) | Self::Offer(text) | Self::Household(text) => {
                f.write_str(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

    fn parse(user: &str) -> Result<Identity, OwnerError> {
        Identity::parse(user, Network::Devnet)
    }

    #[test]
    fn each_kind_of_owner_is_recognised() {
        let owner = |user| parse(user).map(|identity| identity.owner);
        assert!(matches!(owner(KEY), Ok(Owner::Key(_))));
        assert!(matches!(owner("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx.rig"), Ok(Owner::Address(_))));
        assert_eq!(owner("alice@example.com/attic"), Ok(Owner::Lightning("alice@example.com".into())));
        assert!(matches!(
            owner("lno1pqps7sjqpgtyzm3qv4uxzmtsd3jjqer9wd3hy6tsw35k7msjzfpy7nz5yqcn"),
            Ok(Owner::Offer(_))
        ));
        assert_eq!(owner("Garage.bitaxe"), Ok(Owner::Household("garage".into())));
        assert_eq!(owner(""), Ok(Owner::Household("home".into())));
    }

    #[test]
    fn an_npub_is_the_key_with_even_y() {
        // NIP-19's own example.
        let npub = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg";
        let hex = "027e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e";
        assert_eq!(parse(npub), parse(hex));
    }

    #[test]
    fn the_worker_follows_the_dot() {
        assert_eq!(parse("garage.bitaxe").map(|i| i.worker), Ok("bitaxe".into()));
        assert_eq!(parse("garage").map(|i| i.worker), Ok("worker".into()));
        assert_eq!(parse("alice@example.com/attic").map(|i| i.worker), Ok("attic".into()));
    }

    #[test]
    fn wrong_addresses_are_refused_with_the_reason() {
        let typo = parse("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsy").unwrap_err();
        assert!(matches!(typo, OwnerError::BadAddress(..)), "{typo}");
        let mainnet = parse("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4").unwrap_err();
        assert!(matches!(mainnet, OwnerError::WrongNetwork { .. }), "{mainnet}");
        let legacy = parse("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3").unwrap_err();
        assert!(matches!(legacy, OwnerError::BadAddress(..)), "{legacy}");
        let key = parse("05c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5").unwrap_err();
        assert!(matches!(key, OwnerError::BadKey(_)), "{key}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_canonical(user in ".{0,120}") {
            if let Ok(identity) = parse(&user) {
                let again = Owner::parse(&identity.owner.to_string(), Network::Devnet);
                prop_assert_eq!(again, Ok(identity.owner));
            }
        }
    }
}
