//! Who may change things: one password for the household, proof of presence for the first one, and sessions
//! that live as long as the process.

mod attempts;
mod password;
mod sessions;
mod visitor;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use poolbox_service::{replace_secret, write_secret};
use rand::Rng;
use tokio::sync::Semaphore;

use self::attempts::Attempts;
use self::sessions::Sessions;
pub use self::sessions::{Session, cookie_name};
pub use self::visitor::{Turned, Visitor};
use crate::feed::now;
use crate::wire::{Peer, Wire};

/// File with the hash of the password.
const PASSWORD: &str = "password";
/// File with the code that the console shows until there is a password.
const PRESENCE: &str = "presence.code";
/// Shorter passwords are refused.
pub const MIN_LENGTH: usize = 8;
/// Longer ones too: hashing takes time.
const MAX_LENGTH: usize = 256;

/// The keeper of the door.
pub struct Admin {
    dir: PathBuf,
    /// Hash of the password; none before the first visit.
    hash: Mutex<Option<String>>,
    sessions: Mutex<Sessions>,
    attempts: Mutex<Attempts>,
    /// Hashing takes memory and time: one at a time.
    turn: Semaphore,
}

/// Why somebody was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The password or code is not right.
    Wrong(&'static str),
    /// Too many wrong ones from there; seconds until the next try.
    Wait(u64),
    /// The new password cannot be taken.
    Unfit(&'static str),
    /// The disk or the system failed.
    Broken,
}

impl Closed {
    /// For the page.
    pub fn sentence(&self) -> String {
        match self {
            Self::Wrong(what) => (*what).to_owned(),
            Self::Wait(seconds) => format!("Too many wrong tries. Try again in {seconds} seconds."),
            Self::Unfit(what) => (*what).to_owned(),
            Self::Broken => "The password could not be kept. Is the disk full? See the log.".to_owned(),
        }
    }
}

impl Admin {
    /// Reads what is kept in `dir`. Without a password, makes the code that proves presence.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let hash = match std::fs::read_to_string(dir.join(PASSWORD)) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).context("read the hash of the admin password"),
        };
        let code = dir.join(PRESENCE);
        if hash.is_none() && !code.exists() {
            let digits = rand::thread_rng().gen_range(0..100_000_000_u32);
            write_secret(&code, format!("{:04}-{:04}", digits / 10_000, digits % 10_000).as_bytes())?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            hash: Mutex::new(hash),
            sessions: Mutex::default(),
            attempts: Mutex::default(),
            turn: Semaphore::new(1),
        })
    }

    /// Whether there is a password.
    pub fn is_set(&self) -> bool {
        lock(&self.hash).is_some()
    }

    /// Sets the first password. Who knows the code stands before the box.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn set_first(&self, from: Peer, code: &str, password: &str) -> Result<Session, Closed> {
        let (from, wire) = of(from);
        let _turn = self.turn.acquire().await.map_err(|_| Closed::Broken)?;
        if self.is_set() {
            return Err(Closed::Wrong("There is a password already. Log in with it."));
        }
        fits(password)?;
        self.may_try(from)?;
        let right = std::fs::read_to_string(self.dir.join(PRESENCE)).map_err(|_| Closed::Broken)?;
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        if !password::same(digits(&right).as_bytes(), digits(code).as_bytes()) {
            lock(&self.attempts).failed(from, now());
            return Err(Closed::Wrong("That is not the code on the console screen."));
        }
        self.keep(password).await?;
        // It has served. Left over, it would only be refused.
        let _ = std::fs::remove_file(self.dir.join(PRESENCE));
        tracing::info!(%from, "the admin password was set");
        Ok(lock(&self.sessions).begin(wire, now()))
    }

    /// Lets in who knows the password.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn log_in(&self, from: Peer, password: &str) -> Result<Session, Closed> {
        let (from, wire) = of(from);
        let _turn = self.turn.acquire().await.map_err(|_| Closed::Broken)?;
        self.check(from, password).await?;
        tracing::info!(%from, "the admin logged in");
        Ok(lock(&self.sessions).begin(wire, now()))
    }

    /// Changes the password, which ends every session but a new one.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn change(&self, from: Peer, old: &str, new: &str) -> Result<Session, Closed> {
        let (from, wire) = of(from);
        let _turn = self.turn.acquire().await.map_err(|_| Closed::Broken)?;
        fits(new)?;
        self.check(from, old).await?;
        self.keep(new).await?;
        tracing::info!(%from, "the admin password was changed");
        let mut sessions = lock(&self.sessions);
        *sessions = Sessions::default();
        Ok(sessions.begin(wire, now()))
    }

    /// The session that a cookie names on this wire.
    pub fn session(&self, wire: Wire, cookie: &str) -> Option<Session> {
        lock(&self.sessions).find(wire, cookie, now())
    }

    /// Ends a session.
    pub fn log_out(&self, session: &Session) {
        lock(&self.sessions).end(session);
    }

    async fn check(&self, from: IpAddr, password: &str) -> Result<(), Closed> {
        self.may_try(from)?;
        let hash = lock(&self.hash).clone();
        let Some(hash) = hash else { return Err(Closed::Wrong("There is no password yet.")) };
        let given = password.chars().take(MAX_LENGTH).collect::<String>();
        let right = tokio::task::spawn_blocking(move || password::fits(&hash, &given)).await;
        if right.map_err(|_| Closed::Broken)? {
            lock(&self.attempts).succeeded(from);
            return Ok(());
        }
        lock(&self.attempts).failed(from, now());
        tracing::warn!(%from, "a wrong admin password was given");
        Err(Closed::Wrong("That is not the password."))
    }

    fn may_try(&self, from: IpAddr) -> Result<(), Closed> {
        lock(&self.attempts).wait(from, now()).map_or(Ok(()), |seconds| Err(Closed::Wait(seconds)))
    }

    async fn keep(&self, password: &str) -> Result<(), Closed> {
        let password = password.to_owned();
        let hash = tokio::task::spawn_blocking(move || password::hash(&password)).await;
        let hash = hash.ok().flatten().ok_or(Closed::Broken)?;
        let written = replace_secret(&self.dir.join(PASSWORD), hash.as_bytes());
        if let Err(error) = written {
            tracing::error!(error = format!("{error:#}"), "the admin password was not kept");
            return Err(Closed::Broken);
        }
        *lock(&self.hash) = Some(hash);
        Ok(())
    }
}

