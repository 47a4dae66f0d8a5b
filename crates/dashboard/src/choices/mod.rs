//! What the owner of an appliance chooses in the browser: network, mode, payouts. A choice becomes new settings
//! files, checked by the programs that will read them; is shown before it is made; restarts who has to know;
//! is followed until they are back; and can be undone. Only files in `box.settings_dir` are ever written:
//! putting them into place and restarting is the system's.

mod arrival;
mod change;
mod check;
mod choice;
#[cfg(test)]
pub mod fixture;
mod folder;
mod place;
mod plan;
mod renewal;
mod service;
mod switches;
mod texts;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use self::arrival::Arrival;
use self::arrival::Started;
use self::change::Asked;
pub use self::change::Change;
pub use self::choice::{Choice, Field, Mistake, USUAL_PASSWORD, Wish, percent};
pub use self::place::Place;
pub use self::plan::{Plan, USUAL_LIGHTNING_SAT, USUAL_ONCHAIN_SAT, mode_spoken};
pub use self::service::Service;
pub use self::switches::NodeSize;
use self::texts::{MINT, POOL};
use crate::feed::{Snapshot, now};

/// The keeper of what is chosen.
pub struct Choices {
    /// Where it is kept.
    pub place: Place,
    file: PathBuf,
    /// Where new files are checked.
    checking: PathBuf,
    changes: Mutex<Vec<Change>>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
    /// When this process started, Unix seconds.
    started_at: u64,
}

impl Choices {
    /// With what an earlier run wrote down in `dir`.
    pub fn open(place: Place, dir: &Path) -> Self {
        let file = dir.join("changes.json");
        let changes = Mutex::new(change::load(&file));
        let (checking, turn) = (dir.join("checking"), tokio::sync::Mutex::default());
        Self { place, file, checking, changes, turn, started_at: now() }
    }

    /// What is chosen now, on the network that a wish names or, without one on offer, on the present one.
    ///
    /// # Errors
    /// [`Mistake`] when its files cannot be read.
    pub fn present_on(&self, wish: &Wish) -> Result<Choice, Mistake> {
        let present = self.place.present_network().map_err(|error| unreadable(&error))?;
        let network = wish.network(&self.place, present).unwrap_or(present);
        let read = || -> anyhow::Result<Choice> {
            Ok(self.place.shelf(network)?.texts().choice(self.place.held()?.switches())?)
        };
        read().map_err(|error| unreadable(&error))
    }

    /// What a wish would change, found well by the programs concerned and by what the box says `now`. Nothing is
    /// changed.
    ///
    /// # Errors
    /// [`Mistake`].
    pub async fn plan(&self, wish: &Wish, now: &Snapshot) -> Result<Plan, Mistake> {
        let _turn = self.turn.lock().await;
        self.checked(wish, now).await
    }

    async fn checked(&self, wish: &Wish, now: &Snapshot) -> Result<Plan, Mistake> {
        let place = &self.place;
        let read = || anyhow::Ok((place.held()?, place.shelf(place.present_network()?)?));
        let (held, present) = read().map_err(|error| unreadable(&error))?;
        let network = wish.network(place, present.network)?;
        let shelf = place.shelf(network).map_err(|error| unreadable(&error))?;
        let unfit = |error: texts::Unfit| Mistake::of_box(format!("{error}."));
        let to = wish.on(&shelf.texts().choice(held.switches()).map_err(unfit)?)?;
        let plan = Plan::new(place, &held, &present, &shelf, to).map_err(unfit)?;
        switches::fits(&plan.from, &plan.to, now)?;
        if plan.from.switches.updates != plan.to.switches.updates && place.updates_from.is_none() {
            return Err(Mistake::in_field(Field::Updates, "this box knows no place to look for them."));
        }
        if plan.to.network != network {
            return Err(Mistake::of_box(format!(
                "The pool's settings for {network} are of another network."
            )));
        }
        if !plan.is_empty() {
            check::check(&place.pool_program, &self.checking, POOL, &plan.texts.pool).await?;
            if let (Some(program), Some(mint)) = (&place.mint_program, &plan.texts.mint) {
                check::check(program, &self.checking, MINT, mint).await?;
            }
        }
        Ok(plan)
    }

