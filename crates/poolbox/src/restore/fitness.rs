//! Whether a backup may take the place of the box that runs: only where nobody would lose anything by it.

use poolbox_api::mint::{self, Status};
use poolbox_service::Misconfigured;

use crate::backup::manifest::Manifest;
use crate::place::Place;

/// Asks the mint that runs here.
///
/// # Errors
/// [`Misconfigured`] when it does not answer, is on another network than the backup, or has anything that people own;
/// and when the backup lacks its seed.
pub async fn check(place: &Place, manifest: &Manifest) -> anyhow::Result<()> {
    let status: Status = place.mint()?.get(mint::STATUS).await.map_err(|error| {
        Misconfigured::new(format!(
            "the mint of this box does not say whether people have ecash of it ({error}); wait until it answers"
        ))
    })?;
    verdict(&status, manifest)?;
    println!("the backup is complete, and nobody has anything of the box that runs here");
    Ok(())
}

fn verdict(status: &Status, manifest: &Manifest) -> Result<(), Misconfigured> {
    let Manifest { network, seed, .. } = manifest;
    if status.network != *network {
        let is = status.network;
        return Err(Misconfigured::new(format!(
            "the backup is of a box on {network}, and this one is on {is}; change this one's network to {network} first"
        )));
    }
    if !seed.included {
        return Err(Misconfigured::new(
            "the words of the seed are not in this backup, as was asked for when it was made; restore it at a terminal, \
             which asks for them",
        ));
    }
    match status.held() {
        Some(held) => Err(Misconfigured::new(format!(
            "this box is in use and is not replaced: {held}; restore to a machine that was set up anew"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use poolbox_accounting::Network;

    use super::*;
    use crate::backup::manifest::{FORMAT, SeedReference};

    fn refusal(on: &str, outstanding: u64, included: bool) -> Option<String> {
        let sats: serde_json::Map<_, _> = [
            "reserve",
            "onchain",
            "lightning",
            "channel_reserve",
            "in_flight",
            "immature",
            "outstanding",
            "promised",
            "pending_out",
            "claims",
            "surplus",
            "redeemed",
            "received",
            "melted",
            "fees_paid",
        ]
        .map(|name| (name.to_owned(), if name == "outstanding" { outstanding } else { 0 }.into()))
        .into_iter()
        .collect();
        let status = serde_json::json!({
            "network": on, "version": "0", "started_at": 1, "url": "", "ehash_url": "", "halted": null,
            "chain": { "height": 1, "hash": "", "connected": true }, "queue": { "cursor": 0, "waiting": 0 },
            "epoch": 1, "ehash": { "credited": 7, "issued": 0, "redeemed": 0 }, "sats": sats,
        });
        let manifest = Manifest {
            format: FORMAT,
            version: "0".into(),
            made_at: 1,
            network: Network::Devnet,
            seed: SeedReference { fingerprint: "73c5da0a".into(), included },
            files: Vec::new(),
            left_out: Vec::new(),
        };
        verdict(&serde_json::from_value(status).unwrap(), &manifest).err().map(|error| error.to_string())
    }

    #[test]
    fn only_a_box_of_the_same_network_that_nobody_has_anything_of_is_replaced() {
        assert_eq!(refusal("devnet", 0, true), None);
        let refused = |on, outstanding, included| refusal(on, outstanding, included).unwrap();
        assert!(refused("mainnet", 0, true).contains("network to devnet first"));
        assert!(refused("devnet", 5, true).contains("not replaced: 5 sat of its ecash are out"));
        assert!(refused("devnet", 0, false).contains("words of the seed"));
    }
}
