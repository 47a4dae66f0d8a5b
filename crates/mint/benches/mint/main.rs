//! The mint measured from outside: the real program, a real node, a journal that the real journal
//! writes, and a client that prepares its requests before the clock runs. `cargo xtask bench mint` runs
//! it in the release profile; docs/bench.md tells what the figures mean.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench speaks to its user")]

mod crediting;
mod ecash;
mod load;
mod stand;

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Shares in the journal that is credited.
    pub shares: u64,
    /// Owners that they belong to.
    pub owners: u64,
    /// Requests of each kind.
    pub requests: usize,
}

/// As the goals say.
const FULL: Size = Size { shares: 1_000_000, owners: 1_000, requests: 600 };
/// To try things out.
const QUICK: Size = Size { shares: 50_000, owners: 500, requests: 60 };

fn main() -> Result<()> {
    let mut size = FULL;
    let mut only = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo itself says.
            "--bench" => {}
            "--quick" => size = QUICK,
            "--only" => only = arguments.next(),
            "--shares" => {
                let shares = arguments.next().context("--shares needs a number")?;
                size.shares = shares.parse().context("--shares is no number")?;
            }
            other => {
                bail!(
                    "unknown argument {other}; use --quick, --only credits, --only ecash or --shares NUMBER"
                )
            }
        }
    }
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let started = Instant::now();
    let mut results = Map::new();
    runtime.block_on(async {
        if wanted("credits") {
            results.insert("credits".into(), crediting::measure(size).await?);
        }
        if wanted("ecash") {
            results.insert("ecash".into(), ecash::measure(size).await?);
        }
        anyhow::Ok(())
    })?;
    results.insert("seconds".into(), json!(started.elapsed().as_secs()));
    println!("{}", Value::Object(results));
    Ok(())
}
