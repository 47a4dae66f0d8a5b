//! Each connection is an open file, and a process may have only so many.

use poolbox_service::Misconfigured;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files besides the connections: standard streams, epoll, a timer.
const OTHERS: u64 = 32;

/// Makes sure that so many connections can be open at once.
///
/// # Errors
/// [`Misconfigured`] when the system does not allow it.
pub fn open_files(connections: u32) -> Result<(), Misconfigured> {
    let needed = u64::from(connections) + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is unlimited.
    let Some(limit) = current.filter(|&limit| limit < needed) else { return Ok(()) };
    if maximum.is_none_or(|maximum| maximum >= needed)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).is_ok()
    {
        tracing::info!("{connections} connections need {needed} open files; raised from {limit}");
        return Ok(());
    }
    let allowed = maximum.unwrap_or(limit);
    Err(Misconfigured::new(format!(
        "{connections} connections need {needed} open files, but only {allowed} are allowed; \
         raise `ulimit -n` or ask for fewer connections"
    )))
}
