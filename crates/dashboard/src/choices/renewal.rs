//! Chosen files under a new image: a file that pages wrote is the image's with a few choices, so with another image it
//! is made anew, and what is remembered for undoing with it. One that a person wrote stays as it is.

use poolbox_accounting::Network;

use super::folder::{Shelf, Swap, path_of};
use super::switches::Switches;
use super::texts::{MINT, POOL, Texts, Unfit, is_ours, same};
use super::{Choices, Service, change};

/// A file of one network and what it is in the image.
struct Renewing<'a> {
    path: String,
    file: &'static str,
    image: &'a Texts,
}

impl Choices {
    /// Renews what is chosen, at the start of the dashboard, and has the services restarted that were started
    /// with something else. What cannot be renewed stays, with a line in the log.
    pub fn renew(&self) {
        let mut swaps = Vec::new();
        for &network in &self.place.networks {
            let shelf = match self.place.shelf(network) {
                Ok(shelf) => shelf,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(%network, error, "chosen settings were not compared with the image's");
                    continue;
                }
            };
            for (service, file) in [(Service::Pool, POOL), (Service::Mint, MINT)] {
                let renewing = Renewing { path: path_of(network, file), file, image: &shelf.image };
                let own = shelf.own_of(file);
                if let Some(after) = renewing.news(own) {
                    swaps.extend(
                        Swap::of(renewing.path.clone(), own.map(str::to_owned), after)
                            .map(|swap| (network, service, swap)),
                    );
                }
                self.renew_memory(&renewing);
            }
        }
        if !swaps.is_empty() {
            self.put_renewed(swaps);
        }
    }

    fn put_renewed(&self, swaps: Vec<(Network, Service, Swap)>) {
        let present = self.place.present_network().ok();
        let concerned = swaps.iter().filter(|(network, ..)| Some(*network) == present);
        let services: Vec<Service> = concerned.map(|(_, service, _)| *service).collect();
        let swaps: Vec<Swap> = swaps.into_iter().map(|(.., swap)| swap).collect();
        let files = swaps.iter().map(|swap| swap.path.as_str()).collect::<Vec<_>>().join(" ");
        let asked = || if services.is_empty() { Ok(()) } else { self.place.ask(&services) };
        match self.place.swap(&swaps).and_then(|()| asked()) {
            Ok(()) => tracing::info!(files, "chosen settings were made anew from those of this version"),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    files,
                    error,
                    "chosen settings are still those of an earlier version; restart the dashboard when its disk has room"
                );
            }
        }
    }

    /// What undoing would write is renewed as well.
    fn renew_memory(&self, renewing: &Renewing<'_>) {
        let mut changes = self.changes();
        let mut renewed = false;
        let swaps = changes.iter_mut().flat_map(|change| &mut change.swaps);
        for swap in swaps.filter(|swap| swap.path == renewing.path) {
            for text in [&mut swap.before, &mut swap.after] {
                if let Some(news) = renewing.news(text.as_deref()) {
                    *text = news;
                    renewed = true;
                }
            }
        }
        if renewed && let Err(error) = change::save(&self.file, &mut changes) {
            tracing::warn!(error = format!("{error:#}"), "changes of settings may not be undone");
        }
    }
}

impl Shelf {
    fn own_of(&self, file: &str) -> Option<&str> {
        if file == MINT { self.own.mint.as_deref() } else { self.own.pool.as_deref() }
    }
}

