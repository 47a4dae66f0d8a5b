//! Numbers as people read them: three digits and a unit, times as "2 minutes ago", chances in words.

use std::fmt;

use poolbox_accounting::{Sats, Work};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: f64 = 365.25 * 86_400.0;
/// Hashes that difficulty 1 takes, on average.
const HASHES_PER_DIFFICULTY: f64 = 4_294_967_296.0;

/// A number in three digits, with the letter of its thousands.
pub fn scaled(number: f64) -> String {
    let mut letters = ["", "k", "M", "G", "T", "P", "E"].into_iter().peekable();
    let mut rest = number;
    while let Some(letter) = letters.next() {
        if rest < 999.5 || letters.peek().is_none() {
            let digits = if rest < 9.995 { 2 } else { usize::from(rest < 99.95) };
            let gap = if letter.is_empty() { "" } else { "\u{a0}" };
            return format!("{rest:.digits$}{gap}{letter}");
        }
        rest /= 1000.0;
    }
    number.to_string()
}

/// Hashes a second.
pub fn hashrate(hashes_per_second: u64) -> String {
    let number = scaled(hashes_per_second as f64);
    let gap = if number.contains('\u{a0}') { "" } else { "\u{a0}" };
    format!("{number}{gap}H/s")
}

/// A difficulty, whole where it is small and whole.
pub fn difficulty(difficulty: f64) -> String {
    if (1.0..10_000.0).contains(&difficulty) && difficulty.fract() == 0.0 {
        return grouped(difficulty as u64);
    }
    if difficulty > 0.0 && difficulty < 0.000_001 {
        return "under 0.000001".to_owned();
    }
    if difficulty > 0.0 && difficulty < 0.01 {
        return format!("{difficulty:.6}").trim_end_matches('0').to_owned();
    }
    scaled(difficulty)
}

/// A whole number in groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount with its unit.
pub fn sats(sats: Sats) -> String {
    format!("{}\u{a0}sat", grouped(sats.get()))
}

/// An amount in bitcoin, to the sat.
pub fn bitcoin(sats: u64) -> String {
    format!("{}.{:08}\u{a0}BTC", grouped(sats / 100_000_000), sats % 100_000_000)
}

/// Parts per million, in per cent.
pub fn millionths(ppm: u32) -> String {
    let (whole, part) = (ppm / 10_000, ppm % 10_000);
    if part == 0 {
        return format!("{whole}\u{a0}%");
    }
    format!("{whole}.{}\u{a0}%", format!("{part:04}").trim_end_matches('0'))
}

/// Work with its unit.
pub fn ehash(work: Work) -> String {
    format!("{}\u{a0}ehash", grouped(work.ehash()))
}

/// Bytes with their unit.
pub fn bytes(bytes: u64) -> String {
    let number = scaled(bytes as f64);
    let gap = if number.contains('\u{a0}') { "" } else { "\u{a0}" };
    format!("{number}{gap}B")
}

/// A stretch of time in its largest unit or two.
pub fn duration(seconds: u64) -> String {
    let two = |big: u64, one: &str, many: &str, small: u64, name: &str| {
        let unit = if big == 1 { one } else { many };
        if small == 0 || big >= 10 { format!("{big} {unit}") } else { format!("{big} {unit} {small} {name}") }
    };
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => two(seconds / HOUR, "h", "h", seconds % HOUR / MINUTE, "min"),
        _ => two(seconds / DAY, "day", "days", seconds % DAY / HOUR, "h"),
    }
}

/// A time that may be of any length, for averages.
pub fn long_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "never".to_owned();
    }
    if seconds < 1.0 {
        return "under a second".to_owned();
    }
    if seconds < 2.0 * YEAR {
        return duration(seconds as u64);
    }
    let years = seconds / YEAR;
    if years < 1e6 { format!("{} years", grouped(years as u64)) } else { format!("{} years", scaled(years)) }
}

/// How long ago `then` was.
pub fn ago(then: u64, now: u64) -> String {
    match now.saturating_sub(then) {
        0..=4 => "just now".to_owned(),
        seconds => format!("{} ago", duration(seconds)),
    }
}

/// A time of day and date in UTC, for machines: `2026-11-25T02:00:00Z`.
pub fn stamp(unix: u64) -> String {
    let (days, rest) = (unix / DAY, unix % DAY);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / HOUR, rest % HOUR / MINUTE, rest % MINUTE);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date of a day since 1970-01-01, by eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// The prospects of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Odds {
    /// How long one takes on average, in words.
    pub average: String,
    /// The chance within a day, in words.
    pub day: String,
    /// The chance within a year, in words.
    pub year: String,
}

impl Odds {
    /// At this speed; none without any.
    pub fn at(hashes_per_second: u64, network_difficulty: f64) -> Option<Self> {
        if hashes_per_second == 0 || network_difficulty <= 0.0 {
            return None;
        }
        let average = network_difficulty * HASHES_PER_DIFFICULTY / hashes_per_second as f64;
        let within = |seconds: f64| Chance(-(-seconds / average).exp_m1()).to_string();
        Some(Self { average: long_duration(average), day: within(86_400.0), year: within(YEAR) })
    }
}

/// A probability in words.
struct Chance(f64);

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            chance if chance > 0.995 => f.write_str("almost certain"),
            chance if chance >= 0.1 => write!(f, "{:.0} %", chance * 100.0),
            chance if chance >= 1e-9 => {
                let one_in = 1.0 / chance;
                let text = if one_in < 1e6 { grouped(one_in as u64) } else { scaled(one_in) };
                write!(f, "1 in {text}")
            }
            _ => f.write_str("next to none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let told = [0, 950, 1_200_000_000_000, 999_600].map(hashrate);
        assert_eq!(told, ["0.00\u{a0}H/s", "950\u{a0}H/s", "1.20\u{a0}TH/s", "1.00\u{a0}MH/s"]);
        assert_eq!([0, 999, 1000, 5_000_000_000].map(grouped), ["0", "999", "1,000", "5,000,000,000"]);
        assert_eq!(bitcoin(312_500_001), "3.12500001\u{a0}BTC");
        let told = [512.0, 0.000244140625, 1.5, 4.6e-10].map(difficulty);
        assert_eq!(told, ["512", "0.000244", "1.50", "under 0.000001"]);
    }

    #[test]
    fn times_are_told_in_their_largest_units() {
        let told = [5, 125, 3600, 3720, 90_000, 864_000].map(duration);
        assert_eq!(told, ["5 s", "2 min", "1 h", "1 h 2 min", "1 day 1 h", "10 days"]);
        assert_eq!(ago(100, 103), "just now");
        assert_eq!(ago(100, 90), "just now", "a clock that was set back is no error");
        assert_eq!(long_duration(YEAR * 3000.5), "3,000 years");
    }

    #[test]
    fn stamps_are_dates() {
        let told = [0, 951_782_400, 1_795_564_800].map(stamp);
        assert_eq!(told, ["1970-01-01T00:00:00Z", "2000-02-29T00:00:00Z", "2026-11-25T00:00:00Z"]);
    }

    #[test]
    fn the_odds_are_said_plainly() {
        let bitaxe = Odds::at(1_200_000_000_000, 1.5e14).unwrap();
        assert_eq!(bitaxe.average, "17,012 years");
        assert_eq!(bitaxe.year, "1 in 17,012");
        assert!(bitaxe.day.starts_with("1 in 6.2"), "{}", bitaxe.day);
        assert_eq!(Odds::at(1_000_000, 0.001).unwrap().day, "almost certain");
        assert_eq!(Odds::at(0, 1.0), None);
    }
}
