//! How often an address guessed wrong, and how long it has to wait. Pure: the clock is given.

use std::collections::HashMap;
use std::net::IpAddr;

/// Wrong tries that cost nothing.
pub const FREE: u32 = 5;
/// The wait after the first one that does; it doubles from there.
const FIRST_WAIT_S: u64 = 30;
const LONGEST_WAIT_S: u64 = 3600;
/// Addresses that are remembered; the oldest make room.
const MAX_ADDRESSES: usize = 1000;

#[derive(Clone, Copy, Debug)]
struct Tries {
    wrong: u32,
    last: u64,
}

/// Wrong tries by address.
#[derive(Debug, Default)]
pub struct Attempts(HashMap<IpAddr, Tries>);

impl Attempts {
    /// Seconds until the next try from there; none when it may try now.
    pub fn wait(&self, from: IpAddr, now: u64) -> Option<u64> {
        let tries = self.0.get(&place(from))?;
        let beyond = tries.wrong.checked_sub(FREE)?;
        let wait = FIRST_WAIT_S.checked_shl(beyond.min(16)).unwrap_or(LONGEST_WAIT_S).min(LONGEST_WAIT_S);
        (tries.last + wait).checked_sub(now).filter(|left| *left > 0)
    }

    /// Counts a wrong try.
    pub fn failed(&mut self, from: IpAddr, now: u64) {
        if self.0.len() >= MAX_ADDRESSES
            && let Some(oldest) = self.0.iter().min_by_key(|(_, tries)| tries.last).map(|(place, _)| *place)
        {
            self.0.remove(&oldest);
        }
        let tries = self.0.entry(place(from)).or_insert(Tries { wrong: 0, last: now });
        *tries = Tries { wrong: tries.wrong.saturating_add(1), last: now };
    }

    /// Forgets the wrong tries from there.
    pub fn succeeded(&mut self, from: IpAddr) {
        self.0.remove(&place(from));
    }
}

/// A household has a whole /64 of IPv6 addresses: it counts as one.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_an_hour_and_ends() {
        let from = "192.168.1.5".parse().unwrap();
        let mut attempts = Attempts::default();
        let mut waits = Vec::new();
        for _ in 0..14 {
            attempts.failed(from, 100);
            waits.push(attempts.wait(from, 100).unwrap_or(0));
        }
        assert_eq!(waits, [0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        assert_eq!(attempts.wait(from, 3700), None);
        attempts.succeeded(from);
        assert_eq!(attempts.wait(from, 100), None);
    }

    #[test]
    fn addresses_of_one_network_count_as_one() {
        let mut attempts = Attempts::default();
        for last in 0..u16::try_from(FREE).unwrap() {
            attempts.failed(IpAddr::V6([0xfd00, 1, 2, 3, 0, 0, 0, last].into()), 0);
        }
        assert!(attempts.wait("fd00:1:2:3::99".parse().unwrap(), 0).is_some());
        assert!(attempts.wait("fd00:1:2:4::1".parse().unwrap(), 0).is_none());
    }
}
