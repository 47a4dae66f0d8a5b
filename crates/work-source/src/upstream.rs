//! Jobs from an upstream pool over Stratum V1, as a miner takes them: OCEAN and the like. What such a job
//! pays, and to whom, is the upstream's matter; here it is only read.
//!
//! A job becomes a [`Template`](crate::Template) that carries its [`UpstreamJob`]. Shares that meet the
//! target of that are handed to [`Upstream::submit`], which never waits: what cannot be sent is counted, and
//! nothing is ever sent on another connection than the one that its job came over.
//!
//! The source lives on a thread of its own.

mod client;
mod job;
mod line;
mod message;
mod session;
mod tally;
mod target;
mod tls;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime;

use crate::WorkSource;
use crate::backoff::Backoff;
use crate::feed::Feed;
use crate::session::keep_up_with;
use crate::tcp::Endpoint;
pub use job::UpstreamJob;
pub use tally::{Upstream, UpstreamShare, UpstreamStatus};
use tls::Tls;

/// What the address of an upstream pool begins with.
const PLAIN: &str = "stratum+tcp://";
/// What it begins with where all is encrypted.
const ENCRYPTED: &str = "stratum+ssl://";
/// Extranonce bytes that an upstream must leave: fewer cannot tell miners apart.
pub const LEAST_EXTRANONCE_BYTES: usize = 4;
/// The longest delay between two attempts to connect: somebody else's machine.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// How to reach the upstream pool, and who we are there.
#[derive(Clone)]
pub struct UpstreamConfig {
    /// Such as `stratum+tcp://mine.ocean.xyz:3334`; `stratum+ssl://` where the pool has a port for TLS.
    pub url: String,
    /// The user name at the upstream: whom it pays.
    pub user: String,
    /// Its password; most pools ignore it, or take options in it.
    pub password: String,
    /// With TLS: the certificates, PEM, that the upstream's must be vouched for by. Without it, those that
    /// Mozilla trusts.
    pub ca_file: Option<PathBuf>,
}

/// Where it is and how to speak with it.
struct Way {
    endpoint: Endpoint,
    tls: Option<Tls>,
}

impl fmt::Debug for UpstreamConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamConfig")
            .field("url", &self.url)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A configuration that can never work, or a system out of threads.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another scheme, no host, or no port.
    #[error(
        "url = \"{0}\" is no address of a Stratum V1 pool; write one such as stratum+tcp://mine.ocean.xyz:3334"
    )]
    Url(String),
    /// Nobody.
    #[error("user is empty; it is whom the upstream pool pays: a bitcoin address, or an account there")]
    User,
    /// It cannot be read, or holds no certificates.
    #[error("ca_file = \"{}\" cannot be used ({reason}); it must hold the upstream's certificate, PEM", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing to be vouched for.
    #[error(
        "ca_file has no use with a url that begins with stratum+tcp://; remove it, or write stratum+ssl://"
    )]
    NoTls,
    /// The system refused.
    #[error("cannot start the thread of the work source: {0}")]
    Thread(#[from] io::Error),
}

impl UpstreamConfig {
    /// Whether it can work.
    ///
    /// # Errors
    /// A [`StartError`] naming what cannot.
    pub fn check(&self) -> Result<(), StartError> {
        self.way().map(|_| ())
    }

    fn way(&self) -> Result<Way, StartError> {
        if self.user.trim().is_empty() {
            return Err(StartError::User);
        }
        let wrong = || StartError::Url(self.url.clone());
        let (address, encrypted) = match (self.url.strip_prefix(PLAIN), self.url.strip_prefix(ENCRYPTED)) {
            (Some(address), _) => (address, false),
            (_, Some(address)) => (address, true),
            _ => return Err(wrong()),
        };
        let endpoint = Endpoint::read(address.trim_end_matches('/')).ok_or_else(wrong)?;
        let tls = match (&self.ca_file, encrypted) {
            (Some(_), false) => return Err(StartError::NoTls),
            (None, false) => None,
            (None, true) => Some(Tls::new(&endpoint.host, None).map_err(|_| wrong())?),
            (Some(path), true) => {
                let tls = Tls::new(&endpoint.host, Some(path));
                Some(tls.map_err(|reason| StartError::CaFile { path: path.clone(), reason })?)
            }
        };
        Ok(Way { endpoint, tls })
    }
}

/// Starts the source. An upstream that is not there yet is waited for.
///
/// # Errors
/// A [`StartError`] when waiting would be in vain.
pub fn start(config: UpstreamConfig) -> Result<(WorkSource, Upstream), StartError> {
    let Way { endpoint, tls } = config.way()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (source, feed) = Feed::new();
    let upstream = Upstream::new(&config);
    let served = upstream.clone();
    std::thread::Builder::new().name("upstream".into()).spawn(move || {
        let mut next = endpoint.clone();
        let backoff = Backoff::with_strangers(LONGEST_DELAY);
        runtime.block_on(keep_up_with(backoff, feed, async |feed| {
            let here = std::mem::replace(&mut next, endpoint.clone());
            let ended = session::run(&config, &here, tls.as_ref(), &served, feed).await;
            if let Some(port) = ended.moved_to {
                next.port = port;
            }
            ended.end
        }));
    })?;
    Ok((source, upstream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_work_is_refused_and_the_password_never_shown() {
        let config = |url: &str, user: &str| UpstreamConfig {
            url: url.into(),
            user: user.into(),
            password: "hunter2".into(),
            ca_file: None,
        };
        for wrong in
            ["", "mine.ocean.xyz:3334", "stratum+tcp://mine.ocean.xyz", "http://a:1", "stratum+tcp://"]
        {
            let refused = config(wrong, "me").check().unwrap_err().to_string();
            assert!(refused.contains("stratum+tcp://mine.ocean.xyz:3334"), "{refused}");
        }
        assert!(matches!(config("stratum+tcp://a:1", " ").check(), Err(StartError::User)));
        let good = config("stratum+tcp://[::1]:3333/", "me.box");
        assert!(good.check().is_ok());
        assert!(!format!("{good:?}").contains("hunter2"));
        assert!(config("stratum+ssl://pool.example:3335", "me").check().is_ok());
        let ca = |url, path: &str| UpstreamConfig { ca_file: Some(path.into()), ..config(url, "me") }.check();
        assert!(matches!(ca("stratum+tcp://a:1", "/nowhere"), Err(StartError::NoTls)));
        for wrong in ["/nowhere", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
            assert!(matches!(ca("stratum+ssl://a:1", wrong), Err(StartError::CaFile { .. })), "{wrong}");
        }
    }
}
