//! The local HTTP API between the processes of one box: types and client.
//!
//! Every process serves its API on a unix socket in its own data directory; who may open that file
//! may use it, so there are no tokens. The types are the contract; the servers live with their
//! processes. Times are Unix seconds, amounts integers with the unit in the name or type.

mod client;
pub mod mint;
pub mod pool;
mod problem;

pub use client::{Client, ClientError};
pub use problem::Problem;
