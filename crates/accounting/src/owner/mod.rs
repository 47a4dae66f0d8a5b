//! Owners: who a share's work belongs to, read once from the user name a miner sends.
//!
//! A name that nobody owns is as good as any other, so a typing error in an address or a key must
//! never make a household name of it: what begins like an address is one or is refused, names are
//! shorter than any address, and a dot within an address is recognised by the checksum.

mod address;
mod key;
mod offer;

use std::fmt;

use bitcoin::secp256k1::PublicKey;

use crate::Network;

/// Longest owner part that is read; a BOLT12 offer with blinded paths stays below it.
const MAX_OWNER_CHARS: usize = 1024;
/// Longest household name. The shortest address has 26 characters: not even one that lost a
/// character is a name.
const MAX_NAME_CHARS: usize = 24;
/// Longest worker name.
const MAX_WORKER_CHARS: usize = 63;
/// Longest domain of a Lightning address, and each of its labels.
const MAX_DOMAIN_CHARS: usize = 253;
const MAX_LABEL_CHARS: usize = 63;
/// In worker names, besides letters and digits of any alphabet.
const WORKER_PUNCTUATION: &str = "-_.:/+#@";
/// Beginnings that no household name may have, besides those of addresses: payment requests.
const PAYMENT_PREFIXES: [&str; 5] = ["lnbc", "lntb", "lnurl1", "lnr1", "lni1"];
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
    /// Looks like an address and is none that can be paid to.
    #[error("user name \"{text}\" looks like a bitcoin address but is not valid: {reason}; copy it again")]
    BadAddress {
        /// As given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An address of another network.
    #[error("user name \"{address}\" is an address of another network; this box runs on {network}")]
    WrongNetwork {
        /// As given.
        address: String,
        /// Of the box.
        network: Network,
    },
    /// An address, a key or an offer with a dot or an @ in it.
    #[error("user name \"{0}\" is an address, a key or an offer with a wrong character in it; copy it again")]
    Split(String),
    /// Looks like a public key and is none.
    #[error("user name \"{0}\" looks like a public key but is not valid; use all 66 hex digits, or an npub")]
    BadKey(String),
    /// A secret key, which is not repeated.
    #[error("the user name is a secret key, which nobody should see; use the public one (npub)")]
    SecretKey,
    /// Looks like a Lightning address and is none.
    #[error(
        "user name \"{0}\" looks like a Lightning address but is not valid; write name@domain, then / and a worker name"
    )]
    BadLightningAddress(String),
    /// Looks like a BOLT12 offer and is none, or only the beginning of one.
    #[error(
        "user name \"{0}\" is not a complete BOLT12 offer; if your miner cuts it off, use a name and set the offer at the box"
    )]
    BadOffer(String),
    /// Something that can be paid once or not by its own, such as an invoice.
    #[error("user name \"{0}\" looks like a payment request; use an address, an offer or a name")]
    PaymentRequest(String),
    /// Too long for a name, or with characters that are neither letters, digits nor - and _.
    #[error(
        "user name \"{0}\" is no address, key or name; a name has up to 24 letters, digits, - or _, then a dot and a worker name"
    )]
    BadName(String),
    /// A worker name that is too long.
    #[error("worker name \"{0}\" is too long; use up to 63 characters")]
    BadWorker(String),
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
        let (owner_text, worker) = split.unwrap_or((user, ""));
        let owner = Owner::parse(owner_text, network)?;
        let parts = match &owner {
            Owner::Household(_) => split,
            Owner::Lightning(_) => user.split_once('@'),
            Owner::Key(_) | Owner::Address(_) | Owner::Offer(_) => None,
        };
        if let Some((one, rest)) = parts
            && address::is_split(one, rest.split(['.', '/']).next().unwrap_or_default())
        {
            return Err(OwnerError::Split(shorten(user)));
        }
        Ok(Self { owner, worker: parse_worker(worker)? })
    }
}

/// A worker name is a label that no money depends on: what would trouble logs, tables or metrics
/// is replaced rather than refused.
fn parse_worker(text: &str) -> Result<String, OwnerError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(DEFAULT_WORKER.to_owned());
    }
    if text.chars().count() > MAX_WORKER_CHARS {
        return Err(OwnerError::BadWorker(shorten(text)));
    }
    let usable = |c: char| c.is_alphanumeric() || WORKER_PUNCTUATION.contains(c);
    Ok(text.chars().map(|c| if usable(c) { c } else { '-' }).collect())
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
        if lower.starts_with("nsec1") {
            return Err(OwnerError::SecretKey);
        }
        if lower.starts_with("lno1") {
            return offer::parse(text);
        }
        if lower.contains('@') {
            return parse_lightning(&lower);
        }
        if lower.starts_with("npub1") {
            return key::parse_npub(&lower);
        }
        if PAYMENT_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
            return Err(OwnerError::PaymentRequest(shorten(text)));
        }
        if key::looks_like_one(&lower) {
            return key::parse_hex(&lower);
        }
        if address::looks_like_one(text) {
            return address::parse(text, network);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if lower.len() > MAX_NAME_CHARS || !lower.chars().all(plain) {
            return Err(OwnerError::BadName(shorten(text)));
        }
        Ok(Self::Household(lower))
    }
}

/// LUD-16, with the tag that a plus sign begins.
fn parse_lightning(lower: &str) -> Result<Owner, OwnerError> {
    let bad = || OwnerError::BadLightningAddress(shorten(lower));
    let (name, domain) = lower.split_once('@').ok_or_else(bad)?;
    let name_ok = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= MAX_LABEL_CHARS
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    // The last label of a domain is never a number; that of an IP address always is.
    let named = |label: &str| label.contains(|c: char| c.is_ascii_alphabetic());
    let domain_ok = domain.len() <= MAX_DOMAIN_CHARS
        && domain.split('.').all(label_ok)
        && domain.rsplit_once('.').is_some_and(|(_, last)| named(last));
    if name_ok && domain_ok { Ok(Owner::Lightning(lower.to_owned())) } else { Err(bad()) }
}

/// Keeps an error message readable whatever was sent.
fn shorten(text: &str) -> String {
    const ECHOED_CHARS: usize = 80;
    let clean = || text.chars().filter(|c| !c.is_control());
    let shortened: String = clean().take(ECHOED_CHARS).collect();
    if clean().count() > ECHOED_CHARS { format!("{shortened}…") } else { shortened }
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
#[path = "tests.rs"]
mod tests;
