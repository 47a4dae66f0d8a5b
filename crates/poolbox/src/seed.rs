//! `poolbox seed`: the words of the box's seed, shown until its owner has written them down.

use clap::Args;
use poolbox_api::mint::{self, Seed, SeedConfirmation, SeedWord, SeedWords};
use poolbox_service::Misconfigured;

use crate::place::Place;
use crate::secret;

/// What to say of the seed.
#[derive(Debug, Args)]
pub struct Options {
    /// Only say which seed it is and whether it was written down.
    #[arg(long)]
    status: bool,
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let mint = place.mint()?;
    let seed: Seed = mint.get(mint::SEED).await?;
    let Seed { fingerprint, confirmed_at, .. } = &seed;
    if options.status || confirmed_at.is_some() {
        let written = match confirmed_at {
            Some(_) => "it was written down, and is not shown again",
            None => "it was not written down yet: run `poolbox seed`",
        };
        println!("seed {fingerprint}: {written}");
        return Ok(());
    }
    let SeedWords { words, ask } = mint.post(mint::SEED_SHOW, &()).await?;
    println!(
        "These words are the box's seed. Whoever has them has its coins; without them the coins are lost"
    );
    println!("with the disk. Write them on paper, in this order, and keep the paper away from the box.\n");
    for (place, word) in words.iter().enumerate() {
        println!("  {:>2}. {word}", place + 1);
    }
    println!();
    let mut entered = Vec::new();
    for position in ask {
        let word = secret::line(&format!("word {position}, to show that you have them: "))?;
        if word.is_empty() {
            return Err(Misconfigured::new(
                "no word was entered; run `poolbox seed` again when they are written down",
            )
            .into());
        }
        entered.push(SeedWord { position, word });
    }
    let seed: Seed = mint.post(mint::SEED_CONFIRM, &SeedConfirmation { words: entered }).await?;
    println!(
        "\nseed {} is written down; it is not shown again. Now make a backup: poolbox backup FILE",
        seed.fingerprint
    );
    Ok(())
}
