//! Stratum V2 as a miner speaks it, without sockets.
//!
//! `noise` and `link` turn bytes into frames and back, `message` frames into messages, `session`
//! decides. As described by the Stratum V2 specification; its messages are SRI's types.

mod authority;
mod link;
mod message;
mod noise;
mod session;

pub use authority::{AuthorityKey, NoAuthorityKey};
pub use link::{Frame, Header, Link};
pub use message::{
    SUBMIT_SHARES_ERROR, SUBMIT_SHARES_SUCCESS, Submission, submission_header, write_submission,
};
pub use noise::{ANSWER, Handshake};
pub use session::{ChannelKind, Miner, Session, Sv2Error};
