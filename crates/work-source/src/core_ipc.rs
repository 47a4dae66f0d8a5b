//! Templates from a local Bitcoin Core over its mining IPC (`ipcbind=unix`).
//!
//! Cap'n Proto's client is not `Send`, so the source lives on a thread of its own. It connects, serves
//! a session until the node is gone, and connects again.
//!
//! What a new tip brings (Core 31, `bitcoin_core_sv2` 0.6): a call to the node's `waitNext` is always open,
//! and within the least interval between templates it just ignores fees. A new tip ends it at once, with a
//! template made after the mempool has taken in the block: full, not empty. The tip does not start the
//! interval anew, so a better template may follow within a second, in which the node looks at its mempool
//! again. Only a node that is still loading its mempool gives a poor template first; the next one follows
//! after the interval.

mod session;
mod socket;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use poolbox_accounting::Sats;
use tokio::runtime;
use tokio::task::LocalSet;

use crate::WorkSource;
use crate::feed::Feed;
use crate::session::keep_up;

/// How to reach the node and what to ask of it.
#[derive(Clone, Debug)]
pub struct CoreIpcConfig {
    /// The node's socket, `<datadir>/<network>/node.sock`. An empty directory `solutions` is made beside
    /// it.
    pub socket: PathBuf,
    /// Fees a template must gain over the last one to be worth new jobs.
    pub fee_threshold: Sats,
    /// Least time between two templates on one tip; whole seconds, at most 255. New tips never wait.
    pub min_interval: Duration,
    /// Room that templates leave for payouts, in serialised bytes of outputs.
    pub payouts_size: u32,
    /// Signature operations that templates leave for payouts.
    pub payouts_sigops: u16,
}

impl CoreIpcConfig {
    /// A node at `socket`: new jobs for 1000 sat more, at most every five seconds, and room for
    /// some 30 payouts.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            fee_threshold: Sats::new(1_000),
            min_interval: Duration::from_secs(5),
            payouts_size: 1_000,
            payouts_sigops: 400,
        }
    }
}

/// A configuration that can never work, or a system out of threads.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel allows 107 bytes.
    #[error(
        "the path of the node's socket has {length} bytes, but 107 are the most a unix socket may have: \
         {}; use a shorter data directory, or a symbolic link to it", path.display()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its bytes.
        length: usize,
    },
    /// Not a whole number of seconds up to 255.
    #[error("the least interval between templates must be whole seconds up to 255, not {0:?}")]
    MinInterval(Duration),
    /// The system refused.
    #[error("cannot start the thread of the work source: {0}")]
    Thread(#[from] io::Error),
}

/// Starts the source. A node that is not there yet is waited for.
///
/// # Errors
/// A [`StartError`] when waiting would be in vain.
pub fn start(config: CoreIpcConfig) -> Result<WorkSource, StartError> {
    let length = config.socket.as_os_str().len();
    if length > socket::MAX_PATH {
        return Err(StartError::PathTooLong { path: config.socket, length });
    }
    let seconds = u8::try_from(config.min_interval.as_secs());
    let min_interval = match seconds {
        Ok(seconds) if config.min_interval.subsec_nanos() == 0 => seconds,
        _ => return Err(StartError::MinInterval(config.min_interval)),
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (source, feed) = Feed::new();
    std::thread::Builder::new().name("core-ipc".into()).spawn(move || {
        // One set of tasks a session: what the last one left behind ends with it.
        runtime.block_on(keep_up(feed, async |feed| {
            LocalSet::new().run_until(session::run(&config, min_interval, feed)).await
        }));
    })?;
    Ok(source)
}
