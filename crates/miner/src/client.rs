//! The connection to the pool: lines over TCP, and connecting again when it breaks.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use poolbox_service::Misconfigured;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::sync::CancellationToken;

use crate::options::PoolUrl;
use crate::sv1::{Action, Credentials, Session, Sv1Error};
use crate::tally::Tally;
use crate::work::{Job, Solution};

/// Longest line of a pool: a job with a large coinbase is a few kilobytes.
const MAX_LINE: usize = 1 << 20;
/// How long connecting, or taking a line of ours, may last.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pools send a job at least every minute or so; one silent for longer is gone.
const MAX_SILENCE: Duration = Duration::from_secs(150);
/// Waits between attempts to connect: doubled from the first up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The miner's connection.
pub struct Client {
    /// The pool.
    pub url: PoolUrl,
    /// The miner.
    pub credentials: Credentials,
    /// To the hashing threads.
    pub jobs: watch::Sender<Option<Arc<Job>>>,
    /// From the hashing threads.
    pub found: mpsc::Receiver<Solution>,
    /// Everybody's counters.
    pub tally: Arc<Tally>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("it cannot be reached ({0}): check host and port, and that the pool runs")]
    Unreachable(io::Error),
    #[error(transparent)]
    Protocol(#[from] Sv1Error),
    #[error("the connection broke ({0})")]
    Broken(io::Error),
    #[error("the pool closed the connection")]
    Closed,
    #[error("the pool said nothing for {} seconds", MAX_SILENCE.as_secs())]
    Silent,
    #[error("the pool asked to connect again")]
    Asked,
}

impl Client {
    /// Mines until `stop`, through any number of connections.
    ///
    /// # Errors
    /// [`Misconfigured`] when the first connection shows that the settings are wrong: no Stratum
    /// there, or a user name that the pool refuses.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut authorized = false;
        let mut wait = BACKOFF.0;
        loop {
            let mut authorized_now = false;
            let Err(ended) = tokio::select! {
                ended = self.converse(&mut authorized_now) => ended,
                () = stop.cancelled() => return Ok(()),
            };
            self.jobs.send_replace(None);
            authorized |= authorized_now;
            if authorized_now {
                wait = BACKOFF.0;
            }
            if let Ended::Protocol(Sv1Error::NotStratum(_) | Sv1Error::NotAuthorized(_)) = ended
                && !authorized
            {
                return Err(Misconfigured::new(format!("{}: {ended}", self.url)).into());
            }
            tracing::warn!("{}: {ended}; connecting again in {} s", self.url, wait.as_secs());
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => return Ok(()),
            }
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    /// One connection, from its start to its end.
    async fn converse(&mut self, authorized: &mut bool) -> Result<Infallible, Ended> {
        let address = (self.url.host.as_str(), self.url.port);
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
        let stream =
            connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Ended::Unreachable)?;
        stream.set_nodelay(true).map_err(Ended::Unreachable)?;
        tracing::info!(pool = %self.url, "connected");
        let (read, mut write) = stream.into_split();
        let mut lines = FramedRead::new(read, LinesCodec::new_with_max_length(MAX_LINE));
        let (mut session, mut actions) = Session::open(self.credentials.clone());
        let mut last_heard = Instant::now();
        loop {
            for action in actions {
                *authorized |= action == Action::Authorized;
                self.act(action, &mut write).await?;
            }
            actions = tokio::select! {
                line = timeout_at(last_heard + MAX_SILENCE, lines.next()) => {
                    let line = line.map_err(|_| Ended::Silent)?.ok_or(Ended::Closed)?;
                    last_heard = Instant::now();
                    let line = line.map_err(|error| Ended::Broken(io::Error::other(error)))?;
                    tracing::trace!(line, "received");
                    session.receive(&line)?
                }
                Some(share) = self.found.recv() => session.submit(&share).into_iter().collect(),
            };
        }
    }

    async fn act(&self, action: Action, write: &mut OwnedWriteHalf) -> Result<(), Ended> {
        match action {
            Action::Send(line) => {
                tracing::trace!(line, "sent");
                let line = line + "\n";
                let sent = timeout(PATIENCE, write.write_all(line.as_bytes())).await;
                sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Ended::Broken)?;
            }
            Action::Authorized => tracing::info!(user = self.credentials.user, "authorized"),
            Action::Hash(job) => {
                tracing::debug!(job = job.id, difficulty = job.difficulty, "new job");
                self.tally.set_difficulty(job.difficulty);
                self.jobs.send_replace(Some(job));
            }
            Action::Accepted => {
                self.tally.accepted();
                tracing::debug!("share accepted");
            }
            Action::Rejected(reason) => {
                self.tally.rejected();
                tracing::warn!(reason, "share rejected");
            }
            Action::Show(message) => tracing::info!("the pool says: {message}"),
            Action::Reconnect => return Err(Ended::Asked),
        }
        Ok(())
    }
}
