//! What the load generator needs of a protocol.

use std::sync::Arc;

use crate::inbox::Inbox;
use crate::load::mine::Share;
use crate::work::Job;

/// What a pool said.
#[derive(Debug)]
pub enum Heard<'a> {
    /// Hash this from now on.
    Job(Arc<Job>),
    /// All shares up to this number are accepted; the pool says how many more these are.
    AcceptedThrough(u32, u32),
    /// The share of this number is accepted.
    Accepted(u32),
    /// The share of this number is refused, for this reason.
    Rejected(u32, &'a str),
}

/// One connection's protocol: bytes in, bytes out.
pub trait Talker {
    /// Appends to `out` what a connection begins with.
    fn greet(&mut self, out: &mut Vec<u8>) -> anyhow::Result<()>;

    /// Takes what has arrived; appends to `out` what must be answered.
    ///
    /// # Errors
    /// The pool ends it, or cannot be understood.
    fn receive(
        &mut self,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
        hear: &mut impl FnMut(Heard<'_>),
    ) -> anyhow::Result<()>;

    /// Appends to `out` a share of the newest job, under this number (its connection's shares are
    /// numbered from 0 on).
    fn submit(&mut self, share: Share<'_>, number: u32, out: &mut Vec<u8>) -> anyhow::Result<()>;
}
