//! Hash rates from the work of accepted shares. Pure: time is given in, milliseconds of a clock that only
//! moves forward.
//!
//! A rate is unbiased and scatters as luck does, one part in the square root of the shares it is made
//! of: at 15 shares a minute 26 % over a minute, 8 % over ten, 3.3 % over an hour and 0.7 % over a day.

use poolbox_accounting::Work;
use poolbox_api::pool::HashRates;

const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// No rate is told of less: what a miner found while it was cut off comes all at once.
const SHORTEST_MS: u64 = 5 * SECOND_MS;
/// Expected hashes in one ehash, as a power of two.
const EHASH_LOG2_HASHES: u32 = 20;

/// Work of the last `N` spans of `SPAN_MS` milliseconds, the present one included: of at least
/// `(N - 1) * SPAN_MS` and at most one span more.
#[derive(Clone, Copy, Debug)]
struct Ring<const N: usize, const SPAN_MS: u64>([u64; N]);

/// Four windows on the work of a worker, an owner or the box.
#[derive(Clone, Copy, Debug)]
pub struct HashRate {
    /// When the first share came; it tells nothing but the time.
    began_ms: Option<u64>,
    /// Up to when the rings are written.
    written_ms: u64,
    minute: Ring<13, { 5 * SECOND_MS }>,
    ten_minutes: Ring<11, MINUTE_MS>,
    hour: Ring<13, { 5 * MINUTE_MS }>,
    day: Ring<25, HOUR_MS>,
}

impl<const N: usize, const SPAN_MS: u64> Ring<N, SPAN_MS> {
    const fn new() -> Self {
        Self([0; N])
    }

    fn slot(&mut self, span: u64) -> &mut u64 {
        // The index is below N.
        &mut self.0[(span % N as u64) as usize]
    }

    /// Empties the spans that began since `written_ms`.
    fn advance(&mut self, written_ms: u64, now_ms: u64) {
        let (last, now) = (written_ms / SPAN_MS, now_ms / SPAN_MS);
        for span in (last + 1).max((now + 1).saturating_sub(N as u64))..=now {
            *self.slot(span) = 0;
        }
    }

    fn add(&mut self, ehash: u64, now_ms: u64) {
        let slot = self.slot(now_ms / SPAN_MS);
        *slot = slot.saturating_add(ehash);
    }

    /// Hashes a second of one that began at `began_ms`.
    fn rate(&self, began_ms: u64, written_ms: u64, now_ms: u64) -> u64 {
        let (last, now) = (written_ms / SPAN_MS, now_ms / SPAN_MS);
        let oldest = (now + 1).saturating_sub(N as u64);
        let ehash: u128 = (oldest..=last).map(|span| u128::from(self.0[(span % N as u64) as usize])).sum();
        let since_ms = began_ms.max(oldest * SPAN_MS);
        let elapsed_ms = now_ms.saturating_sub(since_ms).max(SHORTEST_MS);
        let rate = (ehash << EHASH_LOG2_HASHES) * u128::from(SECOND_MS) / u128::from(elapsed_ms);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// Adds what `other` saw; both are written up to the same time.
    fn merge(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(more);
        }
    }
}

impl HashRate {
    /// Nothing was found yet.
    pub const fn new() -> Self {
        Self {
            began_ms: None,
            written_ms: 0,
            minute: Ring::new(),
            ten_minutes: Ring::new(),
            hour: Ring::new(),
            day: Ring::new(),
        }
    }

    /// `work` was found. The first only starts the clock: how long it took is not known.
    pub fn add(&mut self, work: Work, now_ms: u64) {
        let now_ms = self.advance(now_ms);
        if self.began_ms.is_none() {
            self.began_ms = Some(now_ms);
            return;
        }
        let ehash = work.ehash();
        self.minute.add(ehash, now_ms);
        self.ten_minutes.add(ehash, now_ms);
        self.hour.add(ehash, now_ms);
        self.day.add(ehash, now_ms);
    }

    /// Adds what `other` found: the rates are then those of both together.
    pub fn merge(&mut self, other: &Self) {
        let mut other = *other;
        let now_ms = self.advance(other.written_ms);
        other.advance(now_ms);
        self.began_ms = match (self.began_ms, other.began_ms) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        self.minute.merge(&other.minute);
        self.ten_minutes.merge(&other.ten_minutes);
        self.hour.merge(&other.hour);
        self.day.merge(&other.day);
    }

    /// The rates at this time.
    pub fn rates(&self, now_ms: u64) -> HashRates {
        let Some(began_ms) = self.began_ms else { return HashRates::default() };
        let (written_ms, now_ms) = (self.written_ms, now_ms.max(self.written_ms));
        HashRates {
            minute: self.minute.rate(began_ms, written_ms, now_ms),
            ten_minutes: self.ten_minutes.rate(began_ms, written_ms, now_ms),
            hour: self.hour.rate(began_ms, written_ms, now_ms),
            day: self.day.rate(began_ms, written_ms, now_ms),
        }
    }

