//! Found blocks on disk. A file is either a complete block, as `<height>-<hash>.block`, or its header
//! and coinbase, as `<height>-<hash>.solution`, in Bitcoin's own encoding. Its content proves itself
//! by its hash, so a torn file is noticed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bitcoin::block::Header;
use bitcoin::consensus::{deserialize, deserialize_partial, serialize};
use bitcoin::{Block, BlockHash, Transaction};

const BLOCK: &str = "block";
const SOLUTION: &str = "solution";
/// Where blocks go that will never be in the chain.
const LOST: &str = "lost";

/// The directory of blocks that are not yet in the chain.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

/// A block on its way into the chain.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// All there is of it.
    pub content: Content,
}

/// What is kept of a block.
#[derive(Clone, Debug)]
pub enum Content {
    /// Everything; can be submitted to any node.
    Block(Arc<[u8]>),
    /// Without the transactions.
    Solution(Arc<[u8]>),
}

impl Content {
    /// A solution.
    pub fn solution(header: &Header, coinbase: &[u8]) -> Self {
        Self::Solution([serialize(header).as_slice(), coinbase].concat().into())
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Block(bytes) | Self::Solution(bytes) => bytes,
        }
    }

    fn extension(&self) -> &'static str {
        match self {
            Self::Block(_) => BLOCK,
            Self::Solution(_) => SOLUTION,
        }
    }

    /// The content of a file, when it is what its name says.
    fn read(extension: &str, bytes: Vec<u8>, hash: BlockHash) -> Option<Self> {
        let (header, used) = deserialize_partial::<Header>(&bytes).ok()?;
        let rest = bytes.get(used..)?;
        let whole = match extension {
            BLOCK => deserialize::<Block>(&bytes).is_ok_and(|block| block.check_merkle_root()),
            SOLUTION => deserialize::<Transaction>(rest).is_ok(),
            _ => false,
        };
        let content = if extension == BLOCK { Self::Block } else { Self::Solution };
        (whole && header.block_hash() == hash).then(|| content(bytes.into()))
    }
}

impl Store {
    /// The store at `directory`, which is made when it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory.join(LOST))?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Every block and when it was found, oldest first. What cannot be read is left alone and told.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn load(&self) -> io::Result<Vec<(Kept, SystemTime)>> {
        let mut blocks: Vec<(Kept, SystemTime)> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.is_dir() {
                continue;
            }
            match read(&path) {
                Some(found) => blocks.push(found),
                None => {
                    tracing::error!(file = %path.display(), "not a whole found block; it is left as it is")
                }
            }
        }
        blocks.sort_by_key(|(kept, at)| (kept.height, *at));
        // A solution whose block was written just before we were stopped.
        let complete: Vec<BlockHash> = blocks
            .iter()
            .filter(|(kept, _)| matches!(kept.content, Content::Block(_)))
            .map(|(kept, _)| kept.hash)
            .collect();
        blocks
            .retain(|(kept, _)| matches!(kept.content, Content::Block(_)) || !complete.contains(&kept.hash));
        Ok(blocks)
    }

    /// Writes a block; on return it survives a power cut.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, kept: &Kept) -> io::Result<()> {
        let mut file = File::create(self.path(kept, kept.content.extension()))?;
        file.write_all(kept.content.bytes())?;
        file.sync_all()?;
        self.sync()?;
        if matches!(kept.content, Content::Block(_)) {
            delete(&self.path(kept, SOLUTION))?;
        }
        Ok(())
    }

    /// Removes a block that is in the chain.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(&self, kept: &Kept) -> io::Result<()> {
        delete(&self.path(kept, SOLUTION))?;
        delete(&self.path(kept, BLOCK))?;
        self.sync()
    }

    /// Moves a block out of the way that will never be in the chain; returns where.
    ///
    /// # Errors
    /// When a file cannot be moved.
    pub fn bury(&self, kept: &Kept) -> io::Result<PathBuf> {
        let lost = self.directory.join(LOST);
        let extension = kept.content.extension();
        let grave = lost.join(name(kept, extension));
        fs::rename(self.path(kept, extension), &grave)?;
        delete(&self.path(kept, SOLUTION))?;
        File::open(&lost)?.sync_all()?;
        self.sync()?;
        Ok(grave)
    }

    fn path(&self, kept: &Kept, extension: &str) -> PathBuf {
        self.directory.join(name(kept, extension))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

fn name(kept: &Kept, extension: &str) -> String {
    format!("{}-{}.{extension}", kept.height, kept.hash)
}

fn read(path: &Path) -> Option<(Kept, SystemTime)> {
    let (height, hash) = path.file_stem()?.to_str()?.split_once('-')?;
    let (height, hash) = (height.parse().ok()?, hash.parse().ok()?);
    let found_at = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    let content = Content::read(path.extension()?.to_str()?, fs::read(path).ok()?, hash)?;
    Some((Kept { height, hash, content }, found_at))
}

fn delete(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;
    use bitcoin::constants::genesis_block;

    use super::*;

    fn kept(content: impl Fn(&Block) -> Content) -> Kept {
        let block = genesis_block(Network::Regtest);
        Kept { height: 7, hash: block.block_hash(), content: content(&block) }
    }

    fn complete() -> Kept {
        kept(|block| Content::Block(serialize(block).into()))
    }

    fn solution() -> Kept {
        kept(|block| Content::solution(&block.header, &serialize(&block.txdata[0])))
    }

    #[test]
    fn what_was_written_is_found_again() {
        let place = tempfile::tempdir().unwrap();
        for kept in [solution(), complete()] {
            Store::open(place.path()).unwrap().write(&kept).unwrap();
            let found = Store::open(place.path()).unwrap().load().unwrap();
            assert_eq!(found.len(), 1, "a block takes the place of its solution");
            let (found, _) = &found[0];
            assert_eq!((found.height, found.hash), (kept.height, kept.hash));
            assert_eq!(found.content.extension(), kept.content.extension());
            assert_eq!(found.content.bytes(), kept.content.bytes());
        }
    }

    #[test]
    fn a_removed_block_is_gone_and_a_buried_one_is_kept_aside() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        store.write(&complete()).unwrap();
        store.remove(&complete()).unwrap();
        assert!(store.load().unwrap().is_empty());
        store.write(&complete()).unwrap();
        let grave = store.bury(&complete()).unwrap();
        assert!(store.load().unwrap().is_empty());
        assert_eq!(fs::read(grave).unwrap(), complete().content.bytes());
    }

    #[test]
    fn torn_and_strange_files_are_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        for kept in [solution(), complete()] {
            let bytes = kept.content.bytes();
            fs::write(store.path(&kept, kept.content.extension()), &bytes[..bytes.len() - 1]).unwrap();
        }
        fs::write(place.path().join("notes.txt"), "mine").unwrap();
        assert!(store.load().unwrap().is_empty());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 4);
    }
}
