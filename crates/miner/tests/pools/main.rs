//! The miner and the load generator as a pool sees them: scripted pools say what they are told to
//! and check all that comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod block;
mod load;
mod miner;
mod scripted_sv1;
mod scripted_sv2;
mod sv1;
mod sv2;
