//! One miner of many: a socket, its protocol, its shares.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use crate::inbox::Inbox;
use crate::load::flight::Flight;
use crate::load::mine::Mine;
use crate::load::poller::Poller;
use crate::load::talker::{Heard, Talker};
use crate::load::tally::Tally;
use crate::work::Job;

/// How long connecting may last.
const PATIENCE: Duration = Duration::from_secs(10);

/// A miner.
pub struct Connection<T> {
    stream: TcpStream,
    number: usize,
    talker: T,
    inbox: Inbox,
    outbox: Vec<u8>,
    /// How much of the outbox is written.
    written: usize,
    /// Whether the network takes no more for now.
    blocked: bool,
    work: Work,
}

/// What to hash, and what became of it.
#[derive(Default)]
struct Work {
    job: Option<Arc<Job>>,
    /// The job's shares; none before the first is asked for.
    mine: Option<Mine>,
    flight: Flight,
    /// The first header of the next mine.
    next_header: u64,
    /// The first share of the newest block.
    fresh_from: u32,
}

impl<T: Talker> Connection<T> {
    /// Connects and says the first words.
    pub fn open(address: SocketAddr, number: usize, talker: T, poller: &Poller) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .context("it cannot be reached: check host and port, and that the pool runs")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        poller.add(&stream, number)?;
        let mut connection = Self {
            stream,
            number,
            talker,
            inbox: Inbox::default(),
            outbox: Vec::new(),
            written: 0,
            blocked: false,
            work: Work::default(),
        };
        connection.talker.greet(&mut connection.outbox)?;
        connection.flush(poller)?;
        Ok(connection)
    }

    /// Whether it has a job.
    pub const fn is_ready(&self) -> bool {
        self.work.job.is_some()
    }

    /// Shares that wait for their answer.
    pub const fn waiting(&self) -> u32 {
        self.work.flight.waiting()
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// The pool closed the connection, or cannot be understood.
    pub fn read(&mut self, clock: Instant, tally: &mut Tally) -> anyhow::Result<()> {
        let count = match self.stream.read(self.inbox.room()) {
            Ok(0) => bail!("the pool closed it"),
            Ok(count) => count,
            Err(error) if is_temporary(&error) => return Ok(()),
            Err(error) => return Err(broken(error)),
        };
        let now = nanoseconds(clock);
        self.inbox.filled(count);
        let work = &mut self.work;
        self.talker.receive(&mut self.inbox, &mut self.outbox, &mut |heard| work.hear(heard, now, tally))
    }

    /// Finds shares ahead of time.
    pub fn prepare(&mut self) {
        if let Some(mine) = self.work.mine() {
            mine.stock(1);
        }
    }

    /// Sends so many shares.
    pub fn submit(
        &mut self,
        shares: u32,
        clock: Instant,
        poller: &Poller,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let first = self.work.flight.next();
        let Some(mine) = self.work.mine() else { return Ok(()) };
        for number in (first..).take(shares as usize) {
            self.talker.submit(mine.take(), number, &mut self.outbox)?;
        }
        let now = nanoseconds(clock);
        (0..shares).for_each(|_| self.work.flight.push(now));
        tally.submitted += u64::from(shares);
        self.flush(poller)
    }

    /// Writes what waits to be sent, as far as the network takes it.
    pub fn flush(&mut self, poller: &Poller) -> anyhow::Result<()> {
        while self.written < self.outbox.len() {
            match self.stream.write(&self.outbox[self.written..]) {
                Ok(0) => bail!("the pool closed it"),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(broken(error)),
            }
        }
        let blocked = self.written < self.outbox.len();
        if !blocked {
            self.outbox.clear();
            self.written = 0;
        }
        if blocked != self.blocked {
            self.blocked = blocked;
            poller.watch_writing(&self.stream, self.number, blocked)?;
        }
        Ok(())
    }
}

impl Work {
    fn mine(&mut self) -> Option<&mut Mine> {
        if self.mine.is_none() {
            self.mine = self.job.clone().map(|job| Mine::new(job, self.next_header));
        }
        self.mine.as_mut()
    }

    fn hear(&mut self, heard: Heard<'_>, now: u64, tally: &mut Tally) {
        match heard {
            Heard::Job(job) => {
                let previous = self.job.as_ref().map(|job| job.previous);
                if previous.is_some_and(|previous| previous != job.previous) {
                    self.fresh_from = self.flight.next();
                    self.next_header = 0;
                    tally.heard_of(job.previous, now);
                } else if let Some(mine) = &self.mine {
                    self.next_header = mine.next();
                }
                self.mine = None;
                self.job = Some(job);
            }
            Heard::AcceptedThrough(last, more) => {
                let answered =
                    self.flight.answer_through(last, |written| tally.accepted(now.saturating_sub(written)));
                tally.miscounted += u64::from(answered != more);
            }
            Heard::Accepted(number) => {
                if let Some(written) = self.flight.answer(number) {
                    tally.accepted(now.saturating_sub(written));
                }
            }
            Heard::Rejected(number, reason) => {
                self.flight.answer(number);
                // Numbers go round after 2^32 shares.
                let outdated = number.wrapping_sub(self.fresh_from) > u32::MAX / 2;
                tally.refused(reason, outdated);
            }
        }
    }
}

/// Nanoseconds since the clock was started.
pub fn nanoseconds(clock: Instant) -> u64 {
    u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn broken(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => anyhow!("the pool closed it"),
        _ => anyhow::Error::new(error).context("it broke"),
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
