//! Stratum V1.

mod message;
mod session;

use std::sync::Arc;

use crate::server::{Extranonces, Protocol};
use crate::session::{Now, SessionSettings};
use crate::sink::Protocol as Spoken;

pub use session::Session;

/// The Sv1 port.
#[derive(Debug)]
pub struct Sv1 {
    settings: Arc<SessionSettings>,
    extranonces: Arc<Extranonces>,
}

impl Sv1 {
    /// A port with these settings; `extranonces` are shared with the other ports.
    pub fn new(settings: Arc<SessionSettings>, extranonces: Arc<Extranonces>) -> Self {
        Self { settings, extranonces }
    }
}

impl Protocol for Sv1 {
    const SPEAKS: Spoken = Spoken::Sv1;
    type Session = Session;

    fn open(&self, now: Now) -> Option<Session> {
        Some(Session::new(Arc::clone(&self.settings), self.extranonces.next()?, now))
    }
}
