//! The file that remembers workers and found blocks past a restart. It is replaced as a whole, so that at any moment
//! there is a complete one; losing it costs counters and a few minutes of finding difficulties, no work.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use poolbox_api::pool::Block;
use poolbox_service::write_whole;
use serde::{Deserialize, Serialize};

use crate::workers::Remembered;

/// How often it is written while there is news.
pub const WRITE_EVERY: Duration = Duration::from_secs(30);
/// Its name in the data directory.
const NAME: &str = "notes.json";
/// What this program writes; it reads nothing newer.
const VERSION: u32 = 1;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Of the workers.
    #[serde(flatten)]
    pub workers: Remembered,
    /// Blocks found, newest first.
    pub blocks: Vec<Block>,
}

/// The file as it is written.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    notes: &'a Notes,
}

/// What every version of the file begins with.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// Where the file is.
#[derive(Clone, Debug)]
pub struct Notebook {
    path: PathBuf,
}

impl Notebook {
    /// The notebook in this data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self { path: data_dir.join(NAME) }
    }

    /// What is remembered; nothing where there is no file. One that cannot be read, or that a newer
    /// version wrote, is told of and moved aside: it never keeps the pool from starting.
    pub fn read(&self) -> Notes {
        let reason = match std::fs::read(&self.path) {
            Ok(bytes) => match parse(&bytes) {
                Ok(notes) => return notes,
                Err(reason) => reason,
            },
            Err(error) if error.kind() == ErrorKind::NotFound => return Notes::default(),
            Err(error) => error.to_string(),
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let aside = self.path.with_extension(format!("json.aside-{}", since.as_secs()));
        let (file, kept) = (self.path.display(), aside.display());
        match std::fs::rename(&self.path, &aside) {
            Ok(()) => {
                tracing::warn!(%file, %kept, reason, "workers and blocks are counted anew: what was remembered of them cannot be read and was moved aside");
            }
            Err(error) => {
                tracing::warn!(%file, reason, %error, "workers and blocks are counted anew: what was remembered of them cannot be read, nor moved aside");
            }
        }
        Notes::default()
    }

    /// Replaces what is remembered. Blocks until it is on disk.
    ///
    /// # Errors
    /// When it cannot be written; the file is then as it was.
    pub fn write(&self, notes: &Notes) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(&Written { version: VERSION, notes })?;
        text.push(b'\n');
        write_whole(&self.path, &text, 0o640)
    }
}

fn parse(bytes: &[u8]) -> Result<Notes, String> {
    let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if head.version > VERSION {
        return Err(format!("it is of version {}, and this program reads up to {VERSION}", head.version));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::found::FoundBlocks;
    use crate::workers::{Moment, Workers, fixture};

    fn notes() -> Notes {
        let mut workers = Workers::new();
        workers.accepted(&fixture::one_share("garage.one"), Moment { ms: 1, unix: 1 });
        let mut blocks = FoundBlocks::default();
        blocks.add(7, "hash".into(), "garage.one".into(), 1);
        let listing = workers.listing(Moment { ms: 2, unix: 2 });
        Notes { workers: listing.remembered(), blocks: blocks.remembered() }
    }

    fn files(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn what_was_written_is_read_again_and_a_torn_write_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let notebook = Notebook::of(dir.path());
        assert_eq!(notebook.read(), Notes::default());
        notebook.write(&notes()).unwrap();
        assert_eq!((notebook.read(), files(dir.path())), (notes(), vec![NAME.to_owned()]));
        // As a power cut leaves it, before the rename.
        std::fs::write(dir.path().join("notes.partial"), "{\"vers").unwrap();
        assert_eq!(notebook.read(), notes());
        notebook.write(&Notes::default()).unwrap();
        assert_eq!((notebook.read(), files(dir.path())), (Notes::default(), vec![NAME.to_owned()]));
    }

    #[test]
    fn what_cannot_be_read_is_moved_aside_as_it_is() {
        for text in ["{\"version\":1,\"shares\":", "", "{\"version\":2,\"workers\":{}}", "[1]", "\u{1}"] {
            let dir = tempfile::tempdir().unwrap();
            let notebook = Notebook::of(dir.path());
            std::fs::write(dir.path().join(NAME), text).unwrap();
            assert_eq!(notebook.read(), Notes::default(), "{text}");
            let names = files(dir.path());
            assert!(names.len() == 1 && names[0].starts_with("notes.json.aside-"), "{names:?}");
            assert_eq!(std::fs::read_to_string(dir.path().join(&names[0])).unwrap(), text);
            notebook.write(&notes()).unwrap();
            assert_eq!(notebook.read(), notes());
        }
    }
}
