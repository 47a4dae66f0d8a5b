//! The Noise handshake of Stratum V2 as its initiator, and the two ciphers that it agrees on.
//!
//! Pattern NX over secp256k1 with ElligatorSwift keys, ChaCha20-Poly1305 and SHA-256, as the chapter
//! "Protocol Security" of the Stratum V2 specification has it. Bytes in, bytes out.

use std::sync::OnceLock;

use bitcoin::secp256k1::ellswift::{ElligatorSwift, ElligatorSwiftParty};
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use crate::sv2::authority::AuthorityKey;

/// The protocol's name, hashed into everything.
const NAME: &[u8] = b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256";
/// Bytes that authenticate a ciphertext; they follow it.
pub const TAG: usize = 16;
/// Bytes of a key on the wire.
const KEY: usize = 64;
/// Bytes of a certificate: version, two times, a signature.
const CERTIFICATE: usize = 74;
/// Bytes of the initiator's only message.
pub const HELLO: usize = KEY;
/// Bytes of the answer to it: a key, a key and a certificate, the latter two encrypted.
pub const ANSWER: usize = KEY + (KEY + TAG) + (CERTIFICATE + TAG);
/// The certificate's version.
const CERTIFICATE_VERSION: u16 = 0;
/// Seconds by which the two clocks may differ.
const LEEWAY: u32 = 10;

/// Why there is no encrypted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// The system gives no random numbers, or a cipher is used up.
    #[error("a cipher or the system's random numbers failed")]
    Unavailable,
    /// The answer is none, or a message was changed on its way.
    #[error("what it sent cannot be decrypted")]
    Garbled,
    /// Signed by somebody else.
    #[error("its certificate is not signed by the key in the URL")]
    WrongAuthority,
    /// Signed, but for another time.
    #[error("its certificate is not valid at this time: check the clocks")]
    Expired,
    /// Of a later specification.
    #[error("its certificate has version {0}, which is unknown")]
    UnknownCertificate(u16),
}

/// One direction's cipher: a key and the number of the next message.
pub struct Cipher {
    key: LessSafeKey,
    count: u64,
}

/// A handshake that waits for the answer.
pub struct Handshake {
    secret: SecretKey,
    hello: ElligatorSwift,
    authority: Option<AuthorityKey>,
    symmetric: Symmetric,
}

/// Noise's symmetric state.
struct Symmetric {
    hash: [u8; 32],
    chaining_key: [u8; 32],
}

impl Handshake {
    /// Starts one: the bytes to send first. With an authority the answer must be certified by it.
    ///
    /// # Errors
    /// [`NoiseError::Unavailable`].
    pub fn start(authority: Option<AuthorityKey>) -> Result<(Self, [u8; HELLO]), NoiseError> {
        let random = SystemRandom::new();
        let draw = || {
            let mut bytes = [0; 32];
            random.fill(&mut bytes).map_err(|_| NoiseError::Unavailable).map(|()| bytes)
        };
        // Fails for no number that will ever be drawn.
        let secret = SecretKey::from_slice(&draw()?).map_err(|_| NoiseError::Unavailable)?;
        let hello = ElligatorSwift::from_seckey(curve(), secret, Some(draw()?));
        let mut symmetric = Symmetric::new();
        symmetric.mix_hash(&hello.to_array());
        // The message's payload is empty and there is no key yet.
        symmetric.mix_hash(&[]);
        Ok((Self { secret, hello, authority, symmetric }, hello.to_array()))
    }

    /// Takes the answer at `now` (Unix seconds): the ciphers for sending and for receiving.
    ///
    /// # Errors
    /// [`NoiseError`]: whoever answers is not the pool one wants.
    pub fn finish(mut self, answer: &[u8; ANSWER], now: u32) -> Result<(Cipher, Cipher), NoiseError> {
        let (ephemeral, rest) = split::<KEY>(answer)?;
        let (fixed, certificate) = split::<{ KEY + TAG }>(rest)?;
        self.symmetric.mix_hash(ephemeral);
        let mut cipher = self.symmetric.mix_key(&self.agree(*ephemeral))?;
        let fixed = self.symmetric.decrypt_and_hash(&mut cipher, fixed)?;
        let (&fixed, _) = split::<KEY>(&fixed)?;
        let mut cipher = self.symmetric.mix_key(&self.agree(fixed))?;
        let certificate = self.symmetric.decrypt_and_hash(&mut cipher, certificate)?;
        if let Some(authority) = &self.authority {
            check(&certificate, fixed, authority, now)?;
        }
        let (sending, receiving) = derive(&self.symmetric.chaining_key, &[]);
        Ok((Cipher::new(&sending)?, Cipher::new(&receiving)?))
    }

