//! Whether a backup may take the place of the box that runs: only where nobody would lose anything by it.

use poolbox_accounting::Network;
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
    verdict(status.network, status.held(), manifest)?;
    println!("the backup is complete, and nobody has anything of the box that runs here");
    Ok(())
}

/// Of a box on the network `is`, of whose mint people have `held`.
fn verdict(is: Network, held: Option<String>, manifest: &Manifest) -> Result<(), Misconfigured> {
    let Manifest { network, seed, .. } = manifest;
    if is != *network {
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
    match held {
        Some(held) => Err(Misconfigured::new(format!(
            "this box is in use and is not replaced: {held}; restore to a machine that was set up anew"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::manifest::{FORMAT, SeedReference};

    fn refusal(is: Network, held: Option<&str>, included: bool) -> Option<String> {
        let manifest = Manifest {
            format: FORMAT,
            version: "0".into(),
            made_at: 1,
            network: Network::Devnet,
            seed: SeedReference { fingerprint: "73c5da0a".into(), included },
            files: Vec::new(),
            left_out: Vec::new(),
        };
        verdict(is, held.map(str::to_owned), &manifest).err().map(|error| error.to_string())
    }

    #[test]
    fn only_a_box_of_the_same_network_that_nobody_has_anything_of_is_replaced() {
        assert_eq!(refusal(Network::Devnet, None, true), None);
        let refused = |is, held, included| refusal(is, held, included).unwrap();
        assert!(refused(Network::Mainnet, None, true).contains("network to devnet first"));
        let held = refused(Network::Devnet, Some("5 sat of its ecash are out"), true);
        assert!(held.contains("not replaced: 5 sat of its ecash are out"));
        assert!(refused(Network::Devnet, None, false).contains("words of the seed"));
    }
}
