//! Where the jobs of a Poolbox come from.
//!
//! A [`WorkSource`] is a handle: it tells of new [`Template`]s and takes [`Solution`]s. Which kind of
//! source stands behind it is decided where it is started, by [`core_ipc::start`], [`tdp::start`] or
//! [`upstream::start`], and nowhere else. [`blocks::BlockKeeper`] brings what was found into the chain, by every path there
//! is. Jobs, shares and miners are not known here.

mod assembly;
mod backoff;
pub mod blocks;
pub mod core_ipc;
mod feed;
mod outage;
mod recall;
mod requests;
mod session;
mod source;
mod tcp;
pub mod tdp;
mod template;
mod transactions;
pub mod upstream;

pub use outage::Outage;
pub use source::{Events, Solution, SourceEvent, SubmitError, SubmitOutcome, WorkSource};
pub use template::{CoinbaseTemplate, Template, TemplateId};
pub use transactions::{BlockError, Transactions};
