//! Where a box is restored to: what must not be there, and how a complete set of files takes its place.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::Context;
use poolbox_service::Misconfigured;

use crate::backup::manifest::{FOLDERS, Manifest, STAMP};
use crate::backup::unix_now;
use crate::layout::Layout;

/// Where files wait until all of them are there and checked.
const UNPACKED: &str = "restore.partial";
/// Files that are a box: with one of them, the directory is not empty.
const BOX: [&str; 3] = ["mint/seed", "mint/mint.sqlite", "pool/journal.sqlite"];
/// Read by the mint as well, which on a box is another user, of the pool's group.
const JOURNAL: &str = "pool/journal.sqlite";
/// Sockets of processes that must not run.
const SOCKETS: [&str; 3] = ["mint/mint.sock", "pool/pool.sock", "dashboard/dashboard.sock"];

/// A state directory that can take a box.
pub struct Ground {
    root: PathBuf,
    set_aside: bool,
}

impl Ground {
    /// Looks at the directory at `root`, changing nothing.
    ///
    /// # Errors
    /// [`Misconfigured`] when a box is there (unless it is to be set aside), or runs.
    pub fn survey(root: &Path, set_aside: bool) -> anyhow::Result<Self> {
        if let Some(socket) = SOCKETS.iter().find(|socket| UnixStream::connect(root.join(socket)).is_ok()) {
            let process = socket.split('/').next().unwrap_or_default();
            return Err(Misconfigured::new(format!(
                "poolbox-{process} runs in {}; stop it before a restore",
                root.display()
            ))
            .into());
        }
        let ground = Self { root: root.to_owned(), set_aside };
        ground.is_free(|file| root.join(file))?;
        Ok(ground)
    }

    /// Whether the backup belongs here.
    ///
    /// # Errors
    /// [`Misconfigured`] for another network than the directory's, or when its network has a box here already.
    pub fn fits(&self, manifest: &Manifest) -> anyhow::Result<()> {
        let layout = Layout::with_data_of(manifest.network, &self.root);
        self.is_free(|file| layout.at(file))?;
        let stamps =
            [self.root.join(STAMP), self.root.join("mint").join(STAMP), self.root.join("pool").join(STAMP)];
        for stamp in stamps {
            let Ok(found) = std::fs::read_to_string(&stamp) else { continue };
            let (found, network) = (found.trim(), manifest.network);
            if found != network.name() {
                return Err(Misconfigured::new(format!(
                    "{} says {found}, and the backup is of {network}; restore to another --state directory",
                    stamp.display()
                ))
                .into());
            }
        }
        Ok(())
    }

    fn is_free(&self, at: impl Fn(&str) -> PathBuf) -> anyhow::Result<()> {
        let found = BOX.iter().map(|file| at(file)).find(|path| path.exists());
        match found.filter(|_| !self.set_aside) {
            Some(found) => Err(Misconfigured::new(format!(
                "there is a box already ({} exists); restore to an empty --state directory, or pass --set-aside to move it away",
                found.display()
            ))
            .into()),
            None => Ok(()),
        }
    }

