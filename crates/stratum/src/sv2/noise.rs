//! The encrypted link: handshake as the responder, then frames (specification, sections 3.2 and 4).
//!
//! Bytes go in and out; frames are decrypted where they lie and encrypted where they are written.

use std::time::Duration;

use aead::Buffer;
use bitcoin::secp256k1::constants::ELLSWIFT_ENCODING_SIZE;
use stratum_core::binary_sv2::{Encodable, GetSize};
use stratum_core::noise_sv2::{AEAD_MAC_LEN, NoiseEngine, Responder};

use super::authority::AuthorityKey;

/// Extension type, message type and length.
const HEADER_BYTES: usize = 6;
const SEALED_HEADER_BYTES: usize = HEADER_BYTES + AEAD_MAC_LEN;
/// The longest message a miner may send: the longest that a miner needs has a few hundred bytes.
const MAX_PAYLOAD_BYTES: usize = 4096;
/// A longer message would be encrypted in more than one piece.
const MAX_PIECE_BYTES: usize = 65_535 - AEAD_MAC_LEN;
/// Says in the extension type that the message is for a channel.
pub(super) const CHANNEL_BIT: u16 = 0x8000;
/// How long the signature on a connection's key is good for. It is made anew for each connection.
const CERTIFICATE_VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a link is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub &'static str);

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Without the channel bit; zero for the messages of the specification itself.
    pub extension: u16,
    pub message_type: u8,
    payload_bytes: usize,
}

/// One miner's link.
pub(super) struct Link(State);

enum State {
    /// Waiting for the miner's ephemeral key.
    Handshake(AuthorityKey),
    /// Waiting for a header.
    Header(NoiseEngine),
    /// Waiting for this header's payload.
    Payload(NoiseEngine, Header),
    Broken,
}

/// What came out of the bytes at hand.
pub(super) enum Step<'a> {
    /// A whole message.
    Message(Header, &'a mut [u8]),
    /// Something that concerns the link alone.
    Progress,
    /// More bytes are needed.
    More,
}

impl Link {
    pub fn new(authority: AuthorityKey) -> Self {
        Self(State::Handshake(authority))
    }

