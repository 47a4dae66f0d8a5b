//! Whether a pin is still there, unchanged, and whether there is something newer: asked of the places that serve
//! it, through git and cargo.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::locks::{Kind, Pin};
use super::{nar, registry};
use crate::cache;

/// What became of a pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nobody was asked.
    NotAsked,
    /// Nobody answered; the reason.
    Unreachable(String),
    /// It is there, and the newest.
    Same,
    /// It is there, and so is a newer one.
    Newer(String),
    /// A branch went on.
    Behind(String),
    /// The tag names another commit than it did, or the release has another content; which.
    Moved(String),
    /// The name is gone.
    Gone,
}

impl Found {
    /// Whether a person has to look.
    pub const fn is_broken(&self) -> bool {
        matches!(self, Self::Moved(_) | Self::Gone)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("not asked"),
            Self::Unreachable(why) => write!(f, "could not be asked: {why}"),
            Self::Same => f.write_str("there, unchanged, the newest"),
            Self::Newer(version) => write!(f, "there, unchanged; newer: {version}"),
            Self::Behind(revision) => write!(f, "there; the branch is at {revision} now"),
            Self::Moved(revision) => write!(f, "CHANGED: it is {revision} now"),
            Self::Gone => f.write_str("GONE: that name is not there any more"),
        }
    }
}

/// Asks.
pub fn ask(pin: &Pin) -> Found {
    match &pin.kind {
        Kind::Flake { repository, tag } => match refs(repository) {
            Ok(refs) => judge(pin, *tag, &refs),
            Err(why) => Found::Unreachable(why),
        },
        Kind::Crate | Kind::Program => match registry::release(&pin.name, Some(&pin.version)) {
            Ok(release) => match content(pin, &release.file) {
                Ok(hash) if pin.hash.as_ref() != Some(&hash) => Found::Moved(hash),
                Ok(_) if release.newest == pin.version => Found::Same,
                Ok(_) => Found::Newer(release.newest),
                Err(error) => Found::Unreachable(format!("{error:#}")),
            },
            Err(why) if registry::is_missing(&why) => Found::Gone,
            Err(why) => Found::Unreachable(why),
        },
        Kind::Rust => Found::NotAsked,
    }
}

/// Branches and tags with their commits; of an annotated tag the commit, not the tag's own object.
pub type Refs = Vec<(String, String)>;

/// What a repository at GitHub has.
///
/// # Errors
/// Why it could not be asked.
pub fn refs(repository: &str) -> Result<Refs, String> {
    let mut git = Command::new("git");
    git.args(["ls-remote", "--heads", "--tags", &format!("https://github.com/{repository}")]);
    git.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
    said(&mut git).map(|text| read_refs(&text))
}

/// The hash of a crate's file, in the form that the pin has it.
fn content(pin: &Pin, file: &Path) -> Result<String> {
    if pin.kind == Kind::Crate {
        return registry::checksum(file);
    }
    let source = registry::unpack(file, &cache::folder()?.join("pins"))?;
    let hash = nar::hash(&source);
    let _ = std::fs::remove_dir_all(&source);
    hash
}

/// The newest tag that is named like this one: the same words, higher numbers, no release candidate.
pub fn newest_like(version: &str, refs: &Refs) -> Option<String> {
    let (words, numbers) = split(version);
    refs.iter()
        .filter_map(|(name, _)| name.strip_prefix("refs/tags/"))
        .filter(|tag| split(tag).0 == words && split(tag).1 > numbers)
        .max_by_key(|tag| split(tag).1)
        .map(str::to_owned)
}

fn judge(pin: &Pin, tag: bool, refs: &Refs) -> Found {
    let of = |kind: &str| {
        let name = format!("refs/{kind}/{}", pin.version);
        refs.iter().find(|(found, _)| *found == name).map(|(_, commit)| commit.clone())
    };
    let commit = if tag { of("tags") } else { of("heads") };
    match commit {
        None => Found::Gone,
        Some(commit) if Some(&commit) == pin.revision.as_ref() => match newest_like(&pin.version, refs) {
            Some(newer) if tag => Found::Newer(newer),
            _ => Found::Same,
        },
        Some(commit) if tag => Found::Moved(commit),
        Some(commit) => Found::Behind(commit),
    }
}

fn read_refs(text: &str) -> Refs {
    let mut refs: Refs = Vec::new();
    for (commit, name) in text.lines().filter_map(|line| line.split_once('\t')) {
        if let Some(name) = name.strip_suffix("^{}") {
            refs.retain(|(known, _)| known != name);
            refs.push((name.to_owned(), commit.to_owned()));
        } else {
            refs.push((name.to_owned(), commit.to_owned()));
        }
    }
    refs
}

/// `v1.1.0` as its words and its numbers.
fn split(version: &str) -> (String, Vec<u64>) {
    let words = version.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect();
    let numbers = version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    (words, numbers)
}

/// What a command says, or why it failed: the last line of its complaint.
pub fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let mut lines = complaint.lines().map(str::trim).filter(|line| !line.is_empty());
    Err(lines.next_back().unwrap_or("no answer").trim_start_matches("fatal: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "aa\trefs/heads/main\nbb\trefs/tags/v1.1.0\ncc\trefs/tags/v1.1.0^{}\n\
                        dd\trefs/tags/v1.1.1\nee\trefs/tags/v1.2.0rc1\nff\trefs/tags/v1.10.0\n";

    fn pin(version: &str, revision: &str) -> Pin {
        Pin {
            name: "made-up".into(),
            kind: Kind::Flake { repository: "o/r".into(), tag: true },
            version: version.into(),
            revision: Some(revision.into()),
            date: None,
            hash: None,
            file: "flake.lock",
        }
    }

    #[test]
    fn an_annotated_tag_counts_by_its_commit() {
        assert_eq!(judge(&pin("v1.1.0", "cc"), true, &read_refs(SAID)), Found::Newer("v1.10.0".into()));
        assert_eq!(judge(&pin("v1.10.0", "ff"), true, &read_refs(SAID)), Found::Same);
    }

    #[test]
    fn a_tag_that_moved_and_one_that_vanished_are_broken() {
        let moved = judge(&pin("v1.1.0", "00"), true, &read_refs(SAID));
        assert_eq!(moved, Found::Moved("cc".into()));
        let gone = judge(&pin("v0.9", "00"), true, &read_refs(SAID));
        assert!(gone == Found::Gone && gone.is_broken() && moved.is_broken());
    }

    #[test]
    fn a_branch_may_go_on() {
        let found = judge(&pin("main", "00"), false, &read_refs(SAID));
        assert!(found == Found::Behind("aa".into()) && !found.is_broken());
    }

    #[test]
    fn what_cannot_be_reached_is_said_and_breaks_nothing() {
        let mut nobody = Command::new("sh");
        nobody.args(["-c", "echo 'fatal: unable to look up the host' >&2; exit 128"]);
        let found = Found::Unreachable(said(&mut nobody).unwrap_err());
        assert_eq!(found.to_string(), "could not be asked: unable to look up the host");
        assert!(!found.is_broken());
    }
}
