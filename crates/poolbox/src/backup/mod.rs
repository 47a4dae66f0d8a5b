//! `poolbox backup`: everything of a box that cannot be recreated, in one encrypted file, made while
//! the box runs. What is in it and why in this order is told in `plan`; docs/backup.md is for people.

pub mod archive;
pub mod manifest;
mod plan;
pub mod staging;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;
use poolbox_accounting::Network;
use poolbox_service::Misconfigured;

use self::manifest::{FORMAT, Manifest, SeedReference};
use self::plan::Plan;
use self::staging::Staging;
use crate::layout::Layout;
use crate::place::Place;
use crate::secret;

/// Where to, and how to get at the passphrase.
#[derive(Debug, Args)]
pub struct Options {
    /// The backup, best on another disk.
    file: PathBuf,
    /// Read the passphrase from this file (- is standard input) instead of asking at the terminal.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Only read the backup through and say what is in it.
    #[arg(long)]
    check: bool,
    /// Put the new backup in the place of an older one, once it is complete and checked.
    #[arg(long, conflicts_with = "check")]
    replace: bool,
    /// Leave the seed out, to stay on paper; a restore asks for its words.
    #[arg(long, conflicts_with = "check")]
    without_seed: bool,
    /// Of a box that has been on several networks, the one to back up instead of the present one.
    #[arg(long, value_name = "NAME", conflicts_with = "check")]
    network: Option<Network>,
    /// Print the manifest as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    let passphrase_file = options.passphrase_file.as_deref();
    let manifest = if options.check {
        archive::check(&options.file, secret::passphrase(passphrase_file)?)?
    } else {
        if options.file.exists() && !options.replace {
            let file = options.file.display();
            return Err(
                Misconfigured::new(format!("{file} exists; name another file, or pass --replace")).into()
            );
        }
        let layout = Layout::of(place.root(), options.network)?;
        let passphrase = secret::new_passphrase(passphrase_file)?;
        make(&layout, &options.file, passphrase, !options.without_seed)?
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&manifest)?);
    } else {
        tell(&manifest, &options.file);
    }
    Ok(())
}

/// Makes the backup of a box; it is at `file` when it is complete and was read back.
fn make(
    layout: &Layout,
    file: &Path,
    passphrase: age::secrecy::SecretString,
    with_seed: bool,
) -> anyhow::Result<Manifest> {
    let (network, fingerprint) = identity(layout)?;
    let staging = Staging::begin(layout.root())?;
    let plan = Plan::of(layout, with_seed)?;
    // From here on the box may spend what the backup holds as unspent.
    let made_at = unix_now();
    let mut files = Vec::new();
    for planned in &plan.files {
        files.extend(staging.copy(&layout.at(&planned.path), planned)?);
    }
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at,
        network,
        seed: SeedReference { fingerprint, included: with_seed },
        files,
        left_out: plan.left_out,
    };
    let partial = with_suffix(file, ".partial");
    let written = archive::write(&partial, passphrase.clone(), &manifest, &staging)
        .and_then(|()| archive::check(&partial, passphrase).context("the backup cannot be read back"))
        .and_then(|read_back| {
            anyhow::ensure!(read_back == manifest, "the backup is not what was written; try another disk");
            std::fs::rename(&partial, file).with_context(|| format!("write {}", file.display()))
        });
    if written.is_err() {
        // It may not have been made at all.
        let _ = std::fs::remove_file(&partial);
    }
    written?;
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).context("sync the backup's folder")?;
    Ok(manifest)
}

/// Network and seed of a box.
fn identity(layout: &Layout) -> anyhow::Result<(Network, String)> {
    let mint = layout.at("mint");
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).map_err(|error| {
            let (path, root) = (path.display(), layout.root().display());
            Misconfigured::new(format!(
                "{path} cannot be read ({error}); is {root} the state directory of a box, and may you read it?"
            ))
        })
    };
    let network =
        serde_json::from_value(read(mint.join("network"))?.trim().into()).context("read the network")?;
    let fingerprint = poolbox_wallet::fingerprint(&read(mint.join("seed"))?)?;
    Ok((network, fingerprint))
}

fn tell(manifest: &Manifest, file: &Path) {
    let Manifest { made_at, network, seed, files, left_out, version, .. } = manifest;
    println!("{}: complete and readable", file.display());
    println!("  {network}, made at {made_at} (Unix time) by Poolbox {version}");
    println!(
        "  {} files, {} kB; seed {}{}",
        files.len(),
        manifest.size() / 1000,
        seed.fingerprint,
        match seed.included {
            true => "",
            false => ", whose words are not in it",
        }
    );
    for left in left_out {
        println!("  not in it: {} ({})", left.path.display(), left.reason);
    }
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Unix seconds.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
