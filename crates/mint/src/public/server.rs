//! The public API's connections: how many, from where, and how long each may keep us waiting. What
//! axum's own server leaves open to anyone who comes slowly or comes often.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::rates::household;
use crate::settings::Limits;

/// Pause when a connection cannot be accepted, as without file descriptors.
const AFTER_ERROR: Duration = Duration::from_millis(100);
/// A full house is told to the log at most this often: whoever fills it chooses how often he comes.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How long requests may take to finish when the process is stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Who sent a request; an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Caller(pub IpAddr);

/// Serves `router` until `stop`, and then what is under way for a few seconds more.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let house = Arc::new(House::new(limits));
    let connections = TaskTracker::new();
    // What is still open after the last answers: WebSockets, which end when their stream does.
    let over = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some(seat) = house.seat(address.ip()) else { continue };
                let over = Box::pin(over.clone().cancelled_owned());
                let stream = Seated { stream, stalled: None, patience: limits.patience, over, _seat: seat };
                connections.spawn(converse(stream, address, router.clone(), limits, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the Cashu API was not accepted");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
    drop(listener);
    connections.close();
    // A client that keeps its connection open does not keep the process.
    let _ = tokio::time::timeout(LAST_ANSWERS, connections.wait()).await;
    over.cancel();
}

/// One connection, to its end.
async fn converse(
    stream: Seated,
    address: SocketAddr,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Caller(address.ip()));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.patience)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "a connection to the Cashu API broke off");
    }
}

/// Counts open connections.
struct House {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    told: Option<Instant>,
}

/// A place of one connection, given back when dropped.
struct Seat {
    house: Arc<House>,
    address: IpAddr,
}

impl House {
    fn new(limits: Limits) -> Self {
        Self { limits, open: Mutex::default() }
    }

    /// A place for one more connection, if there is one.
    fn seat(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let address = household(address);
        let mut open = self.lock();
        let here = open.by_address.get(&address).copied().unwrap_or_default();
        if here >= self.limits.connections_per_address || open.all >= self.limits.connections {
            if open.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                open.told = Some(Instant::now());
                tracing::warn!(%address, here, in_all = open.all, "too many connections to the Cashu API");
            }
            return None;
        }
        open.all += 1;
        open.by_address.insert(address, here + 1);
        drop(open);
        Some(Seat { house: Arc::clone(self), address })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.house.lock();
        open.all -= 1;
        if let Some(here) = open.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// A stream with its seat, also after it has become a WebSocket, which breaks off when the client
/// does not read what it is sent.
struct Seated {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
    patience: Duration,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    _seat: Seat,
}

impl Seated {
    /// Lets nothing wait for longer than the patience.
    fn in_time<T>(&mut self, context: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.stalled = None;
            return sent;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Seated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_pending() {
            ready!(self.over.as_mut().poll(context));
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl AsyncWrite for Seated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.in_time(context, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
