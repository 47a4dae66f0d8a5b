//! The key that vouches for this box to Sv2 miners.

use std::fmt;

use bitcoin::base58;
use bitcoin::secp256k1::{Keypair, Secp256k1};

/// What an Sv2 authority public key begins with (specification, section 4.7).
const VERSION: [u8; 2] = [1, 0];

/// The pool's authority key pair. Miners that were given its public half know this box by it.
#[derive(Clone)]
pub struct AuthorityKey {
    pub(super) secret: [u8; 32],
    pub(super) public: [u8; 32],
}

/// 32 bytes that are no secret key of secp256k1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a secret key of secp256k1")]
pub struct NotASecretKey;

impl AuthorityKey {
    /// The pair of a secret key.
    ///
    /// # Errors
    /// [`NotASecretKey`]: one of 2^128 random ones.
    pub fn from_secret(secret: [u8; 32]) -> Result<Self, NotASecretKey> {
        let pair = Keypair::from_seckey_slice(&Secp256k1::new(), &secret).map_err(|_| NotASecretKey)?;
        Ok(Self { secret, public: pair.x_only_public_key().0.serialize() })
    }

    /// The public key as miners are given it: base58check of version and x-only key.
    pub fn public_text(&self) -> String {
        base58::encode_check(&[&VERSION[..], &self.public].concat())
    }
}

/// The secret half is not shown.
impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthorityKey").field(&self.public_text()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_reads_as_the_specification_writes_it() {
        // Section 4.7's example.
        let raw: [u8; 34] = [
            1, 0, 118, 99, 112, 0, 151, 156, 28, 17, 175, 12, 48, 11, 205, 140, 127, 228, 134, 16, 252, 233,
            185, 193, 30, 61, 174, 227, 90, 224, 176, 138, 116, 85,
        ];
        assert_eq!(base58::encode_check(&raw), "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh");
        let key = AuthorityKey::from_secret([7; 32]).unwrap();
        let decoded = base58::decode_check(&key.public_text()).unwrap();
        assert_eq!((&decoded[..2], &decoded[2..]), (&VERSION[..], &key.public[..]));
        assert!(!format!("{key:?}").contains("7, 7"));
        assert!(AuthorityKey::from_secret([0; 32]).is_err());
    }
}