impl Renewing<'_> {
    /// What takes the place of a chosen file, if it is not what it would be if chosen today; none in it: the
    /// image's does.
    fn news(&self, text: Option<&str>) -> Option<Option<String>> {
        let text = text.filter(|text| is_ours(text))?;
        match self.renewed(text) {
            Ok(Some(renewed)) if same(&renewed, text) => None,
            Ok(news) => Some(news),
            Err(error) => {
                let file = &self.path;
                tracing::warn!(file, %error, "a chosen settings file was not made anew; undo its changes on the page Settings and choose again");
                None
            }
        }
    }

    fn renewed(&self, text: &str) -> Result<Option<String>, Unfit> {
        let mut own = self.image.clone();
        let usual = if self.file == MINT {
            own.mint.replace(text.to_owned()).unwrap_or_default()
        } else {
            std::mem::replace(&mut own.pool, text.to_owned())
        };
        let renewed = self.image.with(&own.choice(Switches::default())?, self.image)?;
        let renewed = if self.file == MINT { renewed.mint.unwrap_or_default() } else { renewed.pool };
        Ok((!same(&renewed, &usual)).then_some(renewed))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Wish;
    use super::super::fixture::Fixture;
    use super::*;
    use crate::fixture::snapshot;

    async fn chooses(choices: &Choices, field: &str, value: &str) -> u64 {
        let wish: Wish = serde_json::from_value(serde_json::json!({ field: value })).unwrap();
        let basis = choices.plan(&wish, &snapshot(1)).await.unwrap().basis;
        choices.apply(&wish, &basis, &snapshot(1)).await.unwrap()
    }

    /// What is chosen; nothing waits to be applied any more.
    fn applied(fixture: &Fixture) -> BTreeMap<String, String> {
        let mut chosen = fixture.chosen();
        if chosen.remove("apply").is_some() {
            std::fs::remove_file(fixture.place.settings_dir.join("apply")).unwrap();
        }
        chosen
    }

    #[tokio::test]
    async fn what_is_chosen_follows_a_new_image_and_can_still_be_undone() {
        let fixture = Fixture::new();
        let choices = fixture.choices();
        chooses(&choices, "mode", "solo").await;
        chooses(&choices, "fee", "1").await;
        let second = chooses(&choices, "fee", "2").await;
        applied(&fixture);
        choices.renew();
        assert!(!fixture.chosen().contains_key("apply"), "nothing is new");

        fixture.update("mainnet", "rpc_port = 8332", "rpc_port = 8333");
        let choices = fixture.choices();
        choices.renew();
        assert_eq!(fixture.chosen()["apply"], "pool mint\n");
        let chosen = applied(&fixture);
        for (file, kept) in [("pool", "mode = \"solo\""), ("mint", "fee_ppm = 20000")] {
            let text = &chosen[&format!("mainnet/{file}.toml")];
            assert!(text.contains(kept) && text.contains("rpc_port = 8333"), "{text}");
        }
        choices.renew();
        assert_eq!(fixture.chosen(), chosen, "once");
        choices.undo(second, &snapshot(1)).await.unwrap();
        let text = &fixture.chosen()["mainnet/mint.toml"];
        assert!(text.contains("fee_ppm = 10000") && text.contains("rpc_port = 8333"), "{text}");
    }

    #[tokio::test]
    async fn what_the_new_image_says_as_well_is_no_choice_any_more() {
        let fixture = Fixture::new();
        let choices = fixture.choices();
        chooses(&choices, "mode", "solo").await;
        fixture.update("mainnet", "mode = \"pool\"", "mode = \"solo\"");
        fixture.update("mainnet", "coinbase_descriptor_file = \"/c\"\n", "");
        choices.renew();
        assert!(!fixture.chosen().contains_key("mainnet/pool.toml"));
    }

    #[tokio::test]
    async fn another_networks_file_is_renewed_without_a_restart_and_a_persons_stays() {
        let fixture = Fixture::new();
        let choices = fixture.choices();
        chooses(&choices, "mode", "solo").await;
        let written = "network = \"mainnet\"\nfee_ppm = 7\n";
        fixture.choose("mainnet/mint.toml", written);
        fixture.choose("network", "devnet\n");
        applied(&fixture);
        fixture.update("mainnet", "rpc_port = 8332", "rpc_port = 8333");
        choices.renew();
        let chosen = fixture.chosen();
        assert!(chosen["mainnet/pool.toml"].contains("rpc_port = 8333") && !chosen.contains_key("apply"));
        assert_eq!(chosen["mainnet/mint.toml"], written);
        // With a choice of the page in it, it is still a person's.
        fixture.choose("network", "mainnet\n");
        chooses(&choices, "fee", "3").await;
        let with_choice = applied(&fixture);
        assert!(with_choice["mainnet/mint.toml"].contains("fee_ppm = 30000"));
        fixture.update("mainnet", "rpc_port = 8333", "rpc_port = 8334");
        choices.renew();
        assert_eq!(fixture.chosen()["mainnet/mint.toml"], with_choice["mainnet/mint.toml"]);
    }

    #[tokio::test]
    async fn what_cannot_be_renewed_stays() {
        let fixture = Fixture::new();
        let choices = fixture.choices();
        chooses(&choices, "fee", "1").await;
        let chosen = applied(&fixture);
        fixture.update("mainnet", "network = \"mainnet\"", "network =");
        choices.renew();
        assert_eq!(fixture.chosen(), chosen);
    }
}
