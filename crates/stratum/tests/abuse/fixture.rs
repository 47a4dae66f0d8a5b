//! A server on loopback where every hash is a share, with a fake instead of the journal.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, ScriptBuf};
use poolbox_accounting::{Difficulty, Network, Sats};
use poolbox_stratum::server::{Extranonces, Limits, Server, Transport};
use poolbox_stratum::sv1::Sv1;
use poolbox_stratum::sv2::{AuthorityKey, Sv2};
use poolbox_stratum::{
    AcceptedShare, CoinbaseError, Job, JobNumber, Keeping, News, NoMemory, PayoutOutput, PayoutPolicy,
    SessionSettings, ShareSink, VardiffLimits,
};
use poolbox_work_source::{CoinbaseTemplate, Template, TemplateId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longer than anything here may take.
pub const SOON: Duration = Duration::from_secs(10);

/// A fake journal in memory. It can be held, as a slow disk would.
#[derive(Debug)]
pub struct FakeJournal {
    /// Shares that were handed over to be kept.
    pub given: Mutex<usize>,
    held: watch::Sender<bool>,
}

impl FakeJournal {
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    pub fn release(&self) {
        self.held.send_replace(false);
    }

    pub fn given(&self) -> usize {
        *self.given.lock().unwrap()
    }
}

impl ShareSink for FakeJournal {
    fn keep(&self, shares: Vec<AcceptedShare>) -> Keeping {
        *self.given.lock().unwrap() += shares.len();
        let mut held = self.held.subscribe();
        Box::pin(async move {
            let _ = held.wait_for(|held| !held).await;
            Ok(())
        })
    }

    fn note(&self, _: News) {}

    fn job_written(&self, _: &Job) {}

    fn halt(&self, _: &CoinbaseError) {}
}

/// A running server.
pub struct Pool {
    pub sv1: SocketAddr,
    pub sv2: SocketAddr,
    settings: Arc<SessionSettings>,
    pub server: Arc<Server<FakeJournal>>,
    pub journal: Arc<FakeJournal>,
    pub jobs: watch::Sender<Option<Arc<Job>>>,
    pub stop: CancellationToken,
    pub serving: Vec<JoinHandle<()>>,
}

/// The key that Sv2 miners know it by.
pub fn authority() -> AuthorityKey {
    AuthorityKey::from_secret([7; 32]).unwrap()
}

impl Pool {
    pub async fn start(limits: Limits) -> Self {
        let (jobs, feed) = watch::channel(Some(job(1)));
        let settings = Arc::new(SessionSettings {
            network: Network::Regtest,
            payout: PayoutPolicy::Pool(PayoutOutput::new(ScriptBuf::from_bytes(vec![0x51]))),
            start: Difficulty::FREE,
            limits: VardiffLimits { min: Difficulty::FREE, max: Difficulty::FREE },
            memory: Arc::new(NoMemory),
        });
        let extranonces = Arc::new(Extranonces::new());
        let journal = Arc::new(FakeJournal { given: Mutex::default(), held: watch::channel(false).0 });
        let server = Arc::new(Server::new(limits, feed, Arc::clone(&journal)));
        let stop = CancellationToken::new();
        let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sv1, sv2) = (bind().await, bind().await);
        let addresses = (sv1.local_addr().unwrap(), sv2.local_addr().unwrap());
        let port = Sv1::new(Arc::clone(&settings), Arc::clone(&extranonces));
        let serving_sv1 = tokio::spawn(Arc::clone(&server).serve(port, sv1, stop.clone()));
        let port = Sv2::new(Arc::clone(&settings), extranonces, authority());
        let serving_sv2 = tokio::spawn(Arc::clone(&server).serve(port, sv2, stop.clone()));
        Self {
            sv1: addresses.0,
            sv2: addresses.1,
            settings,
            server,
            journal,
            jobs,
            stop,
            serving: vec![serving_sv1, serving_sv2],
        }
    }

    /// One more Sv1 port, with something below the protocol.
    pub async fn serve_over(&self, transport: impl Transport) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let port = Sv1::new(Arc::clone(&self.settings), Arc::new(Extranonces::new()));
        tokio::spawn(Arc::clone(&self.server).serve_over(transport, port, listener, self.stop.clone()));
        address
    }

    /// Waits until so many connections are open.
    pub async fn comes_to(&self, connections: usize) {
        let coming = async {
            while self.server.connections() != connections {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, coming).await.unwrap();
    }

    /// Waits until the journal was given so many shares.
    pub async fn is_given(&self, shares: usize) {
        let giving = async {
            while self.journal.given() < shares {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, giving).await.unwrap();
    }
}

pub fn job(number: u64) -> Arc<Job> {
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
    Arc::new(Job::new(JobNumber::starting_at(number), Arc::new(template)))
}

/// Limits under which nothing here happens by itself.
pub fn generous() -> Limits {
    Limits { shares_per_second: 0, handshake: SOON, idle: SOON, write: SOON, ..Limits::default() }
}
