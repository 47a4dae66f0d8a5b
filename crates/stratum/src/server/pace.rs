//! How fast one client's messages are taken: shares, nearly always.

/// Messages that may come at once before the pace counts: a miner that was cut off sends what it found.
const BURST_S: u64 = 10;

/// Slows a client down that sends more a second than it may. Nothing is refused: its next bytes
/// are read later, and TCP makes it wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Zero: any number.
    per_second: u32,
    /// When the messages taken so far would have come at exactly the allowed pace, in microseconds.
    due_us: u64,
}

impl Pace {
    pub const fn new(per_second: u32) -> Self {
        Self { per_second, due_us: 0 }
    }

    /// So many more were taken.
    pub fn took(&mut self, messages: usize, now_ms: u64) {
        if self.per_second > 0 {
            let cost_us = (messages as u64).saturating_mul(1_000_000) / u64::from(self.per_second);
            self.due_us = self.due_us.max(now_ms.saturating_mul(1000)).saturating_add(cost_us);
        }
    }

    /// Whether more may be read.
    pub const fn allows(&self, now_ms: u64) -> bool {
        self.per_second == 0 || self.due_us <= now_ms.saturating_mul(1000) + BURST_S * 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_read_at_the_allowed_pace_and_a_burst_at_once() {
        let mut pace = Pace::new(100);
        let (mut taken, mut now) = (0, 0);
        while now < 60_000 {
            if pace.allows(now) {
                pace.took(50, now);
                taken += 50;
            }
            now += 100;
        }
        // A minute's worth and the burst.
        assert!((7_000..=7_100).contains(&taken), "{taken}");
        let mut free = Pace::new(0);
        free.took(1_000_000, 0);
        assert!(free.allows(0));
    }
}
