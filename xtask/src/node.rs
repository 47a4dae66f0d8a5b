//! `cargo xtask node`, and the rule by which every command finds its bitcoin-node: the one that
//! `$BITCOIN_NODE` names, else a usable one on PATH, else our own build in the cache.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::failure::usage;
use crate::node_build::Recipe;
use crate::terminal::say;
use crate::workspace::CoreSource;
use crate::{cache, node_version, packages, setup};

const HELP: &str = "\
cargo xtask node

Prints the path of the bitcoin-node (Bitcoin Core 31 or later, with IPC) that demo and tests use:
the program that BITCOIN_NODE names, else the one on PATH, else one built from the source that
Cargo.lock pins. The build is kept in POOLBOX_CACHE, else XDG_CACHE_HOME/poolbox, else
~/.cache/poolbox, for every checkout of this machine.
";

/// A node that can run, or what it takes to make one.
pub enum Node {
    /// The path of a usable bitcoin-node.
    Ready(PathBuf),
    /// None is there yet.
    ToBuild(Recipe),
}

/// Runs the command.
pub fn run(arguments: Vec<OsString>) -> Result<()> {
    if setup::only_help(&arguments, "node")? {
        print!("{HELP}");
        return Ok(());
    }
    println!("{}", setup::node_only()?.display());
    Ok(())
}

/// The node that `$BITCOIN_NODE` names. One that cannot be used is an error, not a reason to build.
pub fn named() -> Result<Option<PathBuf>> {
    let Some(named) = std::env::var_os("BITCOIN_NODE").filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    check_named(Path::new(&named)).map(Some)
}

fn check_named(named: &Path) -> Result<PathBuf> {
    const REMEDY: &str = "set it to the path of a bitcoin-node, or unset it to have one found or built.";
    if !named.is_file() {
        return Err(usage(format!("BITCOIN_NODE={}: there is no such file; {REMEDY}", named.display())));
    }
    let path = std::path::absolute(named)?;
    match node_version::ask(&path) {
        Ok(_) => Ok(path),
        Err(why) => Err(usage(format!("BITCOIN_NODE={}: that program {why}; {REMEDY}", named.display()))),
    }
}

/// Without a named one: the node on PATH, or our own.
pub fn found(source: &CoreSource) -> Result<Node> {
    if let Some(path) = packages::on_path("bitcoin-node") {
        match node_version::ask(&path) {
            Ok(_) => return Ok(Node::Ready(path)),
            Err(why) => say(&format!("{} {why}; it is left alone.", path.display())),
        }
    }
    let recipe = Recipe::new(source, &cache::folder()?)?;
    Ok(recipe.built().map_or(Node::ToBuild(recipe), Node::Ready))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_node_that_is_not_there_is_refused_with_the_remedy() {
        let error = check_named(Path::new("/no/such/bitcoin-node")).unwrap_err().to_string();
        assert!(error.contains("BITCOIN_NODE=/no/such/bitcoin-node: there is no such file"), "{error}");
        assert!(error.contains("unset it"), "{error}");
    }

    #[test]
    fn a_named_program_that_is_no_node_is_refused_with_the_remedy() {
        let error = check_named(Path::new("/bin/cat")).unwrap_err().to_string();
        assert!(error.contains("is not a Bitcoin Core node"), "{error}");
        assert!(error.contains("unset it"), "{error}");
    }
}
