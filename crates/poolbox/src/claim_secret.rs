//! `poolbox claim-secret`: makes the secret with which an owner claims without the admin.

use clap::Args;
use poolbox_api::mint::{ClaimSecret, owner_path};

use crate::place::Place;

/// Whose secret.
#[derive(Debug, Args)]
pub struct Options {
    /// Owner part of the miners' user name, as garage in garage.bitaxe.
    owner: String,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let path = owner_path(&options.owner, "claim-secret");
    let made: ClaimSecret = place.mint()?.post(&path, &()).await?;
    if options.json {
        println!("{}", serde_json::to_string(&made)?);
        return Ok(());
    }
    println!("{}", made.secret);
    eprintln!("who has this may claim for {}; it is not shown again", made.owner);
    if made.number > 1 {
        eprintln!("the secret made before is void now");
    }
    Ok(())
}
