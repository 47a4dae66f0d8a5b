//! Where miners connect, as they have to be told: the pool says where it listens, and "everywhere" becomes
//! the box's address in the network of whoever asks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use poolbox_api::pool;

/// One way to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// For people.
    pub title: &'static str,
    /// For whom it is.
    pub note: &'static str,
    /// The whole address.
    pub url: String,
    /// Host without port, for miners that want them apart.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The key that a Stratum V2 miner may check the box by.
    pub authority_key: Option<String>,
    /// The certificate that a miner may check the box by, PEM.
    pub certificate: Option<String>,
}

/// Every way to connect to this pool.
pub fn endpoints(pool: &pool::Status, host: &str) -> Vec<Endpoint> {
    let v1 = read(
        &pool.stratum_v1,
        host,
        "Stratum V1",
        "Every miner understands it. When in doubt, take this one.",
    );
    let v2 = read(
        &pool.stratum_v2,
        host,
        "Stratum V2",
        "Encrypted, and spares the network. For firmware that offers it.",
    );
    let tls = pool.stratum_v1_tls.as_ref().and_then(|tls| {
        let note = "Encrypted. The miner needs the certificate below as its own (“custom”) one.";
        let endpoint = read(&tls.url, host, "Stratum V1 over TLS", note)?;
        Some(Endpoint { certificate: Some(tls.certificate.clone()), ..endpoint })
    });
    v1.into_iter().chain(v2).chain(tls).collect()
}

fn read(url: &str, host: &str, title: &'static str, note: &'static str) -> Option<Endpoint> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, path)| (a, Some(path)));
    let (listens, port) = authority.rsplit_once(':')?;
    let everywhere = listens.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let host = if everywhere { host } else { listens };
    let tail = path.map_or_else(String::new, |path| format!("/{path}"));
    Some(Endpoint {
        title,
        note,
        url: format!("{scheme}://{host}:{port}{tail}"),
        host: host.to_owned(),
        port: port.parse().ok()?,
        authority_key: path.filter(|path| !path.is_empty()).map(str::to_owned),
        certificate: None,
    })
}

/// The box's own address in the network of `peer`. Nothing is sent: the system only chooses a way.
pub fn address_towards(peer: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = match peer {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => "[::]:0".parse().ok()?,
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((peer, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The box's address in its own network: that of the way out of it.
pub fn own_address() -> Option<Ipv4Addr> {
    // Reserved for documentation: nobody is there, and nothing is sent.
    match address_towards(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)))? {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_becomes_the_boxs_address_and_the_key_stays() {
        let v2 = read("stratum2+tcp://0.0.0.0:34254/9abc", "192.168.1.20", "", "").unwrap();
        assert_eq!(v2.url, "stratum2+tcp://192.168.1.20:34254/9abc");
        assert_eq!(v2.authority_key.as_deref(), Some("9abc"));
        let v1 = read("stratum+tcp://127.0.0.1:3333", "192.168.1.20", "", "").unwrap();
        assert_eq!((v1.host.as_str(), v1.port), ("127.0.0.1", 3333));
        assert!(read("[::]:3333", "x", "", "").is_none());
        let v6 = read("stratum+tcp://[::]:3333", "192.168.1.20", "", "").unwrap();
        assert_eq!(v6.url, "stratum+tcp://192.168.1.20:3333");
    }

    #[test]
    fn the_way_to_this_machine_is_by_itself() {
        assert_eq!(address_towards([127, 0, 0, 1].into()), Some([127, 0, 0, 1].into()));
    }
}
