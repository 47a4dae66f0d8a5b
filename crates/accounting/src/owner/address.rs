//! Bitcoin addresses as owners, and what is almost one.

use std::str::FromStr;

use bech32::primitives::decode::SegwitHrpstringError;
use bitcoin::Address;
use bitcoin::address::{AddressData, AddressType, NetworkUnchecked};
use bitcoin::key::XOnlyPublicKey;

use super::{Owner, OwnerError, key, offer, shorten};
use crate::Network;

/// Human-readable parts of segwit addresses on all networks, each with its separator.
const SEGWIT: [&str; 3] = ["bc1", "tb1", "bcrt1"];
/// First characters of the older addresses on all networks.
const BASE58: [char; 5] = ['1', '3', 'm', 'n', '2'];
/// Shortest and longest base58 address.
const BASE58_CHARS: std::ops::RangeInclusive<usize> = 26..=35;
/// One less than the shortest thing that can be paid has.
const ALMOST_CHARS: usize = 25;

/// Anything that begins like a segwit address, or has length, beginning and alphabet of an older one.
/// Of the latter also those that a missing or an added character made too short or too long.
pub(super) fn looks_like_one(text: &str) -> bool {
    let segwit = SEGWIT.iter().any(|prefix| {
        text.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
    });
    let almost = BASE58_CHARS.start() - 1..=BASE58_CHARS.end() + 1;
    let base58 = almost.contains(&text.len())
        && text.starts_with(BASE58)
        && text.chars().all(|c| c.is_ascii_alphanumeric());
    segwit || base58
}

/// Reads an address that money can be paid to.
pub(super) fn parse(text: &str, network: Network) -> Result<Owner, OwnerError> {
    let bad = |reason| OwnerError::BadAddress { text: shorten(text), reason };
    let address = Address::from_str(text).map_err(|_| bad(fault(text)))?;
    if !is_spendable(&address) {
        return Err(bad("no wallet can spend from its kind"));
    }
    let wrong = |_| OwnerError::WrongNetwork { address: shorten(text), network };
    Ok(Owner::Address(address.require_network(network.to_bitcoin()).map_err(wrong)?.to_string()))
}

/// Whether one character made two parts of an address, a key or an offer: `one`, that character,
/// `two`. Each of them might pass for a name.
pub(super) fn is_split(one: &str, two: &str) -> bool {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    if one.len() + two.len() < ALMOST_CHARS || !plain(one) || !plain(two) {
        return false;
    }
    let payable = |middle: &str| {
        let whole = [one, middle, two].concat();
        Address::from_str(&whole).is_ok() || key::looks_like_one(&whole) || offer::parse(&whole).is_ok()
    };
    let mut letters = ('0'..='9').chain('a'..='z').chain('A'..='Z');
    payable("") || letters.any(|letter| payable(letter.encode_utf8(&mut [0; 4])))
}

/// What is wrong with something that is no address, in words for the miner's log.
fn fault(text: &str) -> &'static str {
    const ALPHABET: &str = "it has characters that no address has";
    const CHECKSUM: &str = "its checksum is wrong";
    const LENGTH: &str = "its length is wrong";
    if BASE58_CHARS.contains(&text.len()) && text.starts_with(BASE58) {
        let foreign = |c: char| !c.is_ascii_alphanumeric() || "0OIl".contains(c);
        return if text.contains(foreign) { ALPHABET } else { CHECKSUM };
    }
    match bech32::segwit::decode(text) {
        Ok(_) => "its kind is unknown",
        Err(error) => match error.0 {
            SegwitHrpstringError::Unchecked(_) => ALPHABET,
            SegwitHrpstringError::Checksum(_) => CHECKSUM,
            SegwitHrpstringError::InvalidWitnessVersion(_) => "its version is unknown",
            _ => LENGTH,
        },
    }
}

/// Whether there can be a key to it. Anyone could take what is paid to a version that is not in use
/// yet, nobody what is paid to a point that is not on the curve.
fn is_spendable(address: &Address<NetworkUnchecked>) -> bool {
    let address = address.clone().assume_checked();
    match address.address_type() {
        Some(AddressType::P2pkh | AddressType::P2sh | AddressType::P2wpkh | AddressType::P2wsh) => true,
        Some(AddressType::P2tr) => match address.to_address_data() {
            AddressData::Segwit { witness_program } => {
                XOnlyPublicKey::from_slice(witness_program.program().as_bytes()).is_ok()
            }
            _ => false,
        },
        _ => false,
    }
}