const fn of(peer: Peer) -> (IpAddr, Wire) {
    (peer.address.ip().to_canonical(), peer.wire)
}

fn fits(password: &str) -> Result<(), Closed> {
    match password.chars().count() {
        0..MIN_LENGTH => Err(Closed::Unfit("The new password needs at least 8 characters.")),
        MIN_LENGTH..=MAX_LENGTH => Ok(()),
        _ => Err(Closed::Unfit("The new password may have at most 256 characters.")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const HERE: Peer = from(7);

    const fn from(last: u8) -> Peer {
        let address = std::net::Ipv4Addr::new(192, 168, 1, last);
        Peer { address: std::net::SocketAddr::new(IpAddr::V4(address), 50_000), wire: Wire::Open }
    }

    #[tokio::test]
    async fn the_first_password_takes_the_code_and_the_next_takes_the_password() {
        let dir = tempfile::tempdir().unwrap();
        let admin = Admin::open(dir.path()).unwrap();
        let code = std::fs::read_to_string(dir.path().join(PRESENCE)).unwrap();
        assert!(matches!(admin.set_first(HERE, "0", "a long secret").await, Err(Closed::Wrong(_))));
        assert!(matches!(admin.set_first(HERE, &code, "short").await, Err(Closed::Unfit(_))));
        let session = admin.set_first(HERE, &code, "a long secret").await.unwrap();
        assert!(admin.session(Wire::Open, session.cookie()).is_some());
        assert!(!dir.path().join(PRESENCE).exists());
        let file = dir.path().join(PASSWORD);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read_to_string(&file).unwrap().contains("a long secret"));

        let again = Admin::open(dir.path()).unwrap();
        assert!(again.is_set() && !dir.path().join(PRESENCE).exists());
        assert!(again.session(Wire::Open, session.cookie()).is_none(), "sessions end with the process");
        assert!(again.set_first(HERE, &code, "another secret").await.is_err());
        assert!(again.log_in(HERE, "a wrong secret").await.is_err());
        let first = again.log_in(HERE, "a long secret").await.unwrap();
        let second = again.change(HERE, "a long secret", "a new secret").await.unwrap();
        assert!(
            again.session(Wire::Open, first.cookie()).is_none(),
            "a new password ends the others' sessions"
        );
        again.log_out(&second);
        assert!(again.session(Wire::Open, second.cookie()).is_none());
        assert!(Admin::open(dir.path()).unwrap().log_in(HERE, "a new secret").await.is_ok());
    }

    #[tokio::test]
    async fn guessing_is_slowed_down() {
        let dir = tempfile::tempdir().unwrap();
        let admin = Admin::open(dir.path()).unwrap();
        for _ in 0..attempts::FREE {
            assert!(matches!(admin.set_first(HERE, "1", "a long secret").await, Err(Closed::Wrong(_))));
        }
        let code = std::fs::read_to_string(dir.path().join(PRESENCE)).unwrap();
        assert!(matches!(admin.set_first(HERE, &code, "a long secret").await, Err(Closed::Wait(_))));
        let elsewhere = from(8);
        assert!(admin.set_first(elsewhere, &code, "a long secret").await.is_ok());
    }
}
