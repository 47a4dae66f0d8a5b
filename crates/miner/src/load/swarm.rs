//! All connections, and the loop that serves them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};

use crate::load::connection::Connection;
use crate::load::options::LoadOptions;
use crate::load::poller::{Poller, Ready};
use crate::load::talker::Talker;
use crate::load::tally::Tally;

/// Connections that are opened at once: no more than a pool lets wait.
const OPENING: usize = 64;
/// How long no further connection may get its first job before this counts as a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// Many miners.
pub struct Swarm<T> {
    connections: Vec<Connection<T>>,
    poller: Poller,
    clock: Instant,
    /// When the clock was started, since 1970.
    epoch: Duration,
    ready: Vec<Ready>,
    /// What came of it so far.
    pub tally: Tally,
}

impl<T: Talker> Swarm<T> {
    /// Connects them all and waits until each has a job.
    pub fn open(options: &LoadOptions, talker: impl Fn(usize) -> T) -> anyhow::Result<Self> {
        let (host, port) = (options.url.host.as_str(), options.url.port);
        let address = (host, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        let address = address.with_context(|| format!("{}: the host is not known", options.url))?;
        let mut swarm = Self {
            connections: Vec::new(),
            poller: Poller::new().context("epoll is not available")?,
            clock: Instant::now(),
            epoch: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
            ready: Vec::new(),
            tally: Tally::default(),
        };
        swarm.connect(address, options.connections as usize, talker)?;
        Ok(swarm)
    }

    fn connect(
        &mut self,
        address: SocketAddr,
        wanted: usize,
        talker: impl Fn(usize) -> T,
    ) -> anyhow::Result<()> {
        let mut ready = 0;
        let mut last_progress = Instant::now();
        let mut waiting: Vec<usize> = Vec::new();
        while ready < wanted {
            while self.connections.len() < wanted && waiting.len() < OPENING {
                let number = self.connections.len();
                let connection = Connection::open(address, number, talker(number), &self.poller);
                self.connections.push(connection.with_context(|| name(number, wanted))?);
                waiting.push(number);
            }
            self.turn(Duration::from_millis(200))?;
            waiting.retain(|&number| !self.connections[number].is_ready());
            let now_ready = self.connections.len() - waiting.len();
            if now_ready > ready {
                (ready, last_progress) = (now_ready, Instant::now());
            }
            ensure!(
                last_progress.elapsed() < PATIENCE,
                "only {ready} of {wanted} connections got a job; the pool gave no further one within {} s",
                PATIENCE.as_secs()
            );
        }
        Ok(())
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.connections.len()
    }

    /// When all this began, since 1970.
    pub const fn epoch(&self) -> Duration {
        self.epoch
    }

    /// Since all this began.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Shares that wait for their answer, on all connections.
    pub fn waiting(&self) -> u64 {
        self.connections.iter().map(|connection| u64::from(connection.waiting())).sum()
    }

    /// Lets each connection find shares ahead of time.
    pub fn prepare(&mut self) {
        self.connections.iter_mut().for_each(Connection::prepare);
    }

    /// Waits for the network, at most so long, and serves it.
    ///
    /// # Errors
    /// The pool closed a connection, or cannot be understood.
    pub fn turn(&mut self, longest: Duration) -> anyhow::Result<()> {
        self.ready.clear();
        self.poller.wait(longest, &mut self.ready)?;
        let of = self.connections.len();
        for ready in &self.ready {
            let Some(connection) = self.connections.get_mut(ready.number) else { continue };
            if ready.readable {
                let read = connection.read(self.clock, &mut self.tally);
                read.with_context(|| name(ready.number, of))?;
            }
            connection.flush(&self.poller).with_context(|| name(ready.number, of))?;
        }
        Ok(())
    }

    /// Sends shares on the connections that were served in the last turn, until `window` wait on each.
    pub fn top_up(&mut self, window: u32) -> anyhow::Result<()> {
        for place in 0..self.ready.len() {
            let number = self.ready[place].number;
            self.fill(number, window)?;
        }
        Ok(())
    }

    /// Sends shares on this connection until `window` wait.
    pub fn fill(&mut self, number: usize, window: u32) -> anyhow::Result<()> {
        let waiting = self.connections.get(number).map_or(window, Connection::waiting);
        if waiting < window { self.submit(number, window - waiting) } else { Ok(()) }
    }

    /// Sends so many shares on this connection.
    pub fn submit(&mut self, number: usize, shares: u32) -> anyhow::Result<()> {
        let of = self.connections.len();
        let Some(connection) = self.connections.get_mut(number) else { return Ok(()) };
        let sent = connection.submit(shares, self.clock, &self.poller, &mut self.tally);
        sent.with_context(|| name(number, of))
    }
}

fn name(number: usize, of: usize) -> String {
    format!("connection {number} of {of}")
}
