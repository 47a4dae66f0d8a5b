//! The miner-facing protocols: jobs, share validation, difficulty, and the Stratum servers.
//!
//! Sessions, validation and variable difficulty are pure state machines; `server` is the thin layer
//! of sockets around them. Nothing here decides what work is worth or where it is kept: accepted
//! shares go to a [`ShareSink`].

mod coinbase;
mod job;
mod share;
mod sink;
pub mod sv1;
mod vardiff;

pub use coinbase::{Coinbase, CoinbaseError, EXTRANONCE1_BYTES, EXTRANONCE2_BYTES, POOL_TAG, PayoutOutput};
pub use job::{Job, JobFeed, JobNumber};
pub use share::{Extranonce, RejectReason, Solved, Submission, VERSION_ROLLING_MASK};
pub use sink::{AcceptedShare, RejectedShare, ShareSink, SinkError, WorkerChange, WorkerSeen};
pub use vardiff::{Class, Introduction, Start, Vardiff, VardiffLimits, password_difficulty};