    /// Makes the change of `wish`, as it was shown with `basis`. Returns its number.
    ///
    /// # Errors
    /// [`Mistake`]: then nothing is changed.
    pub async fn apply(&self, wish: &Wish, basis: &str, now: &Snapshot) -> Result<u64, Mistake> {
        let _turn = self.turn.lock().await;
        let plan = self.checked(wish, now).await?;
        if plan.is_empty() {
            return Err(Mistake::of_box("It is so already; nothing was changed."));
        }
        if plan.basis != basis {
            return Err(Mistake::of_box(
                "The settings were changed meanwhile; look again at what would change.",
            ));
        }
        let Plan { lines, swaps, services, .. } = plan;
        self.begin(lines, swaps, services, now)
    }

    /// Asks for one service to be restarted. Returns the number by which it is followed.
    ///
    /// # Errors
    /// [`Mistake`]: then nothing is done.
    pub async fn restart(&self, service: Service, now: &Snapshot) -> Result<u64, Mistake> {
        let _turn = self.turn.lock().await;
        if !self.place.services.contains(&service) {
            return Err(Mistake::of_box("This box has no such service."));
        }
        self.begin(Vec::new(), Vec::new(), vec![service], now)
    }

    /// Puts the files of a change back as they were, and restarts whom it had restarted.
    ///
    /// # Errors
    /// [`Mistake`]: then nothing is done.
    pub async fn undo(&self, id: u64, now: &Snapshot) -> Result<(), Mistake> {
        let _turn = self.turn.lock().await;
        let newest = self.undoable();
        let Some(change) = newest.filter(|change| change.id == id) else {
            return Err(Mistake::of_box("Only the latest change that was not undone can be."));
        };
        let asked = self.asked(change.asked.services.clone(), now);
        self.note(id, |change| change.undone = Some(asked))?;
        let done = self.place.swap_back(&change.swaps).and_then(|()| self.place.ask(&change.asked.services));
        if let Err(error) = done {
            tracing::error!(id, error = format!("{error:#}"), "a change of settings was not undone");
            self.note(id, |change| change.undone = None)?;
            return Err(Mistake::of_box(format!("It was not undone: {error:#}.")));
        }
        tracing::info!(id, change = change.title(), "a change of settings was undone");
        Ok(())
    }

    /// Newest first.
    pub fn all(&self) -> Vec<Change> {
        self.changes().iter().rev().cloned().collect()
    }

    /// The one of that number.
    pub fn get(&self, id: u64) -> Option<Change> {
        self.changes().iter().find(|change| change.id == id).cloned()
    }

    /// The latest that may be undone: earlier ones are below it.
    pub fn undoable(&self) -> Option<Change> {
        self.changes().iter().rev().find(|change| change.can_be_undone()).cloned()
    }

    /// Where the services of a change, or of its undoing, are.
    pub fn arrivals(&self, change: &Change, now: &Snapshot) -> Vec<(Service, Arrival)> {
        change.latest().arrivals(now, self.started_at)
    }

    fn begin(
        &self,
        lines: Vec<plan::Line>,
        swaps: Vec<folder::Swap>,
        services: Vec<Service>,
        now: &Snapshot,
    ) -> Result<u64, Mistake> {
        let asked = self.asked(services.clone(), now);
        let id = self.changes().last().map_or(1, |newest| newest.id + 1);
        let change = Change { id, lines, swaps: swaps.clone(), asked, undone: None, failed: None };
        let title = change.title();
        {
            let mut changes = self.changes();
            changes.push(change);
            if let Err(error) = change::save(&self.file, &mut changes) {
                changes.pop();
                return Err(Mistake::of_box(format!("{error:#}. Nothing was changed.")));
            }
        }
        let swapped = self.place.swap(&swaps);
        let done = swapped.and_then(|()| {
            self.place.ask(&services).inspect_err(|_| {
                if let Err(error) = self.place.swap_back(&swaps) {
                    tracing::error!(error = format!("{error:#}"), "settings were not put back");
                }
            })
        });
        if let Err(error) = done {
            tracing::error!(id, error = format!("{error:#}"), "settings were not changed");
            let reason = format!("The settings could not be written, so nothing was changed: {error:#}.");
            self.note(id, |change| change.failed = Some(reason.clone()))?;
            return Err(Mistake::of_box(reason));
        }
        tracing::info!(id, change = title, "settings were changed");
        Ok(id)
    }

    fn asked(&self, services: Vec<Service>, snapshot: &Snapshot) -> Asked {
        Asked { at: now(), services, before: Started::at(snapshot, self.started_at) }
    }

