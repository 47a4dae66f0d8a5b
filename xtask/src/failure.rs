//! How a command fails: the kinds of error that decide the exit status.

use std::fmt;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};

/// Wrong usage or configuration: one sentence that names the setting and the remedy. Exit status 2.
#[derive(Debug)]
struct Usage(String);

/// A program that this one ran ended with an error, which becomes ours.
#[derive(Debug)]
struct Ended {
    program: String,
    status: ExitStatus,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed ({})", self.program, self.status)
    }
}

impl std::error::Error for Usage {}
impl std::error::Error for Ended {}

/// An error of usage or configuration.
pub fn usage(sentence: impl Into<String>) -> anyhow::Error {
    Usage(sentence.into()).into()
}

/// What lexopt found wrong with the command line, with the place where the right one is described.
pub fn bad_flag(error: &lexopt::Error, command: &str) -> anyhow::Error {
    usage(format!("{error}; see cargo xtask {command} --help."))
}

/// Runs a command to its end; an end with an error is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    check(command, status)
}

/// An error unless the command ended well.
pub fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(Ended { program: shown(command), status }.into()) }
}

/// The exit status that tells what kind of error this is.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Usage>() {
        return ExitCode::from(2);
    }
    let ended = error.downcast_ref::<Ended>().and_then(|ended| ended.status.code());
    ExitCode::from(ended.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_usage_exits_2_even_under_added_context() {
        let error = usage("--until takes a step.").context("demo");
        assert_eq!(exit_code(&error), ExitCode::from(2));
        assert_eq!(format!("{error:#}"), "demo: --until takes a step.");
    }

    #[test]
    fn a_failed_program_passes_its_exit_status_on() {
        let error = run(Command::new("sh").args(["-c", "exit 101"])).unwrap_err();
        assert_eq!(exit_code(&error), ExitCode::from(101));
        assert!(error.to_string().starts_with("sh -c exit 101 failed"), "{error}");
    }

    #[test]
    fn anything_else_exits_1() {
        assert_eq!(exit_code(&anyhow::anyhow!("disk full")), ExitCode::from(1));
        assert_eq!(exit_code(&run(&mut Command::new("/no/such/program")).unwrap_err()), ExitCode::from(1));
    }
}
