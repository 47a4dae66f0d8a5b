//! Stratum V1: JSON lines over TCP, as cpuminer, AxeOS and their kin speak it.

mod message;
mod sent;
mod server;
mod session;

pub use server::{Limits, Server};
pub use session::{Action, Now, Session, SessionSettings};
