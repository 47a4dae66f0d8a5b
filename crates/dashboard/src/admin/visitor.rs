//! Who asks: from where, and whether as the admin.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::StatusCode;
use axum::http::header::COOKIE as COOKIES;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use super::{COOKIE, Session};
use crate::app::{Refusal, Shared};

/// Whoever sent a request.
#[derive(Clone)]
pub struct Visitor {
    /// Where it came from.
    pub address: IpAddr,
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
        let address =
            parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        let cookies = parts.headers.get_all(COOKIES).iter().filter_map(|header| header.to_str().ok());
        let mut pairs =
            cookies.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let cookie = pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned());
        Ok(Self {
            address: address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            session: cookie.and_then(|cookie| app.admin.session(&cookie)),
            is_set: app.admin.is_set(),
        })
    }
}
