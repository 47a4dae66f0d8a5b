//! What lies between a socket and its protocol.

use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Nothing, or encryption of its own such as TLS.
pub trait Transport: Send + Sync + 'static {
    /// What the protocol reads and writes.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// Shakes hands over a socket that was just accepted. Dropped when that takes too long.
    fn open(&self, socket: TcpStream) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Nothing.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Transport for Plain {
    type Stream = TcpStream;

    async fn open(&self, socket: TcpStream) -> io::Result<TcpStream> {
        Ok(socket)
    }
}
