//! TLS for Stratum V1: a certificate made at the first start, to be pasted into miners.

use std::io;
use std::path::Path;
use std::time::Duration;

use poolbox_service::{OwnCertificate, Tls, TlsSocket};
use poolbox_stratum::server::Transport;
use tokio::net::TcpStream;

/// Miners are given it by hand, so it lasts: ten years and their leap days.
const OWN: OwnCertificate = OwnCertificate {
    key: "stratum_tls.key",
    certificate: "stratum_tls.pem",
    valid: Duration::from_secs((10 * 365 + 3) * 24 * 60 * 60),
    renewed: None,
    consequence: "miners must be given the new certificate",
};
/// Records that also small devices have room for.
const MAX_RECORD_BYTES: usize = 4096;

/// The TLS side of the miners' port.
#[derive(Clone, Debug)]
pub struct StratumTls(pub Tls);

impl StratumTls {
    /// Reads the key and the certificate in `data_dir`, or makes them.
    ///
    /// # Errors
    /// As [`OwnCertificate::load_or_make`].
    pub fn load_or_make(data_dir: &Path) -> anyhow::Result<Self> {
        OWN.load_or_make(data_dir, &[], |config| config.max_fragment_size = Some(MAX_RECORD_BYTES)).map(Self)
    }
}

impl Transport for StratumTls {
    type Stream = TlsSocket;

    async fn open(&self, socket: TcpStream) -> io::Result<Self::Stream> {
        self.0.accept(socket).await
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
