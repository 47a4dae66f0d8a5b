//! Who may connect: what one client may take of the server.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::sink::Protocol;

/// A full house is told to the log at most this often: whoever fills it chooses how often he comes.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What clients may take of the server, all ports together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address; in IPv6 from one /64, which is what one household or one machine has.
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
    told: Option<Instant>,
}

/// There is no place left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full {
    /// The log was not told lately.
    pub news: bool,
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

    /// A place for one more connection from `address`.
    ///
    /// # Errors
    /// [`Full`] when it has all that it may have, or the house is full.
    pub fn seat(&self, address: IpAddr, protocol: Protocol) -> Result<Seat<'_>, Full> {
        let address = whole(address);
        let mut open = self.lock();
        let here = open.by_address.get(&address).copied().unwrap_or_default();
        if open.all >= self.limits.connections || here >= self.limits.connections_per_address {
            let news = open.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
            if news {
                open.told = Some(Instant::now());
            }
            return Err(Full { news });
        }
        open.all += 1;
        open.sv2 += usize::from(protocol == Protocol::Sv2);
        open.by_address.insert(address, here + 1);
        Ok(Seat { admission: self, address, protocol })
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

/// What counts as one address.
fn whole(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
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
        assert!(first.is_ok() && admission.seat(a, Protocol::Sv1).is_err(), "its share is taken");
        let _third = admission.seat(b, Protocol::Sv1).unwrap();
        assert!(admission.seat(c, Protocol::Sv1).is_err(), "the house is full");
        assert_eq!([Protocol::Sv1, Protocol::Sv2].map(|spoken| admission.speaking(spoken)), [2, 1]);
        drop(first);
        assert_eq!(admission.open(), 2);
        assert!(admission.seat(c, Protocol::Sv1).is_ok());
    }

    #[test]
    fn the_addresses_of_one_household_are_one() {
        let limits = Limits { connections_per_address: 1, ..Limits::default() };
        let admission = Admission::new(limits);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let _one = admission.seat(address("2001:db8:1:2::1"), Protocol::Sv1).unwrap();
        assert!(admission.seat(address("2001:db8:1:2:ffff::7"), Protocol::Sv1).is_err(), "of the same /64");
        let _neighbour = admission.seat(address("2001:db8:1:3::1"), Protocol::Sv1).unwrap();
        let _plain = admission.seat(address("192.0.2.1"), Protocol::Sv1).unwrap();
        assert!(
            admission.seat(address("::ffff:192.0.2.1"), Protocol::Sv1).is_err(),
            "the same, written as IPv6"
        );
        let _other = admission.seat(address("::ffff:192.0.2.2"), Protocol::Sv1).unwrap();
    }

    #[test]
    fn a_full_house_is_told_once_a_minute() {
        let admission = Admission::new(Limits { connections: 0, ..Limits::default() });
        let address = IpAddr::from([192, 0, 2, 1]);
        let told: Vec<bool> =
            (0..5).map(|_| admission.seat(address, Protocol::Sv1).unwrap_err().news).collect();
        assert_eq!(told, [true, false, false, false, false]);
    }
}
