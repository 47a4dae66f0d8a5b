//! `poolbox status`: what pool and mint are doing, for people and as JSON.

use clap::Args;
use poolbox_api::{mint, pool};
use serde::{Deserialize, Serialize};

use crate::place::Place;

/// How to say it.
#[derive(Debug, Args)]
pub struct Options {
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

/// The whole box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The pool's; none when it does not answer.
    pub pool: Option<pool::Status>,
    /// The mint's; none when it does not answer.
    pub mint: Option<mint::Status>,
    /// Every epoch, newest first.
    pub epochs: Vec<mint::Epoch>,
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let pool = place.pool()?.get::<pool::Status>(pool::STATUS).await;
    let mint_client = place.mint()?;
    let mint = mint_client.get::<mint::Status>(mint::STATUS).await;
    let epochs = mint_client.get(mint::EPOCHS).await.unwrap_or_default();
    if options.json {
        let status = Status { pool: pool.ok(), mint: mint.ok(), epochs };
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    match pool {
        Ok(status) => print_pool(&status),
        Err(error) => println!("pool   {error}"),
    }
    match mint {
        Ok(status) => print_mint(&status, &epochs),
        Err(error) => println!("mint   {error}"),
    }
    Ok(())
}

fn print_pool(status: &pool::Status) {
    let height =
        status.source.height.map_or_else(|| "no work yet".to_owned(), |height| format!("block {height}"));
    println!(
        "pool   {} on {}, working on {height}, {} connections",
        status.stratum_v1, status.network, status.connections
    );
    println!("       {} shares journalled, {}", status.journal.shares, status.journal.work_ehash);
    for worker in &status.workers {
        let rejected: u64 = worker.rejected.values().sum();
        let here = if worker.connected { "mining" } else { "gone" };
        println!(
            "       {}.{} {here}: {} accepted, {rejected} rejected, {}",
            worker.owner, worker.name, worker.accepted, worker.work_ehash
        );
    }
    for block in status.blocks.iter().take(5) {
        println!("       found block {} {} ({})", block.height, block.hash, block.finder);
    }
}

fn print_mint(status: &mint::Status, epochs: &[mint::Epoch]) {
    println!("mint   {} (every unit: {}), chain at {}", status.url, status.ehash_url, status.chain.height);
    if let Some(reason) = &status.halted {
        println!("       HALTED: {reason}");
    }
    let (ehash, sats) = (&status.ehash, &status.sats);
    println!("       {} credited, {} issued, {} redeemed", ehash.credited, ehash.issued, ehash.redeemed);
    println!(
        "       reserve {} (and {} maturing), outstanding {}, paid for ehash {}",
        sats.reserve, sats.immature, sats.outstanding, sats.redeemed
    );
    for epoch in epochs.iter().take(5) {
        let wait = epoch.blocks_to_maturity.filter(|blocks| *blocks > 0);
        let wait = wait.map_or_else(String::new, |blocks| format!(", spendable in {blocks} blocks"));
        let state = format!("{:?}", epoch.state).to_lowercase();
        println!("       epoch {} {state}: {} for {}{wait}", epoch.n, epoch.reward, epoch.work);
    }
}
