//! What the mint knows about its own running: how far it followed chain and queue, and whether it
//! has halted. Written by the crediting task and the invariants, read by the APIs.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use tokio::sync::watch;

/// A snapshot.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Why the mint refuses to sign and to credit.
    pub halted: Option<String>,
    /// Why it signs nothing though all is well, worded for a wallet's user; crediting goes on.
    pub held: Option<String>,
    /// Whether the node answered the latest call.
    pub connected: bool,
    /// Height that the chain was followed to.
    pub height: u32,
    /// Hash of that block.
    pub block: BlockHash,
    /// Entries of the quote queue read and not yet in effect; while it catches up, at least so many.
    pub waiting: u64,
    /// What crediting waits for.
    pub trouble: Option<String>,
    /// Whether the database failed a request that signs: cdk finishes or undoes it when it starts.
    pub unfinished: bool,
}

/// The mint's condition, shared by its tasks.
#[derive(Debug)]
pub struct Health {
    condition: watch::Sender<Condition>,
}

impl Default for Health {
    fn default() -> Self {
        let unknown = Condition {
            halted: None,
            held: None,
            connected: false,
            height: 0,
            block: BlockHash::all_zeros(),
            waiting: 0,
            trouble: None,
            unfinished: false,
        };
        Self { condition: watch::Sender::new(unknown) }
    }
}

impl Health {
    /// The condition right now.
    pub fn now(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Why the mint has halted, if it has.
    pub fn halted(&self) -> Option<String> {
        self.condition.borrow().halted.clone()
    }

    /// Why the mint signs nothing though it has not halted, if so.
    pub fn held(&self) -> Option<String> {
        self.condition.borrow().held.clone()
    }

    /// Stops all signing and crediting until a person has looked. The first reason stays.
    pub fn halt(&self, reason: &str) {
        let first = |condition: &mut Condition| {
            let first = condition.halted.is_none();
            condition.halted.get_or_insert_with(|| reason.to_owned());
            first
        };
        if self.condition.send_if_modified(first) {
            tracing::error!(reason, "the mint has halted: it signs and credits nothing until restarted");
        }
    }

    /// Notes progress.
    pub fn update(&self, change: impl FnOnce(&mut Condition)) {
        self.condition.send_modify(change);
    }
}
