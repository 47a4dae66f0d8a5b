//! Messages over TCP: lines for Stratum V1, encrypted frames for Stratum V2.

use std::io;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LinesCodec};

use crate::inbox::Inbox;
use crate::protocol::ProtocolError;
use crate::sv2::{ANSWER, AuthorityKey, Frame, Handshake, Link, Sv2Error};

/// Longest line of a pool: a job with a large coinbase is a few kilobytes.
const MAX_LINE: usize = 1 << 20;
/// How long connecting, or taking a message of ours, may last.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Pools send a job at least every minute or so; one silent for longer is gone.
pub const MAX_SILENCE: Duration = Duration::from_secs(150);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It never began.
    #[error("it cannot be reached ({0}): check host and port, and that the pool runs")]
    Unreachable(io::Error),
    /// What the pool says is of no use.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The network.
    #[error("the connection broke ({0})")]
    Broken(io::Error),
    /// The pool.
    #[error("the pool closed the connection")]
    Closed,
    /// Nobody is there any more.
    #[error("the pool said nothing for {} seconds", MAX_SILENCE.as_secs())]
    Silent,
    /// The pool wants it so.
    #[error("the pool asked to connect again")]
    Asked,
}

/// A connection to a pool, as messages.
pub trait Wire {
    /// What travels.
    type Message;

    /// Sends one message.
    async fn send(&mut self, message: Self::Message) -> Result<(), Ended>;

    /// Waits for the next message. Nothing is lost when this is given up for something else.
    async fn receive(&mut self) -> Result<Self::Message, Ended>;
}

/// Stratum V1's.
pub struct Lines {
    read: FramedRead<OwnedReadHalf, LinesCodec>,
    write: OwnedWriteHalf,
}

/// Stratum V2's.
pub struct Frames {
    stream: TcpStream,
    link: Link,
    inbox: Inbox,
}

/// Connects within [`PATIENCE`].
pub async fn connect(host: &str, port: u16) -> Result<TcpStream, Ended> {
    let connected = timeout(PATIENCE, TcpStream::connect((host, port))).await;
    let stream =
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Ended::Unreachable)?;
    stream.set_nodelay(true).map_err(Ended::Unreachable)?;
    Ok(stream)
}

impl Lines {
    /// Over this connection.
    pub fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self { read: FramedRead::new(read, LinesCodec::new_with_max_length(MAX_LINE)), write }
    }
}

impl Wire for Lines {
    type Message = String;

    async fn send(&mut self, line: String) -> Result<(), Ended> {
        tracing::trace!(line, "sent");
        let line = line + "\n";
        in_time(self.write.write_all(line.as_bytes())).await
    }

    async fn receive(&mut self) -> Result<String, Ended> {
        let line = self.read.next().await.ok_or(Ended::Closed)?;
        let line = line.map_err(|error| Ended::Broken(io::Error::other(error)))?;
        tracing::trace!(line, "received");
        Ok(line)
    }
}

impl Frames {
    /// Encrypts this connection.
    pub async fn new(mut stream: TcpStream, authority: Option<AuthorityKey>) -> Result<Self, Ended> {
        let failed = |error| Ended::Protocol(Sv2Error::of_handshake(error).into());
        let (handshake, hello) = Handshake::start(authority).map_err(failed)?;
        in_time(stream.write_all(&hello)).await?;
        let mut answer = [0; ANSWER];
        in_time(async { stream.read_exact(&mut answer).await.map(drop) }).await?;
        let link = Link::new(handshake.finish(&answer, unix_seconds()).map_err(failed)?);
        Ok(Self { stream, link, inbox: Inbox::default() })
    }
}

impl Wire for Frames {
    type Message = Frame;

    async fn send(&mut self, frame: Frame) -> Result<(), Ended> {
        tracing::trace!(kind = frame.kind, bytes = frame.payload.len(), "sent");
        let mut bytes = Vec::new();
        let sealed = self.link.seal(frame.header(), &frame.payload, &mut bytes);
        sealed.map_err(|error| ProtocolError::from(Sv2Error::from(error)))?;
        in_time(self.stream.write_all(&bytes)).await
    }

    async fn receive(&mut self) -> Result<Frame, Ended> {
        loop {
            let next = self.link.next(&mut self.inbox);
            if let Some((header, payload)) =
                next.map_err(|error| ProtocolError::from(Sv2Error::from(error)))?
            {
                tracing::trace!(kind = header.kind, bytes = payload.len(), "received");
                return Ok(Frame {
                    extension: header.extension,
                    kind: header.kind,
                    payload: payload.to_vec(),
                });
            }
            match self.stream.read(self.inbox.room()).await.map_err(Ended::Broken)? {
                0 => return Err(Ended::Closed),
                count => self.inbox.filled(count),
            }
        }
    }
}

async fn in_time(io: impl Future<Output = io::Result<()>>) -> Result<(), Ended> {
    match timeout(PATIENCE, io).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Ended::Closed),
        Ok(Err(error)) => Err(Ended::Broken(error)),
        Err(_) => Err(Ended::Broken(io::ErrorKind::TimedOut.into())),
    }
}

/// Seconds since 1970.
pub fn unix_seconds() -> u32 {
    let seconds = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    seconds.try_into().unwrap_or(u32::MAX)
}
