//! Paths that lead to no node: each is told apart, with its remedy.

#![cfg(test)]

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use poolbox_work_source::core_ipc::{self, CoreIpcConfig, StartError};
use poolbox_work_source::{Outage, WorkSource};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::Builder::new().prefix("pbx").tempdir_in("/tmp").unwrap();
    let socket = directory.path().join("node.sock");
    (directory, socket)
}

/// Waits until the source gives a reason that is not the start.
fn outage(source: &WorkSource) -> Outage {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match source.current() {
            Ok(template) => panic!("a template from nowhere: {template:?}"),
            Err(Outage::Starting) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20))
            }
            Err(outage) => return outage,
        }
    }
}

fn outage_at(socket: &Path) -> Outage {
    outage(&core_ipc::start(CoreIpcConfig::new(socket.to_owned())).unwrap())
}

#[test]
fn a_missing_socket_names_the_path_and_the_setting() {
    let (_directory, socket) = place();
    let outage = outage_at(&socket);
    assert_eq!(outage, Outage::NoSocket(socket.clone()));
    let text = outage.to_string();
    assert!(text.contains(socket.to_str().unwrap()) && text.contains("ipcbind=unix"), "{text}");
}

#[test]
fn a_path_too_long_for_a_socket_is_refused_at_once() {
    let path = |length: usize| PathBuf::from(format!("/{}", "n".repeat(length - 1)));
    assert!(core_ipc::start(CoreIpcConfig::new(path(107))).is_ok());
    let error = core_ipc::start(CoreIpcConfig::new(path(108))).unwrap_err();
    assert!(matches!(error, StartError::PathTooLong { length: 108, .. }));
}

#[test]
fn an_interval_the_node_cannot_keep_is_refused_at_once() {
    let (_directory, socket) = place();
    for interval in [Duration::from_secs(256), Duration::from_millis(1_500)] {
        let mut config = CoreIpcConfig::new(socket.clone());
        config.min_interval = interval;
        assert!(
            matches!(core_ipc::start(config), Err(StartError::MinInterval(refused)) if refused == interval)
        );
    }
}

#[test]
fn a_file_is_not_a_socket() {
    let (_directory, socket) = place();
    fs::write(&socket, "").unwrap();
    assert_eq!(outage_at(&socket), Outage::NotASocket(socket));
}

#[test]
fn a_socket_left_over_by_a_dead_node_has_nobody_listening() {
    let (_directory, socket) = place();
    drop(UnixListener::bind(&socket).unwrap());
    assert_eq!(outage_at(&socket), Outage::NobodyListens(socket));
}

#[test]
fn a_server_that_speaks_something_else_is_not_a_node() {
    let (_directory, socket) = place();
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::Write;
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    assert!(matches!(outage_at(&socket), Outage::NotANode { path, .. } if path == socket));
}

#[test]
fn a_server_that_never_answers_is_mentioned_and_waited_for() {
    let (_directory, socket) = place();
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_eq!(outage_at(&socket), Outage::Silent(socket));
}

#[test]
fn no_work_is_taken_where_found_blocks_could_not_be_written() {
    let (directory, socket) = place();
    let _listener = UnixListener::bind(&socket).unwrap();
    let solutions = directory.path().join("solutions");
    fs::write(&solutions, "in the way").unwrap();
    assert!(matches!(outage_at(&socket), Outage::NoSolutionsDirectory { path, .. } if path == solutions));
}
