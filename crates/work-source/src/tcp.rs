//! What the sources that are reached over TCP have in common: the address, and how the socket is set.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Where to connect. A name is looked up at each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
}

impl Endpoint {
    /// Reads `host:port`.
    pub fn read(address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let whole = bare.is_some() || !host.contains(':');
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (whole && !host.is_empty() && host.len() <= 253).then(|| Self { host: host.to_owned(), port })
    }
}

/// What is sent goes out at once, and a machine that vanished is noticed within half a minute, though the
/// protocol may be silent for long.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let read = |address| Endpoint::read(address).map(|endpoint| (endpoint.host, endpoint.port));
        assert_eq!(read("127.0.0.1:8442"), Some(("127.0.0.1".into(), 8442)));
        assert_eq!(read("node.local:1"), Some(("node.local".into(), 1)));
        assert_eq!(read("[::1]:8442"), Some(("::1".into(), 8442)));
        for wrong in ["", "8442", ":8442", "node.local", "node.local:", "node.local:0", "::1:8442", "a:99999"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
