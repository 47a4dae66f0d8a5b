//! The versions of an appliance: the one that runs, the one that the next start takes, one on offer, and one that was
//! tried and given up. The system lists them in a file; what that means is decided here.

use std::cmp::Ordering;
use std::path::Path;

use serde::Serialize;

/// Larger is something else.
const MAX_BYTES: usize = 16 << 10;
/// Longer is no version.
const MAX_VERSION: usize = 60;

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// Runs.
    pub running: String,
    /// Is installed, newer, and taken by the next start.
    pub installed: Option<String>,
    /// Is to be had, newer than both.
    pub offered: Option<String>,
    /// Is newer, and was given up after its tries.
    pub failed: Option<String>,
}

impl Versions {
    /// As the system lists them in a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(file: &Path) -> std::io::Result<Option<Self>> {
        let text = std::fs::read_to_string(file)?;
        Ok(Some(text).filter(|text| text.len() <= MAX_BYTES).and_then(|text| Self::parse(&text)))
    }

    /// Lines of a word and a version. An entry of the boot partition has a counter while it is on trial, as
    /// `0.2.0+2-1`: two tries left, one done.
    fn parse(text: &str) -> Option<Self> {
        let lines =
            || text.lines().filter_map(|line| line.split_once(' ')).map(|(word, rest)| (word, rest.trim()));
        let of = |word: &'static str| {
            lines().filter(move |(is, _)| *is == word).map(|(_, rest)| rest).filter(|rest| is_version(rest))
        };
        let running = of("running").next()?.to_owned();
        let newest = |versions: Vec<&str>| {
            let newer =
                versions.into_iter().filter(|version| compare(version, &running) == Ordering::Greater);
            newer.max_by(|one, other| compare(one, other)).map(str::to_owned)
        };
        let (bad, good): (Vec<_>, Vec<_>) =
            of("entry").map(Entry::parse).partition(|entry| entry.left == Some(0));
        let names = |entries: Vec<Entry<'_>>| newest(entries.iter().map(|entry| entry.version).collect());
        let (installed, failed) = (names(good.clone()), names(bad.clone()));
        let is_there = |version: &&str| good.iter().chain(&bad).any(|entry| entry.version == *version);
        let offered = newest(of("offered").filter(|version| !is_there(version)).collect());
        Some(Self { running, installed, offered, failed })
    }
}

#[derive(Clone, Copy)]
struct Entry<'a> {
    version: &'a str,
    left: Option<u32>,
}

impl<'a> Entry<'a> {
    fn parse(name: &'a str) -> Self {
        let Some((version, counter)) = name.split_once('+') else {
            return Self { version: name, left: None };
        };
        let left = counter.split('-').next().unwrap_or_default();
        Self { version, left: left.parse().ok() }
    }
}

fn is_version(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_~^+".contains(c);
    (1..=MAX_VERSION).contains(&text.len()) && text.chars().all(fits)
}

/// Numbers by their worth, letters by the alphabet; what follows a `~` comes before what does not.
fn compare(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        match (one.strip_prefix('~'), other.strip_prefix('~')) {
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            _ => {}
        }
        let ((first, rest), (second, rest_of_other)) = (run(one), run(other));
        if first.is_empty() || second.is_empty() {
            return one.len().cmp(&other.len());
        }
        let number = |text: &str| text.parse::<u128>().ok();
        let order = match (number(first), number(second)) {
            (Some(first), Some(second)) => first.cmp(&second),
            _ => first.cmp(second),
        };
        if order != Ordering::Equal {
            return order;
        }
        (one, other) = (rest, rest_of_other);
    }
}

/// The digits that a text begins with, or what is up to the first digit, and the rest.
fn run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let ends = |(at, c): &(usize, char)| c.is_ascii_digit() != digits || (*at > 0 && *c == '~');
    text.char_indices().find(ends).map_or((text, ""), |(at, _)| text.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &[&str]) -> (Option<String>, Option<String>, Option<String>) {
        let Versions { installed, offered, failed, .. } =
            Versions::parse(&format!("running 0.9.0\n{}\n", lines.join("\n"))).unwrap();
        (installed, offered, failed)
    }

    fn some(version: &str) -> Option<String> {
        Some(version.to_owned())
    }

    #[test]
    fn the_next_start_takes_the_newest_that_was_not_given_up() {
        assert_eq!(parsed(&["entry 0.9.0"]), (None, None, None));
        assert_eq!(
            parsed(&["entry 0.9.0", "entry 0.8.0"]),
            (None, None, None),
            "an older one waits for nothing"
        );
        assert_eq!(parsed(&["entry 0.9.0", "entry 0.10.0+3-0"]), (some("0.10.0"), None, None));
        assert_eq!(parsed(&["entry 0.9.0+2-1"]), (None, None, None), "itself, on trial");
        assert_eq!(parsed(&["entry 0.9.0+0-3"]), (None, None, None), "itself, at its last try");
        let after = parsed(&["entry 0.9.0", "entry 0.10.0+0-3", "offered 0.10.0"]);
        assert_eq!(after, (None, None, some("0.10.0")), "given up, and not on offer any more");
        let next = parsed(&["entry 0.9.0", "entry 0.10.0+0-3", "entry 0.11.0+3-0", "offered 0.11.0"]);
        assert_eq!(next, (some("0.11.0"), None, some("0.10.0")));
        assert_eq!(parsed(&["entry 0.9.0", "offered 1.0.0"]), (None, some("1.0.0"), None));
        assert_eq!(parsed(&["offered 0.9.0"]), (None, None, None));
    }

    #[test]
    fn what_is_no_version_is_not_told() {
        assert_eq!(parsed(&["offered <script>", "entry a b", "entry", "offered  "]), (None, None, None));
        assert_eq!(Versions::parse("entry 1\n"), None);
        assert_eq!(Versions::parse(""), None);
    }

    #[test]
    fn versions_are_compared_as_people_do() {
        for (less, more) in [
            ("0.9.0", "0.10.0"),
            ("1", "1.0"),
            ("1.0~rc1", "1.0"),
            ("1.0~rc1", "1.0~rc2"),
            ("1.0a", "1.0b"),
            ("2", "10"),
        ] {
            assert_eq!(compare(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(compare(more, less), Ordering::Greater, "{more} {less}");
            assert_eq!(compare(less, less), Ordering::Equal, "{less}");
        }
    }
}
