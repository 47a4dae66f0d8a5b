//! What clients may do to a server over real sockets, and what it must not cost the others.
//!
//! Every time limit is a few hundred milliseconds, and whatever is waited for is an event: a byte, an end,
//! a share. Connections look at their limits every two seconds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;
mod floods;
mod limits;
mod miner_v1;
mod miner_v2;
mod stopping;
