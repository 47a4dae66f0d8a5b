//! The miner-facing protocols: jobs, share validation, difficulty, and the Stratum servers.
//!
//! Sessions, validation and variable difficulty are pure state machines; [`server`] is the thin layer
//! of sockets around them. Nothing here decides what work is worth or where it is kept: accepted
//! shares go to a [`ShareSink`].

mod coinbase;
mod extranonce;
mod job;
mod payout;
mod sent;
pub mod server;
mod session;
mod share;
mod sink;
pub mod sv1;
pub mod sv2;
mod vardiff;

pub use coinbase::{Coinbase, CoinbaseError, POOL_TAG, check as check_coinbase};
pub use extranonce::{Extranonce, Extranonces, Layout};
pub use job::{Job, JobFeed, JobNumber};
pub use payout::{NoAddress, PayoutOutput, PayoutPolicy};
pub use session::{Memory, NoMemory, Now, Outbox, Session, SessionSettings};
pub use share::{RejectReason, Solved, Submission, VERSION_ROLLING_MASK};
pub use sink::{
    AcceptedShare, FoundBlock, Keeping, News, Protocol, RejectedShare, ShareSink, SinkError, WorkerChange,
    WorkerSeen,
};
pub use vardiff::{Class, Introduction, Start, Vardiff, VardiffLimits, password_difficulty};
