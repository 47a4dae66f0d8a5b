//! Whom the next block pays, read from the wire: the dashboard connects as a miner would, takes one job and
//! leaves, decodes its coinbase and compares it with the descriptor that the mint wrote. Nothing that the
//! pool says of itself is believed for it.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bitcoin::consensus::encode;
use bitcoin::{Address, ScriptBuf, Transaction};
use miniscript::{Descriptor, DescriptorPublicKey};
use poolbox_accounting::Network;
use poolbox_api::pool;
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

/// Looks at a job now and then, until `stop`.
pub async fn watch(
    descriptor_file: std::path::PathBuf,
    mut feed: watch::Receiver<Arc<Snapshot>>,
    out: watch::Sender<Option<Seen>>,
    stop: CancellationToken,
) {
    loop {
        let pool = feed.borrow_and_update().pool.clone();
        let asked = match &pool {
            Some(pool) if pool.mode == pool::Mode::Pool && pool.job.is_some() => {
                tokio::time::timeout(PATIENCE, look(&descriptor_file, pool)).await
            }
            _ => Ok(Ok(None)),
        };
        match asked {
            Ok(Ok(seen)) => {
                if seen.as_ref().is_some_and(|seen| !seen.right) {
                    tracing::error!(?seen, "a job was sent that would pay the wrong party");
                }
                out.send_replace(seen);
            }
            Ok(Err(error)) => {
                tracing::warn!(error = format!("{error:#}"), "no job could be read from the pool")
            }
            Err(_) => tracing::warn!("the pool sent no job to the dashboard"),
        }
        // Until the pool answers for the first time there is nothing to wait long for.
        let rest =
            if pool.as_ref().is_some_and(|pool| pool.job.is_some()) { EVERY } else { Duration::from_secs(2) };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn look(descriptor_file: &Path, pool: &pool::Status) -> anyhow::Result<Option<Seen>> {
    let ways = endpoints::endpoints(pool, "127.0.0.1");
    let way = ways.first().context("the pool does not say where it listens")?;
    let bytes = coinbase_on_the_wire(&way.host, way.port).await?;
    Ok(Some(judge(&bytes, &expected(descriptor_file)?, pool.network)))
}

/// The output that every coinbase has to pay.
fn expected(file: &Path) -> anyhow::Result<ScriptBuf> {
    let text = std::fs::read_to_string(file).context("read coinbase_descriptor_file")?;
    let descriptor = Descriptor::<DescriptorPublicKey>::from_str(text.trim());
    let descriptor = descriptor.context("coinbase_descriptor_file holds no descriptor")?;
    Ok(descriptor.at_derivation_index(INDEX).context("derive the coinbase's address")?.script_pubkey())
}

/// Subscribes, takes the first job, leaves.
async fn coinbase_on_the_wire(host: &str, port: u16) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((host, port)).await.context("connect to the pool as a miner")?;
    let hello = json!({ "id": 1, "method": "mining.subscribe", "params": ["poolbox-dashboard"] });
    let login = json!({ "id": 2, "method": "mining.authorize", "params": [USER, "x"] });
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
fn judge(bytes: &[u8], expected: &ScriptBuf, network: Network) -> Seen {
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
        return told(pays, false, "it pays somebody else than this box's mint");
    }
    told(pays, true, "all of it goes to this box's mint")
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
        let right = |bytes: &[u8]| judge(bytes, &ours, Network::Devnet).right;
        assert!(right(&coinbase(&[(&ours, 5_000_000_000), (&commitment, 0)])));
        assert!(!right(&coinbase(&[(&theirs, 5_000_000_000)])));
        assert!(!right(&coinbase(&[(&ours, 4_999_999_999), (&theirs, 1)])), "not a sat for others");
        assert!(!right(&coinbase(&[(&ours, 0), (&commitment, 0)])));
        assert!(!right(b"nonsense"));
    }

    #[test]
    fn a_subscription_tells_how_long_the_extranonces_are() {
        let told = json!([[["mining.notify", "01"]], "01020304", 8]);
        assert_eq!(extranonce(&told).unwrap(), [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(extranonce(&json!([[], "01", 1e9])), None);
        assert_eq!(extranonce(&json!(null)), None);
    }
}
