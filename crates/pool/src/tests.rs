//! A pool whose node never comes: its jobs are published by hand.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bitcoin::ScriptBuf;
use poolbox_accounting::{Difficulty, Network};
use poolbox_api::pool::{Latency, Protocol};
use poolbox_journal::Journal;
use poolbox_stratum::server::{Extranonces, Limits, Server};
use poolbox_stratum::sv1::Sv1;
use poolbox_stratum::{CoinbaseError, PayoutOutput, PayoutPolicy, SessionSettings, ShareSink, VardiffLimits};
use poolbox_work_source::blocks::BlockKeeper;
use poolbox_work_source::core_ipc::{self, CoreIpcConfig};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::books::{Books, Outward, Sink};
use crate::jobs::{Halt, JobMaker, fixture};
use crate::local::View;
use crate::metrics;

const PATIENCE: Duration = Duration::from_secs(20);

type Miner = BufReader<TcpStream>;

/// A running pool with one Sv1 port.
struct Pool {
    view: View,
    sink: Arc<Sink>,
    maker: JobMaker,
    address: std::net::SocketAddr,
}

impl Pool {
    async fn start(dir: &Path) -> Self {
        let policy = PayoutPolicy::Pool(PayoutOutput::new(ScriptBuf::from_bytes(vec![0x51])));
        let journal = Journal::open(dir.join("journal.sqlite"), Network::Devnet).unwrap();
        let source = Arc::new(core_ipc::start(CoreIpcConfig::new(dir.join("nowhere.sock"))).unwrap());
        let halt = Arc::new(Halt::default());
        let (mut maker, jobs) = JobMaker::new(policy.clone(), PATIENCE, Arc::clone(&halt));
        maker.publish(Arc::new(fixture::template()));
        let keeper = BlockKeeper::open(&dir.join("blocks"), Arc::clone(&source), None).unwrap();
        let outward = Outward { keeper, upstream: None };
        let books = Books::open(dir, Network::Devnet, &policy, journal.clone(), outward, Arc::clone(&halt));
        let sink = Arc::new(Sink(Arc::clone(&books)));
        let session = SessionSettings {
            network: Network::Devnet,
            payout: policy.clone(),
            start: Difficulty::ONE,
            limits: VardiffLimits { min: Difficulty::MIN, max: Difficulty::MAX },
            memory: Arc::clone(&books) as _,
        };
        let port = Sv1::new(Arc::new(session), Arc::new(Extranonces::new()));
        let server = Arc::new(Server::new(Limits::default(), jobs.clone(), Arc::clone(&sink)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Arc::clone(&server).serve(port, listener, CancellationToken::new()));
        let view = View {
            network: Network::Devnet,
            policy,
            started: (SystemTime::now(), Instant::now()),
            stratum_v1: String::new(),
            stratum_v1_tls: None,
            stratum_v2: String::new(),
            halt,
            server,
            books,
            journal,
            outlet: None,
            source,
            upstream: None,
            jobs,
        };
        Self { view, sink, maker, address }
    }

    /// A miner that has read its first job.
    async fn miner(&self, user: &str) -> Miner {
        let mut stream = BufReader::new(TcpStream::connect(self.address).await.unwrap());
        let hello = format!(
            "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"test\"]}}\n\
             {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"{user}\",\"x\"]}}\n"
        );
        stream.write_all(hello.as_bytes()).await.unwrap();
        next_job(&mut stream).await;
        stream
    }
}

async fn next_job(miner: &mut Miner) {
    let mut line = String::new();
    while !line.contains("\"method\":\"mining.notify\"") {
        line.clear();
        timeout(PATIENCE, miner.read_line(&mut line)).await.unwrap().unwrap();
    }
}

async fn is_closed(miner: &mut (impl AsyncReadExt + Unpin)) {
    let mut rest = Vec::new();
    // A reset is as good as an orderly end.
    let _ = timeout(PATIENCE, miner.read_to_end(&mut rest)).await.expect("the connection ends");
}

#[tokio::test]
async fn a_coinbase_that_pays_somebody_else_ends_all_mining_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut pool = Pool::start(dir.path()).await;
    let mut miners = [pool.miner("garage.one").await, pool.miner("attic.two").await];
    let before = pool.view.status();
    assert_eq!((before.halted, before.connections, before.connections_by[&Protocol::Sv1]), (None, 2, 2));
    let job = before.job.unwrap();
    assert_eq!((job.height, job.reward_sat, job.fees_sat), (840_000, fixture::VALUE, 100_000));
    assert_eq!((job.coinbases.len(), &job.coinbases[0].mismatch), (1, &None));
    // What a miner is sent when it comes is not new.
    assert_eq!(before.latency.each.count, 0);

    pool.maker.publish(Arc::new(fixture::template()));
    tokio::spawn(pool.maker.run(pool.view.source.events()));
    for miner in &mut miners {
        next_job(miner).await;
    }
    pool.sink.halt(&CoinbaseError::Mismatch("it pays somebody else"));
    for miner in &mut miners {
        is_closed(miner).await;
    }
    is_closed(&mut TcpStream::connect(pool.address).await.unwrap()).await;
    let after = pool.view.status();
    assert!(
        after.halted.as_ref().is_some_and(|reason| reason.ends_with("it pays somebody else")),
        "{after:?}"
    );
    assert!(after.job.is_none());
    let Latency { each, last } = after.latency;
    assert!((each.count, last.count) == (2, 1) && each.max_us == last.max_us, "{:?}", after.latency);
    let page = metrics::page(&after, &pool.view.books.latency.so_far().each);
    assert!(page.contains("\npoolbox_halted 1\n"));
}