    /// Takes what it can from the front of `input`; says how many bytes and what they were. Answers of
    /// the handshake are added to `out`.
    pub fn take<'a>(&mut self, input: &'a mut [u8], out: &mut Vec<u8>) -> Result<(usize, Step<'a>), Broken> {
        let state = std::mem::replace(&mut self.0, State::Broken);
        match state {
            State::Handshake(authority) => {
                let Some(theirs) = input.first_chunk::<ELLSWIFT_ENCODING_SIZE>() else {
                    self.0 = State::Handshake(authority);
                    return Ok((0, Step::More));
                };
                let AuthorityKey { public, secret } = &authority;
                let failed = |_| Broken("the Noise handshake failed");
                let mut responder =
                    Responder::from_authority_kp(public, secret, CERTIFICATE_VALIDITY).map_err(failed)?;
                let (answer, engine) =
                    responder.step_1(*theirs).map_err(|_| Broken("the Noise handshake failed"))?;
                out.extend_from_slice(&answer);
                self.0 = State::Header(engine);
                Ok((ELLSWIFT_ENCODING_SIZE, Step::Progress))
            }
            State::Header(mut engine) => {
                let Some(sealed) = input.get_mut(..SEALED_HEADER_BYTES) else {
                    self.0 = State::Header(engine);
                    return Ok((0, Step::More));
                };
                open(&mut engine, sealed)?;
                let header = Header::read(sealed)?;
                self.0 = State::Payload(engine, header);
                Ok((SEALED_HEADER_BYTES, Step::Progress))
            }
            State::Payload(mut engine, header) => {
                let sealed_bytes =
                    if header.payload_bytes == 0 { 0 } else { header.payload_bytes + AEAD_MAC_LEN };
                let Some(sealed) = input.get_mut(..sealed_bytes) else {
                    self.0 = State::Payload(engine, header);
                    return Ok((0, Step::More));
                };
                if sealed_bytes > 0 {
                    open(&mut engine, sealed)?;
                }
                self.0 = State::Header(engine);
                let (payload, _) = sealed.split_at_mut(header.payload_bytes);
                Ok((sealed_bytes, Step::Message(header, payload)))
            }
            State::Broken => Err(Broken("the link is over")),
        }
    }

    /// Adds an encrypted message to `out`. The extension type is zero for the messages of the specification
    /// itself, [`CHANNEL_BIT`] where they are for a channel.
    pub fn send<M: Encodable + GetSize>(
        &mut self,
        extension: u16,
        message_type: u8,
        message: M,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let size = message.get_size();
        self.send_with(extension, message_type, size, out, |payload| {
            message.to_bytes(payload).map(drop).map_err(|_| Broken("a message could not be written"))
        })
    }

    /// Adds an encrypted message whose payload of `size` bytes `write` fills in.
    pub fn send_with(
        &mut self,
        extension: u16,
        message_type: u8,
        size: usize,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut [u8]) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let (State::Header(engine) | State::Payload(engine, _)) = &mut self.0 else {
            return Err(Broken("the link is not open"));
        };
        if size > MAX_PIECE_BYTES {
            return Err(Broken("a message was too long to be sent"));
        }
        out.reserve(SEALED_HEADER_BYTES + size + AEAD_MAC_LEN);
        let start = out.len();
        out.extend_from_slice(&extension.to_le_bytes());
        out.push(message_type);
        out.extend_from_slice(size.to_le_bytes().get(..3).unwrap_or_default());
        seal(engine, out, start)?;
        let start = out.len();
        out.resize(start + size, 0);
        write(out.get_mut(start..).unwrap_or_default())?;
        seal(engine, out, start)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            State::Handshake(_) => "Link(handshake)",
            State::Header(_) | State::Payload(..) => "Link(open)",
            State::Broken => "Link(broken)",
        })
    }
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, Broken> {
        let &[a, b, message_type, x, y, z, ..] = bytes else { return Err(Broken("a header was too short")) };
        let payload_bytes = u32::from_le_bytes([x, y, z, 0]) as usize;
        if payload_bytes > MAX_PAYLOAD_BYTES {
            return Err(Broken("a message was too long"));
        }
        Ok(Self { extension: u16::from_le_bytes([a, b]) & !CHANNEL_BIT, message_type, payload_bytes })
    }
}

/// Decrypts `sealed` where it lies; its last bytes were the authentication tag.
fn open(engine: &mut NoiseEngine, sealed: &mut [u8]) -> Result<(), Broken> {
    let length = sealed.len();
    engine
        .decrypt(&mut Window { bytes: sealed, length })
        .map_err(|_| Broken("a frame could not be decrypted"))
}

/// Encrypts `out` from `start` on and adds the authentication tag.
fn seal(engine: &mut NoiseEngine, out: &mut Vec<u8>, start: usize) -> Result<(), Broken> {
    engine.encrypt(&mut Tail { bytes: out, start }).map_err(|_| Broken("a frame could not be encrypted"))
}

/// Received bytes that can only shrink.
struct Window<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl AsRef<[u8]> for Window<'_> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Window<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.length).unwrap_or_default()
    }
}

impl Buffer for Window<'_> {
    fn extend_from_slice(&mut self, _: &[u8]) -> aead::Result<()> {
        Err(aead::Error)
    }

    fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
}

/// The end of what is to be sent.
struct Tail<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
}

impl AsRef<[u8]> for Tail<'_> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Tail<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or_default()
    }
}

impl Buffer for Tail<'_> {
    fn extend_from_slice(&mut self, more: &[u8]) -> aead::Result<()> {
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        self.bytes.truncate(self.start + length);
    }
}
