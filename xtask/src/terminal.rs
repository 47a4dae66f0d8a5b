//! What the commands say while they work, all of it on standard error.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Without a terminal, progress is told this often.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// One line to whoever waits.
pub fn say(line: &str) {
    eprintln!("xtask: {line}");
}

/// For the standard output of a program that is only to be watched.
pub fn as_stderr() -> Result<Stdio> {
    let copy = std::io::stderr().as_fd().try_clone_to_owned().context("cannot copy standard error")?;
    Ok(Stdio::from(copy))
}

/// A line that changes: rewritten in place on a terminal, otherwise written now and then.
pub struct LiveLine {
    in_place: bool,
    written: Option<Instant>,
}

impl LiveLine {
    /// A line that was not written yet.
    pub fn new() -> Self {
        Self { in_place: std::io::stderr().is_terminal(), written: None }
    }

    /// Shows the newest state of the line, where it is time to.
    pub fn show(&mut self, line: &str) {
        if self.in_place {
            eprint!("\r\x1b[Kxtask: {line}");
            // A terminal that is gone must not end the work.
            let _ = std::io::stderr().flush();
        } else if self.written.is_none_or(|written| written.elapsed() >= LINE_EVERY) {
            say(line);
        } else {
            return;
        }
        self.written = Some(Instant::now());
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        if self.in_place && self.written.is_some() {
            eprintln!();
        }
    }
}

/// How many cores a build may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A length of time as one says it: `40 s`, `7 min`, `1 h 20 min`.
pub fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    let minutes = (seconds + 30) / 60;
    match (seconds, minutes) {
        (0..90, _) => format!("{seconds} s"),
        (_, 0..90) => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spoken_in_the_unit_that_fits() {
        let spoken = |seconds| spoken(Duration::from_secs(seconds));
        assert_eq!(spoken(0), "0 s");
        assert_eq!(spoken(89), "89 s");
        assert_eq!(spoken(90), "2 min");
        assert_eq!(spoken(480), "8 min");
        assert_eq!(spoken(4800), "80 min");
        assert_eq!(spoken(6000), "1 h 40 min");
    }
}
