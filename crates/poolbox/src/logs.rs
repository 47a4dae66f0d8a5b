//! `poolbox logs`: the log files of all processes as one stream, oldest line first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use poolbox_service::Misconfigured;

use crate::place::Place;

/// How often files are looked at for new lines.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(300);

/// What to show.
#[derive(Debug, Args)]
pub struct Options {
    /// Only these services (pool, mint, node, …); repeat or separate with commas.
    #[arg(short, long, value_delimiter = ',', value_name = "NAME")]
    service: Vec<String>,
    /// Only lines of this level or a graver one.
    #[arg(short, long, value_enum)]
    level: Option<Level>,
    /// Only lines with this text, in any case.
    #[arg(short, long, value_name = "TEXT")]
    grep: Option<String>,
    /// How many of the newest lines.
    #[arg(short = 'n', long, default_value_t = 200)]
    lines: usize,
    /// Go on as lines are written; Ctrl-C ends it.
    #[arg(short, long)]
    follow: bool,
}

/// Gravity of a line, most grave first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Level {
    /// Something is broken.
    Error,
    /// Something needs attention.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// A line with where and when it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    time: String,
    service: String,
    text: String,
}

/// A log file read up to somewhere.
struct Tail {
    service: String,
    file: BufReader<File>,
    /// Time of the last line that began with one: continued lines belong to it.
    time: String,
    partial: String,
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let folder = place.logs();
    let mut tails = BTreeMap::new();
    open_new(&folder, options, &mut tails)?;
    if tails.is_empty() {
        let of = if options.service.is_empty() {
            String::new()
        } else {
            format!(" of {}", options.service.join(", "))
        };
        let shown = folder.display();
        return Err(Misconfigured::new(format!("there are no logs{of} in {shown}; is --state right?")).into());
    }
    let lines = read(&mut tails, options)?;
    print(&lines[lines.len().saturating_sub(options.lines)..]);
    if !options.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        open_new(&folder, options, &mut tails)?;
        print(&read(&mut tails, options)?);
    }
}

fn print(lines: &[Line]) {
    for Line { service, text, .. } in lines {
        println!("{service:<8} {text}");
    }
}

/// Opens the log files that are not open yet.
fn open_new(folder: &Path, options: &Options, tails: &mut BTreeMap<PathBuf, Tail>) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry.context("list the log files")?.path();
        let service = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let wanted = options.service.is_empty() || options.service.contains(&service);
        if path.extension().is_some_and(|extension| extension == "log")
            && wanted
            && !tails.contains_key(&path)
        {
            let file = BufReader::new(File::open(&path).with_context(|| format!("open {}", path.display()))?);
            tails.insert(path, Tail { service, file, time: String::new(), partial: String::new() });
        }
    }
    Ok(())
}

/// The lines written since the last call that pass the filters, in order of time.
fn read(tails: &mut BTreeMap<PathBuf, Tail>, options: &Options) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for tail in tails.values_mut() {
        tail.read(&mut lines)?;
    }
    lines.retain(|line| options.admits(&line.text));
    // Stable: lines of one process with the same time stay in order.
    lines.sort_by(|a, b| a.time.cmp(&b.time));
    Ok(lines)
}

impl Tail {
    fn read(&mut self, lines: &mut Vec<Line>) -> anyhow::Result<()> {
        let length = self.file.get_ref().metadata().context("look at a log file")?.len();
        if length < self.file.stream_position()? {
            // Emptied by somebody: begin anew.
            self.file.seek(SeekFrom::Start(0))?;
        }
        loop {
            let mut bytes = Vec::new();
            if self.file.read_until(b'\n', &mut bytes).context("read a log file")? == 0 {
                return Ok(());
            }
            self.partial.push_str(&String::from_utf8_lossy(&bytes));
            if !self.partial.ends_with('\n') {
                return Ok(());
            }
            let text = std::mem::take(&mut self.partial).trim_end().to_owned();
            if let Some(time) = time(&text) {
                self.time = time;
            }
            lines.push(Line { time: self.time.clone(), service: self.service.clone(), text });
        }
    }
}

impl Options {
    fn admits(&self, text: &str) -> bool {
        let level_fits = self.level.is_none_or(|least| level(text) <= least);
        let matches = |wanted: &String| text.to_lowercase().contains(&wanted.to_lowercase());
        level_fits && self.grep.as_ref().is_none_or(matches)
    }
}

/// The time a line begins with, to the second or finer: `2026-11-22T17:59:40.123456Z`.
fn time(text: &str) -> Option<String> {
    let stamp = text.split_whitespace().next()?.trim_end_matches('Z');
    let shape = stamp.len() >= 19 && stamp.as_bytes()[4] == b'-' && stamp.as_bytes()[10] == b'T';
    shape.then(|| stamp.to_owned())
}

/// The level of a line; lines of programs that write none are information.
fn level(text: &str) -> Level {
    let word = text.split_whitespace().nth(1).unwrap_or_default().trim_matches(['[', ']', ':']);
    match word.to_ascii_uppercase().as_str() {
        "ERROR" => Level::Error,
        "WARN" | "WARNING" => Level::Warn,
        "DEBUG" => Level::Debug,
        "TRACE" => Level::Trace,
        _ => Level::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(level: Option<Level>, grep: Option<&str>) -> Options {
        Options { service: vec![], level, grep: grep.map(str::to_owned), lines: 10, follow: false }
    }

    #[test]
    fn files_merge_by_time_and_continued_lines_stay_with_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            "pool.log",
            "2026-11-22T10:00:00.1Z  INFO one\n  more of one\n2026-11-22T10:00:02.0Z  WARN three\n",
        );
        write("node.log", "2026-11-22T10:00:01Z two\n2026-11-22T10:00:03Z not finis");
        let mut tails = BTreeMap::new();
        let all = options(None, None);
        open_new(dir.path(), &all, &mut tails).unwrap();
        let texts = |lines: Vec<Line>| lines.into_iter().map(|line| line.text).collect::<Vec<_>>();
        let first = texts(read(&mut tails, &all).unwrap());
        assert_eq!(
            first.iter().map(|text| text.split_whitespace().last().unwrap()).collect::<Vec<_>>(),
            ["one", "one", "two", "three"]
        );
        use std::io::Write;
        let mut node = std::fs::OpenOptions::new().append(true).open(dir.path().join("node.log")).unwrap();
        node.write_all(b"hed\n").unwrap();
        assert_eq!(texts(read(&mut tails, &all).unwrap()), ["2026-11-22T10:00:03Z not finished"]);
    }

    #[test]
    fn lines_are_filtered_by_level_and_text() {
        let line = "2026-11-22T10:00:00Z  WARN poolbox_pool: no templates from the node";
        assert!(options(Some(Level::Warn), None).admits(line));
        assert!(!options(Some(Level::Error), None).admits(line));
        assert!(options(None, Some("TEMPLATES")).admits(line));
        assert!(!options(None, Some("block found")).admits(line));
        assert!(options(Some(Level::Info), None).admits("2026-11-22T10:00:00Z UpdateTip: new best"));
        assert!(!options(Some(Level::Warn), None).admits("2026-11-22T10:00:00Z UpdateTip: new best"));
        assert!(options(Some(Level::Warn), None).admits("2026-11-22T10:00:00Z [warning] disk"));
    }
}
