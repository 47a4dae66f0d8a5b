//! Where alerts go as the admin chose it on the page: a private file in the data directory, over what
//! `dashboard.toml` says. The addresses and the token are secrets: no sentence here repeats one.

use std::collections::BTreeSet;
use std::path::Path;

use poolbox_service::replace_secret;
use serde::{Deserialize, Serialize};

use super::event::Topic;
use super::way::{Kind, Way};
use super::{AlertSettings, LEAST_SILENCE_S};

/// Mode 0600.
const FILE: &str = "alerts_chosen.json";
/// Whoever is silent for a week is gone.
const MOST_SILENCE_MIN: u64 = 7 * 24 * 60;
/// Longer ones are none.
const MAX_TOKEN: usize = 256;

/// A field of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Address of a webhook.
    Webhook,
    /// Topic of ntfy.
    Ntfy,
    /// Access token for ntfy.
    Token,
    /// What is sent.
    Events,
    /// When a miner counts as silent.
    SilentAfter,
}

/// What cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was typed; none when the disk failed.
    pub field: Option<Field>,
    /// In one sentence.
    pub sentence: String,
}

/// A secret as the form has it: what is set is not in the page, so an empty field leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    /// In the place of what is set, unless empty.
    pub new: String,
    /// Whether it is taken away.
    pub remove: bool,
}

/// What the admin asks for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Address of a webhook.
    pub webhook: Typed,
    /// Topic of ntfy, as an address.
    pub ntfy: Typed,
    /// Access token for ntfy.
    pub token: Typed,
    /// What is sent, by its names.
    pub events: Vec<String>,
    /// Minutes.
    pub silent_after: String,
}

/// As it is kept.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    webhook: Option<String>,
    ntfy: Option<String>,
    token: Option<String>,
    events: BTreeSet<Topic>,
    silent_after_s: u64,
}

impl Chosen {
    /// What `wish` makes of what is in force.
    ///
    /// # Errors
    /// [`Mistake`].
    pub fn of(wish: &Wish, present: &AlertSettings) -> Result<Self, Mistake> {
        let webhook = address(Kind::Webhook, &wish.webhook, present)?;
        let ntfy = address(Kind::Ntfy, &wish.ntfy, present)?;
        let token = token(&wish.token, ntfy.as_deref(), present)?;
        let unknown = || Mistake::of(Field::Events, "There is no such event. Reload the page.");
        let events = wish.events.iter().map(|name| Topic::named(name).ok_or_else(unknown));
        let events = events.collect::<Result<BTreeSet<_>, _>>()?;
        if events.is_empty() && (webhook.is_some() || ntfy.is_some()) {
            return Err(Mistake::of(Field::Events, "Choose at least one, or take the addresses away."));
        }
        let least = LEAST_SILENCE_S.div_ceil(60);
        let typed = wish.silent_after.trim();
        let minutes = typed.parse().ok().filter(|minutes| (least..=MOST_SILENCE_MIN).contains(minutes));
        let minutes = minutes.ok_or_else(|| {
            let sentence = format!("Give whole minutes, from {least} to {MOST_SILENCE_MIN} (a week).");
            Mistake::of(Field::SilentAfter, &sentence)
        })?;
        // What was set to the second stays so, unless it is typed over.
        let as_shown = present.silent_after_s.div_ceil(60) == minutes;
        let silent_after_s = if as_shown { present.silent_after_s } else { minutes * 60 };
        Ok(Self { webhook, ntfy, token, events, silent_after_s })
    }

    /// As it comes into force.
    ///
    /// # Errors
    /// [`Mistake`].
    pub fn check(self) -> Result<AlertSettings, Mistake> {
        let mut ways = Vec::new();
        for (kind, field, address, token) in [
            (Kind::Webhook, Field::Webhook, self.webhook, None),
            (Kind::Ntfy, Field::Ntfy, self.ntfy, self.token),
        ] {
            let Some(address) = address else { continue };
            let way = Way::new(kind, &address, token);
            ways.push(way.map_err(|why| Mistake::of(field, &format!("This {why}.")))?);
        }
        Ok(AlertSettings { ways, topics: self.events, silent_after_s: self.silent_after_s })
    }

