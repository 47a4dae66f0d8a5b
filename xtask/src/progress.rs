//! How far the node's build is, from the `[n/total]` that ninja writes. Pure: no clock, no terminal.

use std::time::Duration;

/// Part of the steps done and the part of the time that takes, measured on two cores: the many small
/// files of the libraries come first.
const PACE: [(f64, f64); 7] =
    [(0.0, 0.0), (0.2, 0.07), (0.3, 0.18), (0.6, 0.74), (0.9, 0.82), (0.95, 0.87), (1.0, 1.0)];

/// From this part of the work on, the time measured here alone makes the estimate.
const TRUSTED_FROM: f64 = 0.25;

/// The time that one core needs: measured as 8 minutes on two cores.
const ONE_CORE: Duration = Duration::from_secs(16 * 60);

/// The expected length of a build on so many cores.
pub fn expected(cores: usize) -> Duration {
    ONE_CORE.div_f64(cores.max(1) as f64)
}

/// Where a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    done: u32,
    total: u32,
}

impl Steps {
    /// A build that has not begun.
    pub const NONE: Self = Self { done: 0, total: 0 };

    /// Reads ninja's line, as in `[17/332] Building CXX object …`.
    pub fn parse(line: &str) -> Option<Self> {
        let (done, rest) = line.strip_prefix('[')?.split_once('/')?;
        let (total, _) = rest.split_once(']')?;
        let steps = Self { done: done.trim().parse().ok()?, total: total.trim().parse().ok()? };
        (steps.done <= steps.total).then_some(steps)
    }

    /// The part of the time that has passed, 0 to 1.
    fn part_of_time(self) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        let part = f64::from(self.done) / f64::from(self.total);
        let between = PACE.windows(2).find(|pair| part <= pair[1].0);
        between.map_or(1.0, |pair| {
            let ((from, from_time), (to, to_time)) = (pair[0], pair[1]);
            from_time + (part - from) / (to - from) * (to_time - from_time)
        })
    }

    /// Whole percent of the time, 100 only at the end.
    pub fn percent(self) -> u32 {
        (self.part_of_time() * 100.0).floor() as u32
    }

    /// The time that is left, given the time since the start and the length expected beforehand. What was
    /// expected counts less and less against what is measured.
    pub fn left(self, elapsed: Duration, expected: Duration) -> Duration {
        let part = self.part_of_time();
        let trust = (part / TRUSTED_FROM).min(1.0);
        let measured = if part > 0.0 { elapsed.as_secs_f64() / part } else { 0.0 };
        let whole = trust * measured + (1.0 - trust) * expected.as_secs_f64();
        Duration::from_secs_f64((whole - elapsed.as_secs_f64()).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(done: u32, total: u32) -> Steps {
        Steps { done, total }
    }

    #[test]
    fn ninjas_lines_are_read_and_nothing_else_is() {
        assert_eq!(Steps::parse("[17/332] Building CXX object src/x.o"), Some(steps(17, 332)));
        assert_eq!(Steps::parse("[ 1/9] Linking"), Some(steps(1, 9)));
        for line in ["", "In file included from a.cpp", "[100%] Built", "[9/3] x", "[a/b] x", "[1/2"] {
            assert_eq!(Steps::parse(line), None, "{line}");
        }
    }

    #[test]
    fn more_cores_take_less_time() {
        assert_eq!(expected(2), Duration::from_secs(480));
        assert_eq!(expected(8), Duration::from_secs(120));
        assert_eq!(expected(0), expected(1));
    }

    #[test]
    fn the_percentage_never_falls_and_ends_at_100() {
        let percents: Vec<u32> = (0..=332).map(|done| steps(done, 332).percent()).collect();
        assert!(percents.is_sorted());
        assert_eq!((percents[0], percents[331] < 100, percents[332]), (0, true, 100));
        assert_eq!(Steps::NONE.percent(), 0);
    }

    #[test]
    fn at_first_the_time_left_is_what_was_expected() {
        let expected = Duration::from_secs(480);
        assert_eq!(Steps::NONE.left(Duration::ZERO, expected), expected);
        assert_eq!(Steps::NONE.left(Duration::from_secs(80), expected), Duration::from_secs(400));
    }

    #[test]
    fn later_it_follows_what_was_measured() {
        // Six tenths of the steps are 0.74 of the time: after 740 s of a build that was expected to take
        // 480 s, 260 s are left.
        let left = steps(60, 100).left(Duration::from_secs(740), Duration::from_secs(480));
        assert_eq!(left.as_secs(), 260);
        assert_eq!(steps(100, 100).left(Duration::from_secs(999), Duration::from_secs(1)), Duration::ZERO);
    }
}
