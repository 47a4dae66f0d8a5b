//! Stratum V2: the mining protocol over Noise, as the server.

mod authority;
mod channel;
mod message;
mod noise;
mod session;

use std::sync::Arc;

use crate::server::{Extranonces, Protocol};
use crate::session::{Now, SessionSettings};
use crate::sink::Protocol as Spoken;

pub use authority::{AuthorityKey, NotASecretKey};
pub use session::Session;

/// The Sv2 port.
#[derive(Debug)]
pub struct Sv2 {
    settings: Arc<SessionSettings>,
    extranonces: Arc<Extranonces>,
    authority: AuthorityKey,
}

impl Sv2 {
    /// A port with these settings; `extranonces` are shared with the other ports.
    pub const fn new(
        settings: Arc<SessionSettings>,
        extranonces: Arc<Extranonces>,
        authority: AuthorityKey,
    ) -> Self {
        Self { settings, extranonces, authority }
    }
}

impl Protocol for Sv2 {
    const SPEAKS: Spoken = Spoken::Sv2;
    type Session = Session;

    fn open(&self, _: Now) -> Option<Session> {
        let (settings, extranonces) = (Arc::clone(&self.settings), Arc::clone(&self.extranonces));
        Some(Session::new(settings, extranonces, self.authority.clone()))
    }
}
