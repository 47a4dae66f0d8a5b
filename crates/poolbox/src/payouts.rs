//! `poolbox payouts`: what was paid by standing rules, and the rule of an owner.

use clap::Args;
use poolbox_accounting::Sats;
use poolbox_api::Client;
use poolbox_api::mint::payouts::{self as api, OwnerPayout, Page, Payout, Rule, RuleRequest, Stage};

use crate::place::Place;

/// Whose payouts, and what to do with them.
#[derive(Debug, Args)]
pub struct Options {
    /// Owner part of the miners' user name; without it, the payouts of all.
    owner: Option<String>,
    /// Pay a name to this bitcoin address, Lightning address or BOLT12 offer.
    #[arg(long, value_name = "TARGET", requires = "owner")]
    to: Option<String>,
    /// Pay when the balance has come to so many sats; the box's default unless set.
    #[arg(long, value_name = "SATS", requires = "owner")]
    threshold: Option<u64>,
    /// Wait while a payout would cost more than this part of it, in parts per million.
    #[arg(long, value_name = "PPM", requires = "owner")]
    max_fee_ppm: Option<u32>,
    /// Take back what was set for the owner.
    #[arg(long, requires = "owner", conflicts_with_all = ["to", "threshold", "max_fee_ppm", "now"])]
    remove: bool,
    /// Pay as soon as can be, whatever the threshold.
    #[arg(long, requires = "owner")]
    now: bool,
    /// Show so many payouts of all.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20, conflicts_with = "owner")]
    lines: u32,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let mint = place.mint()?;
    let Some(owner) = &options.owner else {
        let page: Page = mint.get(&format!("{}?limit={}", api::PAYOUTS, options.lines)).await?;
        return if options.json { print_json(&page) } else { print_page(&page) };
    };
    let shown = of_owner(&mint, owner, options).await?;
    if options.json {
        return print_json(&shown);
    }
    let OwnerPayout { owner, rule, balance, waits_for, under_way, last, .. } = shown;
    match rule {
        Some(Rule { target, threshold, max_fee_ppm, .. }) => {
            println!(
                "{owner} is paid to {target} from {threshold} on, at a fee of up to {}",
                percent(max_fee_ppm)
            );
        }
        None => println!("{owner} has no payout rule; set one with --to"),
    }
    println!("{balance} to be paid; waits for {waits_for}");
    under_way.iter().chain(&last).for_each(print_payout);
    Ok(())
}

/// Does what was asked for, and tells how the owner stands after it.
async fn of_owner(mint: &Client, owner: &str, options: &Options) -> anyhow::Result<OwnerPayout> {
    let path = api::of_owner(owner);
    let changes = options.to.is_some() || options.threshold.is_some() || options.max_fee_ppm.is_some();
    if options.remove {
        return Ok(mint.delete(&path).await?);
    }
    if changes {
        let rule = RuleRequest {
            target: options.to.clone(),
            threshold: options.threshold.map(Sats::new),
            max_fee_ppm: options.max_fee_ppm,
        };
        mint.put::<_, OwnerPayout>(&path, &rule).await?;
    }
    if options.now {
        return Ok(mint.post(&api::now(owner), &()).await?);
    }
    Ok(mint.get(&path).await?)
}

fn print_json(shown: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(shown)?);
    Ok(())
}

fn print_page(page: &Page) -> anyhow::Result<()> {
    if page.payouts.is_empty() {
        println!("nobody was paid yet");
    }
    page.payouts.iter().for_each(print_payout);
    if page.next.is_some() {
        println!("older ones: -n COUNT");
    }
    Ok(())
}

fn print_payout(payout: &Payout) {
    let Payout { n, target, amount, max_fee, fee, proof, trouble, .. } = payout;
    let proof = proof.as_deref().unwrap_or_default();
    let trouble = trouble.as_deref().unwrap_or_default();
    let said = match (payout.stage, fee) {
        (Stage::Confirmed, Some(fee)) => format!("{amount} paid, fee {fee}  {proof}"),
        (Stage::Confirmed, None) => format!("{amount} paid  {proof}"),
        (Stage::Failed, _) => format!("not paid: {trouble}"),
        (Stage::Planned, _) if trouble.is_empty() => "planned".to_owned(),
        (Stage::Planned, _) => format!("waits: {trouble}"),
        (Stage::Quoted | Stage::Sent, _) => format!("{amount} under way, fee up to {max_fee}"),
    };
    println!("{n:>5}  {target}  {said}");
}

/// Parts per million as a percentage.
fn percent(ppm: u32) -> String {
    let (whole, part) = (ppm / 10_000, ppm % 10_000);
    match part {
        0 => format!("{whole} %"),
        _ => format!("{whole}.{} %", format!("{part:04}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_per_million_are_shown_as_a_percentage() {
        let shown = [0, 20_000, 25_000, 100, 1_000_000].map(percent);
        assert_eq!(shown, ["0 %", "2 %", "2.5 %", "0.01 %", "100 %"]);
    }
}
