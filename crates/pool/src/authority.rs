//! The key that Sv2 miners know this box by, made at the first start.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use poolbox_service::{Misconfigured, write_secret};
use poolbox_stratum::sv2::AuthorityKey;

/// The secret key, hex; readable by the pool alone.
const SECRET: &str = "sv2_authority.key";
/// The public key, as miners are given it.
const PUBLIC: &str = "sv2_authority.pub";

/// Reads the authority key in `data_dir`, or makes it.
///
/// # Errors
/// [`Misconfigured`] when the file holds something else; otherwise when it cannot be read or written.
pub fn load_or_make(data_dir: &Path) -> anyhow::Result<AuthorityKey> {
    let path = data_dir.join(SECRET);
    if !path.exists() {
        let mut secret = [0; 32];
        let mut random = File::open("/dev/urandom").context("open the system's random source")?;
        random.read_exact(&mut secret).context("read the system's random source")?;
        write_secret(&path, hex::encode(secret).as_bytes())?;
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut secret = [0; 32];
    let decoded = hex::decode_to_slice(text.trim(), &mut secret).ok();
    let key = decoded.and_then(|()| AuthorityKey::from_secret(secret).ok()).ok_or_else(|| {
        Misconfigured::new(format!(
            "{} is no secret key; restore it from a backup, or remove it: a new one is made, and miners must \
             be given its public half",
            path.display()
        ))
    })?;
    let public = data_dir.join(PUBLIC);
    std::fs::write(&public, key.public_text() + "\n")
        .with_context(|| format!("write {}", public.display()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_its_public_half_told() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_make(dir.path()).unwrap().public_text();
        assert_eq!(load_or_make(dir.path()).unwrap().public_text(), first);
        assert_eq!(std::fs::read_to_string(dir.path().join(PUBLIC)).unwrap().trim(), first);
        std::fs::write(dir.path().join(SECRET), "nonsense").unwrap();
        assert!(load_or_make(dir.path()).unwrap_err().downcast_ref::<Misconfigured>().is_some());
    }
}
