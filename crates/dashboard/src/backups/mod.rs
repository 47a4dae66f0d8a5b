//! Backup and restore of an appliance. The dashboard may read nothing of what belongs into a backup: it leaves a
//! request, with the passphrase, in a folder in memory; a unit of the system takes it away, does it as root, and says
//! how it went. The dashboard then hands the encrypted file to the admin's browser, or has handed one in.

mod answer;
mod multipart;
mod place;
#[cfg(test)]
mod tests;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use poolbox_service::{replace_secret, write_whole};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::answer::{Errand, Manifest, Progress, Step};
pub use self::place::BackupPlace;
pub use self::upload::Refused;

/// The system takes up what is asked for at once; what it has not taken by then is taken back.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
/// How long a backup lies here for the admin to fetch.
pub const MADE_LASTS: Duration = Duration::from_secs(3600);
/// How long an uploaded file waits for its passphrase.
const UPLOADED_LASTS: Duration = Duration::from_secs(24 * 3600);
/// How often what lies here is looked at.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// Fewer characters than this are guessed.
pub const PASSPHRASE_LEAST: usize = 10;
/// Longer is a mistake.
const PASSPHRASE_MOST: usize = 1000;

/// The keeper of backups.
pub struct Backups {
    /// Where things are.
    pub place: BackupPlace,
    file: PathBuf,
    taken: Mutex<Option<Taken>>,
    /// What was asked for last and not taken up.
    ignored: Mutex<Vec<Errand>>,
    /// One request, and one upload, at a time.
    turn: Mutex<()>,
    uploading: tokio::sync::Mutex<()>,
}

/// The backup that was fetched last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// When it was made, Unix seconds.
    pub made_at: u64,
}

/// A file that lies here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lying {
    /// Its size.
    pub bytes: u64,
    /// How long it has been there.
    pub age: Duration,
}

impl Backups {
    /// With what an earlier run wrote down in `dir`. What it asked for and was not taken up is taken back.
    pub fn open(place: BackupPlace, dir: &Path) -> Self {
        let file = dir.join("backups.json");
        let taken = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let this = Self {
            place,
            file,
            taken: Mutex::new(taken),
            ignored: Mutex::default(),
            turn: Mutex::default(),
            uploading: tokio::sync::Mutex::default(),
        };
        for errand in Errand::ALL {
            this.take_back(errand);
        }
        // Of an upload that was cut off.
        let _ = std::fs::remove_file(this.place.uploaded.with_extension("partial"));
        this
    }

    /// The backup that was fetched last; none: never.
    pub fn taken(&self) -> Option<Taken> {
        *lock(&self.taken)
    }

    /// Asks the system for something. `passphrase` goes with it.
    ///
    /// # Errors
    /// A sentence for the page.
    pub fn ask(&self, errand: Errand, passphrase: &str) -> Result<(), String> {
        let _turn = lock(&self.turn);
        if [Errand::Backup, Errand::Restore].iter().any(|errand| self.progress(*errand).is_under_way()) {
            return Err("A backup or a restore is under way; wait for its end.".to_owned());
        }
        lock(&self.ignored).retain(|ignored| *ignored != errand);
        self.write(errand, passphrase).map_err(|error| {
            tracing::error!(
                error = format!("{error:#}"),
                errand = errand.name(),
                "a request was not written"
            );
            "The request could not be written; see the log.".to_owned()
        })
    }

    /// How far it is.
    pub fn progress(&self, errand: Errand) -> Progress {
        if self.request(errand).exists() {
            return Progress::Asked;
        }
        if lock(&self.ignored).contains(&errand) {
            return Progress::Ignored;
        }
        let text = std::fs::read_to_string(self.place.answers_dir.join(errand.name()));
        text.ok().and_then(|text| Progress::parse(&text)).unwrap_or(Progress::Idle)
    }

    /// The backup that was made and can be fetched, with what it says of itself.
    pub fn made(&self) -> Option<(Lying, Manifest)> {
        let Progress::Done { said, .. } = self.progress(Errand::Backup) else { return None };
        Some((lying(&self.place.made)?, serde_json::from_str(&said).ok()?))
    }

