//! The output of a long build: kept in a file, watched line by line, and shown at its end when it failed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::failure::{check, shown};

/// The last lines of a log that a failure shows.
const TAIL: usize = 15;

/// Where a build's output goes, so that a failure can be read.
pub struct BuildLog {
    path: PathBuf,
    file: File,
    what: String,
}

impl BuildLog {
    /// An empty log at `path` of the build of `what`.
    pub fn create(path: PathBuf, what: &str) -> Result<Self> {
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file, what: what.to_owned() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a command with its output in the log. `watch` sees each line, and nothing about every second in
    /// between.
    pub fn record(&mut self, mut command: Command, mut watch: impl FnMut(Option<&str>)) -> Result<()> {
        let (output, into) = std::io::pipe().context("cannot make a pipe")?;
        let errors = into.try_clone().context("cannot share the pipe")?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(into)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {}", shown(&command)))?;
        // The command holds the pipe open, and its end would not be seen.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        loop {
            match lines.recv_timeout(Duration::from_secs(1)) {
                Ok(line) => {
                    let line = String::from_utf8_lossy(&line);
                    writeln!(self.file, "{line}")
                        .with_context(|| format!("cannot write {}", self.path.display()))?;
                    watch(Some(&line));
                }
                Err(RecvTimeoutError::Timeout) => watch(None),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = child.wait().with_context(|| format!("cannot wait for {}", shown(&command)))?;
        check(&command, status).with_context(|| self.tail())
    }

    fn tail(&self) -> String {
        let last = tail(&self.path, TAIL);
        format!("{last}\n{} could not be built; the whole log is {}", self.what, self.path.display())
    }
}

/// The last lines of a file; nothing where it cannot be read.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_shows_the_end_of_its_output_and_names_the_log() {
        let folder = std::env::temp_dir().join(format!("xtask-log-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut log = BuildLog::create(folder.join("node.log"), "bitcoin-node").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "for n in $(seq 1 40); do echo line-$n; done; echo broken >&2; exit 3"]);
        let mut seen = 0;
        let error = log.record(command, |line| seen += u32::from(line.is_some())).unwrap_err();
        let text = format!("{error:#}");
        assert_eq!(seen, 41);
        assert!(text.contains("line-40") && !text.contains("line-20\n"), "{text}");
        assert!(text.contains("broken") && text.contains("node.log"), "{text}");
        assert!(text.contains("bitcoin-node could not be built"), "{text}");
        fs::remove_dir_all(folder).unwrap();
    }
}
