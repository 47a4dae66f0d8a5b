//! Encrypted frames: what travels once the handshake is done. Bytes in, frames out, and back.
//!
//! Each frame is a header of six bytes and a payload, each encrypted for itself.

use crate::inbox::Inbox;
use crate::sv2::noise::{Cipher, NoiseError, TAG};

/// Bytes of a frame's header.
pub const HEADER: usize = 6;
/// Bytes of an encrypted header.
const SEALED_HEADER: usize = HEADER + TAG;
/// Longest piece of a payload that is encrypted as one (Noise's messages end at 65,535 bytes).
const PIECE: usize = 65_535 - TAG;
/// Longest payload that is taken. The protocol would allow 16 MiB; a job is a few kilobytes.
const MAX_PAYLOAD: usize = 1 << 20;
/// Marks a message about one channel.
const CHANNEL_BIT: u16 = 1 << 15;

/// Why a connection cannot be understood any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Encryption.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A frame beyond any use.
    #[error("it announces a message of {0} bytes")]
    TooLong(usize),
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The protocol extension, and whether the message is about a channel.
    pub extension: u16,
    /// The message's type.
    pub kind: u8,
    /// Bytes of its payload.
    pub length: usize,
}

/// A message's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The protocol extension, and whether the message is about a channel.
    pub extension: u16,
    /// The message's type.
    pub kind: u8,
    /// The message.
    pub payload: Vec<u8>,
}

/// Both directions of a connection.
pub struct Link {
    sending: Cipher,
    receiving: Cipher,
    /// A header whose payload is not there yet.
    begun: Option<Header>,
}

impl Header {
    /// A message that is part of no extension.
    pub const fn new(kind: u8, channel: bool, length: usize) -> Self {
        Self { extension: if channel { CHANNEL_BIT } else { 0 }, kind, length }
    }

    /// As it travels.
    pub fn to_bytes(self) -> [u8; HEADER] {
        let [e0, e1] = self.extension.to_le_bytes();
        let [l0, l1, l2, ..] = self.length.to_le_bytes();
        [e0, e1, self.kind, l0, l1, l2]
    }

    fn from_bytes([e0, e1, kind, l0, l1, l2]: [u8; HEADER]) -> Self {
        let length = u32::from_le_bytes([l0, l1, l2, 0]) as usize;
        Self { extension: u16::from_le_bytes([e0, e1]), kind, length }
    }

    /// Whether it belongs to the protocol proper, not to an extension of it.
    pub const fn is_core(self) -> bool {
        self.extension & !CHANNEL_BIT == 0
    }
}

impl Frame {
    /// A message that is part of no extension.
    pub const fn new(kind: u8, channel: bool, payload: Vec<u8>) -> Self {
        Self { extension: Header::new(kind, channel, 0).extension, kind, payload }
    }

    /// Its header.
    pub const fn header(&self) -> Header {
        Header { extension: self.extension, kind: self.kind, length: self.payload.len() }
    }
}

impl Link {
    /// A connection after its handshake.
    pub const fn new((sending, receiving): (Cipher, Cipher)) -> Self {
        Self { sending, receiving, begun: None }
    }

    /// Takes the next frame, decrypted where it lies; `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`LinkError`]: the connection is of no use any more.
    pub fn next<'a>(&mut self, inbox: &'a mut Inbox) -> Result<Option<(Header, &'a mut [u8])>, LinkError> {
        let header = match self.begun {
            Some(header) => header,
            None => match inbox.take(SEALED_HEADER) {
                Some(bytes) => self.open_header(bytes)?,
                None => return Ok(None),
            },
        };
        self.begun = Some(header);
        let Some(bytes) = inbox.take(sealed_length(header.length)) else { return Ok(None) };
        self.begun = None;
        self.open_payload(bytes)?;
        Ok(Some((header, &mut bytes[..header.length])))
    }

    /// Appends a frame to `out`, encrypted.
    ///
    /// # Errors
    /// [`LinkError`]: it cannot be sent.
    pub fn seal(&mut self, header: Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), LinkError> {
        self.sending.seal(&header.to_bytes(), out)?;
        for piece in payload.chunks(PIECE) {
            self.sending.seal(piece, out)?;
        }
        Ok(())
    }

    fn open_header(&mut self, bytes: &mut [u8]) -> Result<Header, LinkError> {
        self.receiving.open(bytes)?;
        let bytes = bytes.first_chunk().ok_or(NoiseError::Garbled)?;
        let header = Header::from_bytes(*bytes);
        if header.length > MAX_PAYLOAD {
            return Err(LinkError::TooLong(header.length));
        }
        Ok(header)
    }

    /// Decrypts a payload and closes the gaps that its pieces' tags leave.
    fn open_payload(&mut self, bytes: &mut [u8]) -> Result<(), LinkError> {
        let (mut from, mut plain) = (0, 0);
        while from < bytes.len() {
            let to = bytes.len().min(from + PIECE + TAG);
            self.receiving.open(&mut bytes[from..to])?;
            if from != plain {
                bytes.copy_within(from..to - TAG, plain);
            }
            plain += to - TAG - from;
            from = to;
        }
        Ok(())
    }
}

/// Bytes of an encrypted payload: each piece has its tag.
const fn sealed_length(length: usize) -> usize {
    length + length.div_ceil(PIECE) * TAG
}
