//! The miner's counterpart in tests: a Stratum V1 server that says what it is told to, checks what
//! the miner sends, and hashes every share again with the bitcoin library.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{BlockHash, CompactTarget, Target, Transaction, TxMerkleNode, block, constants, merkle_tree};
use serde_json::{Value, json};

/// Difficulty of 2^-20: a share every 4096 hashes.
pub const EASY: f64 = 1.0 / 1_048_576.0;
/// A quarter as many shares.
pub const HARDER: f64 = EASY * 4.0;
/// The version bits of BIP 320.
pub const MASK: u32 = 0x1fff_e000;

const PATIENCE: Duration = Duration::from_secs(30);
const VERSION: u32 = 0x2000_0000;
const BITS: u32 = 0x1e03_77ae;

pub struct ScriptedPool {
    listener: TcpListener,
}

/// One connection of the miner.
pub struct Conversation {
    lines: BufReader<TcpStream>,
    stream: TcpStream,
    extranonce1: Vec<u8>,
    extranonce2_size: usize,
    /// Jobs sent, with what they were sent under.
    jobs: Vec<SentJob>,
    mask: u32,
    difficulty: f64,
    /// Everything that was ever hashed into a share.
    seen: HashSet<BlockHash>,
}

#[derive(Clone)]
struct SentJob {
    id: String,
    extranonce1: Vec<u8>,
    extranonce2_size: usize,
    difficulty: f64,
    mask: u32,
    time: u32,
}

/// A share that was sent, and proved.
#[derive(Debug)]
pub struct Share {
    pub id: Value,
    pub job: String,
    pub extranonce2: String,
    pub version_bits: Option<u32>,
    pub hash: BlockHash,
}

impl ScriptedPool {
    pub fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub fn url(&self) -> String {
        format!("stratum+tcp://{}", self.listener.local_addr().unwrap())
    }

    pub fn accept(&self) -> Conversation {
        self.listener.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => panic!("no miner came: {error}"),
            }
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Conversation {
            lines: BufReader::new(stream.try_clone().unwrap()),
            stream,
            extranonce1: vec![0xab, 0xcd, 0x00, 0x01],
            extranonce2_size: 8,
            jobs: Vec::new(),
            mask: 0,
            difficulty: 1.0,
            seen: HashSet::new(),
        }
    }
}

