//! Which files a backup holds, and in which order they are copied while the box runs.
//!
//! Every copy is consistent in itself, and each is taken after the one before. What refers to
//! something else is therefore copied first: wallets before the mint, whose signatures they hold and
//! which they ask for what they have forgotten; the mint before the pool's journal, since a mint goes
//! on reading a journal that is ahead of it, and refuses one that is behind. The wallets of household
//! names are not copied at all: the mint makes them again from its seed and its books, which are of
//! one moment.

use std::ffi::OsStr;
use std::fs::{DirEntry, FileType};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::manifest::{FOLDERS, LeftOut, STAMP};
use crate::layout::Layout;

/// What every SQLite file begins with.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";
/// Files that only make sense while their process runs, or that are written anew.
const TRANSIENT: [&str; 10] =
    ["partial", "sock", "log", "1", "lock", "sqlite-wal", "sqlite-shm", "sqlite-journal", "db-wal", "db-shm"];

/// How a file is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Through SQLite, as of one moment.
    Database,
    /// As it is: small, and replaced as a whole by whoever writes it.
    File,
}

/// A file to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Below the state directory.
    pub path: PathBuf,
    /// How.
    pub kind: Kind,
}

/// What is copied, in order, and what is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To copy.
    pub files: Vec<Planned>,
    /// Left out.
    pub left_out: Vec<LeftOut>,
}

impl Plan {
    /// Looks through a state directory.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn of(layout: &Layout, with_seed: bool) -> anyhow::Result<Self> {
        let mut plan = Self::default();
        for folder in FOLDERS.iter().map(Path::new).filter(|folder| layout.at(folder).is_dir()) {
            plan.add_folder(layout, folder, with_seed)?;
        }
        if layout.at(STAMP).is_file() {
            plan.files.push(Planned { path: STAMP.into(), kind: Kind::File });
        }
        plan.files.sort_by_cached_key(|file| (rank(file), file.path.clone()));
        Ok(plan)
    }

    fn add_folder(&mut self, layout: &Layout, folder: &Path, with_seed: bool) -> anyhow::Result<()> {
        let shown = layout.at(folder);
        let read = || format!("read {}", shown.display());
        for entry in std::fs::read_dir(&shown).with_context(read)? {
            let entry = entry.with_context(read)?;
            let (path, kind) = (folder.join(entry.file_name()), entry.file_type().with_context(read)?);
            if let Some(reason) = omitted(&path, with_seed) {
                self.left_out.push(LeftOut { path, reason: reason.to_owned() });
            } else if kind.is_dir() {
                self.add_folder(layout, &path, with_seed)?;
            } else if is_kept(&entry, kind) {
                let kind = kind_of(&layout.at(&path))?;
                self.files.push(Planned { path, kind });
            }
        }
        Ok(())
    }
}

/// Why something is left out that a person might miss.
fn omitted(path: &Path, with_seed: bool) -> Option<&'static str> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if path == Path::new("mint/seed") && !with_seed {
        return Some("the seed stays on paper, as was asked for");
    }
    if path == Path::new("mint/purses") {
        return Some("the wallets of household names are made again from the seed and the mint's books");
    }
    let in_mint = path.parent() == Some(Path::new("mint"));
    if in_mint && (name.starts_with("ldk") || name.starts_with("lightning")) {
        return Some(
            "an old state of Lightning channels must never be used again: the peer would take everything in \
             them; the channels' coins come back from the seed when the peer has closed them",
        );
    }
    None
}

fn is_kept(entry: &DirEntry, kind: FileType) -> bool {
    let path = entry.path();
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    kind.is_file() && !kind.is_socket() && !TRANSIENT.contains(&extension) && name != "lock"
}

fn kind_of(path: &Path) -> anyhow::Result<Kind> {
    let mut head = [0; 16];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    match read {
        Ok(()) if &head == SQLITE => Ok(Kind::Database),
        Ok(()) => Ok(Kind::File),
        // Shorter, or gone since: found out again when it is copied.
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::NotFound) =>
        {
            Ok(Kind::File)
        }
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Earlier ones are copied first.
fn rank(file: &Planned) -> u8 {
    if file.path == Path::new("mint/mint.sqlite") {
        return 3;
    }
    match (file.path.components().next().map(|first| first.as_os_str()), file.kind) {
        (Some(first), _) if first == "wallets" => 0,
        // The treasury's wallet.
        (Some(first), Kind::Database) if first == "mint" => 1,
        (Some(first), Kind::File) if first == "mint" => 2,
        (Some(first), Kind::Database) if first == "pool" => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, content: &[u8]) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn planned(root: &Path, with_seed: bool) -> Plan {
        Plan::of(&Layout::of(root, None).unwrap(), with_seed).unwrap()
    }

    fn paths(plan: &Plan) -> Vec<&str> {
        plan.files.iter().map(|file| file.path.to_str().unwrap()).collect()
    }

    #[test]
    fn what_refers_to_something_is_copied_before_it() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["pool/journal.sqlite", "mint/mint.sqlite", "mint/bdk/wallet.sqlite", "wallets/b/wallet.sqlite"]
        {
            put(dir.path(), name, b"SQLite format 3\0 and pages");
        }
        for name in
            ["pool/sv2_authority.key", "mint/seed", "network", "dashboard/dashboard.toml", "node/x", "logs/y"]
        {
            put(dir.path(), name, b"x");
        }
        let plan = planned(dir.path(), true);
        let order = [
            "wallets/b/wallet.sqlite",
            "mint/bdk/wallet.sqlite",
            "mint/seed",
            "mint/mint.sqlite",
            "pool/journal.sqlite",
            "dashboard/dashboard.toml",
            "network",
            "pool/sv2_authority.key",
        ];
        assert_eq!(paths(&plan), order);
        assert_eq!((plan.files[0].kind, plan.files[2].kind), (Kind::Database, Kind::File));
    }

    #[test]
    fn channels_transient_files_and_on_request_the_seed_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "mint/seed",
            "mint/ldk/ldk_node_data.sqlite",
            "mint/purses/00/wallet.sqlite",
            "mint/mint.sqlite-wal",
            "mint/x.partial",
            "wallets/b/lock",
        ] {
            put(dir.path(), name, b"x");
        }
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("mint/mint.sock")).unwrap();
        let plan = planned(dir.path(), false);
        assert_eq!(paths(&plan), [""; 0]);
        let mut left_out: Vec<_> = plan.left_out.iter().map(|left| left.path.to_str().unwrap()).collect();
        left_out.sort_unstable();
        assert_eq!(left_out, ["mint/ldk", "mint/purses", "mint/seed"]);
        assert_eq!(paths(&planned(dir.path(), true)), ["mint/seed"]);
    }
}
