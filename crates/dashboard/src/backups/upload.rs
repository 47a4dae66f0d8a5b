//! Takes in the file of a backup from a browser: to disk as it comes, whole or not at all.

use std::path::Path;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::io::AsyncWriteExt;

use super::Backups;
use super::multipart::{Broken, Multipart, boundary};
use crate::disk::Disk;
use crate::words;

/// Larger is no backup of a household's box.
const MOST: u64 = 64 << 30;
/// What every backup begins with.
const AGE: &[u8] = b"age-encryption.org/v1\n";
/// Longest token of a form.
const MAX_TOKEN: usize = 200;

/// Why a file was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The form is not of the admin's session.
    Foreign,
    /// For the page.
    Sentence(String),
}

impl From<Broken> for Refused {
    fn from(broken: Broken) -> Self {
        Self::Sentence(format!("The file was not taken: {broken}. Try again."))
    }
}

impl Backups {
    /// Takes the file in. `is_ours` says whether the form's token is of the admin's session; nothing is written before.
    ///
    /// # Errors
    /// [`Refused`]: then what was there before is still there.
    pub async fn take_in(
        &self,
        headers: &HeaderMap,
        body: Body,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<(), Refused> {
        let refused = |sentence: &str| Err(Refused::Sentence(sentence.to_owned()));
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(boundary) = header(CONTENT_TYPE).and_then(boundary) else {
            return Err(Broken::Malformed.into());
        };
        let Ok(_turn) = self.uploading.try_lock() else {
            return refused("Another file is being uploaded; wait for its end.");
        };
        let mut form = Multipart::new(body.into_data_stream(), boundary);
        if form.next().await?.as_deref() != Some("token") || !is_ours(&form.text(MAX_TOKEN).await?) {
            return Err(Refused::Foreign);
        }
        if self.progress(super::Errand::Restore).is_under_way() {
            return refused("A restore is under way; wait for its end.");
        }
        if form.next().await?.as_deref() != Some("file") {
            return refused("No file was chosen.");
        }
        let path = &self.place.uploaded;
        let partial = path.with_extension("partial");
        let room = path.parent().and_then(|folder| Disk::of(folder).ok()).map_or(0, |disk| disk.free_bytes);
        // A restore needs the same room once more.
        let most = MOST.min(room / 2);
        let length = header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let written = match length {
            Some(length) if length > most => Err(too_large(most)),
            _ => write(&mut form, &partial, most).await,
        };
        let placed = match written {
            Ok(()) => tokio::fs::rename(&partial, path).await.map_err(|error| broken(&error)),
            Err(refused) => Err(refused),
        };
        if placed.is_err() {
            // It may not have been made at all.
            let _ = tokio::fs::remove_file(&partial).await;
        }
        placed
    }
}

async fn write<S, B, E>(form: &mut Multipart<S>, path: &Path, most: u64) -> Result<(), Refused>
where
    S: futures::Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
{
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).await.map_err(|error| broken(&error))?;
    let (mut size, mut head) = (0_u64, Vec::<u8>::new());
    while let Some(piece) = form.piece().await? {
        size += piece.len() as u64;
        if size > most {
            return Err(too_large(most));
        }
        if head.len() < AGE.len() {
            head.extend(piece.iter().take(AGE.len()));
            let known = head.len().min(AGE.len());
            if head[..known] != AGE[..known] {
                return Err(none_of_ours());
            }
        }
        file.write_all(&piece).await.map_err(|error| broken(&error))?;
    }
    if head.len() < AGE.len() {
        return Err(if size == 0 {
            Refused::Sentence("No file was chosen.".to_owned())
        } else {
            none_of_ours()
        });
    }
    file.sync_all().await.map_err(|error| broken(&error))
}

fn none_of_ours() -> Refused {
    Refused::Sentence(
        "That is no backup: a backup of Poolbox is encrypted by age, and its name ends in .age.".to_owned(),
    )
}

fn too_large(most: u64) -> Refused {
    let most = words::bytes(most);
    Refused::Sentence(format!(
        "The file is too large: there is room for {most} here, as a restore needs the same once more."
    ))
}

fn broken(error: &std::io::Error) -> Refused {
    tracing::error!(%error, "an uploaded backup was not written");
    Refused::Sentence(format!("The file could not be written: {error}."))
}
