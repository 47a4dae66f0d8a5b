//! The programs that take the place of the flake's packages: a folder of links, with the libraries that the booted
//! system may lack.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::failure::shown;

/// Libraries of every Debian.
const EVERYWHERE: [&str; 8] = [
    "libc.so",
    "libm.so",
    "libgcc_s.so",
    "libstdc++.so",
    "libpthread.so",
    "libdl.so",
    "librt.so",
    "ld-linux",
];

/// Fills `folder` with `bin`, one link a program, and `lib`.
pub fn make(folder: &Path, programs: &[PathBuf]) -> Result<()> {
    let (bin, lib) = (folder.join("bin"), folder.join("lib"));
    std::fs::create_dir_all(&bin)?;
    std::fs::create_dir_all(&lib)?;
    for program in programs {
        link(program, &bin)?;
        let mut ldd = Command::new("ldd");
        ldd.arg(program);
        let output = ldd.output().with_context(|| format!("cannot start {}", shown(&ldd)))?;
        for library in libraries(&String::from_utf8_lossy(&output.stdout)) {
            link(&library, &lib)?;
        }
    }
    Ok(())
}

fn link(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().with_context(|| format!("{} has no name", file.display()))?;
    let at = folder.join(name);
    if at.symlink_metadata().is_ok() {
        return Ok(());
    }
    symlink(file, &at).with_context(|| format!("cannot make {}", at.display()))
}

/// What `ldd` found, without what is everywhere.
fn libraries(said: &str) -> Vec<PathBuf> {
    let paths = said.lines().filter_map(|line| line.split_once(" => ")?.1.split_whitespace().next());
    let ours = |path: &&str| {
        path.rsplit('/').next().is_some_and(|name| !EVERYWHERE.iter().any(|common| name.starts_with(common)))
    };
    paths.filter(|path| path.starts_with('/')).filter(ours).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libraries_that_may_be_missing_are_brought() {
        let said = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibcapnp-0.9.2.so => /lib/libcapnp-0.9.2.so (0x7f)\n\
                    \tlibc.so.6 => /lib/libc.so.6 (0x7f)\n\tlibgone.so => not found\n";
        assert_eq!(libraries(said), [PathBuf::from("/lib/libcapnp-0.9.2.so")]);
    }
}
