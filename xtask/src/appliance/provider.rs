//! The template provider sv2-tp, built once from the source that flake.lock pins, with the system's compiler. Only
//! `cargo xtask box` runs it; the box itself has the flake's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::evaluator::Evaluator;
use crate::build_log::BuildLog;
use crate::cache;
use crate::packages::{self, Needs};
use crate::terminal::{LiveLine, cores, say, spoken};

const FLAGS: [&str; 7] = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_CXX_FLAGS_RELEASE=-O1",
    "-DBUILD_TESTS=OFF",
    "-DBUILD_FUZZ_BINARY=OFF",
    "-DINSTALL_MAN=OFF",
    "-DWITH_CCACHE=OFF",
    "-GNinja",
];

/// The program; built if it is not in the cache yet.
pub fn find_or_build(evaluator: &Evaluator) -> Result<PathBuf> {
    let source = evaluator.source("sv2-tp")?;
    // The store's names carry the hash of what they hold.
    let key = cache::short_hash(&format!("{}{}", source.display(), FLAGS.concat()));
    let folder = cache::folder()?.join("sv2-tp");
    let program = folder.join(&key).join("sv2-tp");
    let _lock = cache::lock(&folder.join(".lock"), "another build of sv2-tp is under way")?;
    if program.is_file() {
        return Ok(program);
    }
    packages::install(Needs { crates: false, node: true, tests: false })?;
    say("building sv2-tp, once: about 5 minutes on two cores.");
    let build = folder.join("build");
    let _ = std::fs::remove_dir_all(&build);
    let mut log = BuildLog::create(folder.join("build.log"), "sv2-tp")?;
    let (start, mut line) = (Instant::now(), LiveLine::new());
    for command in steps(&source, &build) {
        log.record(command, |_| line.show(&format!("sv2-tp: building, {}", spoken(start.elapsed()))))?;
    }
    let made = build.join("bin/sv2-tp");
    std::fs::create_dir_all(folder.join(&key))?;
    // Whole or not at all.
    let partial = program.with_extension("part");
    std::fs::copy(&made, &partial).with_context(|| format!("cannot keep {}", made.display()))?;
    std::fs::rename(&partial, &program)?;
    let _ = std::fs::remove_dir_all(&build);
    Ok(program)
}

fn steps(source: &Path, build: &Path) -> [Command; 2] {
    let mut prepare = Command::new("cmake");
    prepare.arg("-S").arg(source).arg("-B").arg(build).args(FLAGS);
    let mut compile = Command::new("cmake");
    compile.arg("--build").arg(build).args(["--target", "sv2-tp", "--parallel", &cores().to_string()]);
    [prepare, compile]
}
