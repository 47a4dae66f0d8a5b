//! One child process of the demo: its output in a log file, started again when it dies, stopped in order.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

/// How long a process may take to stop before it is killed. The node writes its chain first.
const PATIENCE: Duration = Duration::from_secs(60);
/// A process that dies so often within [`SHORTLY`] is not started again.
const TOO_OFTEN: usize = 5;
const SHORTLY: Duration = Duration::from_secs(60);
/// What our processes end with when a person has to change something first.
const MISCONFIGURED: i32 = 2;

/// What to start and where its output goes.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it is called, in messages and as its log file.
    pub name: &'static str,
    /// The program.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// A running process.
pub struct Child {
    program: Program,
    log: PathBuf,
    process: tokio::process::Child,
    /// When it died, the latest last.
    deaths: Vec<Instant>,
}

impl Program {
    /// Starts it with its output appended to `logs/<name>.log`.
    pub fn start(self, logs: &Path) -> anyhow::Result<Child> {
        let log = logs.join(format!("{}.log", self.name));
        let process = self.spawn(&log)?;
        Ok(Child { program: self, log, process, deaths: Vec::new() })
    }

    fn spawn(&self, log: &Path) -> anyhow::Result<tokio::process::Child> {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("open {}", log.display()))?;
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // A group of its own: Ctrl-C reaches the demo alone, which then stops the others in order.
        command.process_group(0).kill_on_drop(true);
        command.spawn().with_context(|| format!("start {}", self.path.display()))
    }
}

impl Child {
    /// What it is called.
    pub const fn name(&self) -> &'static str {
        self.program.name
    }

    /// Adds an argument for when it is started again.
    pub fn add_argument_for_restarts(&mut self, argument: &str) {
        if !self.program.arguments.iter().any(|given| given == argument) {
            self.program.arguments.push(argument.into());
        }
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Starts it again after it ended with `status`, as the box's systemd would.
    ///
    /// # Errors
    /// When it would only end again; says why it ended and where its log is.
    pub fn start_again(&mut self, status: ExitStatus) -> anyhow::Result<()> {
        let now = Instant::now();
        self.deaths.retain(|death| now.duration_since(*death) < SHORTLY);
        self.deaths.push(now);
        if status.code() == Some(MISCONFIGURED) || self.deaths.len() > TOO_OFTEN {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last = text.lines().last().unwrap_or("it wrote nothing");
            bail!("{} ended ({status}): {last}; its log is {}", self.name(), self.log.display());
        }
        self.process = self.program.spawn(&self.log)?;
        Ok(())
    }

    /// Asks it to stop and waits until it has; `false` when it did not do so by itself.
    pub async fn stop(mut self) -> bool {
        if let Some(pid) = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // It may have ended this moment.
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        if ended.is_err() {
            eprintln!("{} does not stop and is killed", self.name());
            let _ = self.process.kill().await;
        }
        matches!(ended, Ok(Ok(status)) if status.success())
    }
}