    /// What is kept in `dir`; none when there is nothing, or nothing that can be used.
    pub fn load(dir: &Path) -> Option<AlertSettings> {
        let text = match std::fs::read(dir.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, "what was chosen for alerts cannot be read; dashboard.toml counts");
                return None;
            }
        };
        // The error of either would repeat what is in the file.
        let read = serde_json::from_slice::<Self>(&text).ok().and_then(|chosen| chosen.check().ok());
        if read.is_none() {
            tracing::warn!("what was chosen for alerts cannot be used; dashboard.toml counts");
        }
        read
    }

    /// Keeps it in `dir`.
    ///
    /// # Errors
    /// [`Mistake`] when the disk fails.
    pub fn keep(&self, dir: &Path) -> Result<(), Mistake> {
        let written = serde_json::to_vec(self).map_err(Into::into);
        let written = written.and_then(|bytes| replace_secret(&dir.join(FILE), &bytes));
        written.map_err(|error| broken(&error))
    }

    /// Takes what is kept in `dir` away.
    ///
    /// # Errors
    /// [`Mistake`] when the disk fails.
    pub fn forget(dir: &Path) -> Result<(), Mistake> {
        match std::fs::remove_file(dir.join(FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(broken(&error.into())),
            _ => Ok(()),
        }
    }
}

impl Mistake {
    fn of(field: Field, sentence: &str) -> Self {
        Self { field: Some(field), sentence: sentence.to_owned() }
    }
}

fn broken(error: &anyhow::Error) -> Mistake {
    tracing::error!(error = format!("{error:#}"), "what was chosen for alerts was not kept");
    Mistake { field: None, sentence: "It could not be kept. Is the disk full? See the log.".to_owned() }
}

fn way(kind: Kind, present: &AlertSettings) -> Option<&Way> {
    present.ways.iter().find(|way| way.kind == kind)
}

fn address(kind: Kind, typed: &Typed, present: &AlertSettings) -> Result<Option<String>, Mistake> {
    let field = match kind {
        Kind::Webhook => Field::Webhook,
        Kind::Ntfy => Field::Ntfy,
    };
    match (typed.new.trim(), typed.remove) {
        ("", true) => Ok(None),
        ("", false) => Ok(way(kind, present).map(|way| way.address.clone())),
        (_, true) => {
            Err(Mistake::of(field, "An address was typed and is to be taken away. Do one of the two."))
        }
        (new, false) => match Way::new(kind, new, None) {
            Ok(_) => Ok(Some(new.to_owned())),
            Err(why) => Err(Mistake::of(field, &format!("This {why}. Type it again."))),
        },
    }
}

