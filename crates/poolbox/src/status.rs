//! `poolbox status`: what pool and mint are doing, for people and as JSON.

use clap::Args;
use poolbox_accounting::Sats;
use poolbox_api::{mint, pool};
use serde::{Deserialize, Serialize};

use crate::place::Place;

/// Outputs of a coinbase that are told of.
const MAX_PAID: usize = 5;

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
    println!("pool   {} on {}, working on {height}", status.stratum_v1, status.network);
    println!("       {}", status.stratum_v2);
    if let Some(reason) = &status.halted {
        println!("       MINING STOPPED: {reason}");
    }
    if let Some(trouble) = &status.source.trouble {
        println!("       no new work: {trouble}");
    }
    if let Some(upstream) = &status.upstream {
        let pool::Upstream { url, user, accepted, rejected, waiting, .. } = upstream;
        let rejected: u64 = rejected.values().sum();
        println!(
            "       for {url} as {user}: {accepted} shares accepted there, {rejected} not, {waiting} on their way"
        );
    }
    for coinbase in status.job.iter().flat_map(|job| &job.coinbases).take(5) {
        println!("       {}", paid(coinbase));
    }
    println!(
        "       {}, {} connections; {} shares journalled, {}",
        hashrate(status.hashrate.ten_minutes),
        status.connections,
        status.journal.shares,
        status.journal.work_ehash
    );
    if let Some(delivery) = &status.delivery {
        let trouble = delivery.trouble.as_ref().map_or_else(String::new, |trouble| format!("; {trouble}"));
        println!("       quote queue to {}: {} entries wait{trouble}", delivery.address, delivery.waiting);
    }
    for worker in &status.workers {
        let rejected: u64 = worker.shares.rejected.values().sum();
        let here = if worker.connected { "mining" } else { "gone" };
        let best = worker.shares.best.as_ref();
        let best = best.map_or_else(String::new, |best| format!(", best {}", scaled(best.difficulty)));
        println!(
            "       {}.{} {here}: {}, {} accepted, {rejected} rejected, {}{best}",
            worker.owner,
            worker.name,
            hashrate(worker.hashrate.ten_minutes),
            worker.shares.accepted,
            worker.shares.work_ehash
        );
    }
    for block in status.blocks.iter().take(5) {
        let finder = block.finder.as_deref().unwrap_or("found before a restart");
        let state = match (block.confirmed, &block.lost, &block.trouble) {
            (true, ..) => "in the chain".to_owned(),
            (_, Some(reason), _) => format!("lost: {reason}"),
            (.., Some(trouble)) => format!("sent; {trouble}"),
            (.., None) => "sent".to_owned(),
        };
        println!("       found block {} {} ({finder}), {state}", block.height, block.hash);
    }
}

/// Whom a coinbase pays, in a line.
fn paid(coinbase: &pool::Coinbase) -> String {
    if let Some(mismatch) = &coinbase.mismatch {
        return format!("WRONG COINBASE: {mismatch}");
    }
    let paid = coinbase.outputs.iter().filter(|output| output.sats > 0);
    let mut paid: Vec<_> = paid
        .map(|output| {
            let to = output.address.as_ref().unwrap_or(&output.script);
            format!("{} sat to {to}", output.sats)
        })
        .collect();
    // The coinbases of some pools pay hundreds.
    let more = paid.len().saturating_sub(MAX_PAID);
    if more > 0 {
        paid.truncate(MAX_PAID);
        paid.push(format!("{more} more"));
    }
    format!("a block pays {}", paid.join(" and "))
}

/// A hash rate in three digits, as in `1.02 TH/s`.
pub fn hashrate(hashes_per_second: u64) -> String {
    format!("{}H/s", scaled(hashes_per_second as f64))
}

/// A number in three digits, with the letter of its thousands.
fn scaled(number: f64) -> String {
    let mut letters = [' ', 'k', 'M', 'G', 'T', 'P', 'E'].into_iter().peekable();
    let mut rest = number;
    while let Some(letter) = letters.next() {
        if rest < 999.5 || letters.peek().is_none() {
            let digits = if rest < 9.995 { 2 } else { usize::from(rest < 99.95) };
            return format!("{rest:.digits$} {letter}").trim_end().to_owned();
        }
        rest /= 1000.0;
    }
    number.to_string()
}

fn print_mint(status: &mint::Status, epochs: &[mint::Epoch]) {
    println!("mint   {} (every unit: {}), chain at {}", status.url, status.ehash_url, status.chain.height);
    if let Some(reason) = &status.halted {
        println!("       HALTED: {reason}");
    }
    if let Some(trouble) = &status.queue.trouble {
        println!("       CREDITING WAITS: {trouble}");
    }
    if status.restored.as_ref().is_some_and(|restored| restored.accepted_at.is_none()) {
        println!("       RESTORED from a backup: signs nothing until you say `poolbox restore --accept`");
    }
    let (ehash, sats) = (&status.ehash, &status.sats);
    println!("       {} credited, {} issued, {} redeemed", ehash.credited, ehash.issued, ehash.redeemed);
    println!(
        "       reserve {} (and {} maturing), outstanding {}, claims {}, surplus {}",
        sats.reserve, sats.immature, sats.outstanding, sats.claims, sats.surplus
    );
    println!(
        "       paid for ehash {}, received {}, melted {} with fees of {}, {} on its way out",
        sats.redeemed, sats.received, sats.melted, sats.fees_paid, sats.pending_out
    );
    if sats.shared > Sats::ZERO {
        println!("       shared out of other pools' payments {}", sats.shared);
    }
    match &status.lightning {
        mint::LightningState::Off => {}
        mint::LightningState::On => println!("       Lightning works and holds {}", sats.lightning),
        mint::LightningState::Down { reason } => println!("       LIGHTNING DOES NOT WORK: {reason}"),
    }
    for epoch in epochs.iter().take(5) {
        let wait = epoch.blocks_to_maturity.filter(|blocks| *blocks > 0);
        let wait = wait.map_or_else(String::new, |blocks| format!(", spendable in {blocks} blocks"));
        let state = format!("{:?}", epoch.state).to_lowercase();
        println!("       epoch {} {state}: {} for {}{wait}", epoch.n, epoch.reward, epoch.work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_letter() {
        let told = [0.0, 0.004, 9.99, 9.996, 99.94, 99.96, 999.4, 999.6, 1.5e6, 2.0e21, 1.0e24].map(scaled);
        let expected =
            ["0.00", "0.00", "9.99", "10.0", "99.9", "100", "999", "1.00 k", "1.50 M", "2000 E", "1000000 E"];
        assert_eq!(told, expected);
        assert_eq!(hashrate(1_200_000_000_000), "1.20 TH/s");
    }
}
