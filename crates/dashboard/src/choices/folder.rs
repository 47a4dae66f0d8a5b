//! The files that the dashboard may write, and those of the image: read, and replaced whole. `apply` is
//! written last; what waits for it restarts the services named in it.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};
use poolbox_accounting::Network;
use poolbox_service::write_whole;
use serde::{Deserialize, Serialize};

use super::switches::{NODE_SIZE, Switches, UPDATES};
use super::texts::{MINT, POOL, Texts};
use super::{Place, Service};

/// File with the chosen network.
const NETWORK: &str = "network";
/// File with the services to restart.
const APPLY: &str = "apply";

/// What a network's services are started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelf {
    /// Which network.
    pub network: Network,
    /// As the image has them.
    pub image: Texts,
    /// What takes their place, if anything does.
    pub own: Own,
}

/// What the files with one word each hold; none: the file is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Held {
    /// [`NETWORK`]
    pub network: Option<String>,
    /// [`NODE_SIZE`]
    pub node_size: Option<String>,
    /// [`UPDATES`]
    pub updates: Option<String>,
}

/// Files that take the place of the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// `pool.toml`.
    pub pool: Option<String>,
    /// `mint.toml`.
    pub mint: Option<String>,
}

/// One file and what becomes of it; none: it is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// Below the folder of what is chosen.
    pub path: String,
    /// What it held.
    pub before: Option<String>,
    /// What it holds.
    pub after: Option<String>,
}

impl Shelf {
    /// What is in force once it is applied.
    pub fn texts(&self) -> Texts {
        let Self { image, own, .. } = self;
        Texts {
            pool: own.pool.clone().unwrap_or_else(|| image.pool.clone()),
            mint: image.mint.as_ref().map(|usual| own.mint.clone().unwrap_or_else(|| usual.clone())),
        }
    }
}

impl Held {
    /// What they say, but for the network.
    pub fn switches(&self) -> Switches {
        Switches::read(self.node_size.as_deref(), self.updates.as_deref())
    }
}

impl Swap {
    /// A swap, unless nothing changes.
    pub fn of(path: String, before: Option<String>, after: Option<String>) -> Option<Self> {
        (before != after).then_some(Self { path, before, after })
    }

    /// For what is chosen of the network itself.
    pub fn of_network(before: Option<String>, after: Network) -> Option<Self> {
        let is = before.as_deref().map(str::trim) == Some(after.name());
        Self::of(NETWORK.to_owned(), before, Some(format!("{after}\n"))).filter(|_| !is)
    }

    /// For one of the switches' files.
    pub fn of_word(file: &str, before: Option<&String>, after: Switches) -> Option<Self> {
        let after = after.word(file);
        let is = before.map(|text| text.trim()) == after;
        Self::of(file.to_owned(), before.cloned(), after.map(|word| format!("{word}\n"))).filter(|_| !is)
    }

    /// The other way round.
    fn back(&self) -> Self {
        Self { path: self.path.clone(), before: self.after.clone(), after: self.before.clone() }
    }
}

/// Where a network's own file is.
pub fn path_of(network: Network, file: &str) -> String {
    format!("{network}/{file}")
}

impl Place {
    /// What the files with one word hold.
    ///
    /// # Errors
    /// When one is there and cannot be read.
    pub fn held(&self) -> anyhow::Result<Held> {
        let read = |file| read_if_there(&self.settings_dir.join(file));
        Ok(Held { network: read(NETWORK)?, node_size: read(NODE_SIZE)?, updates: read(UPDATES)? })
    }

    /// The network that the box is on, or goes to once it is applied.
    ///
    /// # Errors
    /// When the choice cannot be read.
    pub fn present_network(&self) -> anyhow::Result<Network> {
        let chosen = self.held()?.network.and_then(|text| text.trim().parse().ok());
        Ok(chosen.filter(|network| self.networks.contains(network)).unwrap_or(self.network))
    }

    /// What `network`'s services are started with.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn shelf(&self, network: Network) -> anyhow::Result<Shelf> {
        let image = |file: &str| {
            let path = self.image_dir.join(network.name()).join(file);
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let own = |file: &str| read_if_there(&self.settings_dir.join(path_of(network, file)));
        let with_mint = self.mint_program.is_some();
        Ok(Shelf {
            network,
            image: Texts { pool: image(POOL)?, mint: with_mint.then(|| image(MINT)).transpose()? },
            own: Own { pool: own(POOL)?, mint: if with_mint { own(MINT)? } else { None } },
        })
    }

    /// Whether the services find what is chosen.
    pub fn is_in_force(&self) -> bool {
        let read = || -> anyhow::Result<bool> {
            let texts = self.shelf(self.present_network()?)?.texts();
            let there = |file: &str| std::fs::read_to_string(self.in_force_dir.join(file));
            let word = |file: &str| read_if_there(&self.in_force_dir.join(file));
            let switches = Switches::read(word(NODE_SIZE)?.as_deref(), word(UPDATES)?.as_deref());
            Ok(switches == self.held()?.switches()
                && there(POOL)? == texts.pool
                && texts.mint.map_or(Ok(true), |mint| there(MINT).map(|is| is == mint))?)
        };
        read().unwrap_or(false)
    }

    /// Whether what was asked for last was taken up.
    pub fn is_taken(&self) -> bool {
        !self.settings_dir.join(APPLY).exists()
    }

