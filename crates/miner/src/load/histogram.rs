//! Many durations in little room: percentiles to within one part in 128.

use std::time::Duration;

/// Bits of a value that are kept.
const PRECISION: u32 = 7;
/// Values below this are kept exactly.
const EXACT: u64 = 1 << (PRECISION + 1);
/// Places for all 64-bit values.
const PLACES: usize = ((64 - PRECISION as usize) << PRECISION) + EXACT as usize;

/// Counts of nanoseconds, on a scale whose steps grow with them.
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; PLACES], count: 0, max: 0 }
    }
}

impl Histogram {
    /// Adds a duration in nanoseconds.
    pub fn add(&mut self, nanoseconds: u64) {
        self.counts[place(nanoseconds)] += 1;
        self.count += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// The duration that this part of all (0 to 1) does not exceed; zero when there is none.
    pub fn percentile(&self, part: f64) -> Duration {
        let wanted = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_nanos(found.map_or(0, |place| largest_at(place).min(self.max)))
    }

    /// The longest.
    pub const fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }
}

const fn place(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let shift = value.ilog2() - PRECISION;
    ((shift as usize) << PRECISION) + (value >> shift) as usize
}

const fn largest_at(place: usize) -> u64 {
    if place < EXACT as usize {
        return place as u64;
    }
    let shift = (place >> PRECISION) - 1;
    let leading = (place - (shift << PRECISION)) as u64;
    (leading << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_is_kept_to_one_part_in_128(value in any::<u64>()) {
            let largest = largest_at(place(value));
            prop_assert!(value <= largest && largest - value <= value / 128);
            prop_assert!(place(value) < PLACES);
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), Duration::ZERO);
        for microseconds in 1..=1000 {
            histogram.add(microseconds * 1000);
        }
        let near = |part, expected: f64| {
            let found = histogram.percentile(part).as_secs_f64() * 1e6;
            assert!((found / expected - 1.0).abs() < 0.01, "{found} for {expected}");
        };
        near(0.5, 500.0);
        near(0.99, 990.0);
        assert_eq!(histogram.percentile(1.0), histogram.max());
        assert_eq!(histogram.max(), Duration::from_millis(1));
    }
}
