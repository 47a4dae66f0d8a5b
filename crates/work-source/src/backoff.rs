//! How long to wait before the next attempt to connect.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// Delays that double from 0.2 s to 5 s, or another longest. Each is shortened by up to a quarter at random, so that
/// several clients of a restarted node do not come in step.
pub struct Backoff {
    next: Duration,
    longest: Duration,
    /// Who was served for less does not start over.
    steady: Duration,
}

impl Backoff {
    /// Starts at the shortest delay.
    pub fn new() -> Self {
        Self::up_to(LONGEST)
    }

    /// With another longest delay.
    pub fn up_to(longest: Duration) -> Self {
        Self { next: SHORTEST, longest, steady: Duration::ZERO }
    }

    /// For somebody else's machine, which is not to be troubled: only a connection that lasted as long as the
    /// longest delay is a reason to start over.
    pub fn with_strangers(longest: Duration) -> Self {
        Self { steady: longest, ..Self::up_to(longest) }
    }

    /// Starts over: the last attempt was a success, and lasted for so long.
    pub fn served(&mut self, time: Duration) {
        if time >= self.steady {
            self.next = SHORTEST;
        }
    }

    /// The delay before the next attempt.
    pub fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.longest);
        // The standard library's only source of randomness; no secret depends on it.
        let random = u32::from(RandomState::new().hash_one(()).to_le_bytes()[0]);
        delay - delay * random / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_from_a_fifth_of_a_second_to_five_and_start_over() {
        let mut backoff = Backoff::new();
        let first = backoff.delay();
        assert!(first <= SHORTEST && first >= SHORTEST * 3 / 4);
        let last = (0..8).map(|_| backoff.delay()).last().unwrap();
        assert!(last <= LONGEST && last >= LONGEST * 3 / 4);
        backoff.served(Duration::ZERO);
        assert!(backoff.delay() <= SHORTEST);
    }

    #[test]
    fn a_stranger_that_drops_us_soon_is_not_troubled_again_at_once() {
        let longest = Duration::from_secs(30);
        let mut backoff = Backoff::with_strangers(longest);
        let grown = (0..12).map(|_| backoff.delay()).last().unwrap();
        assert!(grown <= longest && grown >= longest * 3 / 4);
        backoff.served(Duration::from_secs(29));
        assert!(backoff.delay() >= longest * 3 / 4);
        backoff.served(longest);
        assert!(backoff.delay() <= SHORTEST);
    }
}
