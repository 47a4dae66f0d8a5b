//! The program that evaluates the flake, named by `$NIX_HERE`: what is asked of it, and nothing of how it works.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::names;
use crate::failure::{self, shown, usage};
use crate::workspace::Workspace;

/// The appliance as the flake names it.
pub const BOX: &str = ".#nixosConfigurations.box";
/// The same without a template provider: the pool asks Bitcoin Core itself.
pub const BOX_IPC: &str = ".#nixosConfigurations.box-ipc";
/// The same for ARM.
const BOX_ARM: &str = ".#nixosConfigurations.box-aarch64";

/// It, and the checkout that holds the flake.
pub struct Evaluator {
    program: PathBuf,
    root: PathBuf,
}

impl Evaluator {
    /// The program that `$NIX_HERE` names; none where it is not set.
    pub fn find() -> Result<Option<Self>> {
        let Some(named) = std::env::var_os("NIX_HERE").filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let program = PathBuf::from(named);
        if !program.is_file() {
            let shown = program.display();
            return Err(usage(format!("NIX_HERE={shown}: there is no such file; correct it, or unset it.")));
        }
        let program = std::path::absolute(program)?;
        Ok(Some(Self { program, root: Workspace::load()?.root }))
    }

    /// Evaluates every output for both architectures. Nothing is built. Gives the seconds that each took: of what
    /// several need, the first bears it.
    pub fn check(&self) -> Result<Value> {
        // Sources that its store lacks; their hashes are compared with flake.lock.
        self.run(&["seed"])?;
        let said = self.ask(&["check", "--all-systems"])?;
        let (mut seconds, mut began) = (Map::new(), None::<(&str, f64)>);
        for (at, line) in &said {
            if let Some((output, start)) = began.take_if(|_| line.starts_with("checking ") || line.is_empty())
            {
                seconds.insert(output.to_owned(), json!(((at - start) * 10.0).round() / 10.0));
            }
            let output = line.strip_prefix("checking ").map(|line| line.trim_end_matches('.'));
            began = output.map(|output| (output, *at)).or(began);
        }
        ensure!(
            seconds.keys().any(|output| output.contains("aarch64-linux")),
            "the other architecture was not evaluated: {said:?}"
        );
        for system in ["x86_64-linux", "aarch64-linux"] {
            let image = format!(".#packages.{system}.image.drvPath");
            let path = self.eval(&image)?;
            ensure!(path.ends_with(".drv"), "{image} is {path}, which is no derivation");
        }
        let (pc, arm) = (names::check(self, BOX)?, names::check(self, BOX_ARM)?);
        Ok(json!({ "outputs": seconds.len(), "seconds": seconds, "updates": [pc, arm] }))
    }

    /// What a function of the flake language makes of an output, as JSON.
    pub fn apply(&self, output: &str, function: &str) -> Result<String> {
        self.output(&["eval", output, "--json", "--apply", function])
    }

    /// The units, settings files, users and firewall of an appliance, as evaluated.
    pub fn units(&self, appliance: &str) -> Result<Value> {
        let text = self.output(&["units", appliance, "*poolbox*"])?;
        serde_json::from_str(&text).context("the evaluated units are not JSON")
    }

    /// The path, on this machine, of a source that the flake pins.
    pub fn source(&self, package: &str) -> Result<PathBuf> {
        self.run(&["seed"])?;
        let inside = self.eval(&format!(".#packages.x86_64-linux.{package}.src"))?;
        let inside = inside.trim().trim_start_matches('/');
        let folder = [
            std::env::var_os("NIX_HERE_CACHE").map(PathBuf::from),
            std::env::home_dir().map(|home| home.join(".cache/nix-here")),
        ]
        .into_iter()
        .flatten()
        .map(|cache| cache.join(inside))
        .find(|path| path.is_dir());
        folder.with_context(|| format!("the source {inside} is not in the evaluator's store"))
    }

    /// Boots units with the programs of `tree` and runs `probe` among them. Gives all that was said, and whether
    /// the probe was content.
    pub fn boot(&self, units: &Path, tree: &Path, probe: &Path, seconds: u64) -> Result<(String, bool)> {
        let seconds = seconds.to_string();
        let mut command =
            self.command(&["boot".as_ref(), units.as_os_str(), "--box".as_ref(), tree.as_os_str()]);
        command.args(["--probe".as_ref(), probe.as_os_str(), "--timeout".as_ref(), OsStr::new(&seconds)]);
        let output = command.output().with_context(|| format!("cannot start {}", shown(&command)))?;
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok((said, output.status.success()))
    }

    fn eval(&self, what: &str) -> Result<String> {
        self.output(&["eval", "--raw", what])
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        failure::run(self.command(&arguments).stdout(Stdio::null()))
    }

    /// What it prints, while its complaints go to the terminal.
    fn output(&self, arguments: &[&str]) -> Result<String> {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let mut command = self.command(&arguments);
        let output = command.output().with_context(|| format!("cannot start {}", shown(&command)))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed:\n{}", shown(&command), tail(&said));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// All that it says on the way, each line with its second; an empty line is the end.
    fn ask(&self, arguments: &[&str]) -> Result<Vec<(f64, String)>> {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let mut command = self.command(&arguments);
        let start = Instant::now();
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start {}", shown(&command)))?;
        let mut said = Vec::new();
        for line in BufReader::new(child.stderr.take().context("it has no standard error")?).lines() {
            let line = line.with_context(|| format!("read what {} says", shown(&command)))?;
            if !line.is_empty() {
                said.push((start.elapsed().as_secs_f64(), line));
            }
        }
        let status = child.wait()?;
        let lines: Vec<&str> = said.iter().map(|(_, line)| line.as_str()).collect();
        ensure!(status.success(), "{} failed:\n{}", shown(&command), tail(&lines.join("\n")));
        said.push((start.elapsed().as_secs_f64(), String::new()));
        Ok(said)
    }

    fn command(&self, arguments: &[&OsStr]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.root).stdin(Stdio::null());
        command
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
