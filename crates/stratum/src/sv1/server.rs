//! The sockets around [`Session`]: one task for each miner, everything bounded.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bitcoin::BlockHash;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use poolbox_accounting::Identity;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::session::{Action, Now, Session, SessionSettings};
use crate::job::JobFeed;
use crate::sink::{AcceptedShare, ShareSink, SinkError};

/// What one client may take of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// Bytes in a line.
    pub line_bytes: usize,
    /// Shares of one connection on their way to the journal; more are not read yet.
    pub shares_in_flight: usize,
    /// How long a client may take to subscribe and authorise.
    pub handshake: Duration,
    /// How long a client may be silent.
    pub idle: Duration,
    /// How long a client may take to read what it is sent.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 256,
            line_bytes: 8 << 10,
            shares_in_flight: 256,
            handshake: Duration::from_secs(60),
            idle: Duration::from_secs(15 * 60),
            write: Duration::from_secs(10),
        }
    }
}

/// The Sv1 server.
#[derive(Debug)]
pub struct Server<S> {
    settings: Arc<SessionSettings>,
    limits: Limits,
    jobs: JobFeed,
    sink: Arc<S>,
    started: Instant,
    next_extranonce: AtomicU32,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// Counts an open connection for as long as it lives.
struct Seat<'a, S> {
    server: &'a Server<S>,
    address: IpAddr,
}

