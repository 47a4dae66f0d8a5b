//! The hash that Nix gives a folder: SHA-256 of its content in the form that Nix keeps it in, a "Nix archive". Written
//! here because machines that move a pin need not have Nix.

use std::fs::Metadata;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The hash of a file or folder, as in `sha256-…`.
pub fn hash(path: &Path) -> Result<String> {
    let hex = sha256(|out| {
        text(out, b"nix-archive-1")?;
        node(out, path)
    })?;
    let bytes: Result<Vec<u8>, _> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16)).collect();
    Ok(format!("sha256-{}", base64(&bytes?)))
}

/// SHA-256, in hex, of what `write` writes.
pub fn sha256(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<String> {
    let mut sum = Command::new("sha256sum");
    let child = sum.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.context("cannot start sha256sum; it comes with coreutils")?;
    let mut input = std::io::BufWriter::new(child.stdin.take().context("sha256sum takes no input")?);
    write(&mut input)?;
    input.flush()?;
    drop(input);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let hex = said.split_whitespace().next().unwrap_or_default().to_owned();
    ensure!(hex.len() == 64 && hex.is_ascii(), "sha256sum gives no hash but {said:?}");
    Ok(hex)
}

fn node(out: &mut dyn Write, path: &Path) -> Result<()> {
    let about = std::fs::symlink_metadata(path).with_context(|| format!("read {}", path.display()))?;
    text(out, b"(")?;
    text(out, b"type")?;
    if about.is_symlink() {
        text(out, b"symlink")?;
        text(out, b"target")?;
        text(out, std::fs::read_link(path)?.as_os_str().as_bytes())?;
    } else if about.is_dir() {
        text(out, b"directory")?;
        let entries = std::fs::read_dir(path).with_context(|| format!("read {}", path.display()))?;
        let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
        names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        for name in names {
            for word in [b"entry".as_slice(), b"(", b"name", name.as_bytes(), b"node"] {
                text(out, word)?;
            }
            node(out, &path.join(&name))?;
            text(out, b")")?;
        }
    } else if about.is_file() {
        regular(out, path, &about)?;
    } else {
        bail!("{} is neither a file nor a folder", path.display());
    }
    text(out, b")")
}

fn regular(out: &mut dyn Write, path: &Path, about: &Metadata) -> Result<()> {
    text(out, b"regular")?;
    if about.permissions().mode() & 0o100 != 0 {
        text(out, b"executable")?;
        text(out, b"")?;
    }
    text(out, b"contents")?;
    let mut content = Vec::new();
    std::fs::File::open(path)?
        .read_to_end(&mut content)
        .with_context(|| format!("read {}", path.display()))?;
    text(out, &content)
}

/// Its length in eight bytes, itself, and zeros up to a multiple of eight.
fn text(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(&(bytes.len() as u64).to_le_bytes())?;
    out.write_all(bytes)?;
    out.write_all(&[0; 7][..bytes.len().next_multiple_of(8) - bytes.len()])?;
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let of = |at: usize| u32::from(part.get(at).copied().unwrap_or(0));
        let bits = of(0) << 16 | of(1) << 8 | of(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= part.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        assert_eq!([b"f".as_slice(), b"fo", b"foo"].map(base64), ["Zg==", "Zm8=", "Zm9v"]);
    }

    #[test]
    fn a_folder_has_the_hash_that_nix_gives_it() {
        let folder = std::env::temp_dir().join(format!("poolbox-nar-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("b")).unwrap();
        std::fs::write(folder.join("b/empty"), "").unwrap();
        std::fs::write(folder.join("a file"), "of twelve...").unwrap();
        std::fs::write(folder.join("B"), "runs").unwrap();
        std::fs::set_permissions(folder.join("B"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("B", folder.join("link")).unwrap();
        let hash = hash(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        // Of `nix hash path`, version 2.26.
        assert_eq!(hash, "sha256-sxWfXmtdm5fpdmPPjZqK4BBv6im3gwUk7AZoAuntUzk=");
    }
}
