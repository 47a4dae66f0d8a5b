//! Waiting for many sockets at once, until a given moment (Linux's epoll).

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// Sockets reported at once.
const EVENTS: usize = 256;
/// The timer among the sockets.
const TIMER: u64 = u64::MAX;
/// Shorter waits are ended by the timer, which is exact to the microsecond; epoll itself rounds to
/// milliseconds.
const SHORT: Duration = Duration::from_millis(20);

/// The sockets.
pub struct Poller {
    epoll: OwnedFd,
    timer: OwnedFd,
    events: Vec<Event>,
}

/// A socket that is ready.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Its number.
    pub number: usize,
    /// There are bytes to read, or it is closed; else it only takes bytes again.
    pub readable: bool,
}

impl Poller {
    /// No sockets yet.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Edge-triggered: each setting of the timer reports once, and nobody has to read it.
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)?;
        Ok(Self { epoll, timer, events: Vec::with_capacity(EVENTS) })
    }

    /// Watches a socket for reading under this number.
    pub fn add(&self, stream: &TcpStream, number: usize) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, stream, EventData::new_u64(number as u64), EventFlags::IN)?)
    }

    /// Watches it for writing too, or no longer.
    pub fn watch_writing(&self, stream: &TcpStream, number: usize, watch: bool) -> io::Result<()> {
        let flags = if watch { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, stream, EventData::new_u64(number as u64), flags)?)
    }

    /// Waits until a socket is ready, at most so long; appends those that are.
    pub fn wait(&mut self, longest: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        if !longest.is_zero() && longest < SHORT {
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            let once = Itimerspec { it_interval, it_value: timespec(longest) };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        }
        let timeout = timespec(longest);
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            let (data, flags) = (event.data, event.flags);
            let number = data.u64();
            if number != TIMER {
                ready.push(Ready {
                    number: number as usize,
                    readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
                });
            }
        }
        Ok(())
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}
