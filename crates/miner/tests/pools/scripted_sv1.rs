//! The miner's counterpart in tests: a Stratum V1 server that says what it is told to, checks what
//! the miner sends, and proves every share.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use serde_json::{Value, json};

use crate::block::{BITS, Header, VERSION, coinbase_parts, meets, merkle_path, previous_hash};
use crate::miner::{PATIENCE, accept};

/// Difficulty of 2^-20: a share every 4096 hashes.
pub const EASY: f64 = 1.0 / 1_048_576.0;
/// Difficulty of 2^-32: nearly every hash is a share.
pub const EASIEST: f64 = EASY / 4096.0;
/// A quarter as many shares.
pub const HARDER: f64 = EASY * 4.0;
/// The version bits of BIP 320.
pub const MASK: u32 = 0x1fff_e000;

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
    user: String,
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
        let stream = accept(&self.listener);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Conversation {
            lines: BufReader::new(stream.try_clone().unwrap()),
            stream,
            extranonce1: vec![0xab, 0xcd, 0x00, 0x01],
            extranonce2_size: 8,
            jobs: Vec::new(),
            mask: 0,
            difficulty: 1.0,
            user: String::new(),
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
        self.try_receive().expect("the miner closed the connection")
    }

    /// The next message, unless the miner is gone.
    fn try_receive(&mut self) -> Option<Value> {
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).ok()?;
        (length > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    /// The next message, which must call this method.
    pub fn expect(&mut self, method: &str) -> Value {
        let message = self.receive();
        assert_eq!(message["method"], method, "{message}");
        message
    }

    /// Answers the three opening requests; `mask` is `None` where the pool cannot roll versions.
    pub fn greet(&mut self, mask: Option<u32>) {
        self.greet_as("garage.cpu1", mask);
    }

    /// Likewise, to a miner of this name.
    pub fn greet_as(&mut self, user: &str, mask: Option<u32>) {
        self.user = user.to_owned();
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
        assert_eq!(authorize["params"], json!([user, "d=1"]));
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

    /// Likewise, unless the miner is gone.
    pub fn try_accept_share(&mut self) -> Option<Share> {
        let submit = self.try_receive()?;
        let share = self.prove(&submit);
        self.send(&json!({ "id": share.id, "result": true, "error": null }));
        Some(share)
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
        assert_eq!(params[0], self.user);
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
        let hash = Header {
            version: VERSION | version_bits.unwrap_or(0),
            extranonces,
            time: job.time,
            nonce: word(&params[4]),
        }
        .hash();
        assert!(meets(hash, job.difficulty), "{hash} is no share at difficulty {}", job.difficulty);
        assert!(self.seen.insert(hash), "{hash} was sent twice");
        Share { id: submit["id"].clone(), job: job.id, extranonce2: params[2].clone(), version_bits, hash }
    }
}