    /// An empty folder for the files, on the same disk.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn unpacking(&self) -> anyhow::Result<PathBuf> {
        let folder = self.root.join(UNPACKED);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
            Misconfigured::new(format!(
                "{} cannot be made ({error}); run this as root on a box",
                folder.display()
            ))
        })?;
        Ok(folder)
    }

    /// Moves the unpacked files of `manifest`, and `more`, to their places; those that make it a box
    /// come last. Settings that are there stay. Returns where an earlier box was moved to.
    ///
    /// # Errors
    /// When a file cannot be moved; a restore can then be begun again.
    pub fn settle(&self, manifest: &Manifest, more: [&str; 2]) -> anyhow::Result<Option<PathBuf>> {
        let layout = Layout::with_data_of(manifest.network, &self.root);
        let aside = if self.set_aside { self.move_away(&layout)? } else { None };
        let unpacked = self.root.join(UNPACKED);
        let listed = manifest.files.iter().map(|file| file.path.clone());
        let mut files: Vec<PathBuf> = listed.chain(more.map(PathBuf::from)).collect();
        files.sort_by_key(|file| (BOX.iter().any(|of_box| Path::new(of_box) == file), file.clone()));
        files.dedup();
        for file in files {
            let (from, to) = (unpacked.join(&file), layout.at(&file));
            let is_settings = to.extension().is_some_and(|extension| extension == "toml");
            if !from.exists() || (is_settings && to.exists()) {
                continue;
            }
            self.make_folders_of(&to)?;
            remove_remains(&to)?;
            std::fs::rename(&from, &to).with_context(|| format!("move {} to its place", to.display()))?;
            give(&to, &self.owner_of(&file)?)?;
            if file == Path::new(JOURNAL) {
                set_mode(&to, 0o640)?;
            }
        }
        std::fs::remove_dir_all(&unpacked).with_context(|| format!("remove {}", unpacked.display()))?;
        File::open(&self.root).and_then(|root| root.sync_all()).context("sync the state directory")?;
        Ok(aside)
    }

    /// The folder that decides whose a file is: that of its process.
    fn owner_of(&self, file: &Path) -> anyhow::Result<std::fs::Metadata> {
        let first =
            file.components().next().map(|first| self.root.join(first)).filter(|first| first.is_dir());
        let folder = first.as_deref().unwrap_or(&self.root);
        std::fs::metadata(folder).with_context(|| format!("read {}", folder.display()))
    }

    fn make_folders_of(&self, file: &Path) -> anyhow::Result<()> {
        let below = file.strip_prefix(&self.root).unwrap_or(file);
        let mut folder = self.root.clone();
        for part in below.parent().into_iter().flat_map(Path::components) {
            folder.push(part);
            if !folder.is_dir() {
                let made = DirBuilder::new().mode(0o700).create(&folder);
                made.with_context(|| format!("make {}", folder.display()))?;
                give(&folder, &self.owner_of(below)?)?;
                // The way to the journal, for the mint.
                if below.starts_with("pool") {
                    set_mode(&folder, 0o750)?;
                }
            }
        }
        Ok(())
    }

    fn move_away(&self, layout: &Layout) -> anyhow::Result<Option<PathBuf>> {
        let aside = self.root.join(format!("before-restore-{}", unix_now()));
        let mut moved = false;
        for folder in FOLDERS.iter().filter(|folder| layout.at(folder).is_dir()) {
            let (from, to) = (layout.at(folder), aside.join(folder));
            for entry in std::fs::read_dir(&from).with_context(|| format!("read {}", from.display()))? {
                let name = entry?.file_name();
                // Settings are the machine's, and stay.
                if Path::new(&name).extension().is_some_and(|extension| extension == "toml") {
                    continue;
                }
                let made = DirBuilder::new().recursive(true).mode(0o700).create(&to);
                made.with_context(|| format!("make {}", to.display()))?;
                let path = from.join(&name);
                std::fs::rename(&path, to.join(&name))
                    .with_context(|| format!("move {} away", path.display()))?;
                moved = true;
            }
        }
        Ok(moved.then_some(aside))
    }
}