    /// Makes the swaps, all or none.
    ///
    /// # Errors
    /// When a file holds something else than it should, or cannot be written: then all are as before.
    pub fn swap(&self, swaps: &[Swap]) -> anyhow::Result<()> {
        for swap in swaps {
            let holds = read_if_there(&self.settings_dir.join(&swap.path))?;
            // Half done by a process that was killed is finished here.
            if holds != swap.before && holds != swap.after {
                bail!("{} was changed by somebody else meanwhile", swap.path);
            }
        }
        for (nth, swap) in swaps.iter().enumerate() {
            if let Err(error) = self.put(&swap.path, swap.after.as_deref()) {
                for done in swaps.iter().take(nth + 1).rev() {
                    if let Err(error) = self.put(&done.path, done.before.as_deref()) {
                        tracing::error!(error = format!("{error:#}"), "a settings file was not put back");
                    }
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes the swaps the other way round, all or none.
    ///
    /// # Errors
    /// As [`Self::swap`].
    pub fn swap_back(&self, swaps: &[Swap]) -> anyhow::Result<()> {
        let back: Vec<Swap> = swaps.iter().rev().map(Swap::back).collect();
        self.swap(&back)
    }

    /// Asks for what is written to be put into place, and for these services to be restarted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn ask(&self, services: &[Service]) -> anyhow::Result<()> {
        let waiting = read_if_there(&self.settings_dir.join(APPLY))?.unwrap_or_default();
        let mut words: Vec<&str> = waiting.split_whitespace().collect();
        for service in services {
            if !words.contains(&service.name()) {
                words.push(service.name());
            }
        }
        self.put(APPLY, Some(&format!("{}\n", words.join(" "))))
    }

    fn put(&self, path: &str, content: Option<&str>) -> anyhow::Result<()> {
        let path = self.settings_dir.join(path);
        let shown = path.display();
        let Some(content) = content else {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(error).context(format!("remove {shown}"))
                }
                _ => Ok(()),
            };
        };
        let folder = path.parent().context("a settings file has no folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        write_whole(&path, content.as_bytes(), 0o640)
    }
}

fn read_if_there(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn swap(path: &str, before: Option<&str>, after: Option<&str>) -> Swap {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Swap { path: path.to_owned(), before: owned(before), after: owned(after) }
    }

    #[test]
    fn without_a_choice_the_image_speaks() {
        let fixture = Fixture::new();
        assert_eq!(fixture.place.present_network().unwrap(), Network::Mainnet);
        fixture.choose("network", "devnet\n");
        assert_eq!(fixture.place.present_network().unwrap(), Network::Devnet);
        fixture.choose("network", "../../etc\n");
        assert_eq!(fixture.place.present_network().unwrap(), Network::Mainnet);
        let shelf = fixture.place.shelf(Network::Devnet).unwrap();
        assert_eq!(shelf.texts(), shelf.image);
        fixture.choose("devnet/mint.toml", "fee_ppm = 1\n");
        let shelf = fixture.place.shelf(Network::Devnet).unwrap();
        assert_eq!(shelf.texts().mint.as_deref(), Some("fee_ppm = 1\n"));
        assert_eq!(shelf.texts().pool, shelf.image.pool);
    }

    #[test]
    fn all_swaps_are_made_or_none_and_they_go_back() {
        let fixture = Fixture::new();
        let all = fixture.chosen();
        let swaps =
            [swap("network", None, Some("devnet\n")), swap("devnet/pool.toml", None, Some("x = 1\n"))];
        fixture.place.swap(&swaps).unwrap();
        assert_eq!(fixture.chosen().len(), 2);
        fixture.place.swap_back(&swaps).unwrap();
        assert_eq!(fixture.chosen(), all);
        // A folder stands in the way of the second file, when the first is there already.
        std::fs::create_dir_all(fixture.place.settings_dir.join("devnet/pool.partial/x")).unwrap();
        assert!(fixture.place.swap(&swaps).is_err());
        assert_eq!(fixture.chosen(), all);
    }

    #[test]
    fn what_a_killed_process_left_half_done_goes_back_too() {
        let fixture = Fixture::new();
        let all = fixture.chosen();
        let swaps =
            [swap("network", None, Some("devnet\n")), swap("devnet/pool.toml", None, Some("x = 1\n"))];
        fixture.place.swap(&swaps[..1]).unwrap();
        fixture.place.swap_back(&swaps).unwrap();
        assert_eq!(fixture.chosen(), all);
    }

    #[test]
    fn a_file_that_somebody_else_changed_is_left_alone() {
        let fixture = Fixture::new();
        let swaps = [swap("network", None, Some("devnet\n"))];
        fixture.place.swap(&swaps).unwrap();
        fixture.choose("network", "signet\n");
        let error = fixture.place.swap_back(&swaps).unwrap_err().to_string();
        assert!(error.contains("network was changed by somebody else"), "{error}");
        assert_eq!(fixture.place.held().unwrap().network.as_deref(), Some("signet\n"));
    }

    #[test]
    fn what_was_asked_for_and_not_taken_up_is_asked_for_still() {
        let fixture = Fixture::new();
        assert!(fixture.place.is_taken());
        fixture.place.ask(&[Service::Pool]).unwrap();
        fixture.place.ask(&[Service::Mint, Service::Pool]).unwrap();
        assert!(!fixture.place.is_taken());
        assert_eq!(fixture.chosen()["apply"], "pool mint\n");
    }
}
