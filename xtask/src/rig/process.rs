//! One running program: its log, what it uses, its end.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::warden::Warden;
use crate::build_log::tail;

/// The kernel counts a process's time in hundredths of a second, whatever its own clock is.
const TICK: Duration = Duration::from_millis(10);
/// The last lines of a log that a failure shows.
const TAIL: usize = 12;
/// Every connection takes a file of a program: as many as the system allows.
const AS_MANY_FILES_AS_ALLOWED: &str = r#"ulimit -n "$(ulimit -H -n)"; exec "$0" "$@""#;

/// How to start a program.
pub struct Launch<'a> {
    /// Names its log.
    pub name: &'a str,
    /// The program.
    pub program: &'a Path,
    /// What it is told.
    pub arguments: Vec<OsString>,
    /// Variables it finds set.
    pub environment: &'a [(&'a str, &'a str)],
    /// The only core it may run on.
    pub core: Option<usize>,
    /// Whether its standard output is a result that is waited for, and no log.
    pub result: bool,
}

/// A running program, killed on drop.
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    warden: Arc<Warden>,
    ended: bool,
}

/// What a program has used, in all its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Time on cores, its own and the kernel's for it.
    pub cpu: Duration,
    /// Resident memory now, in kB.
    pub resident_kb: u64,
}

impl Usage {
    /// The one with more memory.
    pub fn larger(self, other: Self) -> Self {
        if other.resident_kb > self.resident_kb { other } else { self }
    }
}

impl Process {
    /// Starts it, with its log in `logs`.
    pub fn start(launch: Launch<'_>, logs: &Path, warden: Arc<Warden>) -> Result<Self> {
        let Launch { name, program, arguments, environment, core, result } = launch;
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new("sh");
        command.args(["-c", AS_MANY_FILES_AS_ALLOWED]);
        if let Some(core) = core {
            command.args(["taskset", "-c", &core.to_string()]);
        }
        command.arg(program).args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
        command.stdout(if result {
            Stdio::piped()
        } else {
            file.try_clone().context("cannot share the log")?.into()
        });
        let child = command.stderr(file).spawn().with_context(|| format!("cannot start {name}"))?;
        warden.add(child.id());
        Ok(Self { name: name.to_owned(), log, child, warden, ended: false })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log, TAIL)
    }

    /// An error when it has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, self.log_tail()),
        }
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait().with_context(|| format!("cannot watch {}", self.name))?;
        if status.is_some() {
            self.note_end();
        }
        Ok(status)
    }

    /// Waits for its end and gives what it printed as its result, good or bad.
    pub fn result(mut self) -> Result<(ExitStatus, String)> {
        let output = self.child.stdout.take().context("its output is no result")?;
        let text = std::io::read_to_string(output).with_context(|| format!("cannot read {}", self.name))?;
        let status = self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        self.note_end();
        Ok((status, text))
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        usage(&Path::new("/proc").join(self.child.id().to_string()))
            .with_context(|| format!("cannot see what {} uses", self.name))
    }

    fn note_end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.warden.gone(self.child.id());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing that runs here is worth a graceful end.
        if !self.ended && self.child.kill().is_ok() && self.child.wait().is_ok() {
            self.note_end();
        }
    }
}

fn usage(of: &Path) -> Result<Usage> {
    let cpu = cpu(&fs::read_to_string(of.join("stat"))?).context("/proc/PID/stat is not understood")?;
    let status = fs::read_to_string(of.join("status"))?;
    let resident_kb = resident_kb(&status).context("/proc/PID/status is not understood")?;
    Ok(Usage { cpu, resident_kb })
}

/// utime and stime, fields 14 and 15; the program's name, field 2, may contain anything.
fn cpu(stat: &str) -> Option<Duration> {
    let after_name = stat.rsplit_once(") ")?.1;
    let mut fields = after_name.split(' ').skip(11);
    let (user, kernel): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(TICK * user.checked_add(kernel)?)
}

fn resident_kb(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read() {
        let stat = "7 (a) (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 99 1 2";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(resident_kb("Name:\tx\nVmRSS:\t   12800 kB\nThreads:\t3\n"), Some(12800));
    }

    #[test]
    fn this_process_uses_something() {
        let used = usage(Path::new("/proc/self")).unwrap();
        assert!(used.resident_kb > 100);
    }
}
