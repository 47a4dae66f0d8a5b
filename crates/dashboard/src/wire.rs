//! How a request came: from whom, and whether anybody on the way can read it. The encrypted port is TLS with the
//! box's own certificate before the same pages.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use poolbox_service::{OwnCertificate, Tls, TlsSocket};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Browsers and systems differ in how long a certificate may last; Apple's take 825 days.
pub const OWN: OwnCertificate = OwnCertificate {
    key: "https.key",
    certificate: "https.pem",
    valid: Duration::from_secs(800 * DAY.as_secs()),
    renewed: Some(Duration::from_secs(60 * DAY.as_secs())),
    consequence: "browsers ask once more whether to trust it",
};

/// How long a browser may take for its part of the handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// Handshakes at the same time; who comes then waits.
const MAX_HANDSHAKES: usize = 128;

/// Whether others can read along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// HTTP.
    #[default]
    Open,
    /// HTTPS.
    Encrypted,
}

impl Wire {
    /// What an address begins with.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Open => "http",
            Self::Encrypted => "https",
        }
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// How it came.
    pub wire: Wire,
}

/// Where the same pages are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// Port.
    pub port: u16,
    /// SHA-256 of the certificate, `AB:CD:…`.
    pub fingerprint: String,
}

impl Encrypted {
    /// The address of the pages, for who calls the box by this name.
    pub fn url(&self, host: &str) -> String {
        match self.port {
            443 => format!("https://{host}"),
            port => format!("https://{host}:{port}"),
        }
    }
}

/// The encrypted port. Handshakes go on beside each other, so that a slow one keeps nobody waiting.
pub struct TlsListener {
    tcp: TcpListener,
    tls: Tls,
    handshakes: JoinSet<Option<(TlsSocket, SocketAddr)>>,
}

impl TlsListener {
    /// Behind this listener.
    pub fn new(tcp: TcpListener, tls: Tls) -> Self {
        Self { tcp, tls, handshakes: JoinSet::new() }
    }
}

impl Listener for TlsListener {
    type Io = TlsSocket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                Some(shaken) = self.handshakes.join_next() => if let Ok(Some(arrived)) = shaken {
                    return arrived;
                },
                (socket, from) = Listener::accept(&mut self.tcp), if self.handshakes.len() < MAX_HANDSHAKES => {
                    let tls = self.tls.clone();
                    self.handshakes.spawn(async move {
                        match tokio::time::timeout(PATIENCE, tls.accept(socket)).await {
                            Ok(Ok(stream)) => Some((stream, from)),
                            // Browsers that are asking whether to trust the certificate, and scanners.
                            Ok(Err(error)) => {
                                tracing::debug!(%from, %error, "a handshake was broken off");
                                None
                            }
                            Err(_) => None,
                        }
                    });
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self { address: *stream.remote_addr(), wire: Wire::Open }
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self { address: *stream.remote_addr(), wire: Wire::Encrypted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_port_is_not_spelled_out() {
        let at = |port| Encrypted { port, fingerprint: String::new() };
        assert_eq!(at(443).url("poolbox.local"), "https://poolbox.local");
        assert_eq!(at(3443).url("[::1]"), "https://[::1]:3443");
    }
}
