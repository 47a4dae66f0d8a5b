//! TLS with a certificate that the machine makes by itself at its first start: for miners, which are given it, and
//! for browsers, whose owners compare its fingerprint. No authority vouches for it.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use bitcoin::hashes::{Hash, sha256};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, CertificateError, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::{Misconfigured, write_secret, write_whole};

/// What a machine is called when nobody asks.
const NAME: &str = "poolbox.local";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection after its handshake.
pub type TlsSocket = TlsStream<TcpStream>;

/// A key and the certificate of it, as two files of a data directory.
#[derive(Clone, Copy, Debug)]
pub struct OwnCertificate {
    /// File of the private key, PEM; readable by the process alone.
    pub key: &'static str,
    /// File of the certificate, PEM.
    pub certificate: &'static str,
    /// How long a new certificate is good for.
    pub valid: Duration,
    /// So long before its end a start makes a new one; so does a start that finds files of no use. None where others
    /// were given the certificate by hand: then a person decides.
    pub renewed: Option<Duration>,
    /// What a person who removes the files has to do afterwards.
    pub consequence: &'static str,
}

/// The TLS side of a port. Debug output holds no secret.
#[derive(Clone)]
pub struct Tls {
    /// Where the certificate is kept.
    pub certificate_file: PathBuf,
    /// The certificate, PEM.
    pub certificate: String,
    chain: Vec<CertificateDer<'static>>,
    acceptor: TlsAcceptor,
}

impl OwnCertificate {
    /// Reads the key and the certificate in `data_dir`, or makes them, for the names of this machine and `more`.
    /// `tune` sets what is special about the port.
    ///
    /// # Errors
    /// [`Misconfigured`] when the files hold something else or do not belong together, and a person has to decide;
    /// otherwise when they cannot be read or written.
    pub fn load_or_make(
        &self,
        data_dir: &Path,
        more: &[String],
        tune: impl Fn(&mut ServerConfig),
    ) -> anyhow::Result<Tls> {
        let found = self.open(data_dir, more, &tune);
        let Some(margin) = self.renewed else { return found };
        match found {
            Ok(tls) if tls.outlasts(margin) => return Ok(tls),
            Ok(_) => {
                tracing::info!(file = self.certificate, "the certificate ends soon: a new one is made");
                remove(&data_dir.join(self.certificate))?;
            }
            Err(error) if error.downcast_ref::<Misconfigured>().is_some() => {
                tracing::warn!(%error, "key and certificate are made anew");
                remove(&data_dir.join(self.certificate))?;
                remove(&data_dir.join(self.key))?;
            }
            Err(error) => return Err(error),
        }
        self.open(data_dir, more, &tune)
    }

    fn open(
        &self,
        data_dir: &Path,
        more: &[String],
        tune: &impl Fn(&mut ServerConfig),
    ) -> anyhow::Result<Tls> {
        let (key_file, certificate_file) = (data_dir.join(self.key), data_dir.join(self.certificate));
        let unusable = |path: &Path, reason: &dyn Display| {
            Misconfigured::new(format!(
                "{} is not usable ({reason}); restore it from a backup, or remove {} and {}: new ones are made, and {}",
                path.display(),
                self.key,
                self.certificate,
                self.consequence
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
            let certificate = self.certify(&key, names(more)).context("make a certificate for TLS")?;
            write_whole(&certificate_file, certificate.as_bytes(), 0o644)?;
        }
        let certificate = std::fs::read_to_string(&certificate_file)
            .with_context(|| format!("read {}", certificate_file.display()))?;
        let parsed_key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| unusable(&key_file, &error))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(|error| unusable(&certificate_file, &error))?;
        let mut config =
            config(chain.clone(), parsed_key).map_err(|error| unusable(&certificate_file, &error))?;
        tune(&mut config);
        Ok(Tls { certificate_file, certificate, chain, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// A certificate in PEM for these names, signed by its own key. It is no authority: mbedTLS, OpenSSL and
    /// rustls all trust it as the one certificate that it is.
    fn certify(&self, key: &KeyPair, names: Vec<String>) -> Result<String, rcgen::Error> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, NAME);
        // Apple's devices take no other.
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        // Who connects may have a clock that is behind.
        let now = SystemTime::now();
        params.not_before = (now - DAY).into();
        params.not_after = (now + self.valid).into();
        Ok(params.self_signed(key)?.pem())
    }
}

impl Tls {
    /// The handshake with who just connected.
    ///
    /// # Errors
    /// When the other side breaks off or does not speak TLS.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<TlsSocket> {
        self.acceptor.accept(socket).await
    }

    /// The certificate's SHA-256 as browsers show it: `AB:CD:…`, 32 bytes.
    pub fn fingerprint(&self) -> String {
        self.chain.first().map(hashed).unwrap_or_default()
    }

    /// Whether the certificate is good for so long from now on. Whatever else may be wrong with it is not judged.
    fn outlasts(&self, margin: Duration) -> bool {
        let Some(own) = self.chain.first() else { return false };
        let mut roots = RootCertStore::empty();
        let provider = Arc::new(ring::default_provider());
        let (Ok(()), Ok(name)) = (roots.add(own.clone()), ServerName::try_from(NAME)) else { return false };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let Ok(verifier) = verifier else { return false };
        let then = SystemTime::now() + margin;
        let then = then.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let judged = verifier.verify_server_cert(own, &[], &name, &[], UnixTime::since_unix_epoch(then));
        !matches!(
            judged,
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. }
            ))
        )
    }
}

