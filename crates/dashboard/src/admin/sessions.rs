//! Sessions: a random cookie, a random token for forms, twelve hours.

use std::collections::HashMap;

use super::password::same;

/// Name of the cookie.
pub const COOKIE: &str = "poolbox";
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
        format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={LASTS_S}", self.cookie)
    }

    /// The header that takes it back.
    pub fn farewell() -> String {
        format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }
}

impl Sessions {
    /// A new one.
    pub fn begin(&mut self, now: u64) -> Session {
        self.0.retain(|_, session| session.until > now);
        if self.0.len() >= MAX_SESSIONS
            && let Some(oldest) = self.0.values().min_by_key(|session| session.until).cloned()
        {
            self.end(&oldest);
        }
        let session = Session { cookie: random(), token: random(), until: now + LASTS_S };
        self.0.insert(session.cookie.clone(), session.clone());
        session
    }

    /// The one that a cookie names, if it still lasts.
    pub fn find(&self, cookie: &str, now: u64) -> Option<Session> {
        self.0.get(cookie).filter(|session| session.until > now).cloned()
    }

    /// Ends one.
    pub fn end(&mut self, session: &Session) {
        self.0.remove(&session.cookie);
    }
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
        let first = sessions.begin(0);
        assert!(sessions.find(first.cookie(), LASTS_S - 1).is_some());
        assert!(sessions.find(first.cookie(), LASTS_S).is_none());
        for now in 1..=u64::try_from(MAX_SESSIONS).unwrap() {
            sessions.begin(now);
        }
        assert!(sessions.find(first.cookie(), 1).is_none());
        assert_eq!(sessions.0.len(), MAX_SESSIONS);
    }

    #[test]
    fn a_form_of_another_session_is_none_of_this() {
        let mut sessions = Sessions::default();
        let (one, other) = (sessions.begin(0), sessions.begin(0));
        assert!(one.wrote(one.token()) && !one.wrote(other.token()) && !one.wrote(""));
    }
}
