//! The one shutdown path: a token that SIGTERM or SIGINT cancels.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled when the process is asked to stop. A second signal ends it at once.
///
/// # Errors
/// When the system refuses a signal handler.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopping = token.clone();
    tokio::spawn(async move {
        for status in [None, Some(1)] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match status {
                None => stopping.cancel(),
                Some(status) => std::process::exit(status),
            }
        }
    });
    Ok(token)
}
