//! A real redis-server (or valkey-server, where `REDIS_SERVER` names it) for tests: on a unix socket
//! and a port of its own, with its data in a temporary directory, ended on drop.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long the server may take to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running (or killed) redis-server that writes each command to its append-only file.
pub struct TestRedis {
    directory: TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

impl TestRedis {
    /// A server on a unix socket that lets everybody in.
    pub fn start() -> Self {
        Self::with_options(&["--port 0".to_owned()])
    }

    /// A server on a unix socket with further options, each as on its command line; `DIR` in them is
    /// its directory.
    pub fn with_options(options: &[String]) -> Self {
        Self::in_directory(Self::directory(), options)
    }

    /// A new directory for a server, for what it has to find there at its start.
    pub fn directory() -> TempDir {
        // Not $TMPDIR: the path of a unix socket may have 107 bytes.
        tempfile::Builder::new().prefix("pbr").tempdir_in("/tmp").expect("/tmp should be writable")
    }

    /// A server whose data is in `directory`.
    pub fn in_directory(directory: TempDir, options: &[String]) -> Self {
        let place = directory.path().display().to_string();
        let options =
            options.iter().flat_map(|option| option.split(' ')).map(|word| word.replace("DIR", &place));
        let mut redis = Self { options: options.collect(), directory, child: None };
        redis.restart();
        redis
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// A file or folder of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the server again with what it wrote down, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill9();
        let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let directory = self.directory.path();
        let _ = std::fs::remove_file(self.socket());
        let mut command = Command::new(&program);
        command.arg("--unixsocket").arg(self.socket()).arg("--dir").arg(directory);
        command.args(["--appendonly", "yes", "--save", ""]).args(&self.options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        self.child = Some(child.unwrap_or_else(|error| {
            panic!("{} does not start ({error}); install redis-server", program.display())
        }));
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.answers() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it serves: a server that still loads its data, or wants a password, does answer.
    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 7];
            stream.read_exact(&mut answer)?;
            Ok(answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH"))
        };
        ask().unwrap_or_default()
    }

    /// Ends it the hard way (SIGKILL).
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// Runs one command whose arguments have no spaces; the answer as it comes.
    pub fn command(&self, command: &str) -> String {
        let answer = || -> std::io::Result<String> {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        answer().unwrap_or_else(|error| panic!("redis-server does not answer {command}: {error}"))
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        self.kill9();
    }
}
