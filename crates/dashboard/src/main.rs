//! `poolbox-dashboard`: the face of the box. Pages, a JSON API and metrics, drawn from what pool, mint and
//! node say of themselves. Holds no money logic and no share: without it the box mines and pays all the
//! same.

mod admin;
mod alarms;
mod alerts;
mod app;
mod assets;
mod axeos;
mod backups;
mod catching;
mod chart;
mod choices;
mod coinbase;
mod diagnosis;
mod disk;
mod endpoints;
mod feed;
#[cfg(test)]
mod fixture;
mod frame;
mod guard;
mod history;
mod json;
mod link;
mod live;
mod logfile;
#[cfg(test)]
mod money_tests;
mod node;
mod pages;
mod qr;
mod service;
mod settings;
#[cfg(test)]
mod tests;
mod versions;
mod wire;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The web interface of a Poolbox.
#[derive(Debug, Parser)]
#[command(name = "poolbox-dashboard", version)]
struct Arguments {
    /// Settings file (TOML).
    #[arg(long, value_name = "FILE", default_value = "/etc/poolbox/dashboard.toml")]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    poolbox_service::exit("poolbox-dashboard", service::run(&arguments.config).await)
}
