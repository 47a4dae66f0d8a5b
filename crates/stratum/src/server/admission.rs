//! Who may connect: what one client may take of the server.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What clients may take of the server, all ports together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// Shares of one connection that wait for the journal; with more, it is not read.
    pub shares_waiting: usize,
    /// Shares, and other messages, of one connection a second, good or bad; with more, it is read more
    /// slowly. Zero: any number.
    pub shares_per_second: u32,
    /// How long a client may take until it can be sent work.
    pub handshake: Duration,
    /// How long a client may go without a whole message.
    pub idle: Duration,
    /// How long a client may take to read what it is sent.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 256,
            shares_waiting: 1024,
            shares_per_second: 1000,
            handshake: Duration::from_secs(60),
            idle: Duration::from_secs(15 * 60),
            write: Duration::from_secs(10),
        }
    }
}

/// Counts open connections.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// An open connection, for as long as it lives.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    admission: &'a Admission,
    address: IpAddr,
}

impl Admission {
    pub fn new(limits: Limits) -> Self {
        Self { limits, open: Mutex::default() }
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.lock().all
    }

    /// A place for one more connection from `address`; none when it or the house is full.
    pub fn seat(&self, address: IpAddr) -> Option<Seat<'_>> {
        let mut open = self.lock();
        let here = open.by_address.get(&address).copied().unwrap_or_default();
        if open.all >= self.limits.connections || here >= self.limits.connections_per_address {
            return None;
        }
        open.all += 1;
        open.by_address.insert(address, here + 1);
        Some(Seat { admission: self, address })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut open = self.admission.lock();
        open.all -= 1;
        if let Some(here) = open.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_seat_and_a_seat_is_given_back() {
        let limits = Limits { connections: 3, connections_per_address: 2, ..Limits::default() };
        let admission = Admission::new(limits);
        let [a, b, c] = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        let first = admission.seat(a);
        let _second = admission.seat(a).unwrap();
        assert!(first.is_some() && admission.seat(a).is_none(), "its share is taken");
        let _third = admission.seat(b).unwrap();
        assert!(admission.seat(c).is_none(), "the house is full");
        drop(first);
        assert_eq!(admission.open(), 2);
        assert!(admission.seat(c).is_some());
    }
}
