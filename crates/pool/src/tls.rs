//! TLS for Stratum V1: a certificate made at the first start, to be pasted into miners.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use poolbox_service::{Misconfigured, write_secret};
use poolbox_stratum::server::Transport;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// The private key, PEM; readable by the pool alone.
const KEY: &str = "stratum_tls.key";
/// The certificate, PEM, which vouches for itself: miners are given it.
const CERTIFICATE: &str = "stratum_tls.pem";
/// What it is called when nobody asks.
const NAME: &str = "poolbox.local";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Ten years and their leap days.
const VALIDITY: Duration = Duration::from_secs((10 * 365 + 3) * 24 * 60 * 60);
/// Records that also small devices have room for.
const MAX_RECORD_BYTES: usize = 4096;

/// The TLS side of a port.
#[derive(Clone)]
pub struct Tls {
    /// Where the certificate is kept.
    pub certificate_file: PathBuf,
    /// The certificate, PEM.
    pub certificate: String,
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Reads the key and the certificate in `data_dir`, or makes them.
    ///
    /// # Errors
    /// [`Misconfigured`] when the files hold something else or do not belong together; otherwise when
    /// they cannot be read or written.
    pub fn load_or_make(data_dir: &Path) -> anyhow::Result<Self> {
        let (key_file, certificate_file) = (data_dir.join(KEY), data_dir.join(CERTIFICATE));
        let unusable = |path: &Path, reason: &dyn std::fmt::Display| {
            Misconfigured::new(format!(
                "{} is not usable ({reason}); restore it from a backup, or remove {KEY} and {CERTIFICATE}: new \
                 ones are made, and miners must be given the new certificate",
                path.display()
            ))
        };
        if !key_file.exists() {
            if certificate_file.exists() {
                return Err(unusable(&key_file, &"the certificate has no key").into());
            }
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("make a key for TLS")?;
            write_secret(&key_file, key.serialize_pem().as_bytes())?;
        }
        let key =
            std::fs::read_to_string(&key_file).with_context(|| format!("read {}", key_file.display()))?;
        if !certificate_file.exists() {
            let key = KeyPair::from_pem(&key).map_err(|error| unusable(&key_file, &error))?;
            let certificate = certify(&key, names()).context("make a certificate for TLS")?;
            write_whole(&certificate_file, &certificate)?;
        }
        let certificate = std::fs::read_to_string(&certificate_file)
            .with_context(|| format!("read {}", certificate_file.display()))?;
        let parsed_key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| unusable(&key_file, &error))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(|error| unusable(&certificate_file, &error))?;
        let config = config(chain, parsed_key).map_err(|error| unusable(&certificate_file, &error))?;
        Ok(Self { certificate_file, certificate, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

impl Transport for Tls {
    type Stream = TlsStream<TcpStream>;

    async fn open(&self, socket: TcpStream) -> io::Result<Self::Stream> {
        self.acceptor.accept(socket).await
    }
}

/// The acceptor has no words, and the key is not shown.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificate_file", &self.certificate_file).finish_non_exhaustive()
    }
}

/// A certificate in PEM for these names, signed by its own key. It is no authority: mbedTLS, OpenSSL and
/// rustls all trust it as the one certificate that it is.
fn certify(key: &KeyPair, names: Vec<String>) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, NAME);
    // A miner's clock may be behind.
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + VALIDITY).into();
    Ok(params.self_signed(key)?.pem())
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.max_fragment_size = Some(MAX_RECORD_BYTES);
    Ok(config)
}

/// What miners may call this machine: names, and its address in the local network as it is now.
fn names() -> Vec<String> {
    let mut names = vec![NAME.to_owned(), "localhost".to_owned()];
    if let Some(host) = host_name() {
        names.extend((!host.contains('.')).then(|| format!("{host}.local")));
        names.push(host);
    }
    names.push(Ipv4Addr::LOCALHOST.to_string());
    names.extend(lan_address().map(|address| address.to_string()));
    names.sort();
    names.dedup();
    names
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

/// The address that this machine would speak from. Choosing it sends nothing.
fn lan_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation (RFC 5737): whatever is not local.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Writes a file complete or not at all.
fn write_whole(path: &Path, content: &str) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, content)
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
