//! Hashes per second, as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Hashes per second; more than zero when read from text.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Hashrate(f64);

/// A text that is no hash rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write hashes per second as a number more than zero, with k, M or G: 240k")]
pub struct NoHashrate;

impl Hashrate {
    /// The rate of `hashes` done in `time`.
    pub fn over(hashes: u64, time: Duration) -> Self {
        Self(hashes as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE))
    }

    /// An even part of it.
    pub fn shared_by(self, parts: u64) -> Self {
        Self(self.0 / parts as f64)
    }

    /// Hashes per second.
    pub const fn per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for Hashrate {
    type Err = NoHashrate;

    fn from_str(text: &str) -> Result<Self, NoHashrate> {
        let (number, factor) = match text.char_indices().last() {
            Some((at, 'k' | 'K')) => (&text[..at], 1e3),
            Some((at, 'm' | 'M')) => (&text[..at], 1e6),
            Some((at, 'g' | 'G')) => (&text[..at], 1e9),
            _ => (text, 1.0),
        };
        let rate = number.parse::<f64>().map_err(|_| NoHashrate)? * factor;
        if rate.is_finite() && rate > 0.0 { Ok(Self(rate)) } else { Err(NoHashrate) }
    }
}

impl fmt::Display for Hashrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scaled, unit) = match self.0 {
            rate if rate >= 1e9 => (rate / 1e9, "GH/s"),
            rate if rate >= 1e6 => (rate / 1e6, "MH/s"),
            rate if rate >= 1e3 => (rate / 1e3, "kH/s"),
            rate => (rate, "H/s"),
        };
        write!(f, "{scaled:.2} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        let read = |text: &str| text.parse().map(Hashrate::per_second);
        assert_eq!(read("240k"), Ok(240_000.0));
        assert_eq!(read("1.5M"), Ok(1_500_000.0));
        assert_eq!(read("700"), Ok(700.0));
        for wrong in ["", "k", "0", "-1k", "inf", "nan", "fast", "1Ω"] {
            assert_eq!(read(wrong), Err(NoHashrate), "{wrong}");
        }
    }

    #[test]
    fn rates_are_shown_with_their_unit() {
        assert_eq!(Hashrate::over(24_000, Duration::from_millis(100)).to_string(), "240.00 kH/s");
        assert_eq!(Hashrate::over(0, Duration::ZERO).to_string(), "0.00 H/s");
    }
}