/// The acceptor has no words, and the key is not shown.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificate_file", &self.certificate_file).finish_non_exhaustive()
    }
}

/// The SHA-256 of the first certificate in `pem`, as [`Tls::fingerprint`] gives it; none when there is none.
pub fn fingerprint(pem: &str) -> Option<String> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok().as_ref().map(hashed)
}

fn hashed(certificate: &CertificateDer<'_>) -> String {
    let bytes = sha256::Hash::hash(certificate).to_byte_array();
    bytes.map(|byte| format!("{byte:02X}")).join(":")
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
}

/// What others may call this machine: names, and its address in the local network as it is now.
fn names(more: &[String]) -> Vec<String> {
    let mut names = vec![NAME.to_owned(), "localhost".to_owned()];
    if let Some(host) = host_name() {
        names.extend((!host.contains('.')).then(|| format!("{host}.local")));
        names.push(host);
    }
    names.extend_from_slice(more);
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

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const BY_HAND: OwnCertificate = OwnCertificate {
        key: "own.key",
        certificate: "own.pem",
        valid: Duration::from_secs(10 * 24 * 60 * 60),
        renewed: None,
        consequence: "miners must be given the new certificate",
    };

    fn load(own: &OwnCertificate, dir: &Path) -> anyhow::Result<Tls> {
        own.load_or_make(dir, &["mining.example".to_owned()], |_| {})
    }

    #[test]
    fn the_certificate_is_made_once_fits_into_axeos_and_names_the_box() {
        let dir = tempfile::tempdir().unwrap();
        let made = load(&BY_HAND, dir.path()).unwrap();
        assert!(made.certificate.len() <= 3000, "{}", made.certificate.len());
        assert!(
            made.certificate.starts_with("-----BEGIN CERTIFICATE-----\n") && !made.certificate.contains('\r')
        );
        assert_eq!(load(&BY_HAND, dir.path()).unwrap().certificate, made.certificate);
        assert_eq!(std::fs::read_to_string(&made.certificate_file).unwrap(), made.certificate);
        let key = std::fs::metadata(dir.path().join("own.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        let parsed = rustls::server::ParsedCertificate::try_from(&made.chain[0]).unwrap();
        let valid = |name: &str| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            rustls::client::verify_server_name(&parsed, &name).is_ok()
        };
        let names = ["poolbox.local", "localhost", "127.0.0.1", "mining.example"].map(str::to_owned);
        for name in names.into_iter().chain(host_name()) {
            assert!(valid(&name), "{name}");
        }
        assert!(!valid("example.com"));
        assert!(!format!("{made:?}").contains("BEGIN"));
        let fingerprint = made.fingerprint();
        assert_eq!((fingerprint.len(), fingerprint.split(':').count()), (95, 32), "{fingerprint}");
        assert_eq!(super::fingerprint(&made.certificate), Some(fingerprint));
        assert_eq!(super::fingerprint("nonsense"), None);
    }

    #[test]
    fn a_lost_certificate_is_made_again_and_a_lost_or_wrong_key_is_a_persons_to_sort_out() {
        let dir = tempfile::tempdir().unwrap();
        let (key, certificate) = (dir.path().join("own.key"), dir.path().join("own.pem"));
        let first = load(&BY_HAND, dir.path()).unwrap().certificate;
        std::fs::remove_file(&certificate).unwrap();
        assert_ne!(load(&BY_HAND, dir.path()).unwrap().certificate, first);

        let wrong = |expected: &str| {
            let error = load(&BY_HAND, dir.path()).unwrap_err();
            let error = error.downcast_ref::<Misconfigured>().unwrap().to_string();
            assert!(error.contains(expected) && error.contains("remove"), "{error}");
        };
        let another = tempfile::tempdir().unwrap();
        load(&BY_HAND, another.path()).unwrap();
        std::fs::copy(another.path().join("own.key"), &key).unwrap();
        wrong("own.pem");
        std::fs::write(&certificate, "nonsense").unwrap();
        wrong("own.pem");
        std::fs::write(&key, "nonsense").unwrap();
        wrong("own.key");
        std::fs::remove_file(&key).unwrap();
        wrong("has no key");
    }

    #[test]
    fn one_for_browsers_is_made_anew_before_it_ends_and_when_it_is_of_no_use() {
        let dir = tempfile::tempdir().unwrap();
        let key = || std::fs::read_to_string(dir.path().join("own.key")).unwrap();
        let lasting = OwnCertificate { renewed: Some(Duration::from_secs(86_400)), ..BY_HAND };
        let ending = OwnCertificate { renewed: Some(Duration::from_secs(20 * 86_400)), ..BY_HAND };
        let first = load(&lasting, dir.path()).unwrap().fingerprint();
        let its_key = key();
        assert_eq!(load(&lasting, dir.path()).unwrap().fingerprint(), first);
        let second = load(&ending, dir.path()).unwrap().fingerprint();
        assert!(second != first && key() == its_key, "another certificate of the same key");

        std::fs::write(dir.path().join("own.pem"), "").unwrap();
        let third = load(&lasting, dir.path()).unwrap().fingerprint();
        assert!(third != second && key() != its_key);
        assert_eq!(load(&lasting, dir.path()).unwrap().fingerprint(), third);
    }
}
