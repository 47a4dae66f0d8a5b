//! Ports for what is started in private: by the demo, and by tests.

use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Below those that systems give to outgoing connections (Linux from 32,768 on, others from 49,152: RFC 6335,
/// section 6). One of these may be taken between the look and the process that listens at it: a browser alone
/// opens some a second.
const PORTS: Range<u16> = 20_000..32_768;

/// A TCP port of the loopback interface that nobody listens at. Within one process no port is given twice
/// until all others were.
///
/// # Errors
/// [`ErrorKind::AddrInUse`] when there is none.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let many = PORTS.len();
    // Far from those of a process that started just before.
    let first = std::process::id() as usize * 97;
    (0..many)
        .map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed))
        .filter_map(|nth| PORTS.clone().nth(nth % many))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| Error::new(ErrorKind::AddrInUse, "no port of 127.0.0.1 is free"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_port_is_another_and_none_is_taken() {
        let taken: Vec<TcpListener> = (0..50)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, free_port().unwrap())).unwrap())
            .collect();
        let held: BTreeSet<u16> = taken.iter().map(|one| one.local_addr().unwrap().port()).collect();
        assert_eq!(held.len(), 50);
        // All the way round, over those that are held.
        let given: BTreeSet<u16> = (0..PORTS.len()).map(|_| free_port().unwrap()).collect();
        assert!(given.is_disjoint(&held));
        assert!(given.len() > PORTS.len() / 2 && given.iter().all(|port| PORTS.contains(port)));
    }
}
