//! `poolbox-miner load`: many miners in one thread, to find out how a pool bears them.
//!
//! `swarm` holds the connections and turns the network's events into counts; `modes` decides what is
//! sent when; `sv1` and `sv2` know the protocols; `mine` finds the shares, `tally` counts them.

// The result is the command's output.
#![allow(clippy::print_stdout)]

mod connection;
mod flight;
mod histogram;
mod limit;
mod mine;
mod modes;
mod options;
mod poller;
mod report;
mod sv1;
mod sv2;
mod swarm;
mod talker;
mod tally;

use crate::load::modes::measure;
pub use crate::load::options::LoadOptions;
use crate::url::Protocol;

/// Puts the load on the pool and prints what was measured.
pub fn run(options: &LoadOptions) -> anyhow::Result<()> {
    poolbox_service::log::init(None)?;
    limit::open_files(options.connections)?;
    let report = match options.protocol()? {
        Protocol::Sv1 => measure(options, |number| sv1::Talker::new(options, number))?,
        Protocol::Sv2 { authority } => {
            measure(options, |number| sv2::Talker::new(options, authority, number))?
        }
    };
    println!("{}", serde_json::to_string(&report)?);
    report.check()
}
