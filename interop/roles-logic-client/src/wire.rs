//! Frames over Noise over TCP, with the codec of the stack's generation. A thread reads, so that jobs which
//! arrive while a share is searched are known before it is submitted.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use codec_sv2::noise_sv2::INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE;
use codec_sv2::{
    Error as CodecError, Frame, HandshakeRole, Initiator, NoiseEncoder, StandardNoiseDecoder,
    StandardSv2Frame, State,
};
use parsers_sv2::AnyMessage;

/// How long connecting and the handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);

type Message = AnyMessage<'static>;

/// A message as it came: its type and its payload.
pub type Raw = (u8, Vec<u8>);

/// An encrypted connection to the pool.
pub struct Wire {
    stream: TcpStream,
    state: State,
    encoder: NoiseEncoder<Message>,
    received: Receiver<Result<Raw>>,
}

impl Wire {
    /// Connects and shakes hands with whoever holds a certificate of this authority.
    pub fn connect(address: &str, authority: [u8; 32]) -> Result<Self> {
        let resolved = address.to_socket_addrs().context("the address is not understood")?.next();
        let resolved = resolved.context("the address names nobody")?;
        let mut stream = TcpStream::connect_timeout(&resolved, PATIENCE).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let state = handshake(&mut stream, authority)?;
        stream.set_read_timeout(None)?;
        let (reading, mut read_state) = (stream.try_clone()?, state.clone());
        let (send, received) = mpsc::channel();
        std::thread::spawn(move || {
            let mut decoder = StandardNoiseDecoder::<Message>::new();
            loop {
                let frame = next_frame(&reading, &mut decoder, &mut read_state);
                let last = frame.is_err();
                if send.send(frame).is_err() || last {
                    return;
                }
            }
        });
        Ok(Self { stream, state, encoder: NoiseEncoder::new(), received })
    }

    /// Sends one message.
    pub fn send(&mut self, message: Message) -> Result<()> {
        let frame: StandardSv2Frame<Message> =
            message.try_into().map_err(|error| anyhow::anyhow!("message too long: {error:?}"))?;
        let bytes = self.encoder.encode(Frame::Sv2(frame), &mut self.state);
        let bytes = bytes.map_err(|error| anyhow::anyhow!("cannot encrypt: {error:?}"))?;
        self.stream.write_all(bytes.as_ref()).context("cannot send")
    }

    /// The next message, waiting until `deadline`.
    pub fn receive(&self, deadline: Instant) -> Result<Raw> {
        match self.received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => bail!("the pool did not answer in time"),
            Err(RecvTimeoutError::Disconnected) => bail!("the pool closed the connection"),
        }
    }

    /// The next message if one is there already.
    pub fn receive_now(&self) -> Result<Option<Raw>> {
        match self.received.try_recv() {
            Ok(message) => message.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => bail!("the pool closed the connection"),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Ends the reading thread; a connection that is gone already needs no closing.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn handshake(stream: &mut TcpStream, authority: [u8; 32]) -> Result<State> {
    let refused = |error: CodecError| anyhow::anyhow!("the Noise handshake failed: {error:?}");
    let initiator = Initiator::from_raw_k(authority);
    let initiator = initiator.map_err(|error| anyhow::anyhow!("unusable authority key: {error:?}"))?;
    let mut state = State::initialized(HandshakeRole::Initiator(initiator));
    let first = state.step_0().map_err(refused)?;
    stream.write_all(&first.get_payload_when_handshaking()).context("cannot send the handshake")?;
    let mut answer = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
    stream.read_exact(&mut answer).context("no answer to the handshake")?;
    state.step_2(answer).map_err(refused)
}

fn next_frame(
    mut stream: &TcpStream,
    decoder: &mut StandardNoiseDecoder<Message>,
    state: &mut State,
) -> Result<Raw> {
    loop {
        match decoder.next_frame(state) {
            Ok(Frame::Sv2(mut frame)) => {
                let header = frame.get_header().context("a frame without header")?;
                return Ok((header.msg_type(), frame.payload().to_vec()));
            }
            Ok(Frame::HandShake(_)) => bail!("a handshake message after the handshake"),
            Err(CodecError::MissingBytes(_)) => {
                stream.read_exact(decoder.writable()).context("the pool closed the connection")?;
            }
            Err(error) => bail!("a frame that cannot be decoded: {error:?}"),
        }
    }
}
