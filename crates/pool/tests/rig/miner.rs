//! A Sv1 miner written out by hand: it says what a test has it say, and finds nothing.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// An open connection.
pub struct Miner {
    stream: BufReader<TcpStream>,
    next_id: u64,
}

impl Miner {
    /// Connects to `host:port`.
    pub async fn connect(address: &str) -> Self {
        let stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        Self { stream, next_id: 1 }
    }

    /// Asks and reads on to the answer; none when the connection has ended.
    pub async fn ask(&mut self, method: &str, params: Value) -> Option<Value> {
        let id = self.next_id;
        self.next_id += 1;
        let line = json!({ "id": id, "method": method, "params": params }).to_string() + "\n";
        self.stream.write_all(line.as_bytes()).await.ok()?;
        loop {
            let said = self.hear().await?;
            if said["id"] == id {
                return Some(said);
            }
        }
    }

    /// Subscribes and authorises; the answer to the latter.
    pub async fn introduce(&mut self, user_agent: &str, user: &str) -> Option<Value> {
        self.ask("mining.subscribe", json!([user_agent])).await?;
        self.ask("mining.authorize", json!([user, "x"])).await
    }

    /// Reads on to the pool's next notification of this kind.
    pub async fn told(&mut self, method: &str) -> Option<Value> {
        loop {
            let said = self.hear().await?;
            if said["method"] == method {
                return Some(said["params"].clone());
            }
        }
    }

    /// Whether the pool still has the connection open after this time; what it says meanwhile is read.
    pub async fn stays(&mut self, time: Duration) -> bool {
        let ended = async { while self.line().await.is_some() {} };
        timeout(time, ended).await.is_err()
    }

    /// Reads on until the pool ends the connection.
    pub async fn is_closed(&mut self) {
        while self.hear().await.is_some() {}
    }

    async fn hear(&mut self) -> Option<Value> {
        let line = timeout(PATIENCE, self.line()).await.expect("the pool says something")?;
        Some(serde_json::from_str(&line).unwrap())
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line),
        }
    }
}
