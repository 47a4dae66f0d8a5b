//! `poolbox restore`: a box from its backup, on a machine that has none; and the owner's word that a
//! restored mint may sign again.

mod fitness;
mod ground;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use poolbox_api::mint::{self, Restored};
use poolbox_service::{Misconfigured, write_secret};

use self::ground::Ground;
use crate::backup::archive;
use crate::backup::manifest::{Entry, Manifest};
use crate::backup::staging::copy_and_digest;
use crate::backup::unix_now;
use crate::place::Place;
use crate::secret;

/// Read by the mint at its start.
const RECORD: &str = "mint/restored.json";
/// Where the words go.
const SEED: &str = "mint/seed";

/// What to restore, and how to get at the secrets.
#[derive(Debug, Args)]
pub struct Options {
    /// The backup.
    #[arg(required_unless_present = "accept")]
    file: Option<PathBuf>,
    /// Read the passphrase from this file (- is standard input) instead of asking at the terminal.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Read the seed's words from this file, for a backup without them.
    #[arg(long, value_name = "FILE")]
    seed_file: Option<PathBuf>,
    /// Move what is in the way to a folder beside it, as what a new box made at its first start.
    #[arg(long)]
    set_aside: bool,
    /// Only say whether this backup may take the place of the new box that runs here: it is read through, and nothing
    /// is changed.
    #[arg(long, conflicts_with_all = ["accept", "set_aside"])]
    check: bool,
    /// Let the restored mint sign again: what was spent after the backup was made may then be spent a
    /// second time. Without danger when the box did not run after the backup.
    #[arg(long, conflicts_with_all = ["file", "set_aside"])]
    accept: bool,
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let Some(file) = &options.file else { return accept(place).await };
    let passphrase = secret::passphrase(options.passphrase_file.as_deref())?;
    if options.check {
        let file = file.clone();
        let manifest = tokio::task::spawn_blocking(move || archive::check(&file, passphrase)).await??;
        return fitness::check(place, &manifest).await;
    }
    let ground = Ground::survey(place.root(), options.set_aside)?;
    let unpacked = ground.unpacking()?;
    let manifest = archive::read(
        file,
        passphrase,
        |manifest| ground.fits(manifest),
        |entry, content| unpack(&unpacked, entry, content),
    )?;
    if !manifest.seed.included {
        let words = secret::seed_words(options.seed_file.as_deref())?;
        place_seed(&unpacked, &words, &manifest)?;
    }
    let restored = Restored { made_at: manifest.made_at, restored_at: unix_now(), accepted_at: None };
    let record = unpacked.join(RECORD);
    if record.exists() {
        // Of an earlier restore, which was backed up with the rest.
        std::fs::remove_file(&record).with_context(|| format!("remove {}", record.display()))?;
    }
    write_secret(&record, &serde_json::to_vec(&restored)?)?;
    let aside = ground.settle(&manifest, [RECORD, SEED])?;
    tell(&manifest, place.root(), aside.as_deref());
    Ok(())
}

async fn accept(place: &Place) -> anyhow::Result<()> {
    let restored: Restored = place.mint()?.post(mint::RESTORED_ACCEPT, &()).await?;
    println!("the mint signs again, on the books of {} (Unix time)", restored.made_at);
    Ok(())
}

fn unpack(folder: &Path, entry: &Entry, content: &mut dyn Read) -> anyhow::Result<(u64, String)> {
    let path = folder.join(&entry.path);
    if let Some(parent) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o750).create(parent);
        made.with_context(|| format!("make {}", parent.display()))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = file.with_context(|| format!("write {}", path.display()))?;
    let copied = copy_and_digest(content, &mut file)?;
    sync(&file, &path)?;
    Ok(copied)
}

fn sync(file: &File, path: &Path) -> anyhow::Result<()> {
    file.sync_all().with_context(|| format!("write {}", path.display()))
}

fn place_seed(folder: &Path, words: &str, manifest: &Manifest) -> anyhow::Result<()> {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let found = poolbox_wallet::fingerprint(&words).map_err(|error| Misconfigured::new(error.to_string()))?;
    let expected = &manifest.seed.fingerprint;
    if &found != expected {
        return Err(Misconfigured::new(format!(
            "these are the words of seed {found}, and the backup is of seed {expected}; nothing was restored"
        ))
        .into());
    }
    write_secret(&folder.join(SEED), format!("{words}\n").as_bytes())
}

fn tell(manifest: &Manifest, root: &Path, aside: Option<&Path>) {
    let Manifest { made_at, network, files, left_out, .. } = manifest;
    println!("restored {} files of a box on {network} to {}", files.len(), root.display());
    if let Some(aside) = aside {
        println!("what was there is in {}", aside.display());
    }
    for left in left_out {
        println!("not in the backup: {} ({})", left.path.display(), left.reason);
    }
    println!(
        "The books are those of {made_at} (Unix time). Start the box: miners are served and work is credited."
    );
    println!(
        "The mint signs nothing until you say `poolbox restore --accept`: what was spent after the backup"
    );
    println!(
        "can then be spent a second time. If the box did not run after the backup, there is no such thing."
    );
}
