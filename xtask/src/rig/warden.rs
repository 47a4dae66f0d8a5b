//! Ends the programs of a run when the run's own process is gone, however it went.

use std::fmt::Display;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// Reads `add PID`, `gone PID` and `keep`; at the end of its input, which is the end of this process, it
/// ends what is left and removes the folders.
const SCRIPT: &str = r#"
running=' ' keep=
while read -r word pid; do
    case $word in
        add) running="$running$pid " ;;
        gone) running="${running%% $pid *} ${running#* $pid }" ;;
        keep) keep=1 ;;
    esac
done
[ "$running" = ' ' ] || kill -KILL $running 2>/dev/null
[ -n "$keep" ] || rm -rf -- "$@"
"#;

/// The guard.
pub struct Warden {
    child: Mutex<Child>,
}

impl Warden {
    /// Starts it. The folders go when it ends.
    pub fn start(folders: &[&Path]) -> Result<Self> {
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "warden"])
            .args(folders)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for us and our programs, not for whoever clears up after us.
            .process_group(0)
            .spawn()
            .context("cannot start sh")?;
        Ok(Self { child: Mutex::new(child) })
    }

    /// A program runs.
    pub fn add(&self, pid: u32) {
        self.say(format_args!("add {pid}"));
    }

    /// A program was waited for: its number may mean another one from now on.
    pub fn gone(&self, pid: u32) {
        self.say(format_args!("gone {pid}"));
    }

    /// The folders stay.
    pub fn keep(&self) {
        self.say("keep");
    }

    fn say(&self, line: impl Display) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(input) = &mut child.stdin {
            // Without a warden, only a kill of this process leaves something behind.
            let _ = writeln!(input, "{line}");
        }
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(child.stdin.take());
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_still_runs_is_ended_and_the_folder_goes() {
        let folder = std::env::temp_dir().join(format!("xtask-warden-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut children: Vec<Child> =
            (0..3).map(|_| Command::new("sleep").arg("600").spawn().unwrap()).collect();
        let warden = Warden::start(&[&folder]).unwrap();
        children.iter().for_each(|child| warden.add(child.id()));
        warden.gone(children[1].id());
        drop(warden);
        assert!(!children[0].wait().unwrap().success());
        assert!(!children[2].wait().unwrap().success());
        assert!(children[1].try_wait().unwrap().is_none(), "one that was gone was ended");
        children[1].kill().unwrap();
        children[1].wait().unwrap();
        assert!(!folder.exists());
    }
}
