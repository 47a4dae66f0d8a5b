//! What the commands do before their own work: install what is missing, find or build the node.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;

use crate::failure::bad_flag;
use crate::node::{self, Node};
use crate::packages::{self, Needs};
use crate::workspace::Workspace;

/// A machine on which the workspace builds and runs.
pub struct Ready {
    /// This checkout.
    pub workspace: Workspace,
    /// The path of a usable bitcoin-node.
    pub node: PathBuf,
}

/// Makes ready for building the crates and running them with a node.
pub fn everything() -> Result<Ready> {
    prepare(true, false)
}

/// The same, and for running every test.
pub fn with_tests() -> Result<Ready> {
    prepare(true, true)
}

/// The path of a usable bitcoin-node.
pub fn node_only() -> Result<PathBuf> {
    Ok(prepare(false, false)?.node)
}

fn prepare(crates: bool, tests: bool) -> Result<Ready> {
    let named = node::named()?;
    let workspace = Workspace::load()?;
    let node = named.map_or_else(|| node::found(&workspace.core_source), |path| Ok(Node::Ready(path)))?;
    packages::install(Needs { crates, node: matches!(node, Node::ToBuild(_)), tests })?;
    let node = match node {
        Node::Ready(path) => path,
        Node::ToBuild(recipe) => recipe.build()?,
    };
    Ok(Ready { workspace, node })
}

/// For a command without options: whether its help is wanted. Anything else is wrong usage.
pub fn only_help(arguments: &[OsString], command: &str) -> Result<bool> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut help = false;
    while let Some(argument) = parser.next().map_err(|error| bad_flag(&error, command))? {
        match argument {
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => help = true,
            other => return Err(bad_flag(&other.unexpected(), command)),
        }
    }
    Ok(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_options_takes_help_only() {
        assert!(!only_help(&[], "node").unwrap());
        assert!(only_help(&["--help".into()], "node").unwrap());
        let error = only_help(&["--fast".into()], "node").unwrap_err().to_string();
        assert_eq!(error, "invalid option '--fast'; see cargo xtask node --help.");
        assert!(only_help(&["here".into()], "node").is_err());
    }
}
