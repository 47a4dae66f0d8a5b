//! `[box.backup]`: where the dashboard asks for a backup or a restore, and where it finds what came of it.

use std::path::PathBuf;

use serde::Deserialize;

/// Folders that the system and the dashboard share; in each, only one of the two writes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupPlace {
    /// In memory: what is asked for, with the passphrase. The dashboard writes, the system takes away.
    pub requests_dir: PathBuf,
    /// In memory: how far it is, and what was said. The system writes.
    pub answers_dir: PathBuf,
    /// The backup that was made. The system writes and removes it.
    pub made: PathBuf,
    /// The backup that was uploaded. The dashboard writes, the system removes it once it is restored.
    pub uploaded: PathBuf,
}