/// What SQLite left beside an earlier file of this name would be replayed into the new one.
fn remove_remains(path: &Path) -> anyhow::Result<()> {
    for ending in ["-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", Path::new(&name).display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes a file the user's that its folder belongs to; only root can, and only root needs to.
fn give(path: &Path, folder: &std::fs::Metadata) -> anyhow::Result<()> {
    let own = std::fs::symlink_metadata(path).with_context(|| format!("read {}", path.display()))?;
    if (own.uid(), own.gid()) == (folder.uid(), folder.gid()) {
        return Ok(());
    }
    chown(path, Some(folder.uid()), Some(folder.gid()))
        .with_context(|| format!("give {} to the user of its folder", path.display()))
}

fn set_mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    let set = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    set.with_context(|| format!("set the mode of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use poolbox_accounting::Network;

    use super::*;
    use crate::backup::manifest::{Entry, FORMAT, SeedReference};

    fn manifest(paths: &[&str]) -> Manifest {
        let entry = |path: &&str| Entry { path: path.into(), size: 1, sha256: String::new() };
        Manifest {
            format: FORMAT,
            version: "0".into(),
            made_at: 1,
            network: Network::Devnet,
            seed: SeedReference { fingerprint: "73c5da0a".into(), included: true },
            files: paths.iter().map(entry).collect(),
            left_out: Vec::new(),
        }
    }

    fn put(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_box_is_never_overwritten_and_set_aside_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(&root.join("mint/seed"), "old");
        put(&root.join("mint/mint.toml"), "settings of this machine");
        let error = Ground::survey(root, false).err().unwrap().to_string();
        assert!(error.contains("mint/seed") && error.contains("--set-aside"), "{error}");

        let ground = Ground::survey(root, true).unwrap();
        let manifest = manifest(&["mint/seed", "mint/mint.toml", "pool/journal.sqlite"]);
        let unpacked = ground.unpacking().unwrap();
        for file in &manifest.files {
            put(&unpacked.join(&file.path), "new");
        }
        let aside = ground.settle(&manifest, ["mint/restored.json", "mint/seed"]).unwrap().unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&aside.join("mint/seed")), "old");
        assert_eq!(
            (read(&root.join("mint/seed")), read(&root.join("pool/journal.sqlite"))),
            ("new".into(), "new".into())
        );
        assert_eq!(read(&root.join("mint/mint.toml")), "settings of this machine");
        assert!(!unpacked.exists());
    }

    #[test]
    fn where_networks_have_folders_of_their_own_only_the_backups_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(&root.join("mint/mainnet/seed"), "of mainnet");
        put(&root.join("mint/devnet/seed"), "old");
        let ground = Ground::survey(root, false).unwrap();
        let error = ground.fits(&manifest(&[])).unwrap_err().to_string();
        assert!(error.contains("mint/devnet/seed") && error.contains("--set-aside"), "{error}");

        let ground = Ground::survey(root, true).unwrap();
        let manifest = manifest(&["mint/seed", "pool/journal.sqlite", "wallets/bob/seed"]);
        ground.fits(&manifest).unwrap();
        let unpacked = ground.unpacking().unwrap();
        for file in &manifest.files {
            put(&unpacked.join(&file.path), "new");
        }
        let aside = ground.settle(&manifest, ["mint/restored.json", "mint/seed"]).unwrap().unwrap();
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(read("mint/mainnet/seed"), "of mainnet");
        assert_eq!((read("mint/devnet/seed"), read("wallets/bob/seed")), ("new".into(), "new".into()));
        assert_eq!(std::fs::read_to_string(aside.join("mint/seed")).unwrap(), "old");
        // The mint is another user there, of the pool's group.
        let mode = |path: &str| std::fs::metadata(root.join(path)).unwrap().mode() & 0o777;
        assert_eq!((mode("pool/devnet"), mode("pool/devnet/journal.sqlite")), (0o750, 0o640));
    }

    #[test]
    fn a_box_that_runs_and_another_network_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join("mint/network"), "mainnet\n");
        let ground = Ground::survey(dir.path(), false).unwrap();
        let error = ground.fits(&manifest(&[])).unwrap_err().to_string();
        assert!(error.contains("mainnet") && error.contains("devnet"), "{error}");
        let _mint = std::os::unix::net::UnixListener::bind(dir.path().join("mint/mint.sock")).unwrap();
        assert!(Ground::survey(dir.path(), true).err().unwrap().to_string().contains("poolbox-mint runs"));
    }
}
