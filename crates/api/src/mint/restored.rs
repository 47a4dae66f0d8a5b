//! A mint that was restored from a backup: it serves and credits, and signs nothing until its owner
//! has accepted what a backup cannot know.

use serde::{Deserialize, Serialize};

/// Path of [`Restored`]; null when the mint was not restored.
pub const RESTORED: &str = "/restored";
/// Path whose `POST` accepts the restored state and gives [`Restored`].
pub const RESTORED_ACCEPT: &str = "/restored/accept";

/// From what the mint was restored. What was spent after the backup was made is unspent in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// When the backup was made, Unix seconds.
    pub made_at: u64,
    /// When it was restored, Unix seconds.
    pub restored_at: u64,
    /// When the owner accepted it, Unix seconds; until then the mint signs nothing.
    pub accepted_at: Option<u64>,
}