    /// Bytes that were written of the backup that is being made.
    pub fn written(&self) -> u64 {
        let mut partial = self.place.made.clone().into_os_string();
        partial.push(".partial");
        lying(Path::new(&partial)).map_or(0, |lying| lying.bytes)
    }

    /// The file that was uploaded and not restored yet.
    pub fn uploaded(&self) -> Option<Lying> {
        lying(&self.place.uploaded)
    }

    /// Writes down that a backup was fetched whole.
    pub fn note_taken(&self, made_at: u64) {
        let taken = Taken { made_at };
        *lock(&self.taken) = Some(taken);
        let written = serde_json::to_vec(&taken)
            .map_err(Into::into)
            .and_then(|text| write_whole(&self.file, &text, 0o640));
        match written {
            Ok(()) => tracing::info!(made_at, "a backup was fetched"),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "that a backup was fetched was not kept")
            }
        }
    }

    /// Takes back what nobody takes up, and has removed what lay here long enough, until `stop`.
    pub async fn tidy(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(TIDY_EVERY)).await.is_some() {
            let this = Arc::clone(&self);
            // A disk may be slow.
            let _ = tokio::task::spawn_blocking(move || this.tidy_once()).await;
        }
        for errand in Errand::ALL {
            self.take_back(errand);
        }
    }

    fn tidy_once(&self) {
        for errand in Errand::ALL {
            if lying(&self.request(errand)).is_some_and(|lying| lying.age > TAKEN_WITHIN)
                && self.take_back(errand)
            {
                tracing::warn!(
                    errand = errand.name(),
                    "nobody took up what was asked for; it was taken back"
                );
                lock(&self.ignored).push(errand);
            }
        }
        if lying(&self.place.made).is_some_and(|lying| lying.age > MADE_LASTS)
            && !lock(&self.ignored).contains(&Errand::Forget)
        {
            // Refused while something is under way: the next time.
            let _ = self.ask(Errand::Forget, "");
        }
        if self.uploaded().is_some_and(|lying| lying.age > UPLOADED_LASTS)
            && !self.progress(Errand::Restore).is_under_way()
        {
            let _ = std::fs::remove_file(&self.place.uploaded);
        }
    }

    fn request(&self, errand: Errand) -> PathBuf {
        self.place.requests_dir.join(errand.name())
    }

    /// Whether it was still there.
    fn take_back(&self, errand: Errand) -> bool {
        let removed = std::fs::remove_file(self.request(errand));
        let _ = std::fs::remove_file(self.request(errand).with_extension("partial"));
        removed.is_ok()
    }

    /// Whole or not at all, and for nobody else.
    fn write(&self, errand: Errand, passphrase: &str) -> anyhow::Result<()> {
        replace_secret(&self.request(errand), format!("{passphrase}\n").as_bytes())
    }
}

/// Whether a passphrase can be taken for a new backup.
///
/// # Errors
/// A sentence for the page.
pub fn fits(passphrase: &str, again: &str) -> Result<(), String> {
    if passphrase != again {
        return Err("The two passphrases are not the same.".to_owned());
    }
    match passphrase.chars().count() {
        0..PASSPHRASE_LEAST => Err(format!(
            "The passphrase needs at least {PASSPHRASE_LEAST} characters; take four or more words at random."
        )),
        PASSPHRASE_LEAST..=PASSPHRASE_MOST => is_one_line(passphrase),
        _ => Err(format!("The passphrase may have at most {PASSPHRASE_MOST} characters.")),
    }
}

/// Whether a passphrase can be handed on: it goes as one line.
///
/// # Errors
/// A sentence for the page.
pub fn is_one_line(passphrase: &str) -> Result<(), String> {
    if passphrase.chars().any(char::is_control) {
        return Err("The passphrase must be one line, without control characters.".to_owned());
    }
    Ok(())
}

/// What lies at a path, if it is a file.
fn lying(path: &Path) -> Option<Lying> {
    let told = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let age = told.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    Some(Lying { bytes: told.len(), age: age.unwrap_or_default() })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
