//! Whom the next block pays, read from the wire: the dashboard connects as a miner would, takes one job and
//! leaves, decodes its coinbase and compares it with the descriptor that the mint wrote, or in mode solo with the
//! address that it gave as its user name. Nothing that the pool says of itself is believed for it. A pool that is
//! seen twice in a row to pay wrongly is stopped.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bitcoin::consensus::encode;
use bitcoin::{Address, ScriptBuf, Transaction};
use miniscript::{Descriptor, DescriptorPublicKey};
use poolbox_accounting::Network;
use poolbox_api::{Client, pool};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::endpoints;
use crate::feed::{Snapshot, now};

/// How often a job is looked at.
const EVERY: Duration = Duration::from_secs(30);
/// How soon again after one that would pay wrongly, or while there is none.
const AGAIN: Duration = Duration::from_secs(5);
/// Wrong looks in a row that stop the pool.
const ENOUGH: u32 = 2;
/// A pool sends the first job at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// A job's line is far shorter.
const MAX_BYTES: u64 = 1 << 20;
/// The address of the descriptor that coinbases pay.
const INDEX: u32 = 0;
/// A valid household name; who leaves without a share is no worker.
const USER: &str = "dashboard";

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// When, Unix seconds.
    pub at: u64,
    /// What the coinbase pays: address or script, and sats.
    pub pays: Vec<(String, u64)>,
    /// Whether all of it goes where it should.
    pub right: bool,
    /// In words.
    pub verdict: String,
}

/// Whom a block has to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payee {
    /// Mode pool.
    Mint,
    /// Mode solo: whoever asked for the job, which is the dashboard.
    Asker,
}

impl Payee {
    const fn right(self) -> &'static str {
        match self {
            Self::Mint => "all of it goes to this box's mint",
            Self::Asker => {
                "all of it goes to the miner that was sent the job, here the dashboard with an address made for \
                 this one look"
            }
        }
    }

    const fn wrong(self) -> &'static str {
        match self {
            Self::Mint => "it pays somebody else than this box's mint",
            Self::Asker => "it pays somebody else than the miner that was sent the job",
        }
    }
}

/// Wrong looks in a row at one run of the pool.
#[derive(Debug, Default)]
struct Streak {
    /// When the pool started, Unix seconds.
    run: u64,
    wrong: u32,
}

impl Streak {
    /// Whether it is enough to stop the pool.
    fn note(&mut self, run: u64, right: bool) -> bool {
        let before = if self.run == run { self.wrong } else { 0 };
        *self = Self { run, wrong: if right { 0 } else { before + 1 } };
        self.wrong >= ENOUGH
    }
}

/// Who looks.
pub struct Looker {
    /// The descriptor that every coinbase must pay in mode pool; without it that mode is not looked at.
    pub descriptor_file: Option<PathBuf>,
    /// The pool's local API, to stop it.
    pub pool: Client,
    /// What the pool says of itself: where miners connect, and its mode.
    pub feed: watch::Receiver<Arc<Snapshot>>,
    /// Where what was seen goes.
    pub out: watch::Sender<Option<Seen>>,
}

