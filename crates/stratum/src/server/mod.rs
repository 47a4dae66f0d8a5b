//! The sockets around a [`Session`]: one task for each miner, everything bounded. Every port of the box,
//! whatever it speaks, shares one [`Server`]: its limits, its extranonces and its sink.

mod admission;
mod connection;
mod pace;
mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use admission::Limits;
pub use transport::{Plain, Transport};

pub use crate::extranonce::Extranonces;
use crate::job::JobFeed;
use crate::session::{Now, Session};
use crate::sink::{Protocol as Spoken, ShareSink};
use admission::Admission;

/// Makes the sessions of one port.
pub trait Protocol: Send + Sync + 'static {
    /// What it speaks.
    const SPEAKS: Spoken;
    /// What serves one connection.
    type Session: Session;

    /// The session of a connection that was just opened; none when no extranonce is free for it.
    fn open(&self, now: Now) -> Option<Self::Session>;
}

/// What all ports share.
#[derive(Debug)]
pub struct Server<S> {
    limits: Limits,
    jobs: JobFeed,
    sink: Arc<S>,
    started: Instant,
    admission: Admission,
}

impl<S: ShareSink> Server<S> {
    /// A server that sends the jobs of `jobs` and hands shares to `sink`.
    pub fn new(limits: Limits, jobs: JobFeed, sink: Arc<S>) -> Self {
        let admission = Admission::new(limits);
        Self { limits, jobs, sink, started: Instant::now(), admission }
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.admission.open()
    }

    /// Those of them on ports that speak this.
    pub fn speaking(&self, protocol: Spoken) -> usize {
        self.admission.speaking(protocol)
    }

    /// Accepts miners on one port until `stop`, then ends their connections and waits for their last
    /// shares.
    pub async fn serve<P: Protocol>(
        self: Arc<Self>,
        protocol: P,
        listener: TcpListener,
        stop: CancellationToken,
    ) {
        self.serve_over(Plain, protocol, listener, stop).await;
    }

    /// [`Self::serve`], with something between the sockets and the protocol.
    pub async fn serve_over<P: Protocol>(
        self: Arc<Self>,
        transport: impl Transport,
        protocol: P,
        listener: TcpListener,
        stop: CancellationToken,
    ) {
        let port = Arc::new((transport, protocol));
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (server, port, stop) = (Arc::clone(&self), Arc::clone(&port), stop.clone());
                    tasks.spawn(async move {
                        let (transport, protocol) = &*port;
                        let reason = server.welcome(transport, protocol, stream, peer, &stop).await;
                        tracing::debug!(%peer, reason, "connection closed");
                    });
                }
                Err(error) => {
                    // Out of file descriptors, mostly: give the others time to end.
                    tracing::warn!(%error, "a miner's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Serves a connection to its end; says why it ended.
    async fn welcome<P: Protocol>(
        &self,
        transport: &impl Transport,
        protocol: &P,
        stream: TcpStream,
        peer: SocketAddr,
        stop: &CancellationToken,
    ) -> &'static str {
        let _seat = match self.admission.seat(peer.ip(), P::SPEAKS) {
            Ok(seat) => seat,
            Err(full) => {
                if full.news {
                    let open = self.connections();
                    tracing::warn!(%peer, open, "connections are refused: too many are open, or from one address");
                }
                return "too many are open";
            }
        };
        if self.jobs.borrow().is_none() {
            // Better no pool than a silent one: the miner's fallback engages.
            return "there is no work yet";
        }
        // A new block must not wait for an acknowledgement of the line before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "no TCP_NODELAY");
        }
        let opened_ms = self.now().ms;
        let stream = tokio::select! {
            () = stop.cancelled() => return "the pool is stopping",
            stream = timeout(self.limits.handshake, transport.open(stream)) => match stream {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "no handshake");
                    return "it did not speak as this port does";
                }
                Err(_) => return "its handshake took too long",
            },
        };
        match protocol.open(self.now()) {
            Some(session) => connection::run(self, session, stream, opened_ms, stop).await,
            None => "other miners have all extranonces that there are",
        }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { ms, unix: u32::try_from(unix).unwrap_or(u32::MAX) }
    }
}
