//! What the two protocols have in common: a session takes messages and says what to do.

use std::sync::Arc;

use crate::sv1::Sv1Error;
use crate::sv2::Sv2Error;
use crate::work::{Job, Solution};

/// What to do next. Messages are lines in Stratum V1, frames in Stratum V2.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<Message> {
    /// Send this.
    Send(Message),
    /// Work for this user is taken.
    Authorized,
    /// Hash this job from now on, and nothing else.
    Hash(Arc<Job>),
    /// The pool took so many more shares.
    Accepted(u32),
    /// The pool refused a share, with this reason.
    Rejected(String),
    /// The pool has something to say to the person.
    Show(String),
    /// The pool asks to be called again.
    Reconnect,
}

/// One connection's state, without its socket.
pub trait Session {
    /// What travels.
    type Message;

    /// Takes one message from the pool.
    ///
    /// # Errors
    /// [`ProtocolError`]: the connection is of no use any more.
    fn receive(&mut self, message: Self::Message) -> Result<Vec<Action<Self::Message>>, ProtocolError>;

    /// The message that submits a share, unless the pool would call it stale.
    fn submit(&mut self, share: &Solution) -> Option<Self::Message>;
}

/// Why a connection leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// In Stratum V1.
    #[error(transparent)]
    Sv1(#[from] Sv1Error),
    /// In Stratum V2.
    #[error(transparent)]
    Sv2(#[from] Sv2Error),
}

impl ProtocolError {
    /// Whether trying again is pointless until somebody changes a setting.
    pub const fn blames_the_settings(&self) -> bool {
        match self {
            Self::Sv1(error) => matches!(error, Sv1Error::NotStratum(_) | Sv1Error::NotAuthorized(_)),
            Self::Sv2(error) => error.blames_the_settings(),
        }
    }
}
