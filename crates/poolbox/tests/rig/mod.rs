//! What the tests stand on: the real programs, started as a person would start them, on a state
//! directory and ports of their own. Whatever is left running when a test ends is ended.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure here is the failure of a test"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a command may take that only asks or refuses.
const MOMENT: Duration = Duration::from_secs(120);
/// How long the box may take to stop: the node writes its chain.
const STOPPING: Duration = Duration::from_secs(60);

/// Where one box is to live.
pub struct Rig {
    dir: TempDir,
    pub node: PathBuf,
    pub stratum_port: u16,
    pub stratum_v2_port: u16,
    pub mint_port: u16,
    pub dashboard_port: u16,
    /// Programs started so far: each has its own files for what it says.
    started: Cell<u32>,
}

impl Rig {
    pub fn new() -> Self {
        // Not $TMPDIR: the path of a unix socket may have 107 bytes.
        let dir = tempfile::Builder::new().prefix("pbe").tempdir_in("/tmp").unwrap();
        let ports = [listen(), listen(), listen(), listen()];
        let [stratum_port, stratum_v2_port, mint_port, dashboard_port] =
            [0, 1, 2, 3].map(|nth| port(&ports[nth]));
        let (node, started) = (from_environment("BITCOIN_NODE"), Cell::new(0));
        Self { dir, node, stratum_port, stratum_v2_port, mint_port, dashboard_port, started }
    }

    /// The box's state directory. It does not exist before the first start.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("box")
    }

    /// A place beside the state directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts `poolbox demo` with this state, these ports and this node.
    pub fn demo(&self, flags: &[&str]) -> Running {
        let mut command = program("poolbox");
        command.arg("--state").arg(self.state()).arg("demo").arg("--node").arg(&self.node);
        command.args(["--stratum-port", &self.stratum_port.to_string()]);
        command.args(["--stratum-v2-port", &self.stratum_v2_port.to_string()]);
        command.args(["--mint-port", &self.mint_port.to_string()]);
        command.args(["--dashboard-port", &self.dashboard_port.to_string()]).args(flags);
        self.start(command, "")
    }

    /// Runs another command of `poolbox` on this state to its end.
    pub fn poolbox(&self, arguments: &[&str]) -> Ended {
        self.poolbox_reads(arguments, "")
    }

    /// The same with text on standard input.
    pub fn poolbox_reads(&self, arguments: &[&str], stdin: &str) -> Ended {
        let mut command = program("poolbox");
        command.arg("--state").arg(self.state()).args(arguments);
        self.start(command, stdin).ended_within(MOMENT)
    }

    /// Runs another of the programs just built to its end.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Ended {
        let mut command = program(name);
        command.args(arguments);
        self.start(command, "").ended_within(MOMENT)
    }

    fn start(&self, command: Command, stdin: &str) -> Running {
        self.started.set(self.started.get() + 1);
        Running::start(command, &self.beside(&self.started.get().to_string()), stdin)
    }

    /// What `poolbox status --json` says.
    pub fn status(&self) -> Value {
        self.poolbox(&["status", "--json"]).json()
    }

    /// Asks until the answer is yes; fails after `limit`.
    pub fn until(&self, what: &str, limit: Duration, mut ask: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.status();
            if ask(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "not within {limit:?}: {what}; the last status is {status:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Process ids of the box's processes that run `program`.
    pub fn pids(&self, program: &str) -> Vec<Pid> {
        let ours = self.processes().into_iter();
        ours.filter(|(_, line)| line[0].ends_with(program)).map(|(pid, _)| pid).collect()
    }

    /// Every process of this box with its command line: all but the miners name the state
    /// directory, and those name a port.
    pub fn processes(&self) -> Vec<(Pid, Vec<String>)> {
        let state = self.state();
        let ports = [self.stratum_port, self.stratum_v2_port].map(|port| format!("127.0.0.1:{port}"));
        let ours = |part: &String| {
            part.contains(state.to_str().unwrap()) || ports.iter().any(|port| part.contains(port))
        };
        let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let path = entry.ok()?.path();
            let pid = Pid::from_raw(path.file_name()?.to_str()?.parse().ok()?)?;
            let line = String::from_utf8_lossy(&std::fs::read(path.join("cmdline")).ok()?).into_owned();
            Some((pid, line.split('\0').map(str::to_owned).collect::<Vec<_>>()))
        });
        all.filter(|(_, line)| line.iter().any(ours)).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            // A test failed; it may be ending this moment.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// A program that was started.
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    fn start(mut command: Command, out: &Path, stdin: &str) -> Self {
        let (stdout, stderr) = (out.with_extension("stdout"), out.with_extension("stderr"));
        command.stdin(Stdio::piped());
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // Closed with this statement. A program that does not read it may have ended already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        Self { child, stdout, stderr }
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Ctrl-C, and what came of it.
    pub fn stopped(self) -> Ended {
        self.interrupt();
        self.ended_within(STOPPING)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end; fails after `limit`.
    pub fn ended_within(mut self, limit: Duration) -> Ended {
        let deadline = Instant::now() + limit;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                None => {
                    self.child.kill().unwrap();
                    let said = std::fs::read_to_string(&self.stderr).unwrap();
                    panic!("not ended within {limit:?}; it said: {said}");
                }
            }
        };
        let read = |path| String::from_utf8(std::fs::read(path).unwrap()).unwrap();
        Ended { status, stdout: read(&self.stdout), stderr: read(&self.stderr) }
    }
}

/// What a program left.
#[derive(Debug)]
pub struct Ended {
    /// Exit status; none when a signal ended it.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Standard output, which is one JSON value and nothing else, of a program that succeeded.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, Some(0), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that a mistake of the person was refused: status 2, nothing on standard output, and
    /// one sentence with each of `words`.
    #[track_caller]
    pub fn refused(&self, words: &[&str]) {
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        self.refused_at_length(words);
    }

    /// The same in several lines, as mistakes in flags are told.
    #[track_caller]
    pub fn refused_at_length(&self, words: &[&str]) {
        assert_eq!((self.status, self.stdout.as_str()), (Some(2), ""), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {:?}", self.stderr);
        }
    }
}

fn program(name: &str) -> Command {
    let mut command = Command::new(from_environment("POOLBOX_BIN_DIR").join(name));
    command.env_remove("POOLBOX_STATE").env_remove("POOLBOX_LOG").env_remove("BITCOIN_NODE");
    command
}

/// Every file below `folder` with what it holds.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => _ = found.insert(entry.path(), std::fs::read(entry.path()).unwrap()),
            _ => {}
        }
    }
    found
}

/// A port that is taken for as long as the listener lives.
pub fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Which port that is.
pub fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

fn from_environment(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!("{variable} is not set: run `cargo xtask test`, which builds what the tests need"),
    }
}