impl Conversation {
    pub fn send(&mut self, message: &Value) {
        self.stream.write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    pub fn send_text(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    pub fn receive(&mut self) -> Value {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "the miner closed the connection");
        serde_json::from_str(&line).unwrap()
    }

    /// The next message, which must call this method.
    pub fn expect(&mut self, method: &str) -> Value {
        let message = self.receive();
        assert_eq!(message["method"], method, "{message}");
        message
    }

    /// Answers the three opening requests; `mask` is `None` where the pool cannot roll versions.
    pub fn greet(&mut self, mask: Option<u32>) {
        let configure = self.expect("mining.configure");
        let offered = json!([["version-rolling"], { "version-rolling.mask": "1fffe000" }]);
        assert_eq!(configure["params"], offered);
        let granted = match mask {
            Some(mask) => {
                json!({ "id": configure["id"], "error": null,
                    "result": { "version-rolling": true, "version-rolling.mask": format!("{mask:08x}") } })
            }
            None => json!({ "id": configure["id"], "result": null, "error": [20, "Unknown method", null] }),
        };
        self.mask = mask.unwrap_or(0);
        self.send(&granted);
        let subscribe = self.expect("mining.subscribe");
        let extranonce1 = hex::encode(&self.extranonce1);
        let result = json!([[["mining.notify", "1"]], extranonce1, self.extranonce2_size]);
        self.send(&json!({ "id": subscribe["id"], "result": result, "error": null }));
        let authorize = self.expect("mining.authorize");
        assert_eq!(authorize["params"], json!(["garage.cpu1", "d=1"]));
        self.send(&json!({ "id": authorize["id"], "result": true, "error": null }));
    }

    pub fn set_difficulty(&mut self, difficulty: f64) {
        self.difficulty = difficulty;
        self.send(&json!({ "id": null, "method": "mining.set_difficulty", "params": [difficulty] }));
    }

    pub fn set_extranonce(&mut self, extranonce1: &[u8], size: usize) {
        (self.extranonce1, self.extranonce2_size) = (extranonce1.to_vec(), size);
        let params = json!([hex::encode(extranonce1), size]);
        self.send(&json!({ "id": null, "method": "mining.set_extranonce", "params": params }));
    }

    pub fn set_version_mask(&mut self, mask: u32) {
        self.mask = mask;
        let params = json!([format!("{mask:08x}")]);
        self.send(&json!({ "id": null, "method": "mining.set_version_mask", "params": params }));
    }

    pub fn notify(&mut self, id: &str, clean: bool) {
        let time = 1_700_000_000 + self.jobs.len() as u32;
        let (coinbase1, coinbase2) = coinbase_parts(self.extranonce1.len() + self.extranonce2_size);
        let mut previous = previous_hash().to_byte_array();
        previous.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
        let path: Vec<String> = merkle_path().iter().map(|node| hex::encode(node.to_byte_array())).collect();
        let word = |number: u32| format!("{number:08x}");
        let params = json!([
            id,
            hex::encode(previous),
            hex::encode(coinbase1),
            hex::encode(coinbase2),
            path,
            word(VERSION),
            word(BITS),
            word(time),
            clean
        ]);
        self.jobs.push(SentJob {
            id: id.into(),
            extranonce1: self.extranonce1.clone(),
            extranonce2_size: self.extranonce2_size,
            difficulty: self.difficulty,
            mask: self.mask,
            time,
        });
        self.send(&json!({ "id": null, "method": "mining.notify", "params": params }));
    }

    /// The next share, proved to meet its job's difficulty, and new. Not answered yet.
    pub fn share(&mut self) -> Share {
        let submit = self.expect("mining.submit");
        self.prove(&submit)
    }

    pub fn accept_share(&mut self) -> Share {
        let share = self.share();
        self.send(&json!({ "id": share.id, "result": true, "error": null }));
        share
    }

    /// Asks for the miner's version; what it sent before it answered. What comes later was sent
    /// after the miner had read everything sent so far.
    pub fn barrier(&mut self) -> Vec<Share> {
        self.send(&json!({ "id": "b", "method": "client.get_version", "params": [] }));
        let mut shares = Vec::new();
        loop {
            let message = self.receive();
            if message["id"] == "b" {
                assert_eq!(message["result"], "test/1.0");
                return shares;
            }
            shares.push(self.prove(&message));
        }
    }

    fn prove(&mut self, submit: &Value) -> Share {
        let params: Vec<String> = serde_json::from_value(submit["params"].clone()).unwrap();
        assert_eq!(params[0], "garage.cpu1");
        let job = self.jobs.iter().find(|job| job.id == params[1]).expect("a job that was sent").clone();
        let word = |digits: &String| {
            assert_eq!(digits.len(), 8, "{digits}");
            u32::from_str_radix(digits, 16).unwrap()
        };
        let extranonce2 = hex::decode(&params[2]).unwrap();
        assert_eq!(extranonce2.len(), job.extranonce2_size);
        assert_eq!(word(&params[3]), job.time);
        let version_bits = params.get(5).map(word);
        assert_eq!(version_bits.is_some(), job.mask != 0);
        assert_eq!(version_bits.unwrap_or(0) & !job.mask, 0, "bits outside the mask");

        let extranonces = [job.extranonce1.clone(), extranonce2].concat();
        let (coinbase1, coinbase2) = coinbase_parts(extranonces.len());
        let coinbase: Transaction = deserialize(&[coinbase1, extranonces, coinbase2].concat()).unwrap();
        let [a, b, c] = other_transactions();
        let leaves = [coinbase.compute_txid().to_raw_hash(), a, b, c];
        let root = merkle_tree::calculate_root(leaves.into_iter()).unwrap();
        let header = block::Header {
            version: block::Version::from_consensus((VERSION | version_bits.unwrap_or(0)) as i32),
            prev_blockhash: previous_hash(),
            merkle_root: TxMerkleNode::from_raw_hash(root),
            time: job.time,
            bits: CompactTarget::from_consensus(BITS),
            nonce: word(&params[4]),
        };
        let hash = header.block_hash();
        assert!(meets(hash, job.difficulty), "{hash} is no share at difficulty {}", job.difficulty);
        assert!(self.seen.insert(hash), "{hash} was sent twice");
        Share { id: submit["id"].clone(), job: job.id, extranonce2: params[2].clone(), version_bits, hash }
    }
}

/// Whether the hash is a share at a power-of-two difficulty below 1, reckoned by the bitcoin library.
pub fn meets(hash: BlockHash, difficulty: f64) -> bool {
    let easier = (1.0 / difficulty).log2() as usize;
    let mut target = Target::MAX.to_be_bytes();
    // Each step shifts the difficulty-1 target up by one bit.
    for _ in 0..easier {
        let mut carry = 0;
        for byte in target.iter_mut().rev() {
            (*byte, carry) = (*byte << 1 | carry, *byte >> 7);
        }
    }
    Target::from_be_bytes(target).is_met_by(hash)
}

fn previous_hash() -> BlockHash {
    constants::genesis_block(bitcoin::Network::Bitcoin).block_hash()
}

fn other_transactions() -> [sha256d::Hash; 3] {
    [b"a", b"b", b"c"].map(|name| sha256d::Hash::hash(name))
}

fn merkle_path() -> [sha256d::Hash; 2] {
    let [a, b, c] = other_transactions();
    [a, sha256d::Hash::hash(&[b.to_byte_array(), c.to_byte_array()].concat())]
}

/// The genesis coinbase with room for `extranonces` bytes at the end of its input script, split there.
fn coinbase_parts(extranonces: usize) -> (Vec<u8>, Vec<u8>) {
    const MARK: u8 = 0xee;
    let mut coinbase = constants::genesis_block(bitcoin::Network::Bitcoin).txdata.remove(0);
    coinbase.input[0].script_sig = [vec![3, 1, 2, 3], vec![MARK; extranonces]].concat().into();
    let bytes = serialize(&coinbase);
    let at = bytes.windows(extranonces).position(|window| window == vec![MARK; extranonces]).unwrap();
    (bytes[..at].to_vec(), bytes[at + extranonces..].to_vec())
}

/// The miner itself, as a process; killed when dropped.
pub struct Miner {
    process: Child,
    /// Reads its log, so that it never waits for us to.
    log: Option<JoinHandle<String>>,
}

impl Miner {
    /// Slow enough that a test's shares stay few, with these flags besides.
    pub fn start(url: &str, flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_poolbox-miner"))
            .args(["--url", url, "--user", "garage.cpu1", "--password", "d=1", "--user-agent", "test/1.0"])
            .args(["--max-hashrate", "400k"])
            .args(flags)
            .env("POOLBOX_LOG", "debug")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = process.stderr.take().unwrap();
        let log = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
        Self { process, log: Some(log) }
    }

    /// Asks it to stop; its exit status and its log.
    pub fn stop(self) -> (i32, String) {
        let terminate = format!("kill {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &terminate]).status().unwrap().success());
        self.wait()
    }

    /// Waits for its end; its exit status and its log.
    pub fn wait(mut self) -> (i32, String) {
        let log = self.log.take().unwrap().join().unwrap();
        (self.process.wait().unwrap().code().expect("it ended by itself"), log)
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        // Fails when it has ended, which is fine.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
