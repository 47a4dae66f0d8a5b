//! A Stratum V1 client as a test needs it.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::fixture::SOON;

pub const SUBSCRIBE: &str = "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"test\"]}\n";
pub const AUTHORIZE: &str = "{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"garage\",\"x\"]}\n";

/// A miner that was given its first job.
pub struct MinerV1 {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: Option<OwnedWriteHalf>,
    job: String,
    time: String,
    nonce: u32,
    /// Shares that were acknowledged.
    pub accepted: usize,
    /// Shares that were none: one hash in 65,536.
    pub unlucky: usize,
}

impl MinerV1 {
    pub async fn connect(address: SocketAddr) -> Self {
        let (read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        write.write_all(format!("{SUBSCRIBE}{AUTHORIZE}").as_bytes()).await.unwrap();
        let lines = BufReader::new(read).lines();
        let mut miner = Self {
            lines,
            write: Some(write),
            job: String::new(),
            time: String::new(),
            nonce: 0,
            accepted: 0,
            unlucky: 0,
        };
        while miner.job.is_empty() {
            miner.hear().await.unwrap();
        }
        miner
    }

    /// Sends lines.
    pub async fn say(&mut self, lines: &str) {
        self.write.as_mut().expect("a writing half").write_all(lines.as_bytes()).await.unwrap();
    }

    /// The next line, if the connection still holds.
    pub async fn hear(&mut self) -> Option<Value> {
        let line = timeout(SOON, self.lines.next_line()).await.expect("silence").ok()??;
        self.note(&line)
    }

    fn note(&mut self, line: &str) -> Option<Value> {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["method"] == "mining.notify" {
            let text = |at: usize| line["params"][at].as_str().unwrap().to_owned();
            (self.job, self.time) = (text(0), text(7));
        } else if line["id"] == 4 {
            let unlucky = line["error"][0] == 23;
            assert!(unlucky || line["result"] == true, "{line}");
            self.accepted += usize::from(!unlucky);
            self.unlucky += usize::from(unlucky);
        }
        Some(line)
    }

    /// The lines of so many new shares.
    pub fn shares(&mut self, count: u32) -> String {
        let Self { job, time, nonce, .. } = self;
        let share = |nonce: u32| {
            format!(
                "{{\"id\":4,\"method\":\"mining.submit\",\"params\":[\"garage\",\"{job}\",\"0000000000000000\",\"{time}\",\"{nonce:08x}\"]}}\n"
            )
        };
        let lines = (*nonce..*nonce + count).map(share).collect();
        *nonce += count;
        lines
    }

    /// Shares that were answered.
    pub const fn answered(&self) -> usize {
        self.accepted + self.unlucky
    }

    /// Sends so many shares, and listens meanwhile until all were answered.
    pub async fn mine_many(&mut self, count: u32) {
        let shares = self.shares(count);
        let before = self.answered();
        let mut write = self.write.take().expect("a writing half");
        let sending = async {
            write.write_all(shares.as_bytes()).await.unwrap();
        };
        let hearing = async {
            while self.answered() < before + count as usize {
                self.hear().await.unwrap();
            }
        };
        tokio::join!(sending, hearing);
        self.write = Some(write);
    }

    /// Sends a share and waits for its answer.
    pub async fn mine(&mut self) {
        let share = self.shares(1);
        self.say(&share).await;
        let before = self.answered();
        while self.answered() == before {
            self.hear().await.expect("the connection ended");
        }
    }

    /// Waits until the server ends the connection.
    pub async fn is_let_go(&mut self) {
        while self.hear().await.is_some() {}
    }
}

/// Waits until the server ends a connection; what it said before.
pub async fn last_words(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // However it ends it: an orderly end and a reset are one.
    let _ = timeout(SOON, stream.read_to_end(&mut said)).await.expect("the connection is still open");
    said
}
