//! Found blocks go out by every path and are kept until they are in the chain.
//!
//! A solution is handed to the source at once. Meanwhile the complete block is written to disk, then
//! submitted by the node's RPC, and tried again until the chain contains it: past a node that was down,
//! and past an end of this process. Only a block that can never be in the chain is given up; it is moved
//! to `lost` in the same directory.

mod rpc;
mod store;
mod verdict;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bitcoin::BlockHash;
use bitcoin::block::Header;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::source::WorkSource;
use crate::template::Template;
use rpc::Rpc;
pub use rpc::{RpcConfig, RpcLogin};
use store::Store;
use watch::Watch;

/// A header that meets the network's target, and what it was made of.
#[derive(Clone, Debug)]
pub struct Found {
    /// The template it was made from.
    pub template: Arc<Template>,
    /// The header.
    pub header: Header,
    /// The coinbase, serialised with its witness.
    pub coinbase: Vec<u8>,
}

/// What became of a found block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the active chain.
    OnChain,
    /// It will never be.
    Lost {
        /// Why.
        reason: String,
    },
}

/// A block that is not yet in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// When it was found.
    pub found_at: SystemTime,
    /// Whether all of it is on disk, so that any node can be given it.
    pub complete: bool,
    /// Why it is not in the chain, as far as is known.
    pub trouble: Option<String>,
}

/// Keeps found blocks until they are in the chain. Dropping it ends its attempts; the files stay, and
/// the next one goes on with them.
#[derive(Debug)]
pub struct BlockKeeper {
    room: Arc<Room>,
    watches: Mutex<JoinSet<()>>,
    left: Mutex<Vec<(BlockHash, oneshot::Receiver<Outcome>)>>,
}

/// What the watches of all blocks share.
#[derive(Debug)]
struct Room {
    store: Store,
    source: Arc<WorkSource>,
    rpc: Option<Rpc>,
    pending: Mutex<BTreeMap<BlockHash, Pending>>,
}

impl BlockKeeper {
    /// Keeps blocks in `directory` and goes on with those that are there. Without `rpc` they can only
    /// be handed to `source`, which takes no block of a template that its provider has forgotten. Must
    /// be called within a tokio runtime.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(directory: &Path, source: Arc<WorkSource>, rpc: Option<RpcConfig>) -> io::Result<Self> {
        let store = Store::open(directory)?;
        let left = store.load()?;
        let room = Room { store, source, rpc: rpc.map(Rpc::new), pending: Mutex::default() };
        let mut keeper = Self { room: Arc::new(room), watches: Mutex::default(), left: Mutex::default() };
        let mut outcomes = Vec::new();
        for (kept, found_at) in left {
            let (tell, outcome) = oneshot::channel();
            outcomes.push((kept.hash, outcome));
            let watch = Watch::of_file(Arc::clone(&keeper.room), kept, found_at, tell);
            keeper.spawn(watch.run());
        }
        keeper.left = Mutex::new(outcomes);
        Ok(keeper)
    }

    /// What becomes of the blocks that were there at the start: as [`Self::found`] tells of new ones. Told
    /// once.
    pub fn left(&self) -> Vec<(BlockHash, oneshot::Receiver<Outcome>)> {
        std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a block out and keeps it until it is in the chain. Returns at once; the receiver tells what
    /// became of it, in an hour maybe, and may be dropped. Must be called within a tokio runtime.
    pub fn found(&self, found: Found) -> oneshot::Receiver<Outcome> {
        let (tell, outcome) = oneshot::channel();
        let watch = Watch::of_solution(Arc::clone(&self.room), found, tell);
        self.spawn(watch.run());
        outcome
    }

    /// Blocks that are not yet in the chain, lowest first.
    pub fn pending(&self) -> Vec<Pending> {
        let mut pending: Vec<Pending> = self.room.pending().values().cloned().collect();
        pending.sort_by_key(|block| (block.height, block.found_at));
        pending
    }

    fn spawn(&self, watch: impl Future<Output = ()> + Send + 'static) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        while watches.try_join_next().is_some() {}
        watches.spawn(watch);
    }
}

impl Room {
    fn pending(&self) -> MutexGuard<'_, BTreeMap<BlockHash, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
