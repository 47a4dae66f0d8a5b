//! How a process ends: 0 when it did its work, 1 when something broke, 2 when the person who
//! started it has to change something first.

use std::io::Write;
use std::process::ExitCode;

/// A mistake in flags, settings or surroundings: one sentence with the remedy, exit status 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misconfigured(String);

impl Misconfigured {
    /// `sentence` names the setting and says what to do.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// The exit status for `result`; prints its error as one line on standard error.
pub fn exit(program: &str, result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let misconfigured = error.chain().find_map(|cause| cause.downcast_ref::<Misconfigured>());
    // A write to a closed terminal has nobody left to tell.
    let _ = match misconfigured {
        Some(mistake) => writeln!(std::io::stderr(), "{program}: {mistake}"),
        None => writeln!(std::io::stderr(), "{program}: {error:#}"),
    };
    ExitCode::from(if misconfigured.is_some() { 2 } else { 1 })
}
