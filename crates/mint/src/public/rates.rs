//! How often one address may ask: for each a bucket that fills up evenly, in memory, as many as
//! [`MOST_ADDRESSES`]. Pure but for the lock: the clock is the caller's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Addresses that are remembered, about 1 MB. With more, those forget first that asked for least.
const MOST_ADDRESSES: usize = 16_384;

/// So much in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How many; zero for any number.
    pub many: u32,
    /// In this time. After as long without a request, all may come at once.
    pub per: Duration,
}

/// The buckets. Each is the time at which it will be full again; in the past, it is.
#[derive(Debug, Default)]
pub struct Rates {
    full_at: Mutex<HashMap<IpAddr, Duration>>,
}

impl Rates {
    /// Takes `cost` from what `address` has left at `now`, the time since any fixed moment.
    ///
    /// # Errors
    /// How long until there is enough; nothing is taken then. What costs more than a whole bucket
    /// is given when it is full.
    pub fn take(
        &self,
        address: IpAddr,
        allowance: Allowance,
        cost: u32,
        now: Duration,
    ) -> Result<(), Duration> {
        let Some(each) = allowance.per.checked_div(allowance.many) else { return Ok(()) };
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let address = household(address);
        let price = each * cost.min(allowance.many);
        let after = full_at.get(&address).copied().unwrap_or_default().max(now) + price;
        let latest = now + allowance.per;
        if after > latest {
            return Err(after - latest);
        }
        if full_at.len() >= MOST_ADDRESSES && !full_at.contains_key(&address) {
            forget(&mut full_at, now);
        }
        full_at.insert(address, after);
        Ok(())
    }
}

/// Makes room: the full ones, and if that is not enough, the fuller half.
fn forget(full_at: &mut HashMap<IpAddr, Duration>, now: Duration) {
    full_at.retain(|_, at| *at > now);
    if full_at.len() > MOST_ADDRESSES / 2 {
        let mut times: Vec<Duration> = full_at.values().copied().collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        full_at.retain(|_, at| *at > median);
    }
}

/// What counts as one address: in IPv6 a /64, which is what one household or one machine has.
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_A_MINUTE: Allowance = Allowance { many: 10, per: Duration::from_secs(60) };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn a_full_bucket_gives_all_at_once_and_then_one_by_one() {
        let rates = Rates::default();
        let take = |seconds| rates.take(address("192.0.2.1"), TEN_A_MINUTE, 1, at(seconds));
        for _ in 0..10 {
            take(0).unwrap();
        }
        assert_eq!(take(0), Err(Duration::from_secs(6)));
        assert_eq!(take(4), Err(Duration::from_secs(2)));
        take(6).unwrap();
        assert!(take(6).is_err());
        for _ in 0..10 {
            take(100).unwrap();
        }
        assert!(take(100).is_err(), "no more than one bucket is saved up");
    }

    #[test]
    fn another_household_has_its_own_and_a_64_is_one() {
        let rates = Rates::default();
        let take = |text| rates.take(address(text), TEN_A_MINUTE, 10, at(0));
        take("2001:db8:1:2::1").unwrap();
        assert!(take("2001:db8:1:2:ffff::7").is_err(), "of the same /64");
        take("2001:db8:1:3::1").unwrap();
        take("192.0.2.1").unwrap();
        assert!(take("::ffff:192.0.2.1").is_err(), "the same address");
        take("192.0.2.2").unwrap();
    }

    #[test]
    fn what_costs_more_than_a_bucket_is_given_when_it_is_full() {
        let rates = Rates::default();
        let take = |cost, seconds| rates.take(address("192.0.2.1"), TEN_A_MINUTE, cost, at(seconds));
        take(1, 0).unwrap();
        assert_eq!(take(1_000, 0), Err(Duration::from_secs(6)));
        take(1_000, 6).unwrap();
        assert_eq!(take(1, 6), Err(Duration::from_secs(6)));
    }

    #[test]
    fn zero_is_any_number() {
        let rates = Rates::default();
        let any = Allowance { many: 0, per: Duration::from_secs(60) };
        for _ in 0..1_000 {
            rates.take(address("192.0.2.1"), any, 1_000, at(0)).unwrap();
        }
    }

    #[test]
    fn memory_is_bounded_and_who_took_most_is_remembered() {
        let rates = Rates::default();
        let greedy = address("192.0.2.1");
        rates.take(greedy, TEN_A_MINUTE, 10, at(0)).unwrap();
        for number in 0..100_000u32 {
            rates.take(IpAddr::V4((0x0a00_0000 + number).into()), TEN_A_MINUTE, 1, at(0)).unwrap();
        }
        assert!(rates.full_at.lock().unwrap().len() <= MOST_ADDRESSES);
        assert!(rates.take(greedy, TEN_A_MINUTE, 1, at(0)).is_err());
    }
}
