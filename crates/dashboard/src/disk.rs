//! Room on the disk that holds the box's data.

use std::path::Path;

use serde::Serialize;

const GIB: u64 = 1 << 30;

/// How much room there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// What programs may still write.
    pub free_bytes: u64,
    /// Its size.
    pub total_bytes: u64,
}

impl Disk {
    /// Of the disk that holds `dir`.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn of(dir: &Path) -> std::io::Result<Self> {
        let told = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
        Ok(Self { free_bytes: bytes(told.f_bavail), total_bytes: bytes(told.f_blocks) })
    }

    /// Whether somebody should make room: less than a twentieth is free, or less than two GiB.
    pub const fn is_nearly_full(&self) -> bool {
        self.free_bytes < self.total_bytes / 20 || self.free_bytes < 2 * GIB
    }

    /// Whether there is room again, with some distance, so that nobody is told to and fro.
    pub const fn has_room(&self) -> bool {
        self.free_bytes >= self.total_bytes / 14 && self.free_bytes >= 3 * GIB
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_nearly_full_and_room_again_lies_some_distance() {
        let disk = |free: u64, total: u64| Disk { free_bytes: free * GIB, total_bytes: total * GIB };
        assert!(disk(49, 1000).is_nearly_full() && !disk(49, 1000).has_room());
        assert!(!disk(55, 1000).is_nearly_full() && !disk(55, 1000).has_room(), "neither");
        assert!(disk(80, 1000).has_room());
        assert!(disk(1, 8).is_nearly_full(), "a small disk has little in a twentieth");
    }

    #[test]
    fn the_system_says_how_much_room_there_is() {
        let disk = Disk::of(&std::env::temp_dir()).unwrap();
        assert!(disk.total_bytes > 0 && disk.free_bytes <= disk.total_bytes, "{disk:?}");
        assert!(Disk::of(Path::new("/no/such/folder")).is_err());
    }
}
