//! Secrets that a person gives: from a file, from standard input or typed at the terminal. Never from
//! the command line, which every user of the machine can read.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;

use age::secrecy::SecretString;
use anyhow::Context;
use poolbox_service::Misconfigured;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Fewer characters than this are guessed.
const LEAST: usize = 10;
/// Longer is a mistake: some other file.
const MOST: u64 = 4096;

/// The passphrase of a new backup, from `file` (`-` is standard input) or typed twice.
///
/// # Errors
/// [`Misconfigured`] when it is too short, differs, or cannot be asked for.
pub fn new_passphrase(file: Option<&Path>) -> anyhow::Result<SecretString> {
    let passphrase = match file {
        Some(file) => from_file("--passphrase-file", file)?,
        None => {
            let mut terminal = Terminal::open("--passphrase-file")?;
            let first = terminal.ask("passphrase for the backup: ")?;
            if first != terminal.ask("the same again: ")? {
                return Err(Misconfigured::new("the two passphrases differ; nothing was written").into());
            }
            first
        }
    };
    if passphrase.chars().count() < LEAST {
        return Err(Misconfigured::new(format!(
            "the passphrase is shorter than {LEAST} characters; take four or more words at random"
        ))
        .into());
    }
    Ok(passphrase.into())
}

/// The passphrase of a backup that exists.
///
/// # Errors
/// [`Misconfigured`] when it cannot be asked for.
pub fn passphrase(file: Option<&Path>) -> anyhow::Result<SecretString> {
    match file {
        Some(file) => Ok(from_file("--passphrase-file", file)?.into()),
        None => Ok(Terminal::open("--passphrase-file")?.ask("passphrase of the backup: ")?.into()),
    }
}

/// The words of a seed, in one line.
///
/// # Errors
/// [`Misconfigured`] when they cannot be asked for.
pub fn seed_words(file: Option<&Path>) -> anyhow::Result<String> {
    match file {
        Some(file) => from_file("--seed-file", file),
        None => Terminal::open("--seed-file")?.ask("the words of the seed, with spaces between: "),
    }
}

/// A line that is no secret once it is entered, from the terminal or standard input.
///
/// # Errors
/// When nothing can be read.
pub fn line(question: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        eprint!("{question}");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("read standard input")?;
    Ok(line.trim().to_owned())
}

fn from_file(flag: &str, file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MOST).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|opened| opened.take(MOST).read_to_string(&mut text))
    };
    read.map_err(|error| Misconfigured::new(format!("{flag} {}: {error}", file.display())))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// The terminal that the person sits at, whatever standard input is.
struct Terminal {
    file: File,
    before: Termios,
}

impl Terminal {
    /// `flag` is what to use where there is none.
    fn open(flag: &str) -> anyhow::Result<Self> {
        let none = |_| {
            Misconfigured::new(format!(
                "there is no terminal to ask at; use {flag} FILE (- is standard input)"
            ))
        };
        let file = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(none)?;
        let before = tcgetattr(&file).context("read the terminal's settings")?;
        Ok(Self { file, before })
    }

    /// Asks without showing what is typed.
    fn ask(&mut self, question: &str) -> anyhow::Result<String> {
        let mut quiet = self.before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        write!(self.file, "{question}").context("write to the terminal")?;
        tcsetattr(&self.file, OptionalActions::Flush, &quiet).context("hide what is typed")?;
        let mut line = String::new();
        let read = BufReader::new(&self.file).read_line(&mut line);
        tcsetattr(&self.file, OptionalActions::Flush, &self.before).context("show what is typed again")?;
        writeln!(self.file).context("write to the terminal")?;
        read.context("read from the terminal")?;
        Ok(line.trim_end_matches(['\n', '\r']).to_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Also when the question was cut off.
        let _ = tcsetattr(&self.file, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_the_file_without_its_last_line_end_and_long_enough() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("passphrase");
        std::fs::write(&file, "four words at random\n").unwrap();
        assert_eq!(from_file("--x", &file).unwrap(), "four words at random");
        assert!(new_passphrase(Some(&file)).is_ok());
        std::fs::write(&file, "secret\n").unwrap();
        let error = new_passphrase(Some(&file)).unwrap_err().to_string();
        assert!(error.contains("shorter than 10") && !error.contains("secret"), "{error}");
        let missing = new_passphrase(Some(&dir.path().join("none"))).unwrap_err().to_string();
        assert!(missing.contains("--passphrase-file"), "{missing}");
    }
}