    fn note(&self, id: u64, set: impl FnOnce(&mut Change)) -> Result<(), Mistake> {
        let mut changes = self.changes();
        if let Some(change) = changes.iter_mut().find(|change| change.id == id) {
            set(change);
        }
        change::save(&self.file, &mut changes).map_err(|error| Mistake::of_box(format!("{error:#}.")))
    }

    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable(error: &anyhow::Error) -> Mistake {
    tracing::error!(error = format!("{error:#}"), "the settings in force cannot be read");
    Mistake::of_box("The settings in force cannot be read; see the log.")
}

#[cfg(test)]
mod tests {
    use super::fixture::Fixture;
    use super::*;
    use crate::fixture::snapshot;

    fn wish(field: &str, value: &str) -> Wish {
        serde_json::from_value(serde_json::json!({ field: value })).unwrap()
    }

    async fn apply(choices: &Choices, wish: &Wish) -> Result<u64, Mistake> {
        let basis = choices.plan(wish, &snapshot(1)).await?.basis;
        choices.apply(wish, &basis, &snapshot(1)).await
    }

    #[tokio::test]
    async fn a_change_is_made_and_undone_across_a_restart_of_the_dashboard() {
        let fixture = Fixture::new();
        let choices = fixture.choices();
        let before = fixture.chosen();
        let id = apply(&choices, &wish("mode", "solo")).await.unwrap();
        let chosen = fixture.chosen();
        assert_eq!(chosen["apply"], "pool\n");
        assert!(chosen["mainnet/pool.toml"].contains("mode = \"solo\""));
        let again = fixture.choices();
        assert!(again.get(id).unwrap().can_be_undone());
        again.undo(id, &snapshot(1)).await.unwrap();
        let mut undone = fixture.chosen();
        assert_eq!(undone.remove("apply").unwrap(), "pool\n");
        assert_eq!(undone, before);
        assert!(again.undo(id, &snapshot(1)).await.is_err(), "once");
        assert!(fixture.choices().undoable().is_none());
    }

    #[tokio::test]
    async fn changes_are_undone_from_the_latest_back() {
        let fixture = Fixture::new();
        let choices = fixture.choices();
        let first = apply(&choices, &wish("fee", "1")).await.unwrap();
        let second = apply(&choices, &wish("fee", "2")).await.unwrap();
        let restart = choices.restart(Service::Mint, &snapshot(1)).await.unwrap();
        assert!(choices.undo(restart, &snapshot(1)).await.is_err(), "a restart has nothing to take back");
        assert!(choices.undo(first, &snapshot(1)).await.is_err());
        choices.undo(second, &snapshot(1)).await.unwrap();
        assert!(fixture.chosen()["mainnet/mint.toml"].contains("fee_ppm = 10000"));
        choices.undo(first, &snapshot(1)).await.unwrap();
        assert!(!fixture.chosen().contains_key("mainnet/mint.toml"));
    }

    #[tokio::test]
    async fn what_a_program_refuses_or_was_not_shown_is_not_written() {
        let fixture = Fixture::new();
        let choices = fixture.choices();
        let mistake = apply(&choices, &wish("onchain", "10")).await.unwrap_err();
        assert_eq!(mistake.field, Some(Field::Onchain), "{}", mistake.sentence);
        let shown = choices.plan(&wish("fee", "1"), &snapshot(1)).await.unwrap().basis;
        assert!(choices.apply(&wish("fee", "99"), &shown, &snapshot(1)).await.is_err());
        fixture.choose("mainnet/mint.toml", "network = \"mainnet\"\nfee_ppm = 7\n");
        let kept = fixture.chosen();
        assert!(choices.apply(&wish("fee", "1"), &shown, &snapshot(1)).await.is_err());
        assert_eq!(fixture.chosen(), kept);
        assert!(choices.all().is_empty());
    }

    #[tokio::test]
    async fn a_disk_that_takes_no_file_changes_nothing_and_says_so() {
        let fixture = Fixture::new();
        let choices = fixture.choices();
        std::fs::create_dir_all(fixture.place.settings_dir.join("apply.partial/x")).unwrap();
        let mistake = apply(&choices, &wish("mode", "solo")).await.unwrap_err();
        assert!(mistake.sentence.contains("nothing was changed"), "{}", mistake.sentence);
        assert!(!fixture.chosen().contains_key("mainnet/pool.toml"));
        assert!(choices.all()[0].failed.is_some() && choices.undoable().is_none());
    }
}
