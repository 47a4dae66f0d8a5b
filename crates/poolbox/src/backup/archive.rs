//! The backup's file: a tar archive, encrypted with a passphrase in the age format. Without this
//! program `age --decrypt FILE | tar --extract` opens it.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::iter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, Identity, scrypt};
use anyhow::{Context, bail, ensure};
use poolbox_service::Misconfigured;

use super::manifest::{Entry, FORMAT, Manifest, NAME};
use super::staging::{Staging, digest};

/// scrypt's cost, as a power of two: a second and 256 MB for each guess.
const WORK: u8 = 18;
/// The highest cost of a file that is opened.
const MOST_WORK: u8 = 20;
/// The largest manifest.
const MANIFEST_MAX: u64 = 64 << 20;

/// Writes the archive of `staging` to `path`, readable by its owner only: complete and on disk when
/// this returns.
///
/// # Errors
/// When the disk refuses.
pub fn write(
    path: &Path,
    passphrase: SecretString,
    manifest: &Manifest,
    staging: &Staging,
) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("write {}", path.display()))?;
    let mut recipient = scrypt::Recipient::new(passphrase);
    recipient.set_work_factor(WORK);
    let encryptor = Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient))?;
    let mut tar = tar::Builder::new(encryptor.wrap_output(BufWriter::new(file))?);
    let text = serde_json::to_vec_pretty(manifest)?;
    append(&mut tar, Path::new(NAME), text.len() as u64, manifest.made_at, text.as_slice())?;
    for Entry { path, size, .. } in &manifest.files {
        let copy =
            File::open(staging.path(path)).with_context(|| format!("read the copy of {}", path.display()))?;
        append(&mut tar, path, *size, manifest.made_at, copy)?;
    }
    let file = tar.into_inner()?.finish()?.into_inner()?;
    file.sync_all().with_context(|| format!("write {}", path.display()))
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &Path,
    size: u64,
    at: u64,
    content: impl Read,
) -> anyhow::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(at);
    tar.append_data(&mut header, path, content)
        .with_context(|| format!("write {} to the backup", path.display()))
}

/// Opens the archive at `path` and gives each file with its content to `take`, which must read all of
/// it and return what it read. Returns the manifest when every file was as it says.
///
/// # Errors
/// [`Misconfigured`] for a wrong passphrase, another kind of file, or a newer form; otherwise when
/// the backup is damaged, or `take` fails.
pub fn read(
    path: &Path,
    passphrase: SecretString,
    mut accept: impl FnMut(&Manifest) -> anyhow::Result<()>,
    mut take: impl FnMut(&Entry, &mut dyn Read) -> anyhow::Result<(u64, String)>,
) -> anyhow::Result<Manifest> {
    let mut archive = tar::Archive::new(decrypt(path, passphrase)?);
    let mut entries = archive.entries().context("the backup is damaged")?;
    let first = entries.next().context("the backup is empty")?.context("the backup is damaged")?;
    ensure!(
        first.path()?.as_ref() == Path::new(NAME),
        "the backup does not begin with {NAME}; it is none of Poolbox"
    );
    let manifest = manifest(first.take(MANIFEST_MAX))?;
    accept(&manifest)?;
    let mut expected = manifest.files.iter();
    for entry in entries {
        let mut entry = entry.context("the backup is damaged")?;
        let path = entry.path()?.into_owned();
        let Some(file) = expected.next().filter(|file| file.path == path) else {
            bail!("the backup is damaged: {} is not where the manifest says", path.display());
        };
        let found =
            take(file, &mut entry).with_context(|| format!("read {} from the backup", path.display()))?;
        ensure!(
            found == (file.size, file.sha256.clone()),
            "the backup is damaged: {} is not what was copied",
            path.display()
        );
    }
    match expected.next() {
        Some(missing) => bail!("the backup is damaged: {} is missing", missing.path.display()),
        None => Ok(manifest),
    }
}

/// Reads everything and checks it.
///
/// # Errors
/// As [`read`].
pub fn check(path: &Path, passphrase: SecretString) -> anyhow::Result<Manifest> {
    read(path, passphrase, |_| Ok(()), |_, content| Ok(digest(content)?))
}

fn decrypt(path: &Path, passphrase: SecretString) -> anyhow::Result<impl Read> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| Misconfigured::new(format!("{shown}: {error}")))?;
    let refused = |error| match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys => {
            Misconfigured::new(format!("{shown} does not open with this passphrase")).into()
        }
        DecryptError::Io(error) => anyhow::Error::from(error).context(format!("read {shown}")),
        _ => {
            Misconfigured::new(format!("{shown} is no backup of Poolbox, or its beginning is damaged")).into()
        }
    };
    let decryptor = Decryptor::new_buffered(BufReader::new(file)).map_err(refused)?;
    let mut identity = scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(MOST_WORK);
    decryptor.decrypt(iter::once(&identity as &dyn Identity)).map_err(refused)
}

fn manifest(content: impl Read) -> anyhow::Result<Manifest> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    let mut text = Vec::new();
    std::io::BufReader::new(content).read_to_end(&mut text).context("read the manifest")?;
    let Head { format } = serde_json::from_slice(&text).context("read the manifest")?;
    if format > FORMAT {
        return Err(Misconfigured::new(format!(
            "the backup has format {format}, this Poolbox reads up to {FORMAT}; use the newer Poolbox that made it"
        ))
        .into());
    }
    let manifest: Manifest = serde_json::from_slice(&text).context("read the manifest")?;
    ensure!(manifest.is_sound(), "the backup's manifest names files outside of a box's folders");
    Ok(manifest)
}
