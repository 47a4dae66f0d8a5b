//! The copies that a backup is made of, taken while the box runs, in a folder of their own below the
//! state directory: what is not encrypted stays on the box's disk.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use poolbox_service::Misconfigured;
use rusqlite::{Connection, OpenFlags};

use super::manifest::Entry;
use super::plan::{Kind, Planned};

/// The folder's name.
const FOLDER: &str = "backup.partial";
/// How long a copy waits for a database that is locked.
const PATIENCE: Duration = Duration::from_secs(30);

/// The folder while a backup is made; removed when dropped.
pub struct Staging {
    folder: PathBuf,
    _lock: File,
}

impl Staging {
    /// Makes the folder in the state directory at `root`. What a backup left that was cut off is removed.
    ///
    /// # Errors
    /// [`Misconfigured`] while another backup is being made, or when the state directory cannot be written.
    pub fn begin(root: &Path) -> anyhow::Result<Self> {
        let folder = root.join(FOLDER);
        let shown = folder.display();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        let lock = made.and_then(|()| File::create(folder.join("lock"))).map_err(|error| {
            Misconfigured::new(format!(
                "{shown} cannot be made ({error}); run this as the user of the box's files"
            ))
        })?;
        if lock.try_lock().is_err() {
            return Err(Misconfigured::new("another backup is being made; wait for its end").into());
        }
        let files = folder.join("files");
        if files.exists() {
            std::fs::remove_dir_all(&files).with_context(|| format!("remove {shown}"))?;
        }
        Ok(Self { folder, _lock: lock })
    }

    /// Where the copy of a file is.
    pub fn path(&self, file: &Path) -> PathBuf {
        self.folder.join("files").join(file)
    }

    /// Copies one file, which is at `from`; none when it is gone by now.
    ///
    /// # Errors
    /// When it cannot be read, or the disk is full.
    pub fn copy(&self, from: &Path, file: &Planned) -> anyhow::Result<Option<Entry>> {
        let to = self.path(&file.path);
        if let Some(parent) = to.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .context("make a folder for the copies")?;
        }
        let copied = match file.kind {
            Kind::Database => database(from, &to),
            Kind::File => plain(from, &to),
        };
        match copied {
            Err(_) if !from.exists() => Ok(None),
            copied => {
                copied.with_context(|| format!("copy {}", from.display()))?;
                let (size, sha256) = digest(File::open(&to)?)?;
                Ok(Some(Entry { path: file.path.clone(), size, sha256 }))
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("poolbox: {} could not be removed ({error}); remove it", self.folder.display());
        }
    }
}

/// The database as of one moment, without ever holding up who writes it: readers of a database in
/// WAL mode do not.
fn database(from: &Path, to: &Path) -> anyhow::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(from, flags)?;
    connection.busy_timeout(PATIENCE)?;
    let to = to.to_str().context("the state directory's path is not UTF-8")?;
    connection.execute("VACUUM INTO ?1", [to])?;
    Ok(())
}

fn plain(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut source = File::open(from)?;
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    std::io::copy(&mut source, &mut copy)?;
    Ok(())
}

/// Size and SHA-256 of all that `reader` gives.
///
/// # Errors
/// When reading fails.
pub fn digest(reader: impl Read) -> std::io::Result<(u64, String)> {
    copy_and_digest(reader, std::io::sink())
}

/// Copies, and tells size and SHA-256 of what was copied.
///
/// # Errors
/// When reading or writing fails.
pub fn copy_and_digest(mut reader: impl Read, mut writer: impl Write) -> std::io::Result<(u64, String)> {
    let mut engine = sha256::Hash::engine();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        engine.input(&buffer[..read]);
        writer.write_all(&buffer[..read])?;
        size += read as u64;
    }
    Ok((size, sha256::Hash::from_engine(engine).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_copied_whole_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("mint")).unwrap();
        let path = dir.path().join("mint/books.sqlite");
        let writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer
            .execute_batch("PRAGMA user_version = 7; PRAGMA application_id = 9; CREATE TABLE t (n INTEGER)")
            .unwrap();
        writer.execute_batch("INSERT INTO t VALUES (1); BEGIN IMMEDIATE; INSERT INTO t VALUES (2)").unwrap();
        let staging = Staging::begin(dir.path()).unwrap();
        let file = Planned { path: "mint/books.sqlite".into(), kind: Kind::Database };
        let entry = staging.copy(&path, &file).unwrap().unwrap();
        writer.execute_batch("COMMIT").unwrap();

        let copy = Connection::open(staging.path(&entry.path)).unwrap();
        let number = |sql: &str| copy.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("SELECT SUM(n) FROM t"), 1, "what was not committed is not in the copy");
        assert_eq!((number("PRAGMA user_version"), number("PRAGMA application_id")), (7, 9));
    }

    #[test]
    fn two_backups_at_once_are_refused_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let first = Staging::begin(dir.path()).unwrap();
        assert!(Staging::begin(dir.path()).err().unwrap().to_string().contains("another backup"));
        drop(first);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let gone = Planned { path: "pool/gone".into(), kind: Kind::File };
        assert_eq!(
            Staging::begin(dir.path()).unwrap().copy(&dir.path().join(&gone.path), &gone).unwrap(),
            None
        );
    }
}
