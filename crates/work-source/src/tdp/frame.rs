//! Frames of Stratum V2 over Noise: sealed header, then the payload in sealed pieces. Lengths are
//! bounded before anything is allocated.

use std::io;

use stratum_core::framing_sv2::SV2_FRAME_CHUNK_SIZE;
use stratum_core::framing_sv2::header::Header;
use stratum_core::noise_sv2::{AEAD_MAC_LEN, AeadError, NoiseDecryptor, NoiseEncryptor};
use stratum_core::template_distribution_sv2::MESSAGE_TYPE_REQUEST_TRANSACTION_DATA_SUCCESS;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Plain bytes that one sealed piece carries at most.
const PIECE: usize = SV2_FRAME_CHUNK_SIZE - AEAD_MAC_LEN;

/// A block's transactions: four million weight units, three bytes of length for each, and 64 KiB of
/// extra data.
const MAX_TRANSACTIONS: usize = 4_000_000 + 3 * 20_000 + 0x1_0000;
/// Any other message: the largest is a template, with outputs of 64 KiB and a merkle path of 8 KiB.
const MAX_PAYLOAD: usize = 80 * 1024;

/// A decrypted frame.
#[derive(Debug)]
pub struct Frame {
    /// Type of the message.
    pub kind: u8,
    /// The message.
    pub payload: Vec<u8>,
}

/// Why no frame comes.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection is over.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not sealed with the connection's key.
    #[error("a frame cannot be decrypted")]
    Sealed,
    /// Longer than any message of its kind.
    #[error("a message of type 0x{kind:02x} has {length} bytes")]
    TooLong {
        /// Its type.
        kind: u8,
        /// Its length.
        length: usize,
    },
}

impl From<AeadError> for FrameError {
    fn from(_: AeadError) -> Self {
        Self::Sealed
    }
}

/// Reads frames.
pub struct Reader<R> {
    pub stream: R,
    pub cipher: NoiseDecryptor,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The next frame. Not cancel safe.
    pub async fn next(&mut self) -> Result<Frame, FrameError> {
        let header = self.piece(Header::SIZE).await?;
        // An Err means fewer than six bytes.
        let header = Header::from_bytes(&header).map_err(|_| FrameError::Sealed)?;
        let (kind, length) = (header.msg_type(), header.payload_length());
        let most = if kind == MESSAGE_TYPE_REQUEST_TRANSACTION_DATA_SUCCESS {
            MAX_TRANSACTIONS
        } else {
            MAX_PAYLOAD
        };
        if length > most {
            return Err(FrameError::TooLong { kind, length });
        }
        let mut payload = Vec::new();
        while payload.len() < length {
            payload.append(&mut self.piece(PIECE.min(length - payload.len())).await?);
        }
        Ok(Frame { kind, payload })
    }

    async fn piece(&mut self, length: usize) -> Result<Vec<u8>, FrameError> {
        let mut sealed = vec![0; length + AEAD_MAC_LEN];
        self.stream.read_exact(&mut sealed).await?;
        self.cipher.decrypt(&mut sealed)?;
        Ok(sealed)
    }
}

/// Writes frames.
pub struct Writer<W> {
    pub stream: W,
    pub cipher: NoiseEncryptor,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Sends a frame of the base protocol. Not cancel safe.
    pub async fn send(&mut self, kind: u8, payload: &[u8]) -> Result<(), FrameError> {
        let length = u32::try_from(payload.len()).ok().filter(|length| *length < 1 << 24);
        let length = length.ok_or(FrameError::TooLong { kind, length: payload.len() })?;
        let [low, middle, high, _] = length.to_le_bytes();
        let mut sealed = vec![0, 0, kind, low, middle, high];
        self.cipher.encrypt(&mut sealed)?;
        for piece in payload.chunks(PIECE) {
            let mut piece = piece.to_vec();
            self.cipher.encrypt(&mut piece)?;
            sealed.append(&mut piece);
        }
        Ok(self.stream.write_all(&sealed).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bitcoin::secp256k1::{Keypair, Secp256k1};
    use stratum_core::noise_sv2::{Initiator, Responder};

    use super::*;

    fn ciphers() -> (NoiseEncryptor, NoiseDecryptor) {
        let mut initiator = Initiator::without_pk().unwrap();
        let keypair = Keypair::from_seckey_slice(&Secp256k1::new(), &[7; 32]).unwrap();
        let public = keypair.x_only_public_key().0.serialize();
        let validity = Duration::from_secs(60);
        let mut responder = Responder::from_authority_kp(&public, &keypair.secret_bytes(), validity).unwrap();
        let (answer, theirs) = responder.step_1(initiator.step_0().unwrap()).unwrap();
        let ours = initiator.step_2(answer).unwrap();
        (ours.into_split().0, theirs.into_split().1)
    }

    #[tokio::test]
    async fn frames_arrive_whatever_their_length() {
        let (cipher, decipher) = ciphers();
        let (near, far) = tokio::io::duplex(1 << 20);
        let mut writer = Writer { stream: near, cipher };
        let mut reader = Reader { stream: far, cipher: decipher };
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, MAX_PAYLOAD] {
            let payload: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[0]).collect();
            let kind = MESSAGE_TYPE_REQUEST_TRANSACTION_DATA_SUCCESS;
            writer.send(kind, &payload).await.unwrap();
            let frame = reader.next().await.unwrap();
            assert_eq!((frame.kind, frame.payload), (kind, payload));
        }
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_is_refused_by_its_header() {
        let (cipher, decipher) = ciphers();
        let (near, far) = tokio::io::duplex(1 << 20);
        let mut writer = Writer { stream: near, cipher };
        let mut reader = Reader { stream: far, cipher: decipher };
        writer.send(0x71, &vec![0; MAX_PAYLOAD + 1]).await.unwrap();
        let error = reader.next().await.unwrap_err();
        assert!(matches!(error, FrameError::TooLong { kind: 0x71, length } if length == MAX_PAYLOAD + 1));
    }

    #[tokio::test]
    async fn a_forged_frame_is_refused() {
        let (_, decipher) = ciphers();
        let mut reader = Reader { stream: [7_u8; 100].as_slice(), cipher: decipher };
        assert!(matches!(reader.next().await.unwrap_err(), FrameError::Sealed));
    }
}
