//! Public keys as owners: hex digits, or an npub of NIP-19.

use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bitcoin::secp256k1::PublicKey;

use super::{Owner, OwnerError, shorten};

const HEX_DIGITS: usize = 66;
/// So many hex digits are no name; there may be a digit too many or too few, or a secret key.
const ALMOST_DIGITS: usize = 60;
/// Echoed of something that may be a secret.
const FEW: usize = 8;

/// Whether it is meant as a key, whatever is wrong with it.
pub(super) fn looks_like_one(text: &str) -> bool {
    let hex = text.len() >= ALMOST_DIGITS && text.chars().all(|c| c.is_ascii_hexdigit());
    hex || decode_npub(&text.to_ascii_lowercase()).is_some()
}

/// Reads 66 hex digits of a compressed public key.
pub(super) fn parse_hex(lower: &str) -> Result<Owner, OwnerError> {
    let key = Some(lower).filter(|lower| lower.len() == HEX_DIGITS);
    let key = key.and_then(|lower| PublicKey::from_str(lower).ok());
    key.map(Owner::Key)
        .ok_or_else(|| OwnerError::BadKey(format!("{}…", lower.get(..FEW).unwrap_or_default())))
}

/// Reads an npub. BIP 340 takes such a key as the point with even y.
pub(super) fn parse_npub(lower: &str) -> Result<Owner, OwnerError> {
    decode_npub(lower).map(Owner::Key).ok_or_else(|| OwnerError::BadKey(shorten(lower)))
}

fn decode_npub(lower: &str) -> Option<PublicKey> {
    let checked = CheckedHrpstring::new::<bech32::Bech32>(lower).ok()?;
    let mut key = vec![2u8];
    key.extend(checked.byte_iter());
    (checked.hrp().as_str() == "npub").then_some(())?;
    PublicKey::from_slice(&key).ok()
}
