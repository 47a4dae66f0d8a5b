//! What was changed: written down before it is done, so that it can be followed and undone after a restart
//! of the dashboard too.

use std::path::Path;

use anyhow::Context;
use poolbox_service::write_whole;
use serde::{Deserialize, Serialize};

use super::Service;
use super::arrival::Started;
use super::folder::Swap;
use super::plan::Line;

/// How many are remembered.
const MAX_KEPT: usize = 50;

/// Services that were asked to restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When, Unix seconds.
    pub at: u64,
    /// Who.
    pub services: Vec<Service>,
    /// Since when each had run then.
    pub before: Started,
}

/// A change of settings, or a restart alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// A number of its own.
    pub id: u64,
    /// What a person saw change; nothing for a restart alone.
    pub lines: Vec<Line>,
    /// Which files.
    pub swaps: Vec<Swap>,
    /// Doing it.
    pub asked: Asked,
    /// Undoing it.
    pub undone: Option<Asked>,
    /// Why it was not done; then nothing was changed.
    pub failed: Option<String>,
}

impl Change {
    /// In a few words.
    pub fn title(&self) -> String {
        if self.lines.is_empty() {
            let names: Vec<_> = self.asked.services.iter().map(|service| service.title()).collect();
            return format!("Restart: {}", names.join(", "));
        }
        let told = self.lines.iter().map(|line| format!("{}: {}", line.what, line.after));
        told.collect::<Vec<_>>().join("; ")
    }

    /// Whether there is something to take back.
    pub fn can_be_undone(&self) -> bool {
        !self.swaps.is_empty() && self.undone.is_none() && self.failed.is_none()
    }

    /// What it, or its undoing, waits for.
    pub fn latest(&self) -> &Asked {
        self.undone.as_ref().unwrap_or(&self.asked)
    }
}

/// What an earlier run wrote down; nothing when it cannot be read.
pub fn load(file: &Path) -> Vec<Change> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(%error, "earlier changes of settings are forgotten: their file cannot be read");
            Vec::new()
        }),
        Err(_) => Vec::new(),
    }
}

/// Writes all of them down, the newest.
///
/// # Errors
/// When the file cannot be written.
pub fn save(file: &Path, changes: &mut Vec<Change>) -> anyhow::Result<()> {
    let surplus = changes.len().saturating_sub(MAX_KEPT);
    changes.drain(..surplus);
    write_whole(file, &serde_json::to_vec(changes)?, 0o640)
        .context("the change cannot be written down; is the disk full?")
}
