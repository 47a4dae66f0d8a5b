//! BOLT 12 offers as owners. They have no checksum, so the structure is checked instead: firmwares
//! cut long user names off, and a shortened offer must not pass.

use bech32::Fe32;

use super::{Owner, OwnerError, shorten};

const PREFIX: &str = "lno1";
/// Types of the fields that tell who is paid: blinded paths, or the issuer's node id.
const PATHS: u64 = 16;
const ISSUER: u64 = 22;

/// Reads an offer: all in small or all in capital letters, its fields complete and in order.
pub(super) fn parse(text: &str) -> Result<Owner, OwnerError> {
    let lower = text.to_ascii_lowercase();
    let one_case = text == lower || text == text.to_ascii_uppercase();
    if one_case && lower.strip_prefix(PREFIX).and_then(bytes).is_some_and(|bytes| is_payable(&bytes)) {
        Ok(Owner::Offer(lower))
    } else {
        Err(OwnerError::BadOffer(shorten(text)))
    }
}

/// Five bits a character; what is left over at the end is less than a character, and zero.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0u32);
    for letter in text.chars() {
        held = held << 5 | u32::from(Fe32::from_char(letter).ok()?.to_u8());
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    (bits < 5 && held == 0).then_some(bytes)
}

/// Whether the fields (type, length, value) fill it exactly, in ascending order, and name a payee.
fn is_payable(mut rest: &[u8]) -> bool {
    let (mut last, mut payee) = (None, false);
    while !rest.is_empty() {
        let Some((kind, value, after)) = field(rest) else { return false };
        if last >= Some(kind) {
            return false;
        }
        (last, rest) = (Some(kind), after);
        payee |= !value.is_empty() && (kind == PATHS || kind == ISSUER);
    }
    payee
}

fn field(rest: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (kind, rest) = big_size(rest)?;
    let (length, rest) = big_size(rest)?;
    let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((kind, value, rest))
}

/// BOLT 1's number of one, three, five or nine bytes.
fn big_size(rest: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = rest.split_first()?;
    let length = match first {
        0xfd => 2,
        0xfe => 4,
        0xff => 8,
        small => return Some((small.into(), rest)),
    };
    let (number, rest) = rest.split_at_checked(length)?;
    Some((number.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)), rest))
}
