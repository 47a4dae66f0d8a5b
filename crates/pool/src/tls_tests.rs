//! The certificate as miners see it, and a miner that mines through it.

use std::net::SocketAddr;
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, ScriptBuf};
use poolbox_accounting::{Difficulty, Network, Sats};
use poolbox_stratum::server::{Extranonces, Limits, Server};
use poolbox_stratum::sv1::Sv1;
use poolbox_stratum::{
    AcceptedShare, CoinbaseError, Job, JobNumber, Keeping, News, NoMemory, PayoutOutput, PayoutPolicy,
    SessionSettings, ShareSink, VardiffLimits,
};
use poolbox_work_source::{CoinbaseTemplate, Template, TemplateId};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;

use super::*;

/// A fake sink: every share is on disk at once.
struct Fake;

impl ShareSink for Fake {
    fn keep(&self, _: Vec<AcceptedShare>) -> Keeping {
        Box::pin(async { Ok(()) })
    }

    fn note(&self, _: News) {}

    fn job_written(&self, _: &Job) {}

    fn halt(&self, _: &CoinbaseError) {}
}

fn job() -> Arc<Job> {
    let template = Template {
        id: TemplateId::fresh(),
        version: 0x2000_0000,
        prev_hash: BlockHash::from_byte_array([0x11; 32]),
        bits: CompactTarget::from_consensus(0x1703_4219),
        time: 1_700_000_000,
        height: 840_000,
        coinbase: CoinbaseTemplate {
            tx_version: 2,
            script_prefix: vec![0x03, 0x40, 0xd1, 0x0c],
            sequence: 0xffff_fffe,
            value: Sats::new(312_500_000),
            outputs: Vec::new(),
            lock_time: 0,
        },
        merkle_path: Vec::new(),
        upstream: None,
    };
    Arc::new(Job::new(JobNumber::starting_at(1), Arc::new(template)))
}

/// A pool with one TLS port where every hash is a share.
async fn serve(tls: StratumTls) -> (SocketAddr, watch::Sender<Option<Arc<Job>>>, CancellationToken) {
    let (feed, jobs) = watch::channel(Some(job()));
    let settings = SessionSettings {
        network: Network::Regtest,
        payout: PayoutPolicy::Pool(PayoutOutput::new(ScriptBuf::from_bytes(vec![0x51]))),
        start: Difficulty::FREE,
        limits: VardiffLimits { min: Difficulty::FREE, max: Difficulty::FREE },
        memory: Arc::new(NoMemory),
    };
    let protocol = Sv1::new(Arc::new(settings), Arc::new(Extranonces::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = Arc::new(Server::new(Limits::default(), jobs, Arc::new(Fake)));
    tokio::spawn(server.serve_over(tls, protocol, listener, stop.clone()));
    (address, feed, stop)
}

/// A client that trusts this PEM and nothing else.
fn trusting(pem: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn a_miner_that_was_given_the_certificate_mines_through_tls() {
    let dir = tempfile::tempdir().unwrap();
    let tls = StratumTls::load_or_make(dir.path()).unwrap();
    let pasted = tls.0.certificate.clone();
    let (address, _feed, stop) = serve(tls).await;
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("poolbox.local").unwrap();
    let stream = trusting(&pasted).connect(name, socket).await.unwrap();
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read).lines();
    let mut next =
        async || serde_json::from_str::<Value>(&lines.next_line().await.unwrap().unwrap()).unwrap();
    let hello = "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"test\"]}\n\
                 {\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"garage\",\"x\"]}\n";
    write.write_all(hello.as_bytes()).await.unwrap();
    write.flush().await.unwrap();
    let notify = loop {
        let line = next().await;
        if line["method"] == "mining.notify" {
            break line;
        }
    };
    let (id, time) = (notify["params"][0].as_str().unwrap(), notify["params"][7].as_str().unwrap());
    let share = format!(
        "{{\"id\":3,\"method\":\"mining.submit\",\"params\":[\"garage\",\"{id}\",\"0000000000000000\",\"{time}\",\"1\"]}}\n"
    );
    write.write_all(share.as_bytes()).await.unwrap();
    write.flush().await.unwrap();
    let answer = next().await;
    assert_eq!((&answer["id"], &answer["result"]), (&Value::from(3), &Value::from(true)));
    stop.cancel();
}

#[tokio::test]
async fn who_does_not_trust_it_or_does_not_speak_tls_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let (address, _feed, stop) = serve(StratumTls::load_or_make(dir.path()).unwrap()).await;
    let another = StratumTls::load_or_make(tempfile::tempdir().unwrap().path()).unwrap().0.certificate;
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("poolbox.local").unwrap();
    assert!(trusting(&another).connect(name, socket).await.is_err());

    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n").await.unwrap();
    let mut rest = Vec::new();
    // An alert at most, and the end.
    let _ = plain.read_to_end(&mut rest).await;
    assert!(rest.len() < 32, "{rest:?}");
    stop.cancel();
}