impl Looker {
    /// Looks at a job now and then, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut streak = Streak::default();
        loop {
            let pool = self.feed.borrow_and_update().pool.clone();
            let rest = match pool.filter(|pool| pool.job.is_some()) {
                Some(pool) => self.step(&pool, &mut streak).await,
                // Until the pool has work there is nothing to wait long for.
                None => {
                    self.out.send_replace(None);
                    AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Looks once; how long to rest.
    async fn step(&self, pool: &pool::Status, streak: &mut Streak) -> Duration {
        match tokio::time::timeout(PATIENCE, self.look(pool)).await {
            Ok(Ok(seen)) => {
                let right = seen.as_ref().is_none_or(|seen| seen.right);
                let verdict = seen.as_ref().map(|seen| seen.verdict.clone()).unwrap_or_default();
                if !right {
                    tracing::error!(?seen, "a job was sent that would pay the wrong party");
                }
                self.out.send_replace(seen);
                if streak.note(pool.started_at, right)
                    && let Err(error) = self.halt(pool, &verdict).await
                {
                    tracing::error!(error = format!("{error:#}"), "the pool was not stopped");
                }
                return if right { EVERY } else { AGAIN };
            }
            Ok(Err(error)) => {
                tracing::warn!(error = format!("{error:#}"), "no job could be read from the pool");
            }
            Err(_) => tracing::warn!("the pool sent no job to the dashboard"),
        }
        EVERY
    }

    async fn look(&self, pool: &pool::Status) -> anyhow::Result<Option<Seen>> {
        let (user, expected, payee) = match pool.mode {
            pool::Mode::Pool => {
                let Some(file) = &self.descriptor_file else { return Ok(None) };
                (USER.to_owned(), expected(file)?, Payee::Mint)
            }
            pool::Mode::Solo => {
                let (address, script) = nobodys(pool.network)?;
                (address.to_string(), script, Payee::Asker)
            }
            // Whom its blocks pay is the upstream pool's affair.
            pool::Mode::Proxy => return Ok(None),
        };
        let ways = endpoints::endpoints(pool, "127.0.0.1");
        let way = ways.first().context("the pool does not say where it listens")?;
        let bytes = coinbase_on_the_wire(&way.host, way.port, &user).await?;
        Ok(Some(judge(&bytes, &expected, payee, pool.network)))
    }

    /// Stops the pool, if it is still the one that was looked at.
    async fn halt(&self, looked_at: &pool::Status, verdict: &str) -> anyhow::Result<()> {
        let now: pool::Status = self.pool.get(pool::STATUS).await.context("ask the pool")?;
        if (now.started_at, now.mode) != (looked_at.started_at, looked_at.mode) {
            return Ok(());
        }
        let reason = format!("the dashboard read jobs that would pay wrongly, twice in a row: {verdict}");
        tracing::error!(reason, "THE POOL IS STOPPED");
        let _: pool::Stopped =
            self.pool.post(pool::HALT, &pool::Stop { reason }).await.context("stop the pool")?;
        Ok(())
    }
}

/// An address that nobody has the key of, made for one look: who sends the job cannot know it beforehand. No share
/// is ever sent for it, so no block pays it.
fn nobodys(network: Network) -> anyhow::Result<(Address, ScriptBuf)> {
    let script = ScriptBuf::from_bytes([&[0, 20][..], &rand::random::<[u8; 20]>()].concat());
    let address = Address::from_script(&script, network.to_bitcoin()).context("make an address")?;
    Ok((address, script))
}

/// The output that every coinbase has to pay.
fn expected(file: &Path) -> anyhow::Result<ScriptBuf> {
    let text = std::fs::read_to_string(file).context("read coinbase_descriptor_file")?;
    let descriptor = Descriptor::<DescriptorPublicKey>::from_str(text.trim());
    let descriptor = descriptor.context("coinbase_descriptor_file holds no descriptor")?;
    Ok(descriptor.at_derivation_index(INDEX).context("derive the coinbase's address")?.script_pubkey())
}

/// Subscribes, takes the first job, leaves.
async fn coinbase_on_the_wire(host: &str, port: u16, user: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((host, port)).await.context("connect to the pool as a miner")?;
    let hello = json!({ "id": 1, "method": "mining.subscribe", "params": ["poolbox-dashboard"] });
    let login = json!({ "id": 2, "method": "mining.authorize", "params": [user, "x"] });
    stream.write_all(format!("{hello}\n{login}\n").as_bytes()).await?;
    let mut lines = BufReader::new(stream.take(MAX_BYTES)).lines();
    let mut extranonces = None;
    while let Some(line) = lines.next_line().await? {
        let message: Value = serde_json::from_str(&line).context("the pool's line cannot be read")?;
        if message["id"] == 1 {
            extranonces =
                Some(extranonce(&message["result"]).context("the pool's subscription cannot be read")?);
        }
        if message["method"] == "mining.notify" {
            let extranonce = extranonces.context("a job came before the subscription")?;
            let part = |nth: usize| message["params"][nth].as_str().and_then(|text| hex::decode(text).ok());
            let (first, second) = part(2).zip(part(3)).context("the pool's job cannot be read")?;
            return Ok([first, extranonce, second].concat());
        }
    }
    bail!("the pool closed the connection before it sent a job")
}

/// The pool's part, and zeros for the miner's.
fn extranonce(subscription: &Value) -> Option<Vec<u8>> {
    let mut bytes = hex::decode(subscription[1].as_str()?).ok()?;
    let own = usize::try_from(subscription[2].as_u64()?).ok().filter(|size| *size <= 64)?;
    bytes.resize(bytes.len() + own, 0);
    Some(bytes)
}

/// Whether a coinbase pays all it pays to `expected`. Pure but for the time.
fn judge(bytes: &[u8], expected: &ScriptBuf, payee: Payee, network: Network) -> Seen {
    let told = |pays, right, verdict: &str| Seen { at: now(), pays, right, verdict: verdict.to_owned() };
    let Ok(read) = encode::deserialize::<Transaction>(bytes) else {
        return told(Vec::new(), false, "it is no transaction");
    };
    let paid: Vec<_> = read.output.iter().filter(|output| output.value.to_sat() > 0).collect();
    let named = paid.iter().map(|output| {
        let address = Address::from_script(&output.script_pubkey, network.to_bitcoin());
        let name =
            address.map_or_else(|_| output.script_pubkey.to_hex_string(), |address| address.to_string());
        (name, output.value.to_sat())
    });
    let pays = named.collect();
    if !read.is_coinbase() {
        return told(pays, false, "it is no coinbase");
    }
    if paid.is_empty() {
        return told(pays, false, "it pays nobody");
    }
    if paid.iter().any(|output| output.script_pubkey != *expected) {
        return told(pays, false, payee.wrong());
    }
    told(pays, true, payee.right())
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::{Amount, OutPoint, Sequence, TxIn, TxOut, Witness, transaction};

    use super::*;

    fn coinbase(outputs: &[(&ScriptBuf, u64)]) -> Vec<u8> {
        let input = TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(vec![1; 20]),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        };
        let outputs = outputs
            .iter()
            .map(|(script, sats)| TxOut { value: Amount::from_sat(*sats), script_pubkey: (*script).clone() });
        encode::serialize(&Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: outputs.collect(),
        })
    }

    #[test]
    fn only_a_coinbase_that_pays_the_mint_alone_is_right() {
        let script = |text: &str| ScriptBuf::from_hex(text).unwrap();
        let ours = script("0014751e76e8199196d454941c45d1b3a323f1433bd6");
        let theirs = script("00140000000000000000000000000000000000000000");
        let commitment = script("6a24aa21a9ed");
        let right = |bytes: &[u8]| judge(bytes, &ours, Payee::Mint, Network::Devnet).right;
        assert!(right(&coinbase(&[(&ours, 5_000_000_000), (&commitment, 0)])));
        assert!(!right(&coinbase(&[(&theirs, 5_000_000_000)])));
        assert!(!right(&coinbase(&[(&ours, 4_999_999_999), (&theirs, 1)])), "not a sat for others");
        assert!(!right(&coinbase(&[(&ours, 0), (&commitment, 0)])));
        assert!(!right(b"nonsense"));
    }

    #[test]
    fn only_wrong_looks_in_a_row_at_one_run_of_the_pool_stop_it() {
        let mut streak = Streak::default();
        assert!(!streak.note(1, false) && !streak.note(1, true) && !streak.note(1, false), "not in a row");
        assert!(!streak.note(2, false), "the pool was started again");
        assert!(streak.note(2, false) && streak.note(2, false), "and again, should stopping it have failed");
    }

    #[test]
    fn an_address_is_made_for_each_look() {
        let (address, script) = nobodys(Network::Mainnet).unwrap();
        assert_eq!(address.script_pubkey(), script);
        assert!(address.to_string().starts_with("bc1q"), "{address}");
        assert_ne!(nobodys(Network::Mainnet).unwrap().1, script);
    }

    #[test]
    fn a_subscription_tells_how_long_the_extranonces_are() {
        let told = json!([[["mining.notify", "01"]], "01020304", 8]);
        assert_eq!(extranonce(&told).unwrap(), [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(extranonce(&json!([[], "01", 1e9])), None);
        assert_eq!(extranonce(&json!(null)), None);
    }
}