    /// Writes the rings up to `now_ms`, or to where they are already; returns that time.
    fn advance(&mut self, now_ms: u64) -> u64 {
        let (written_ms, now_ms) = (self.written_ms, now_ms.max(self.written_ms));
        // All spans are multiples of the shortest.
        if written_ms / SHORTEST_MS == now_ms / SHORTEST_MS {
            self.written_ms = now_ms;
            return now_ms;
        }
        self.minute.advance(written_ms, now_ms);
        self.ten_minutes.advance(written_ms, now_ms);
        self.hour.advance(written_ms, now_ms);
        self.day.advance(written_ms, now_ms);
        self.written_ms = now_ms;
        now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^20 hashes.
    const EHASH: Work = Work::from_ehash(1);
    const START_MS: u64 = 123_456;

    /// Shares of `ehash` each, `every_ms`, for `minutes`.
    fn steady(ehash: u64, every_ms: u64, minutes: u64) -> (HashRate, u64) {
        let mut rate = HashRate::new();
        let end_ms = START_MS + minutes * MINUTE_MS;
        for now_ms in (START_MS..=end_ms).step_by(every_ms as usize) {
            rate.add(Work::from_ehash(ehash), now_ms);
        }
        (rate, end_ms)
    }

    fn within(value: u64, expected: u64, percent: u64) -> bool {
        value.abs_diff(expected) * 100 <= expected * percent
    }

    #[test]
    fn a_steady_miner_has_its_rate_in_every_window() {
        // 1000 ehash every 4 s.
        let expected = 250 << 20;
        for minutes in [1, 5, 30, 24 * 60, 30 * 60] {
            let (rate, now_ms) = steady(1000, 4000, minutes);
            let rates = rate.rates(now_ms);
            for (window, value) in rates.named() {
                assert!(within(value, expected, 7), "{window} after {minutes} min: {value} of {expected}");
            }
            assert!(within(rates.day, expected, 1) && within(rates.hour, expected, 1), "{rates:?}");
        }
    }

    #[test]
    fn what_stops_leaves_each_window_in_turn() {
        let (rate, end_ms) = steady(1000, 4000, 24 * 60);
        let zero = |after_ms| rate.rates(end_ms + after_ms).named().map(|(_, value)| value == 0);
        assert_eq!(zero(0), [false; 4]);
        assert_eq!(zero(66 * SECOND_MS), [true, false, false, false]);
        assert_eq!(zero(12 * MINUTE_MS), [true, true, false, false]);
        assert_eq!(zero(66 * MINUTE_MS), [true, true, true, false]);
        assert_eq!(zero(26 * HOUR_MS), [true; 4]);
        // Half of the hour was idle.
        let half = rate.rates(end_ms + 30 * MINUTE_MS).hour;
        assert!(within(half, 125 << 20, 9), "{half}");
    }

    #[test]
    fn the_first_share_starts_the_clock_and_a_burst_is_no_speed() {
        let mut rate = HashRate::new();
        rate.add(EHASH, START_MS);
        assert_eq!(rate.rates(START_MS), HashRates::default());
        for _ in 0..10 {
            rate.add(EHASH, START_MS + 1);
        }
        assert_eq!(rate.rates(START_MS + 1).minute, (10 << 20) / 5);
        assert_eq!(rate.rates(START_MS + 20 * SECOND_MS).minute, (10 << 20) / 20);
    }

    #[test]
    fn several_together_do_what_they_do_alone() {
        let (one, now_ms) = steady(1000, 4000, 60);
        let (mut both, _) = steady(500, 1000, 90);
        let later_ms = START_MS + 90 * MINUTE_MS;
        let alone = (one.rates(later_ms), both.rates(later_ms));
        both.merge(&one);
        let together = both.rates(later_ms);
        assert_eq!(together.minute, alone.0.minute + alone.1.minute);
        assert!(together.hour.abs_diff(alone.0.hour + alone.1.hour) <= 1);
        let mut nobody = HashRate::new();
        nobody.merge(&one);
        assert_eq!(nobody.rates(now_ms), one.rates(now_ms));
    }

    #[test]
    fn a_clock_that_seems_to_go_back_takes_nothing_away() {
        let (mut rate, now_ms) = steady(1000, 4000, 10);
        let before = rate.rates(now_ms);
        rate.add(Work::from_ehash(0), now_ms - 30 * SECOND_MS);
        assert_eq!(rate.rates(now_ms), before);
        assert_eq!(rate.rates(0), before);
    }

    /// Exponential times between shares, as real miners have, seeded.
    #[test]
    fn rates_of_lucky_and_unlucky_miners_are_right_on_average_and_scatter_as_told() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut uniform = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 11) as f64 / (1u64 << 53) as f64
        };
        let (miners, expected) = (400, 250.0 * 1_048_576.0);
        let mut told: [Vec<f64>; 4] = Default::default();
        for _ in 0..miners {
            let (mut rate, mut now_ms) = (HashRate::new(), 0.0);
            while now_ms < 25.0 * 3_600_000.0 {
                now_ms -= 4000.0 * (1.0 - uniform()).ln();
                rate.add(Work::from_ehash(1000), now_ms as u64);
            }
            let rates = rate.rates(25 * HOUR_MS).named().map(|(_, value)| value as f64 / expected);
            told.iter_mut().zip(rates).for_each(|(told, rate)| told.push(rate));
        }
        for (told, scatter) in told.iter().zip([0.26, 0.082, 0.033, 0.007]) {
            let mean = told.iter().sum::<f64>() / f64::from(miners);
            let variance = told.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / f64::from(miners);
            assert!((mean - 1.0).abs() < 4.0 * scatter / f64::from(miners).sqrt(), "{mean}");
            assert!((0.75..1.25).contains(&(variance.sqrt() / scatter)), "{} of {scatter}", variance.sqrt());
        }
    }
}
