//! `poolbox lightning`: what the mint's Lightning node holds, its peers and channels.

use anyhow::Context;
use clap::{Args, Subcommand};
use poolbox_accounting::Sats;
use poolbox_api::mint;
use serde::Serialize;

use crate::place::Place;

/// What to do.
#[derive(Debug, Args)]
pub struct Options {
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the node: its key, what it holds, peers and channels.
    Info,
    /// List the channels.
    Channels,
    /// Make an address to fund the node with; channels are opened from there.
    Address,
    /// Connect to another node, lastingly.
    Connect {
        /// The node.
        #[arg(value_name = "KEY@HOST:PORT")]
        peer: String,
    },
    /// Open a channel to another node, from the node's own coins.
    Open {
        /// The node.
        #[arg(value_name = "KEY@HOST:PORT")]
        peer: String,
        /// Size of the channel in sats.
        sats: u64,
        /// Let others route through it. Needs lightning.announce in the settings.
        #[arg(long)]
        announced: bool,
    },
    /// Close a channel.
    Close {
        /// Its id, as `channels` lists it.
        channel: String,
        /// Without the other node: costs more, and the coins come back after days.
        #[arg(long)]
        force: bool,
    },
    /// Make an offer (BOLT12) of any amount that belongs to no quote.
    Offer {
        /// Shown to who pays.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List payments that arrived without a quote.
    Unquoted,
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let client = place.mint()?;
    let json = options.json;
    match &options.command {
        Command::Info => {
            let node: mint::LightningNode = client.get(mint::LIGHTNING).await?;
            show(json, &node, print_node)
        }
        Command::Channels => {
            let node: mint::LightningNode = client.get(mint::LIGHTNING).await?;
            show(json, &node.channels, |channels| print_channels(channels))
        }
        Command::Address => {
            let made: mint::LightningAddress = client.post(mint::LIGHTNING_ADDRESS, &()).await?;
            show(json, &made, |made| {
                println!("{}", made.address);
                eprintln!("send coins there from any wallet, then open a channel: poolbox lightning open");
            })
        }
        Command::Connect { peer } => {
            let request = mint::ConnectPeer { peer: peer.clone() };
            let done: () = client.post(mint::LIGHTNING_PEERS, &request).await?;
            show(json, &done, |()| println!("connected; it stays so past restarts"))
        }
        Command::Open { peer, sats, announced } => {
            let (peer, sats, announced) = (peer.clone(), Sats::new(*sats), *announced);
            let request = mint::OpenChannel { peer, sats, announced };
            let done: () = client.post(mint::LIGHTNING_CHANNELS, &request).await?;
            show(json, &done, |()| {
                println!("opening; it can be used after six blocks: poolbox lightning channels");
            })
        }
        Command::Close { channel, force } => {
            let request = mint::CloseChannel { channel: channel.clone(), force: *force };
            let done: () = client.post(mint::LIGHTNING_CLOSE, &request).await?;
            show(json, &done, |()| println!("closing; its coins come back on-chain: poolbox lightning info"))
        }
        Command::Offer { description } => {
            let request = mint::MakeOffer { description: description.clone() };
            let made: mint::Offer = client.post(mint::LIGHTNING_OFFERS, &request).await?;
            show(json, &made, |made| println!("{}", made.offer))
        }
        Command::Unquoted => {
            let notes: Vec<mint::Unquoted> = client.get(mint::LIGHTNING_UNQUOTED).await?;
            show(json, &notes, |notes| print_unquoted(notes))
        }
    }
}

fn show<T: Serialize>(json: bool, answer: &T, print: impl FnOnce(&T)) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(answer).context("form the answer")?);
    } else {
        print(answer);
    }
    Ok(())
}

fn print_node(node: &mint::LightningNode) {
    println!("node {} on {}", node.node, node.listen);
    for address in &node.announced {
        println!("     announced as {}@{address}", node.node);
    }
    println!(
        "     {} of ours, of it {} on-chain; channels can send {}; {} bound in reserves",
        node.ours, node.onchain, node.sendable, node.bound
    );
    for peer in &node.peers {
        let state = if peer.connected { "connected" } else { "away" };
        println!("peer {}@{} {state}", peer.node, peer.address);
    }
    print_channels(&node.channels);
}

fn print_channels(channels: &[mint::LightningChannel]) {
    for channel in channels {
        let state = match (channel.usable, channel.confirmations) {
            (true, _) => "usable".to_owned(),
            (false, confirmations) => format!("not usable, {confirmations} confirmations"),
        };
        println!("channel {} with {}", channel.channel, channel.peer);
        println!(
            "     {}, {state}; can send {}, receive {}",
            channel.size, channel.can_send, channel.can_receive
        );
    }
    if channels.is_empty() {
        println!("no channels; open one: poolbox lightning open KEY@HOST:PORT SATS");
    }
}

fn print_unquoted(notes: &[mint::Unquoted]) {
    for note in notes {
        println!("{} msat for {} (payment {})", note.msat, note.request, note.payment_hash);
    }
    if notes.is_empty() {
        println!("every payment belonged to a quote");
    }
}
