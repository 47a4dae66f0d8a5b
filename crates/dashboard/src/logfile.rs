//! The services' log files: their newest lines as one stream, by time, and what must not leave the box
//! taken out of them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What is read of the end of each file.
const TAIL_BYTES: u64 = 512 << 10;
/// Files that are looked at; a directory with more is no log directory.
const MAX_FILES: usize = 50;
/// Longer words are looked at for secrets whatever stands before them.
const LONG_HEX: usize = 64;
/// What stands for a secret.
const REMOVED: &str = "[removed]";

/// How grave a line is, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something is broken.
    Error,
    /// Something needs attention.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
}

impl Level {
    /// From the gravest.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// As it is written in addresses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Of a line; lines of programs that write none are information.
    fn of(text: &str) -> Self {
        let word = text.split_whitespace().nth(1).unwrap_or_default().trim_matches(['[', ']', ':']);
        match word.to_ascii_uppercase().as_str() {
            "ERROR" => Self::Error,
            "WARN" | "WARNING" => Self::Warn,
            "DEBUG" | "TRACE" => Self::Debug,
            _ => Self::Info,
        }
    }
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// As it begins, to sort by.
    time: String,
    /// Who wrote it.
    pub service: String,
    /// How grave.
    pub level: Level,
    /// All of it, without secrets.
    pub text: String,
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this service only.
    pub service: Option<String>,
    /// Of this level or a graver one.
    pub level: Option<Level>,
    /// With this text, in any case.
    pub text: String,
}

impl Filter {
    fn admits(&self, line: &Line) -> bool {
        self.service.as_ref().is_none_or(|service| *service == line.service)
            && self.level.is_none_or(|least| line.level <= least)
            && (self.text.is_empty() || line.text.to_lowercase().contains(&self.text.to_lowercase()))
    }
}

/// The services that have a log file in `dir`.
pub fn services(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_suffix(".log")?.to_owned()).filter(|name| !name.is_empty())
    });
    let mut names: Vec<_> = names.take(MAX_FILES).collect();
    names.sort_unstable();
    names
}

/// The newest `most` lines that are wanted, oldest first. Blocks while it reads.
pub fn newest(dir: &Path, filter: &Filter, most: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for service in services(dir) {
        if filter.service.as_ref().is_some_and(|wanted| *wanted != service) {
            continue;
        }
        let Ok(text) = tail(&dir.join(format!("{service}.log"))) else { continue };
        let mut time = String::new();
        let mut level = Level::Info;
        for text in text.lines() {
            if let Some(stamp) = stamp(text) {
                (time, level) = (stamp, Level::of(text));
            }
            let line =
                Line { time: time.clone(), service: service.clone(), level, text: without_secrets(text) };
            if filter.admits(&line) {
                lines.push(line);
            }
        }
    }
    // Stable: lines of one service with the same time stay in order.
    lines.sort_by(|a, b| a.time.cmp(&b.time));
    let surplus = lines.len().saturating_sub(most);
    lines.drain(..surplus);
    lines
}

/// The end of a file, from the first whole line.
fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let begin = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if begin == 0 {
        return Ok(text);
    }
    Ok(text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default())
}

/// The time a line begins with, to the second or finer.
fn stamp(text: &str) -> Option<String> {
    let stamp = text.split_whitespace().next()?.trim_end_matches('Z');
    let bytes = stamp.as_bytes();
    let shape = bytes.len() >= 19 && bytes.get(4) == Some(&b'-') && bytes.get(10) == Some(&b'T');
    shape.then(|| stamp.to_owned())
}

/// The line without what is worth something to a thief: ecash, keys, seeds, passwords. Nothing of the sort
/// should be in a log; this is for the day when a library disagrees.
pub fn without_secrets(line: &str) -> String {
    let mut told = String::with_capacity(line.len());
    let mut word = String::new();
    let mut named = false;
    for c in line.chars().chain(['\n']) {
        if c.is_alphanumeric() || "_-+/.".contains(c) {
            word.push(c);
            continue;
        }
        told.push_str(if is_secret(&word, named) { REMOVED } else { &word });
        // What follows "password=", "seed: ", and the like, is one; so is a value in quotes after that.
        let names = names_secret(&word);
        named = (names && "=:\" ".contains(c)) || (named && word.is_empty() && "=:\" ".contains(c));
        word.clear();
        told.push(c);
    }
    told.pop();
    told
}

fn is_secret(word: &str, named: bool) -> bool {
    let lower = word.to_ascii_lowercase();
    let begins = ["cashua", "cashub", "nsec1", "xprv", "tprv"].iter().any(|start| lower.starts_with(start));
    let is_hex = |length: usize| word.len() >= length && word.chars().all(|c| c.is_ascii_hexdigit());
    // Hashes have that length too, so a bare one is a secret only under such a name.
    (begins && word.len() > 12) || (named && word.len() >= 4) || is_hex(LONG_HEX + 1)
}

fn names_secret(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let last = lower.rsplit(['.', '_', '-']).next().unwrap_or_default();
    ["password", "passwd", "secret", "seed", "mnemonic", "cookie", "token", "authorization", "preimage"]
        .contains(&last)
        || lower.ends_with("secret_key")
        || lower == "__cookie__"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_merge_by_time_and_continued_lines_stay_with_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            "pool.log",
            "2026-11-22T10:00:00.1Z ERROR one\n  more of one\n2026-11-22T10:00:02.0Z  WARN three\n",
        );
        write("node.log", "2026-11-22T10:00:01Z two\n");
        write("notes.txt", "2026-11-22T10:00:01Z no log\n");
        let texts = |filter: &Filter, most| {
            let lines = newest(dir.path(), filter, most).into_iter();
            lines.map(|line| line.text.split_whitespace().last().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&Filter::default(), 100), ["one", "one", "two", "three"]);
        assert_eq!(texts(&Filter::default(), 2), ["two", "three"]);
        let grave = Filter { level: Some(Level::Warn), ..Filter::default() };
        assert_eq!(texts(&grave, 100), ["one", "one", "three"]);
        let node = Filter { service: Some("node".into()), text: "TWO".into(), ..Filter::default() };
        assert_eq!(texts(&node, 100), ["two"]);
        assert_eq!(services(dir.path()), ["node", "pool"]);
    }

    #[test]
    fn secrets_are_taken_out_and_the_rest_stays() {
        let hash = "a".repeat(64);
        for (line, told) in [
            ("paid cashuBo2F0gaJhaUgA_9SLj17P to bob", "paid [removed] to bob".to_owned()),
            ("login user=miner password=hunter22 ok", "login user=miner password=[removed] ok".to_owned()),
            ("{\"secret_key\":\"abcdef0123\"}", "{\"secret_key\":\"[removed]\"}".to_owned()),
            ("__cookie__:deadbeef01", "__cookie__:[removed]".to_owned()),
            ("seed: abandon", "seed: [removed]".to_owned()),
            ("xprv9s21ZrQH143K3QTDL4LXw", "[removed]".to_owned()),
            (
                "2026-11-22T10:00:00Z  INFO pool: share accepted",
                "2026-11-22T10:00:00Z  INFO pool: share accepted".to_owned(),
            ),
        ] {
            assert_eq!(without_secrets(line), told);
        }
        let block = format!("new block hash={hash} height=7");
        assert_eq!(without_secrets(&block), block, "hashes help to find a mistake");
        assert_eq!(without_secrets(&format!("key {hash}{hash}")), "key [removed]");
    }
}
