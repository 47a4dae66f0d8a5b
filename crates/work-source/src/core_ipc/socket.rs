//! What the client library would only report as debug text: is there a node at this path at all?

use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::outage::Outage;

/// `sun_path` has 108 bytes, one of them for the final zero.
pub const MAX_PATH: usize = 107;

/// Finds out whether something listens at `path`.
pub fn probe(path: &Path) -> Result<(), Outage> {
    let outage = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Outage::NoSocket(path.into()),
        ErrorKind::ConnectionRefused => Outage::NobodyListens(path.into()),
        ErrorKind::PermissionDenied => Outage::Denied(path.into()),
        _ => Outage::Unreachable { path: path.into(), reason: error.to_string() },
    };
    if !std::fs::metadata(path).map_err(outage)?.file_type().is_socket() {
        return Err(Outage::NotASocket(path.into()));
    }
    UnixStream::connect(path).map(drop).map_err(outage)
}

/// Makes the directory that the client library wants to have before it submits a block. When it
/// cannot make it, it drops the block without a word, so this is a condition for mining.
pub fn create_solutions_directory(socket: &Path) -> Result<(), Outage> {
    let path = socket.with_file_name("solutions");
    std::fs::create_dir_all(&path)
        .map_err(|error| Outage::NoSolutionsDirectory { path, reason: error.to_string() })
}
