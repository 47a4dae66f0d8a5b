//! One connection to the upstream, from the first byte to its end: the socket around a [`Client`].

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::UpstreamConfig;
use super::client::{Client, Outbox};
use super::line::Lines;
use super::tally::{Upstream, UpstreamShare};
use super::tls::Tls;
use crate::feed::{Call, Feed, Provided};
use crate::outage::Outage;
use crate::session::{End, meanwhile};
use crate::tcp::{self, Endpoint};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the upstream may take to read what we send.
const WRITE: Duration = Duration::from_secs(10);
/// How long the first job may take before it is mentioned.
const FIRST_JOB: Duration = Duration::from_secs(10);
/// How long the upstream may say nothing: most send a job at least every minute.
const SILENCE: Duration = Duration::from_secs(5 * 60);
const TICK: Duration = Duration::from_secs(1);

/// A socket, or TLS over one.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How a connection ended.
pub struct Ended {
    pub end: End,
    /// The upstream wants the next one at this port.
    pub moved_to: Option<u16>,
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        Self { end, moved_to: None }
    }
}

/// Serves the upstream's jobs to `feed`, and shares to the upstream, until one of them ends it.
pub async fn run(
    config: &UpstreamConfig,
    endpoint: &Endpoint,
    tls: Option<&Tls>,
    upstream: &Upstream,
    feed: &mut Feed,
) -> Ended {
    let stream = match meanwhile(feed, connect(config, endpoint, tls)).await {
        None => return End::Stopped.into(),
        Some(Err(outage)) => return End::Failed(outage).into(),
        Some(Ok(stream)) => stream,
    };
    let (from, to) = tokio::io::split(stream);
    let mut client = Client::new(config, &endpoint.host, upstream, Instant::now());
    let mut shares = upstream.join(client.session());
    let mut wire = Wire { lines: Lines::new(from), to };
    let ended = wire.converse(&mut client, &mut shares, feed).await;
    upstream.leave(client.unanswered(), shares);
    ended
}

struct Wire<R, W> {
    lines: Lines<R>,
    to: W,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Wire<R, W> {
    async fn converse(
        &mut self,
        client: &mut Client<'_>,
        shares: &mut mpsc::Receiver<UpstreamShare>,
        feed: &mut Feed,
    ) -> Ended {
        let mut out = Outbox::default();
        client.greet(&mut out);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mentioned_at = Instant::now() + FIRST_JOB;
        let (mut quiet, mut heard_at) = (true, Instant::now());
        loop {
            if !out.text.is_empty() {
                let text = std::mem::take(&mut out.text);
                match timeout(WRITE, self.write(text.as_bytes())).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return End::Failed(Outage::UpstreamClosed).into(),
                }
            }
            if let Some(template) = out.template.take() {
                quiet = false;
                feed.publish(Provided { wire_id: 0, template: Arc::new(template) });
            }
            if let Some(moved_to) = out.reconnect {
                return Ended { end: End::Failed(Outage::UpstreamClosed), moved_to };
            }
            let done = tokio::select! {
                call = feed.call() => match call {
                    // Blocks are the upstream's matter.
                    Call::Submit(submission) => {
                        feed.refuse(submission);
                        Ok(())
                    }
                    Call::Stop => return End::Stopped.into(),
                },
                line = self.lines.next() => match line {
                    Ok(line) => {
                        heard_at = Instant::now();
                        client.on_line(&line, heard_at, &mut out)
                    }
                    Err(outage) => Err(outage),
                },
                Some(share) = shares.recv(), if client.may_send() => {
                    client.on_share(&share, Instant::now(), &mut out);
                    Ok(())
                }
                _ = tick.tick() => client.on_tick(Instant::now(), &mut out),
                () = sleep_until(mentioned_at), if quiet => {
                    quiet = false;
                    feed.wait(Outage::UpstreamWaiting);
                    Ok(())
                }
                () = sleep_until(heard_at + SILENCE) => Err(Outage::UpstreamQuiet(SILENCE.as_secs())),
            };
            if let Err(outage) = done {
                return End::Failed(outage).into();
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.to.write_all(bytes).await?;
        self.to.flush().await
    }
}

async fn connect(
    config: &UpstreamConfig,
    endpoint: &Endpoint,
    tls: Option<&Tls>,
) -> Result<Box<dyn Stream>, Outage> {
    let address = || config.url.clone();
    let unreachable = |error: std::io::Error| match error.kind() {
        ErrorKind::ConnectionRefused => Outage::UpstreamRefused(address()),
        _ => Outage::UpstreamUnreachable { address: address(), reason: error.to_string() },
    };
    let connecting = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
    let stream = match timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(unreachable)?,
        Err(_) => {
            return Err(Outage::UpstreamUnreachable { address: address(), reason: "no answer".into() });
        }
    };
    tcp::prepare(&stream).map_err(unreachable)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let untrusted = |reason: String| Outage::UpstreamUntrusted { address: address(), reason };
    match timeout(CONNECT, tls.connect(stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(untrusted(error.to_string())),
        Err(_) => Err(untrusted("no answer".into())),
    }
}
