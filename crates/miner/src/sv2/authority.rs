//! The key that certifies a pool, as its URL writes it.

use std::fmt;
use std::str::FromStr;

use bitcoin::base58;
use bitcoin::secp256k1::XOnlyPublicKey;

/// First bytes of the key as text.
const VERSION: [u8; 2] = 1u16.to_le_bytes();

/// An authority's public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorityKey(pub XOnlyPublicKey);

/// A text that is no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool's key after the port is mistyped: copy it again; it begins with 9")]
pub struct NoAuthorityKey;

impl FromStr for AuthorityKey {
    type Err = NoAuthorityKey;

    fn from_str(text: &str) -> Result<Self, NoAuthorityKey> {
        let bytes = base58::decode_check(text).map_err(|_| NoAuthorityKey)?;
        let key = bytes.strip_prefix(&VERSION).ok_or(NoAuthorityKey)?;
        XOnlyPublicKey::from_slice(key).map(Self).map_err(|_| NoAuthorityKey)
    }
}

impl fmt::Display for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base58::encode_check(&[&VERSION[..], &self.0.serialize()].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_in_the_specifications_example_is_read_back() {
        // Chapter "Protocol Security", section "URL Scheme and Pool Authority Key".
        let text = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        let key: AuthorityKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        let raw = [
            118, 99, 112, 0, 151, 156, 28, 17, 175, 12, 48, 11, 205, 140, 127, 228, 134, 16, 252, 233, 185,
            193, 30, 61, 174, 227, 90, 224, 176, 138, 116, 85,
        ];
        assert_eq!(key.0.serialize(), raw);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXx",
            "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRX",
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        ] {
            assert_eq!(text.parse::<AuthorityKey>(), Err(NoAuthorityKey), "{text}");
        }
    }
}