impl<S> Drop for Seat<'_, S> {
    fn drop(&mut self) {
        let mut open = self.server.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// A share that came back from the sink.
struct Kept {
    id: Value,
    hash: BlockHash,
    identity: Identity,
    result: Result<(), SinkError>,
}

type Keeping = BoxFuture<'static, Kept>;

fn keep<S: ShareSink>(sink: Arc<S>, id: Value, share: AcceptedShare) -> Keeping {
    let (hash, identity) = (share.solved.hash, share.identity.clone());
    Box::pin(async move { Kept { id, hash, identity, result: sink.accept(share).await.map(|_| ()) } })
}

impl<S: ShareSink> Server<S> {
    /// A server that sends the jobs of `jobs` and hands shares to `sink`.
    pub fn new(settings: SessionSettings, limits: Limits, jobs: JobFeed, sink: Arc<S>) -> Self {
        Self {
            settings: Arc::new(settings),
            limits,
            jobs,
            sink,
            started: Instant::now(),
            next_extranonce: AtomicU32::new(random_start()),
            open: Mutex::default(),
        }
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Accepts miners until `stop`, then ends their connections and waits for their last shares.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let server = Arc::clone(&self);
                    let stop = stop.clone();
                    tasks.spawn(async move { server.connection(stream, peer, &stop).await });
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

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, stop: &CancellationToken) {
        let Some(_seat) = self.seat(peer.ip()) else {
            tracing::warn!(%peer, "connection refused: too many are open");
            return;
        };
        if self.jobs.borrow().is_none() {
            // Better no pool than a silent one: the miner's fallback engages.
            tracing::debug!(%peer, "connection closed: there is no work yet");
            return;
        }
        // A new block must not wait for an acknowledgement of the line before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "no TCP_NODELAY");
        }
        let (read, write) = stream.into_split();
        let reason = self.converse(read, write, stop).await;
        tracing::debug!(%peer, reason, "connection closed");
    }

    /// Runs one session to its end; says why it ended.
    async fn converse(
        &self,
        read: impl AsyncRead + Unpin,
        write: impl AsyncWrite + Unpin,
        stop: &CancellationToken,
    ) -> &'static str {
        let mut lines = FramedRead::new(read, LinesCodec::new_with_max_length(self.limits.line_bytes));
        let mut write = BufWriter::new(write);
        let mut jobs = self.jobs.clone();
        jobs.mark_changed();
        let mut session = Session::new(Arc::clone(&self.settings), self.extranonce1(), self.now());
        let mut keeping = FuturesUnordered::new();
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let opened = Instant::now();
        let mut heard = opened;
        let mut closing = None;
        while closing.is_none() {
            let actions = tokio::select! {
                () = stop.cancelled() => break,
                Some(Kept { id, hash, identity, result }) = keeping.next() => {
                    session.kept(&id, hash, &identity, result.is_ok())
                }
                Ok(()) = jobs.changed() => {
                    let job = jobs.borrow_and_update().clone();
                    match job {
                        Some(job) => session.on_job(job, self.now()),
                        None => vec![Action::Close("there is no current work")],
                    }
                }
                line = lines.next(), if keeping.len() < self.limits.shares_in_flight => match line {
                    Some(Ok(line)) => {
                        heard = Instant::now();
                        session.on_line(&line, self.now())
                    }
                    Some(Err(LinesCodecError::MaxLineLengthExceeded)) => vec![Action::Close("a line was too long")],
                    Some(Err(LinesCodecError::Io(_))) | None => vec![Action::Close("the miner hung up")],
                },
                _ = tick.tick() => {
                    if heard.elapsed() > self.limits.idle {
                        vec![Action::Close("the miner was silent for too long")]
                    } else if !session.ready() && opened.elapsed() > self.limits.handshake {
                        vec![Action::Close("the miner did not subscribe and authorise in time")]
                    } else {
                        session.on_tick(self.now())
                    }
                }
            };
            closing = self.perform(actions, &mut write, &mut keeping).await;
        }
        // What was accepted is kept, even when nobody waits for the answer.
        while keeping.next().await.is_some() {}
        let farewell = session.on_close();
        self.perform(farewell, &mut write, &mut keeping).await;
        closing.unwrap_or("the pool is stopping")
    }

    /// Does what the session wants; says why it is over, when it is.
    async fn perform<W: AsyncWrite + Unpin>(
        &self,
        actions: Vec<Action>,
        write: &mut BufWriter<W>,
        keeping: &mut FuturesUnordered<Keeping>,
    ) -> Option<&'static str> {
        let mut lines = Vec::new();
        for action in actions {
            match action {
                Action::Send(line) => {
                    lines.extend_from_slice(line.as_bytes());
                    lines.push(b'\n');
                }
                Action::Keep { id, share } => keeping.push(keep(Arc::clone(&self.sink), id, *share)),
                Action::Rejected(share) => self.sink.reject(share),
                Action::Worker(seen) => self.sink.worker(seen),
                Action::Close(reason) => return Some(reason),
            }
        }
        if lines.is_empty() {
            return None;
        }
        let written = async {
            write.write_all(&lines).await?;
            write.flush().await
        };
        match tokio::time::timeout(self.limits.write, written).await {
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some("the miner hung up"),
            Err(_) => Some("the miner does not read"),
        }
    }

    fn seat(&self, address: IpAddr) -> Option<Seat<'_, S>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let here = open.get(&address).copied().unwrap_or_default();
        if all >= self.limits.connections || here >= self.limits.connections_per_address {
            return None;
        }
        open.insert(address, here + 1);
        Some(Seat { server: self, address })
    }

    /// Unique in this process: 2^32 others come before it returns.
    fn extranonce1(&self) -> [u8; 4] {
        self.next_extranonce.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { ms, unix: u32::try_from(unix).unwrap_or(u32::MAX) }
    }
}

/// Where the extranonces of a process begin. Not at a fixed number: after a restart within one block
/// a miner must not get its old extranonce, and with it the headers that were credited before.
fn random_start() -> u32 {
    // The standard library's hasher is keyed by the system's random source.
    let random = RandomState::new().build_hasher().finish();
    (random >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::random_start;

    #[test]
    fn a_restart_does_not_hand_out_the_same_extranonces_again() {
        let starts: std::collections::HashSet<u32> = (0..8).map(|_| random_start()).collect();
        assert!(starts.len() > 6, "{starts:?}");
    }
}
