//! One child process of the demo: its output in a log file, stopped in order.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

/// How long a process may take to stop before it is killed. The node writes its chain first.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running process.
pub struct Child {
    /// What it is called, in messages and as its log file.
    pub name: &'static str,
    process: tokio::process::Child,
}

impl Child {
    /// Starts `command` with its output appended to `logs/<name>.log`.
    pub fn start(name: &'static str, mut command: Command, logs: &Path) -> anyhow::Result<Self> {
        let path = logs.join(format!("{name}.log"));
        let open = || OpenOptions::new().create(true).append(true).open(&path);
        let log = open().with_context(|| format!("open {}", path.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A group of its own: Ctrl-C reaches the demo alone, which then stops the others in order.
        command.process_group(0).kill_on_drop(true);
        let process = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { name, process })
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(mut self) {
        if let Some(pid) = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // It may have ended this moment.
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(PATIENCE, self.process.wait()).await.is_err() {
            eprintln!("{} does not stop and is killed", self.name);
            let _ = self.process.kill().await;
        }
    }
}
