//! The two ways that entries take, and pools at their beginning.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use poolbox_accounting::{JournalId, Owner};
use poolbox_journal::{Courier, Journal, LocalQueue, QuoteQueue, RedisSettings, StreamQueue};
use poolbox_testnode::TestRedis;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::audit::{NETWORK, directory, share, shares};
use crate::stand_in_mint::Books;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What carries the queue.
pub enum Carriage {
    Local,
    Redis(TestRedis),
}

/// A pool: its journal, and its courier where one is needed.
pub struct Pool {
    pub journal: Option<Journal>,
    pub path: PathBuf,
    pub courier: Option<JoinHandle<()>>,
    _directory: TempDir,
    shares: u64,
}

impl Carriage {
    pub fn both() -> [Self; 2] {
        [Self::Local, Self::Redis(TestRedis::start())]
    }

    pub fn redis(&mut self) -> &mut TestRedis {
        match self {
            Self::Redis(redis) => redis,
            Self::Local => panic!("this carriage has no Redis"),
        }
    }

    pub fn settings(&self) -> RedisSettings {
        let Self::Redis(redis) = self else { panic!("this carriage has no Redis") };
        settings(&serde_json::json!({ "address": redis.socket() }))
    }

    /// The mint's end. The local one is of one pool.
    pub fn queue(&self, pool: &Pool) -> Box<dyn QuoteQueue> {
        match self {
            Self::Local => Box::new(LocalQueue::new(pool.path.clone(), NETWORK)),
            Self::Redis(_) => Box::new(StreamQueue::new(self.settings(), NETWORK)),
        }
    }

    /// The pool's end runs, if there is one.
    pub fn carry(&self, pool: &mut Pool) {
        if let Self::Redis(_) = self {
            let mut courier = self.courier(pool);
            pool.courier = Some(tokio::spawn(async move { courier.run().await }));
        }
    }

    pub fn courier(&self, pool: &Pool) -> Courier {
        let identity = pool.journal.as_ref().unwrap().identity();
        Courier::new(self.settings(), pool.path.clone(), NETWORK, identity).0
    }
}

pub fn settings(json: &serde_json::Value) -> RedisSettings {
    serde_json::from_value(json.clone()).unwrap()
}

impl Pool {
    /// A pool whose shares are queued every few milliseconds.
    pub fn new() -> Self {
        let (directory, path) = directory();
        let journal = Journal::open_queueing_every(Duration::from_millis(5), &path, NETWORK).unwrap();
        Self { journal: Some(journal), path, courier: None, _directory: directory, shares: 0 }
    }

    pub fn identity(&self) -> JournalId {
        self.journal.as_ref().unwrap().identity()
    }

    /// Journals so many shares of three owners; every ninth solves a block.
    pub async fn mine(&mut self, many: u64) {
        for _ in 0..many {
            self.shares += 1;
            let n = self.shares;
            let owner = ["alice", "bob", "carol"][n as usize % 3];
            let block = n.is_multiple_of(9).then_some(n as u32);
            self.journal.as_ref().unwrap().append(vec![share(owner, n, n % 7 + 1, block)]).await.unwrap();
        }
    }

    /// Ends the courier as SIGKILL would: in the middle of whatever it does.
    pub fn kill_courier(&mut self) {
        if let Some(courier) = self.courier.take() {
            courier.abort();
        }
    }

    pub fn journalled(&self) -> BTreeMap<(JournalId, Owner), u64> {
        let mut sums = BTreeMap::new();
        for record in shares(&self.path) {
            let key = (self.identity(), record.share.identity.owner.clone());
            *sums.entry(key).or_default() += record.share.work.ehash();
        }
        sums
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.kill_courier();
    }
}

/// Looks until all that the pools journalled is credited, and then whether more comes: exactly that,
/// by owner, and every block once.
pub async fn assert_all_is_taken_once(books: &mut Books, queue: &mut dyn QuoteQueue, pools: &[&Pool]) {
    let journalled: BTreeMap<_, u64> = pools.iter().flat_map(|pool| pool.journalled()).collect();
    let sum: u64 = journalled.values().sum();
    let deadline = Instant::now() + PATIENCE;
    let mut trouble = None;
    while books.sum() < sum {
        match books.look(queue, 64).await {
            Ok(0) => tokio::time::sleep(Duration::from_millis(10)).await,
            Ok(_) => {}
            Err(error) => {
                trouble = Some(error);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let behind = sum - books.sum().min(sum);
        assert!(Instant::now() < deadline, "{behind} ehash do not come; the last trouble was {trouble:?}");
    }
    // The announcement of a block may be behind the last credit.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        while books.look(queue, 64).await.unwrap() > 0 {}
    }
    assert_eq!(books.credited, journalled);
    let mut announced: Vec<_> = books.announced.iter().map(|(_, hash)| *hash).collect();
    let mut solved: Vec<_> = pools
        .iter()
        .flat_map(|pool| shares(&pool.path))
        .filter(|record| record.share.block_height.is_some())
        .map(|record| record.share.hash)
        .collect();
    announced.sort();
    solved.sort();
    assert_eq!(announced, solved);
}