    /// The secret shared with the owner of this key.
    fn agree(&self, theirs: [u8; KEY]) -> [u8; 32] {
        let theirs = ElligatorSwift::from_array(theirs);
        let party = ElligatorSwiftParty::A;
        ElligatorSwift::shared_secret(self.hello, theirs, self.secret, party, None).to_secret_bytes()
    }
}

/// Whether the certificate speaks for the key `fixed`, in the name of `authority`, at `now`.
fn check(certificate: &[u8], fixed: [u8; KEY], authority: &AuthorityKey, now: u32) -> Result<(), NoiseError> {
    let (signed, signature) = split::<10>(certificate)?;
    let [v0, v1, f0, f1, f2, f3, t0, t1, t2, t3] = *signed;
    let version = u16::from_le_bytes([v0, v1]);
    if version != CERTIFICATE_VERSION {
        return Err(NoiseError::UnknownCertificate(version));
    }
    let key = PublicKey::from_ellswift(ElligatorSwift::from_array(fixed)).x_only_public_key().0;
    let digest: [u8; 32] = Sha256::new().chain_update(signed).chain_update(key.serialize()).finalize().into();
    let signature = Signature::from_slice(signature).map_err(|_| NoiseError::WrongAuthority)?;
    curve()
        .verify_schnorr(&signature, &Message::from_digest(digest), &authority.0)
        .map_err(|_| NoiseError::WrongAuthority)?;
    let from = u32::from_le_bytes([f0, f1, f2, f3]).saturating_sub(LEEWAY);
    let to = u32::from_le_bytes([t0, t1, t2, t3]).saturating_add(LEEWAY);
    if (from..=to).contains(&now) { Ok(()) } else { Err(NoiseError::Expired) }
}

impl Symmetric {
    fn new() -> Self {
        let chaining_key: [u8; 32] = Sha256::digest(NAME).into();
        let mut symmetric = Self { hash: chaining_key, chaining_key };
        // The prologue is empty.
        symmetric.mix_hash(&[]);
        symmetric
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = Sha256::new().chain_update(self.hash).chain_update(data).finalize().into();
    }

    fn mix_key(&mut self, secret: &[u8; 32]) -> Result<Cipher, NoiseError> {
        let (chaining_key, key) = derive(&self.chaining_key, secret);
        self.chaining_key = chaining_key;
        Cipher::new(&key)
    }

    fn decrypt_and_hash(&mut self, cipher: &mut Cipher, encrypted: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let mut bytes = encrypted.to_vec();
        let length = cipher.open_with(&self.hash, &mut bytes)?;
        self.mix_hash(encrypted);
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl Cipher {
    fn new(key: &[u8; 32]) -> Result<Self, NoiseError> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| NoiseError::Unavailable)?;
        Ok(Self { key: LessSafeKey::new(key), count: 0 })
    }

    /// Appends `plain` to `out`, encrypted and followed by its tag.
    ///
    /// # Errors
    /// [`NoiseError::Unavailable`] after 2^64 - 1 messages.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let nonce = self.nonce()?;
        let start = out.len();
        out.extend_from_slice(plain);
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[start..]);
        out.extend_from_slice(sealed.map_err(|_| NoiseError::Unavailable)?.as_ref());
        Ok(())
    }

    /// Decrypts in place; the plain bytes are those before the tag.
    ///
    /// # Errors
    /// [`NoiseError::Garbled`].
    pub fn open(&mut self, bytes: &mut [u8]) -> Result<(), NoiseError> {
        self.open_with(&[], bytes).map(drop)
    }

    fn open_with(&mut self, data: &[u8], bytes: &mut [u8]) -> Result<usize, NoiseError> {
        let nonce = self.nonce()?;
        let plain = self.key.open_in_place(nonce, Aad::from(data), bytes);
        plain.map_err(|_| NoiseError::Garbled).map(|plain| plain.len())
    }

    fn nonce(&mut self) -> Result<Nonce, NoiseError> {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.count.to_le_bytes());
        self.count = self.count.checked_add(1).ok_or(NoiseError::Unavailable)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// What the curve's arithmetic needs, made once.
