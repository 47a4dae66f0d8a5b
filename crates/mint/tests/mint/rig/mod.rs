//! What the tests stand on: a real node, a real journal, the real `poolbox-mint` as a child
//! process, and cdk's own wallet as its client.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure here is the failure of a test"
)]
#![allow(dead_code, reason = "each test file uses its part")]

pub mod cashu_ts;
pub mod faucet;
pub mod faults;
pub mod neighbour;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use cdk::amount::SplitTarget;
use cdk::nuts::nut20::derive_quote_locking_key;
use cdk::nuts::{CurrencyUnit, PaymentMethod};
use cdk::wallet::{Wallet, WalletBuilder};
use cdk_common::database::DynMintDatabase;
use poolbox_accounting::{EpochId, EpochState, Identity, Mode, Network, Owner, ShareSeq, Work};
use poolbox_api::{Client, ClientError, mint as api};
use poolbox_journal::{Journal, NewShare};
use poolbox_mint::ledger::{self, Place};
use poolbox_testnode::{TestNode, TestRedis, free_port};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the tests' journal queues shares.
pub const QUEUE_EVERY: Duration = Duration::from_millis(20);

pub struct Rig {
    pub node: TestNode,
    pub journal: Option<Journal>,
    dir: TempDir,
    port: u16,
    mint: Option<Child>,
    address: String,
    shares: u64,
}

impl Rig {
    /// A mint on a regtest chain of a few blocks; boundaries are final after `confirmations`.
    pub async fn new(confirmations: u32) -> Self {
        Self::with(confirmations, "").await
    }

    /// The same with `further` sections of settings.
    pub async fn with(confirmations: u32, further: &str) -> Self {
        Self::start_new(confirmations, "journal = 'DIR/journal'", further).await
    }

    /// The same, but pools send their queues to `redis`.
    pub async fn behind(redis: &TestRedis, confirmations: u32) -> Self {
        let section = format!("[redis]\naddress = '{}'\n", redis.socket().display());
        Self::start_new(confirmations, "", &section).await
    }

    /// The same behind a pool whose data is in the folder `pool` beside the mint's.
    pub async fn behind_pool(pool: &str, confirmations: u32) -> Self {
        Self::start_new(confirmations, &format!("journal = 'DIR/{pool}/journal.sqlite'"), "").await
    }

    async fn start_new(confirmations: u32, queue: &str, further: &str) -> Self {
        let node = TestNode::regtest();
        node.mine(3);
        let dir = tempfile::Builder::new().prefix("pbm").tempdir_in("/tmp").unwrap();
        let journal = Journal::open_queueing_every(QUEUE_EVERY, dir.path().join("journal"), Network::Regtest);
        let port = free_port();
        let settings = format!(
            "network = 'regtest'\ndata_dir = '{dir}/mint'\n{queue}\nlisten = '127.0.0.1:{port}'\n\
             [node]\nrpc_port = {rpc}\ncookie_file = '{cookie}'\n\
             [epochs]\nconfirmations = {confirmations}\nannouncement_grace_s = 3\n{further}",
            dir = dir.path().display(),
            queue = queue.replace("DIR", &dir.path().display().to_string()),
            rpc = node.rpc_url().rsplit(':').next().unwrap(),
            cookie = node.cookie_file().display(),
        );
        std::fs::write(dir.path().join("mint.toml"), settings).unwrap();
        let mut rig = Self {
            node,
            journal: Some(journal.unwrap()),
            dir,
            port,
            mint: None,
            address: String::new(),
            shares: 0,
        };
        assert!(rig.run("init").success());
        let descriptor = std::fs::read_to_string(rig.path("mint/coinbase.descriptor")).unwrap();
        let derived = rig.node.cli(&["deriveaddresses", descriptor.trim(), "[0,0]"]);
        rig.address = derived[0].as_str().unwrap().to_owned();
        rig.start().await;
        rig
    }

    /// Blocks that pay the mint and that no pool announces.
    pub fn mine_unannounced(&self, blocks: u32) -> Vec<String> {
        self.node.mine_to(&self.address, blocks)
    }

    /// What an epoch went through, as the names of its changes.
    pub async fn history(&self, n: u64) -> Vec<String> {
        let transitions: Vec<serde_json::Value> =
            self.get(&format!("{}/{n}/history", api::EPOCHS)).await.unwrap();
        transitions.iter().map(|entry| entry["change"].as_str().unwrap().to_owned()).collect()
    }