/// A token that is set stays, unless it would go to another server than the one it is for.
fn token(typed: &Typed, ntfy: Option<&str>, present: &AlertSettings) -> Result<Option<String>, Mistake> {
    let new = typed.new.trim();
    let fits = new.len() <= MAX_TOKEN && new.bytes().all(|byte| byte.is_ascii_graphic());
    match (new, typed.remove) {
        ("", true) => Ok(None),
        ("", false) => {
            let before = way(Kind::Ntfy, present);
            let now = ntfy.and_then(|address| Way::new(Kind::Ntfy, address, None).ok());
            let same = before.zip(now).filter(|(before, now)| before.url == now.url);
            Ok(same.and_then(|(before, _)| before.token.clone()))
        }
        (_, true) => {
            Err(Mistake::of(Field::Token, "A token was typed and is to be taken away. Do one of the two."))
        }
        _ if ntfy.is_none() => {
            Err(Mistake::of(Field::Token, "It is for ntfy. Give the address of a topic too."))
        }
        _ if !fits => Err(Mistake::of(
            Field::Token,
            "This is no access token: it has other characters than those have.",
        )),
        _ => Ok(Some(new.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn typed(new: &str) -> Typed {
        Typed { new: new.to_owned(), remove: false }
    }

    fn wish() -> Wish {
        Wish { events: vec!["block-found".to_owned()], silent_after: "20".to_owned(), ..Wish::default() }
    }

    fn nothing() -> AlertSettings {
        AlertSettings { ways: Vec::new(), topics: Topic::CHOICES.into(), silent_after_s: 900 }
    }

    fn made(wish: &Wish, present: &AlertSettings) -> Result<AlertSettings, Mistake> {
        Chosen::of(wish, present)?.check()
    }

    #[test]
    fn what_is_left_empty_stays_and_is_taken_away_when_asked() {
        let both = Wish {
            webhook: typed("https://hooks.example/S3CRET"),
            ntfy: typed("https://ntfy.sh/box-S3CRET"),
            token: typed("tk_S3CRET"),
            ..wish()
        };
        let set = made(&both, &nothing()).unwrap();
        assert_eq!((set.ways.len(), set.silent_after_s), (2, 1200));
        assert_eq!(set.topics, [Topic::BlockFound].into());
        assert_eq!(made(&wish(), &set).unwrap().ways, set.ways, "nothing typed, nothing changed");
        let gone = Wish { webhook: Typed { remove: true, ..Typed::default() }, ..wish() };
        let left = made(&gone, &set).unwrap().ways;
        assert_eq!((left.len(), left[0].kind), (1, Kind::Ntfy));
        let odd = AlertSettings { silent_after_s: 1195, ..set };
        assert_eq!(made(&wish(), &odd).unwrap().silent_after_s, 1195, "shown as 20 minutes");
    }

    #[test]
    fn a_token_goes_to_no_other_server_than_its_own() {
        let first = Wish { ntfy: typed("https://ntfy.sh/one"), token: typed("tk_S3CRET"), ..wish() };
        let set = made(&first, &nothing()).unwrap();
        let token_for = |address: &str| {
            made(&Wish { ntfy: typed(address), ..wish() }, &set).unwrap().ways[0].token.clone()
        };
        assert_eq!(token_for("https://ntfy.sh/two").as_deref(), Some("tk_S3CRET"));
        for elsewhere in ["https://evil.example/one", "http://ntfy.sh/one", "https://ntfy.sh:8443/one"] {
            assert_eq!(token_for(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_mistake_names_its_field_and_repeats_no_secret() {
        let removed = |new: &str| Typed { new: new.to_owned(), remove: true };
        let cases = [
            (Wish { webhook: typed("hooks.example/S3CRET"), ..wish() }, Field::Webhook),
            (Wish { webhook: removed("https://hooks.example/S3CRET"), ..wish() }, Field::Webhook),
            (Wish { ntfy: typed("https://ntfy.sh/?S3CRET"), ..wish() }, Field::Ntfy),
            (Wish { token: typed("tk_S3CRET"), ..wish() }, Field::Token),
            (
                Wish { ntfy: typed("https://ntfy.sh/a"), token: typed("S3CRET \u{e9}"), ..wish() },
                Field::Token,
            ),
            (Wish { events: vec!["test".to_owned()], ..wish() }, Field::Events),
            (
                Wish { webhook: typed("https://h.example/S3CRET"), events: Vec::new(), ..wish() },
                Field::Events,
            ),
            (Wish { silent_after: "2".to_owned(), ..wish() }, Field::SilentAfter),
            (Wish { silent_after: "soon".to_owned(), ..wish() }, Field::SilentAfter),
        ];
        for (wish, field) in cases {
            let mistake = made(&wish, &nothing()).unwrap_err();
            assert_eq!(mistake.field, Some(field), "{mistake:?}");
            assert!(!mistake.sentence.contains("S3CRET"), "{mistake:?}");
        }
    }

    #[test]
    fn it_is_kept_privately_and_what_cannot_be_used_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Chosen::load(dir.path()).is_none());
        let chosen = Chosen::of(&Wish { webhook: typed("https://h.example/S3CRET"), ..wish() }, &nothing());
        chosen.unwrap().keep(dir.path()).unwrap();
        let file = dir.path().join(FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Chosen::load(dir.path()).unwrap().ways[0].host, "h.example");
        std::fs::write(&file, "{\"webhook\": 7}").unwrap();
        assert!(Chosen::load(dir.path()).is_none());
        Chosen::forget(dir.path()).unwrap();
        Chosen::forget(dir.path()).unwrap();
        assert!(!file.exists());
    }
}
