//! `poolbox tokens`: the tokens of an owner that nobody has spent yet. A token is money; this is
//! where one is found again whose text got lost.

use clap::Args;
use poolbox_api::mint::{TakenBack, Token, owner_path};
use poolbox_service::Misconfigured;

use crate::claim::{self, Claimant, Whose};
use crate::place::Place;

/// Whose tokens, and what to do with them.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    whose: Whose,
    /// Show this token itself.
    #[arg(long, value_name = "ID", conflicts_with_all = ["take_back", "json"])]
    show: Option<String>,
    /// Show it as a QR code, an animated one when it is long.
    #[arg(long, requires = "show")]
    qr: bool,
    /// Take this token back: its text is worth nothing then, and the owner has the amount again.
    #[arg(long, value_name = "ID")]
    take_back: Option<String>,
    /// Print the tokens themselves as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let claimant = options.whose.claimant(place).await?;
    if let Some(id) = &options.take_back {
        let back = take_back(place, &claimant, id).await?;
        if options.json {
            println!("{}", serde_json::to_string(&back)?);
        } else {
            println!("taken back: {} {}", back.amount, back.unit);
        }
        return Ok(());
    }
    let tokens = tokens(place, &claimant).await?;
    if options.json {
        println!("{}", serde_json::to_string(&tokens)?);
        return Ok(());
    }
    if let Some(id) = &options.show {
        let token = tokens.iter().find(|token| token.id == *id);
        let token = token.ok_or_else(|| {
            Misconfigured::new(format!(
                "there is no token {id} that is not spent; leave --show out for a list"
            ))
        })?;
        return claim::show(token, options.qr).await;
    }
    for Token { id, unit, amount, lock, .. } in &tokens {
        let lock = lock.as_ref().map(|lock| format!("  locked to {lock}")).unwrap_or_default();
        println!("{id}  {amount} {unit}{lock}");
    }
    if tokens.is_empty() {
        eprintln!("every token is spent");
    }
    Ok(())
}

async fn tokens(place: &Place, claimant: &Claimant) -> anyhow::Result<Vec<Token>> {
    match claimant {
        Claimant::Box(owner) => Ok(place.mint()?.get(&owner_path(owner, "tokens")).await?),
        Claimant::Own(own) => own.tokens().await,
    }
}

async fn take_back(place: &Place, claimant: &Claimant, id: &str) -> anyhow::Result<TakenBack> {
    match claimant {
        Claimant::Box(owner) => {
            let path = owner_path(owner, &format!("tokens/{id}/take-back"));
            Ok(place.mint()?.post_patiently(&path, &()).await?)
        }
        Claimant::Own(own) => own.take_back(id).await,
    }
}