    /// kill -9 and start.
    pub async fn cut_power(&mut self) {
        self.kill9();
        self.start().await;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `poolbox-mint COMMAND`, to its end.
    pub fn run(&self, command: &str) -> ExitStatus {
        mint_command(&self.path("mint.toml"), &self.path("mint.log")).arg(command).status().unwrap()
    }

    /// Starts the mint and waits for its local API.
    pub async fn start(&mut self) {
        let child = mint_command(&self.path("mint.toml"), &self.path("mint.log")).spawn().unwrap();
        self.mint = Some(child);
        self.until("the mint answers", async |rig| rig.get::<api::Status>(api::STATUS).await.is_ok()).await;
    }

    /// The running mint's process.
    pub fn pid(&self) -> u32 {
        self.mint.as_ref().expect("a running mint").id()
    }

    /// SIGKILL: as a power cut would.
    pub fn kill9(&mut self) {
        if let Some(mut mint) = self.mint.take() {
            mint.kill().unwrap();
            mint.wait().unwrap();
        }
    }

    /// SIGKILL as soon as the mint's database has been written to `writes` times more: within a
    /// transaction, or right behind one. At the latest after a second.
    pub fn kill9_at_write(&mut self, writes: u32) -> JoinHandle<()> {
        let mut mint = self.mint.take().unwrap();
        let log = self.path("mint/mint.sqlite-wal");
        let last = move || std::fs::metadata(&log).and_then(|log| log.modified()).ok();
        let deadline = Instant::now() + Duration::from_secs(1);
        std::thread::spawn(move || {
            for _ in 0..writes {
                let written = last();
                while last() == written && Instant::now() < deadline {
                    std::hint::spin_loop();
                }
            }
            mint.kill().unwrap();
            mint.wait().unwrap();
        })
    }

    /// SIGTERM, and waits.
    pub fn stop(&mut self) -> ExitStatus {
        let mut mint = self.mint.take().unwrap();
        let killed = Command::new("kill").arg(mint.id().to_string()).status().unwrap();
        assert!(killed.success());
        mint.wait().unwrap()
    }

    /// Journals a share of `owner`, as the pool does.
    pub async fn share(&mut self, owner: &Owner, ehash: u64) -> ShareSeq {
        let journal = self.journal.clone().unwrap();
        self.share_in(&journal, owner, ehash).await
    }

    /// Journals a share that `owner` made for an upstream pool.
    pub async fn proxied(&mut self, owner: &Owner, ehash: u64) -> ShareSeq {
        self.shares += 1;
        let hash = BlockHash::hash(&self.shares.to_be_bytes());
        let share = NewShare { mode: Mode::Proxy, ..new_share(owner, ehash, hash, None) };
        self.journal.as_ref().unwrap().append(vec![share]).await.unwrap()
    }

    /// The same in another pool's journal.
    pub async fn share_in(&mut self, journal: &Journal, owner: &Owner, ehash: u64) -> ShareSeq {
        self.shares += 1;
        let hash = BlockHash::hash(&self.shares.to_be_bytes());
        append(journal, owner, ehash, hash, None).await
    }

    /// Journals a share of each of so many owners, `room-0` and on, at once, and waits until they are in
    /// the queue.
    pub async fn queue_a_share_of_each(&mut self, owners: u64, ehash: u64) {
        let share = |n: u64| NewShare {
            identity: Arc::new(Identity {
                owner: Owner::Household(format!("room-{n}")),
                worker: "rig".to_owned(),
            }),
            work: Work::from_ehash(ehash),
            hash: BlockHash::hash(&(self.shares + n).to_be_bytes()),
            at_ms: poolbox_mint::crediting::unix_time() * 1000,
            block_height: None,
            mode: Mode::Pool,
        };
        let shares: Vec<NewShare> = (0..owners).map(share).collect();
        self.shares += owners;
        let journal = self.journal.as_ref().unwrap();
        let last = journal.append(shares).await.unwrap();
        while journal.stats().totals.queued_through < last {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A share of `owner` solves a block that pays the mint: the pool journals it and the node has it.
    pub async fn block(&mut self, owner: &Owner, ehash: u64) -> BlockHash {
        let journal = self.journal.clone().unwrap();
        self.block_in(&journal, owner, ehash).await.0
    }

    /// The same in another pool's journal, and which share it was.
    pub async fn block_in(&mut self, journal: &Journal, owner: &Owner, ehash: u64) -> (BlockHash, ShareSeq) {
        let hash = self.node.mine_to(&self.address, 1).remove(0);
        let hash = BlockHash::from_str(&hash).unwrap();
        let height = u32::try_from(self.node.height()).unwrap();
        let share = append(journal, owner, ehash, hash, Some(height)).await;
        (hash, share)
    }

    pub async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        Client::new(self.path("mint/mint.sock")).unwrap().get(path).await
    }

    pub async fn status(&self) -> api::Status {
        self.get(api::STATUS).await.unwrap()
    }

    pub async fn epoch(&self, n: u64) -> Option<api::Epoch> {
        let epochs: Vec<api::Epoch> = self.get(api::EPOCHS).await.unwrap();
        epochs.into_iter().find(|epoch| epoch.n == EpochId::new(n))
    }

    pub async fn quotes(&self, owner: &Owner) -> Vec<api::Quote> {
        let quotes: api::OwnerAccount = self.get(&format!("{}/{owner}", api::OWNERS)).await.unwrap();
        quotes.quotes
    }

    /// The one quote of an owner in an epoch, as (credited, paid, issued).
    pub async fn amounts(&self, owner: &Owner, n: u64) -> Option<(u64, u64, u64)> {
        let mut quotes = self.quotes(owner).await;
        quotes.retain(|quote| quote.epoch == EpochId::new(n));
        assert!(quotes.len() <= 1, "one quote of {owner} in epoch {n} expected: {quotes:?}");
        quotes.first().map(|quote| (quote.credited.ehash(), quote.paid.ehash(), quote.issued.ehash()))
    }

    /// Reads the books of a stopped mint.
    pub async fn books<T: serde::de::DeserializeOwned>(&self, place: &Place) -> Option<T> {
        ledger::read(&self.database().await, place).await.unwrap()
    }

    /// Falsifies the books of a stopped mint.
    pub async fn tamper<T: serde::Serialize + Sync>(&self, place: &Place, record: &T) {
        let mut tx = self.database().await.begin_transaction().await.unwrap();
        ledger::write(&mut tx, place, record).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A fault: changes cdk's tables behind its back. The mint is stopped.
    pub fn falsify(&self, change: &str) {
        assert!(self.mint.is_none(), "the mint should be stopped");
        let database = rusqlite::Connection::open(self.path("mint/mint.sqlite")).unwrap();
        assert!(database.execute(change, []).unwrap() > 0, "nothing was falsified");
    }

    /// Gives `person` all 1000 ehash of a new epoch, which settles; the wallet, and what they are worth.
    pub async fn ehash(&mut self, person: &Person) -> (Wallet, u64) {
        self.ehash_for_rewards(person, 1).await
    }

    /// The same for an epoch of so many rewards, of which the pool announced the last.
    pub async fn ehash_for_rewards(&mut self, person: &Person, rewards: u32) -> (Wallet, u64) {
        let owner = person.owner();
        let n = self.status().await.epoch.get();
        self.mine_unannounced(rewards - 1);
        self.block(&owner, 1000).await;
        self.node.mine(99);
        self.until("the epoch settles", async |rig| {
            rig.epoch(n).await.is_some_and(|epoch| epoch.state == EpochState::Settled)
        })
        .await;
        self.until_amounts(&owner, n, 1000, 1000).await;
        assert_eq!(person.mint(self, &owner, n).await.unwrap(), 1000);
        let worth = self.epoch(n).await.unwrap().reward.get();
        (person.wallet(&self.url("/ehash"), &format!("ehash-{n}")), worth)
    }

    /// Redeems `ehash` of a wallet into `sat`.
    pub async fn redeem(&self, ehash: &Wallet, amount: u64, sat: &Wallet) {
        let into = sat.mint_quote(method(), Some(1.into()), None, None).await.unwrap();
        let amount = Some(format!(r#"{{"amount":{amount}}}"#));
        let melt = ehash.melt_quote(method(), &into.id, None, amount).await.unwrap();
        ehash.prepare_melt(&melt.id, HashMap::new()).await.unwrap().confirm().await.unwrap();
        sat.check_mint_quote_status(&into.id).await.unwrap();
        sat.mint(&into.id, SplitTarget::default(), None).await.unwrap();
    }

    /// Gives `person` the whole reward of a new epoch in sats; the wallet and the sum.
    pub async fn sats(&mut self, person: &Person) -> (Wallet, u64) {
        let (ehash, worth) = self.ehash(person).await;
        let sat = person.wallet(&self.url(""), "sat");
        self.redeem(&ehash, 1000, &sat).await;
        (sat, worth)
    }

    async fn database(&self) -> DynMintDatabase {
        assert!(self.mint.is_none(), "the mint should be stopped");
        let path = self.path("mint/mint.sqlite");
        Arc::new(cdk_sqlite::MintSqliteDatabase::new(path.to_str().unwrap()).await.unwrap())
    }

    /// Waits until `condition` holds.
    pub async fn until(&self, what: &str, condition: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self).await {
            assert!(
                Instant::now() < deadline,
                "waited in vain until {what}; the mint's log:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until an owner's quote in an epoch shows (credited, paid).
    pub async fn until_amounts(&self, owner: &Owner, n: u64, credited: u64, paid: u64) {
        let what = format!("epoch {n} of {owner} shows {credited} credited, {paid} paid");
        let shows = async |rig: &Self| {
            rig.amounts(owner, n).await.is_some_and(|(c, p, _)| (c, p) == (credited, paid))
        };
        self.until(&what, shows).await;
    }

    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.path("mint.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub fn whole_log(&self) -> String {
        std::fs::read_to_string(self.path("mint.log")).unwrap_or_default()
    }

    /// How many lines of the whole log contain `text`.
    pub fn logged(&self, text: &str) -> usize {
        let log = std::fs::read_to_string(self.path("mint.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).count()
    }

    pub fn url(&self, below: &str) -> String {
        format!("http://127.0.0.1:{}{below}", self.port)
    }

    /// `GET` as a wallet would.
    pub async fn listing(&self, path: &str) -> String {
        reqwest::get(self.url(path)).await.unwrap().text().await.unwrap()
    }

    /// `POST` as a wallet would, for what cdk's wallet does not do; the body of a refusal.
    pub async fn refusal(&self, path: &str, body: serde_json::Value) -> String {
        let answer = reqwest::Client::new().post(self.url(path)).json(&body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_client_error(), "{status}: {text}");
        text
    }
}

/// Waits until an epoch is in that state.
pub async fn until_state(rig: &Rig, n: u64, state: EpochState) {
    let what = format!("epoch {n} is {state:?}");
    rig.until(&what, async |rig| rig.epoch(n).await.is_some_and(|epoch| epoch.state == state)).await;
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill9();
    }
}

async fn append(
    journal: &Journal,
    owner: &Owner,
    ehash: u64,
    hash: BlockHash,
    block: Option<u32>,
) -> ShareSeq {
    journal.append(vec![new_share(owner, ehash, hash, block)]).await.unwrap()
}

fn new_share(owner: &Owner, ehash: u64, hash: BlockHash, block: Option<u32>) -> NewShare {
    NewShare {
        identity: Arc::new(Identity { owner: owner.clone(), worker: "rig".to_owned() }),
        work: Work::from_ehash(ehash),
        hash,
        at_ms: poolbox_mint::crediting::unix_time() * 1000,
        block_height: block,
        mode: Mode::Pool,
    }
}

/// A person with a seed and cdk's wallet.
pub struct Person {
    seed: [u8; 64],
    store: Arc<cdk_sqlite::WalletSqliteDatabase>,
}

impl Person {
    pub async fn new(number: u8) -> Self {
        let store = Arc::new(cdk_sqlite::wallet::memory::empty().await.unwrap());
        Self { seed: [number; 64], store }
    }

    /// The owner part of this person's user name: the wallet's first quote key.
    pub fn owner(&self) -> Owner {
        owner_of(&self.seed)
    }

    pub fn wallet(&self, url: &str, unit: &str) -> Wallet {
        let builder = WalletBuilder::new()
            .mint_url(url.parse().unwrap())
            .unit(CurrencyUnit::from_str(unit).unwrap())
            .localstore(self.store.clone())
            .seed(self.seed)
            .without_rate_limiting();
        let wallet = builder.build().unwrap();
        // An epoch's keyset may be younger than what a wallet remembers of the mint.
        wallet.set_metadata_cache_ttl(None);
        wallet
    }

    /// Mints what may be minted of an owner's quote in an epoch; the amount.
    pub async fn mint(&self, rig: &Rig, owner: &Owner, n: u64) -> Result<u64, cdk::Error> {
        let quotes = rig.quotes(owner).await;
        let quote =
            quotes.iter().find(|quote| quote.epoch == EpochId::new(n)).expect("a quote in that epoch");
        let wallet = self.wallet(&rig.url("/ehash"), &quote.unit);
        let quote = wallet.fetch_mint_quote_with_key_search(&quote.id, Some(method()), 10).await?;
        let proofs = wallet.mint(&quote.id, SplitTarget::default(), None).await?;
        Ok(proofs.iter().map(|proof| proof.amount.to_u64()).sum())
    }
}

/// The owner whose key is the first quote key of a wallet's seed.
pub fn owner_of(seed: &[u8; 64]) -> Owner {
    let key = derive_quote_locking_key(seed, 0).unwrap().public_key();
    Owner::parse(&key.to_string(), Network::Regtest).unwrap()
}

pub fn method() -> PaymentMethod {
    PaymentMethod::Custom("ehash".to_owned())
}

/// Another of the programs just built.
pub fn program(name: &str) -> Command {
    let folder = std::env::var_os("POOLBOX_BIN_DIR").expect("POOLBOX_BIN_DIR is set by cargo xtask test");
    let mut command = Command::new(PathBuf::from(folder).join(name));
    command.env_remove("POOLBOX_LOG");
    command
}

pub fn mint_command(settings: &Path, log: &Path) -> Command {
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    // A file that may grow no further is an error then, and not the end of the process.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_poolbox-mint")]);
    command.arg("--config").arg(settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command
}