fn curve() -> &'static Secp256k1<All> {
    static CURVE: OnceLock<Secp256k1<All>> = OnceLock::new();
    CURVE.get_or_init(Secp256k1::new)
}

/// Noise's HKDF with two outputs.
fn derive(chaining_key: &[u8; 32], input: &[u8]) -> ([u8; 32], [u8; 32]) {
    let key = hmac_sha256(chaining_key, input);
    let first = hmac_sha256(&key, &[1]);
    let second = hmac_sha256(&key, &[&first[..], &[2]].concat());
    (first, second)
}

fn hmac_sha256(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), NoiseError> {
    bytes.split_first_chunk().ok_or(NoiseError::Garbled)
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Keypair, Parity, XOnlyPublicKey};
    use stratum_core::noise_sv2::Responder;

    use super::*;

    const VALIDITY: std::time::Duration = std::time::Duration::from_secs(3600);

    fn now() -> u32 {
        std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as u32
    }

    /// Another's implementation of the other side, certified by the secret `[9; 32]`.
    fn responder() -> (Box<Responder>, AuthorityKey) {
        let keys = Keypair::from_seckey_slice(curve(), &[9; 32]).unwrap();
        let public: XOnlyPublicKey = keys.x_only_public_key().0;
        let theirs =
            Responder::from_authority_kp(&public.serialize(), &secret_of_even(&keys), VALIDITY).unwrap();
        (theirs, AuthorityKey(public))
    }

    /// Their keys are those of even points.
    fn secret_of_even(keys: &Keypair) -> [u8; 32] {
        let (_, parity) = keys.x_only_public_key();
        let secret = keys.secret_key();
        if parity == Parity::Odd { secret.negate() } else { secret }.secret_bytes()
    }

    #[test]
    fn both_sides_understand_each_other_after_the_handshake() {
        let (mut theirs, authority) = responder();
        let (ours, hello) = Handshake::start(Some(authority)).unwrap();
        let (answer, mut engine) = theirs.step_1(hello).unwrap();
        let (mut sending, mut receiving) = ours.finish(&answer, now()).unwrap();
        for text in [&b"first"[..], b"second", b""] {
            let mut sealed = Vec::new();
            sending.seal(text, &mut sealed).unwrap();
            engine.decrypt(&mut sealed).unwrap();
            assert_eq!(sealed, text);

            let mut sealed = text.to_vec();
            engine.encrypt(&mut sealed).unwrap();
            receiving.open(&mut sealed).unwrap();
            assert_eq!(&sealed[..text.len()], text);
        }
    }

    #[test]
    fn a_pool_certified_by_another_key_is_refused() {
        let (mut theirs, authority) = responder();
        let other =
            AuthorityKey(Keypair::from_seckey_slice(curve(), &[8; 32]).unwrap().x_only_public_key().0);
        let finish = |authority: Option<AuthorityKey>, theirs: &mut Responder, at| {
            let (ours, hello) = Handshake::start(authority).unwrap();
            ours.finish(&theirs.step_1(hello).unwrap().0, at).map(drop)
        };
        assert_eq!(finish(Some(other), &mut theirs, now()), Err(NoiseError::WrongAuthority));
        let (mut theirs, _) = responder();
        assert_eq!(finish(Some(authority), &mut theirs, now() + 3620), Err(NoiseError::Expired));
        let (mut theirs, _) = responder();
        assert_eq!(finish(None, &mut theirs, now() + 3620), Ok(()));
    }

    #[test]
    fn an_answer_with_one_wrong_bit_is_refused() {
        for place in [0, KEY, ANSWER - 1] {
            let (mut theirs, _) = responder();
            let (ours, hello) = Handshake::start(None).unwrap();
            let (mut answer, _) = theirs.step_1(hello).unwrap();
            answer[place] ^= 1;
            assert_eq!(ours.finish(&answer, now()).map(drop), Err(NoiseError::Garbled));
        }
    }

    #[test]
    fn a_message_is_understood_once_and_in_its_turn() {
        let (mut theirs, _) = responder();
        let (ours, hello) = Handshake::start(None).unwrap();
        let (answer, mut engine) = theirs.step_1(hello).unwrap();
        let (_, mut receiving) = ours.finish(&answer, now()).unwrap();
        let mut sealed = b"share".to_vec();
        engine.encrypt(&mut sealed).unwrap();
        receiving.open(&mut sealed.clone()).unwrap();
        assert_eq!(receiving.open(&mut sealed), Err(NoiseError::Garbled));
    }
}
