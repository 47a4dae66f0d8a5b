//! Sessions: a random cookie, a random token for forms, twelve hours.

use std::collections::HashMap;

use super::password::same;
use crate::wire::Wire;

/// Name of the cookie of a session begun over the open wire.
const OPEN: &str = "poolbox";
/// Name of one begun over TLS. By it a browser makes sure that nothing but this very host has set it, over TLS.
const ENCRYPTED: &str = "__Host-poolbox";
/// How long a session lasts, in seconds.
const LASTS_S: u64 = 12 * 3600;
/// Sessions at the same time; the oldest make room.
const MAX_SESSIONS: usize = 50;

/// Somebody who gave the password.
#[derive(Clone)]
pub struct Session {
    cookie: String,
    token: String,
    until: u64,
    /// The only one that it serves: a cookie that came over the open wire may be anybody's.
    wire: Wire,
}

/// The name of the cookie on this wire.
pub const fn cookie_name(wire: Wire) -> &'static str {
    match wire {
        Wire::Open => OPEN,
        Wire::Encrypted => ENCRYPTED,
    }
}

/// Everybody who did.
#[derive(Default)]
pub struct Sessions(HashMap<String, Session>);

impl Session {
    /// The cookie's value, a secret.
    #[cfg(test)]
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// What every form of this session carries.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether a form is of this session.
    pub fn wrote(&self, token: &str) -> bool {
        same(self.token.as_bytes(), token.as_bytes())
    }

    /// The header that gives a browser the cookie: not for scripts, not for other sites.
    pub fn header(&self) -> String {
        header(self.wire, &self.cookie, LASTS_S)
    }

    /// The header that takes it back.
    pub fn farewell(wire: Wire) -> String {
        header(wire, "", 0)
    }
}

impl Sessions {
    /// A new one.
    pub fn begin(&mut self, wire: Wire, now: u64) -> Session {
        self.0.retain(|_, session| session.until > now);
        if self.0.len() >= MAX_SESSIONS
            && let Some(oldest) = self.0.values().min_by_key(|session| session.until).cloned()
        {
            self.end(&oldest);
        }
        let session = Session { cookie: random(), token: random(), until: now + LASTS_S, wire };
        self.0.insert(session.cookie.clone(), session.clone());
        session
    }

    /// The one that a cookie names on this wire, if it still lasts.
    pub fn find(&self, wire: Wire, cookie: &str, now: u64) -> Option<Session> {
        let found = self.0.get(cookie);
        found.filter(|session| session.until > now && session.wire == wire).cloned()
    }

    /// Ends one.
    pub fn end(&mut self, session: &Session) {
        self.0.remove(&session.cookie);
    }
}

fn header(wire: Wire, value: &str, lasts_s: u64) -> String {
    let secure = match wire {
        Wire::Open => "",
        Wire::Encrypted => "; Secure",
    };
    format!("{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lasts_s}{secure}", cookie_name(wire))
}

/// 32 random bytes in hex.
fn random() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_itself_and_the_oldest_make_room() {
        let mut sessions = Sessions::default();
        let first = sessions.begin(Wire::Open, 0);
        assert!(sessions.find(Wire::Open, first.cookie(), LASTS_S - 1).is_some());
        assert!(sessions.find(Wire::Open, first.cookie(), LASTS_S).is_none());
        for now in 1..=u64::try_from(MAX_SESSIONS).unwrap() {
            sessions.begin(Wire::Open, now);
        }
        assert!(sessions.find(Wire::Open, first.cookie(), 1).is_none());
        assert_eq!(sessions.0.len(), MAX_SESSIONS);
    }

    #[test]
    fn a_form_of_another_session_is_none_of_this() {
        let mut sessions = Sessions::default();
        let (one, other) = (sessions.begin(Wire::Open, 0), sessions.begin(Wire::Open, 0));
        assert!(one.wrote(one.token()) && !one.wrote(other.token()) && !one.wrote(""));
    }

    #[test]
    fn a_session_serves_the_wire_that_it_began_on_alone() {
        let mut sessions = Sessions::default();
        let (open, encrypted) = (sessions.begin(Wire::Open, 0), sessions.begin(Wire::Encrypted, 0));
        assert!(sessions.find(Wire::Encrypted, encrypted.cookie(), 1).is_some());
        assert!(sessions.find(Wire::Open, encrypted.cookie(), 1).is_none());
        assert!(sessions.find(Wire::Encrypted, open.cookie(), 1).is_none());
        assert!(encrypted.header().starts_with("__Host-poolbox=") && encrypted.header().contains("; Secure"));
        assert!(open.header().starts_with("poolbox=") && !open.header().contains("Secure"));
    }
}
