//! The quote queue in Redis (or Valkey), for pools and mints on different machines: one stream a
//! journal, whose ids are the numbers of the queue's entries.
//!
//! Redis only carries. Every entry stays in its journal, and how far it was taken is in the mint's
//! database; so Redis may lose everything, and nothing is lost. The pool's [`Courier`] asks Redis
//! where the stream ends and sends on from there; the mint's [`StreamQueue`] takes no entry without
//! its predecessor, and where the stream does not go on from its cursor it begins the stream anew
//! there, whereupon the pool sends what comes next.

mod courier;
mod message;
mod settings;
mod taking;

use std::sync::Arc;

use poolbox_accounting::{JournalId, Network, QueueSeq};
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, RedisResult, cmd, pipe};

pub use courier::{Courier, Delivery};
pub use settings::RedisSettings;
pub use taking::StreamQueue;

use crate::QueueError;

/// The consumer group of a stream, and its one consumer.
const MINT: &str = "mint";

/// A connection, and the names of things behind it.
struct Link {
    connection: MultiplexedConnection,
    address: String,
    root: String,
}

impl Link {
    async fn open(settings: &RedisSettings, network: Network) -> Result<Self, QueueError> {
        let connection = settings.connect().await?;
        let root = format!("{}:{network}", settings.prefix());
        Ok(Self { connection, address: settings.address().to_owned(), root })
    }

    /// The set of all journals that have a stream.
    fn registry(&self) -> String {
        format!("{}:journals", self.root)
    }

    /// The stream of a journal.
    fn stream(&self, journal: JournalId) -> String {
        format!("{}:queue:{journal}", self.root)
    }

    async fn ask<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T, QueueError> {
        let answer = command.query_async(&mut self.connection).await;
        self.named(answer)
    }

    async fn ask_all<T: redis::FromRedisValue>(&mut self, commands: &Pipeline) -> Result<T, QueueError> {
        let answer = commands.query_async(&mut self.connection).await;
        self.named(answer)
    }

    /// A server's refusal with this code is an answer too.
    async fn ask_unless<T: redis::FromRedisValue>(
        &mut self,
        command: &redis::Cmd,
        code: &str,
    ) -> Result<Option<T>, QueueError> {
        let answer: RedisResult<T> = command.query_async(&mut self.connection).await;
        match answer {
            Err(error) if error.code() == Some(code) => Ok(None),
            answer => self.named(answer).map(Some),
        }
    }

    fn named<T>(&self, answer: RedisResult<T>) -> Result<T, QueueError> {
        answer.map_err(|source| redis_error(&self.address, source))
    }

    async fn has_stream(&mut self, journal: JournalId) -> Result<bool, QueueError> {
        let key = self.stream(journal);
        self.ask(cmd("EXISTS").arg(key)).await
    }

    /// Makes an empty stream of a journal that goes on behind `through`, in the place of any other.
    async fn begin_stream(&mut self, journal: JournalId, through: QueueSeq) -> Result<(), QueueError> {
        let (key, id) = (self.stream(journal), id_of(through));
        let mut commands = pipe();
        commands.atomic();
        commands.cmd("DEL").arg(&key);
        commands.cmd("XGROUP").arg(&["CREATE", &key, MINT, &id, "MKSTREAM"]);
        commands.cmd("XSETID").arg(&[&key, &id]);
        commands.cmd("SADD").arg(self.registry()).arg(journal.to_string());
        self.ask_all::<redis::Value>(&commands).await.map(drop)
    }
}

fn redis_error(address: &str, source: RedisError) -> QueueError {
    QueueError::Redis { address: address.to_owned(), source: Arc::new(source) }
}

/// The id of an entry in its stream.
fn id_of(seq: QueueSeq) -> String {
    format!("{seq}-0")
}

/// The entry that a stream's id is of; none for an id that no pool made.
fn seq_of(id: &str) -> Option<QueueSeq> {
    id.strip_suffix("-0").and_then(|seq| seq.parse().ok()).map(QueueSeq::new)
}
