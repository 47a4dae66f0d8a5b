//! Who asks: from where, and whether as the admin.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::StatusCode;
use axum::http::header::{COOKIE as COOKIES, HOST};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use super::{Session, cookie_name};
use crate::app::{Refusal, Shared};
use crate::guard::without_port;
use crate::wire::{Peer, Wire};

/// Whoever sent a request.
#[derive(Clone)]
pub struct Visitor {
    /// Where it came from, and how.
    pub peer: Peer,
    /// The name or address that the box was called by.
    pub host: String,
    /// As the admin, if so.
    pub session: Option<Session>,
    /// Whether there is a password at all.
    pub is_set: bool,
}

/// Why somebody may not do this now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Not the admin: the way to the door.
    Away(&'static str),
    /// The form is not of this session.
    Foreign,
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        match self {
            Self::Away(door) => Redirect::to(door).into_response(),
            Self::Foreign => {
                let sentence = "This form is of another session. Go back, reload, try again.";
                Refusal::new(StatusCode::FORBIDDEN, sentence).into_response()
            }
        }
    }
}

impl Visitor {
    /// Where it came from.
    pub const fn address(&self) -> IpAddr {
        self.peer.address.ip().to_canonical()
    }

    /// The admin's session, for a page that only the admin sees.
    ///
    /// # Errors
    /// [`Turned::Away`].
    pub fn admin(&self) -> Result<&Session, Turned> {
        self.session.as_ref().ok_or(Turned::Away(if self.is_set { "/login" } else { "/setup" }))
    }

    /// The admin's session, for a form that changes something.
    ///
    /// # Errors
    /// [`Turned`].
    pub fn changes(&self, token: &str) -> Result<&Session, Turned> {
        let session = self.admin()?;
        if session.wrote(token) { Ok(session) } else { Err(Turned::Foreign) }
    }
}

impl FromRequestParts<Shared> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Infallible> {
        let unknown = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|info| info.0);
        let peer = peer.unwrap_or(Peer { address: unknown, wire: Wire::Open });
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let cookies = parts.headers.get_all(COOKIES).iter().filter_map(|header| header.to_str().ok());
        let mut pairs =
            cookies.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let cookie =
            pairs.find(|(name, _)| *name == cookie_name(peer.wire)).map(|(_, value)| value.to_owned());
        Ok(Self {
            peer,
            host: without_port(host).to_owned(),
            session: cookie.and_then(|cookie| app.admin.session(peer.wire, &cookie)),
            is_set: app.admin.is_set(),
        })
    }
}
