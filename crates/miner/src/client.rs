//! The connection to the pool, and connecting again when it breaks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use poolbox_service::Misconfigured;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::protocol::{Action, ProtocolError, Session};
use crate::sv1::{self, Credentials};
use crate::sv2::{self, ChannelKind};
use crate::tally::Tally;
use crate::url::{PoolUrl, Protocol};
use crate::wire::{Ended, Frames, Lines, MAX_SILENCE, Wire, connect};
use crate::work::{Job, Solution};

/// Waits between attempts to connect: doubled from the first up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The miner's connection.
pub struct Client {
    /// The pool.
    pub url: PoolUrl,
    /// The miner.
    pub credentials: Credentials,
    /// What to mine on over Stratum V2.
    pub channel: ChannelKind,
    /// Hashes per second, as told over Stratum V2.
    pub hashrate: f32,
    /// To the hashing threads.
    pub jobs: watch::Sender<Option<Arc<Job>>>,
    /// From the hashing threads.
    pub found: mpsc::Receiver<Solution>,
    /// Everybody's counters.
    pub tally: Arc<Tally>,
}

impl Client {
    /// Mines until `stop`, through any number of connections.
    ///
    /// # Errors
    /// [`Misconfigured`] when the first connection shows that the settings are wrong: no Stratum
    /// there, another pool, or a user name that the pool refuses.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut authorized = false;
        let mut wait = BACKOFF.0;
        loop {
            let mut authorized_now = false;
            let Err(ended) = tokio::select! {
                ended = self.connect(&mut authorized_now) => ended,
                () = stop.cancelled() => return Ok(()),
            };
            self.jobs.send_replace(None);
            authorized |= authorized_now;
            if authorized_now {
                wait = BACKOFF.0;
            }
            if let Ended::Protocol(error) = &ended
                && error.blames_the_settings()
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
    async fn connect(&mut self, authorized: &mut bool) -> Result<Infallible, Ended> {
        let stream = connect(&self.url.host, self.url.port).await?;
        tracing::info!(pool = %self.url, "connected");
        match self.url.protocol {
            Protocol::Sv1 => {
                let (session, greeting) = sv1::Session::open(self.credentials.clone());
                self.converse(Lines::new(stream), session, greeting, authorized).await
            }
            Protocol::Sv2 { authority } => {
                let frames = Frames::new(stream, authority).await?;
                let (session, greeting) = sv2::Session::open(self.miner()).map_err(ProtocolError::from)?;
                self.converse(frames, session, vec![Action::Send(greeting)], authorized).await
            }
        }
    }

    fn miner(&self) -> sv2::Miner {
        sv2::Miner {
            user: self.credentials.user.clone(),
            user_agent: self.credentials.user_agent.clone(),
            hashrate: self.hashrate,
            channel: self.channel,
            host: self.url.host.clone(),
            port: self.url.port,
        }
    }

    async fn converse<S: Session, W: Wire<Message = S::Message>>(
        &mut self,
        mut wire: W,
        mut session: S,
        mut actions: Vec<Action<S::Message>>,
        authorized: &mut bool,
    ) -> Result<Infallible, Ended> {
        let mut last_heard = Instant::now();
        loop {
            for action in actions {
                *authorized |= matches!(action, Action::Authorized);
                self.act(action, &mut wire).await?;
            }
            actions = tokio::select! {
                message = timeout_at(last_heard + MAX_SILENCE, wire.receive()) => {
                    let message = message.map_err(|_| Ended::Silent)??;
                    last_heard = Instant::now();
                    session.receive(message)?
                }
                Some(share) = self.found.recv() => {
                    session.submit(&share).map(Action::Send).into_iter().collect()
                }
            };
        }
    }

    async fn act<W: Wire>(&self, action: Action<W::Message>, wire: &mut W) -> Result<(), Ended> {
        match action {
            Action::Send(message) => wire.send(message).await?,
            Action::Authorized => tracing::info!(user = self.credentials.user, "authorized"),
            Action::Hash(job) => {
                tracing::debug!(job = job.id, difficulty = job.difficulty, "new job");
                self.tally.set_difficulty(job.difficulty);
                self.jobs.send_replace(Some(job));
            }
            Action::Accepted(shares) => {
                self.tally.accepted(shares.into());
                tracing::debug!(shares, "share accepted");
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
