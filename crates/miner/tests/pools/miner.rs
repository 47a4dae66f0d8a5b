//! The miner itself, as a process.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The next miner that connects.
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("no miner came: {error}"),
        }
    };
    stream.set_nonblocking(false).unwrap();
    stream
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_poolbox-miner")).args(arguments).output().unwrap()
}

/// Runs the program to its end in a shell, after this command.
pub fn run_limited(limit: &str, arguments: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_poolbox-miner");
    Command::new("sh").args(["-c", &format!("{limit} && exec {program} {arguments}")]).output().unwrap()
}

/// The miner, mining; killed when dropped.
pub struct Miner {
    process: Child,
    /// Reads its log, so that it never waits for us to.
    log: Option<JoinHandle<String>>,
}

impl Miner {
    /// Slow enough that a test's shares stay few, with these flags besides.
    pub fn start(url: &str, flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_poolbox-miner"))
            .args(["--url", url, "--user", "garage.cpu1", "--password", "d=1", "--user-agent", "test/1.0"])
            .args(["--max-hashrate", "400k"])
            .args(flags)
            .env("POOLBOX_LOG", "debug")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = process.stderr.take().unwrap();
        let log = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
        Self { process, log: Some(log) }
    }

    /// Asks it to stop; its exit status and its log.
    pub fn stop(self) -> (i32, String) {
        let terminate = format!("kill {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &terminate]).status().unwrap().success());
        self.wait()
    }

    /// Waits for its end; its exit status and its log.
    pub fn wait(mut self) -> (i32, String) {
        let log = self.log.take().unwrap().join().unwrap();
        (self.process.wait().unwrap().code().expect("it ended by itself"), log)
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        // Fails when it has ended, which is fine.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
