//! Who may connect: what one client may take of the server.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sink::Protocol;

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
    sv2: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// An open connection, for as long as it lives.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    admission: &'a Admission,
    address: IpAddr,
    protocol: Protocol,
}

impl Admission {
    pub fn new(limits: Limits) -> Self {
        Self { limits, open: Mutex::default() }
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.lock().all
    }

    /// Those of them that speak this.
    pub fn speaking(&self, protocol: Protocol) -> usize {
        let open = self.lock();
        match protocol {
            Protocol::Sv1 => open.all - open.sv2,
            Protocol::Sv2 => open.sv2,
        }
    }

    /// A place for one more connection from `address`; none when it or the house is full.
    pub fn seat(&self, address: IpAddr, protocol: Protocol) -> Option<Seat<'_>> {
        let mut open = self.lock();
        let here = open.by_address.get(&address).copied().unwrap_or_default();
        if open.all >= self.limits.connections || here >= self.limits.connections_per_address {
            return None;
        }
        open.all += 1;
        open.sv2 += usize::from(protocol == Protocol::Sv2);
        open.by_address.insert(address, here + 1);
        Some(Seat { admission: self, address, protocol })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut open = self.admission.lock();
        open.all -= 1;
        open.sv2 -= usize::from(self.protocol == Protocol::Sv2);
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
        let first = admission.seat(a, Protocol::Sv1);
        let _second = admission.seat(a, Protocol::Sv2).unwrap();
        assert!(first.is_some() && admission.seat(a, Protocol::Sv1).is_none(), "its share is taken");
        let _third = admission.seat(b, Protocol::Sv1).unwrap();
        assert!(admission.seat(c, Protocol::Sv1).is_none(), "the house is full");
        assert_eq!([Protocol::Sv1, Protocol::Sv2].map(|spoken| admission.speaking(spoken)), [2, 1]);
        drop(first);
        assert_eq!(admission.open(), 2);
        assert!(admission.seat(c, Protocol::Sv1).is_some());
    }
}
