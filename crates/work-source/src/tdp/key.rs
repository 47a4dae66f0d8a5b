//! The public key that a template provider is known by.

use std::fmt;
use std::str::FromStr;

use bitcoin::base58;
use bitcoin::key::XOnlyPublicKey;

/// What stands before the key: version 1, little-endian.
const VERSION: [u8; 2] = [1, 0];

/// The public key of the authority that signs a provider's certificate. Written as base58check of a
/// version and the x coordinate; providers log it at their start as "Template Provider authority key".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorityKey([u8; 32]);

/// A text that is no authority key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A typing error, most likely.
    #[error(
        "\"{0}\" is no authority key ({1}); copy it from the template provider's log, it begins with a 9"
    )]
    NotBase58(String, String),
    /// A valid text for something else.
    #[error(
        "\"{0}\" is valid base58 but no authority key; copy it from the template provider's log, \
         it begins with a 9"
    )]
    NotAKey(String),
}

impl AuthorityKey {
    /// The x coordinate.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl FromStr for AuthorityKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = base58::decode_check(text)
            .map_err(|error| KeyError::NotBase58(text.to_owned(), error.to_string()))?;
        bytes
            .strip_prefix(&VERSION)
            .and_then(|key| XOnlyPublicKey::from_slice(key).ok())
            .map(|key| Self(key.serialize()))
            .ok_or_else(|| KeyError::NotAKey(text.to_owned()))
    }
}

impl fmt::Display for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base58::encode_check(&[VERSION.as_slice(), &self.0].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The base point of the curve.
    const X: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    fn text(version: [u8; 2], key: &[u8]) -> String {
        base58::encode_check(&[version.as_slice(), key].concat())
    }

    #[test]
    fn a_key_is_read_as_providers_print_it() {
        let x = XOnlyPublicKey::from_str(X).unwrap().serialize();
        let printed = text(VERSION, &x);
        assert!(printed.starts_with('9'), "{printed}");
        let key: AuthorityKey = format!(" {printed}\n").parse().unwrap();
        assert_eq!(key.to_bytes(), x);
        assert_eq!(key.to_string(), printed);
    }

    #[test]
    fn what_is_no_key_says_where_to_find_one() {
        let x = XOnlyPublicKey::from_str(X).unwrap().serialize();
        let mut mistyped = text(VERSION, &x);
        mistyped.pop();
        let off_curve = text(VERSION, &[0xff; 32]);
        for wrong in ["", "9", X, &mistyped, &off_curve, &text([2, 0], &x), &text(VERSION, &x[..31])] {
            let error = wrong.parse::<AuthorityKey>().unwrap_err().to_string();
            assert!(error.contains("template provider's log"), "{error}");
        }
    }
}
