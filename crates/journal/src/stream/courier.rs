//! The pool's side: carries the queue's entries from the journal to its stream. It remembers nothing;
//! where to go on it asks Redis each time. While Redis is away, entries wait in the journal.

use std::path::PathBuf;
use std::time::Duration;

use poolbox_accounting::{JournalId, Network, QueueSeq};
use redis::{Value, cmd, pipe};
use tokio::sync::watch;

use super::{Link, MINT, RedisSettings, id_of, message};
use crate::{QueueEntry, QueueError, QueueReader};

/// Entries in one transaction.
const AT_ONCE: usize = 500;
/// Entries that the mint has not taken, past which no more are sent: Redis keeps them in memory.
const MOST_IN_STREAM: u64 = 100_000;
/// Pause when everything is sent.
const IDLE: Duration = Duration::from_millis(500);
/// Pause after an error.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// How far a journal's queue was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The last entry in Redis, as far as known.
    pub sent: QueueSeq,
    /// Entries in the journal behind it.
    pub waiting: u64,
    /// Why no more are sent.
    pub trouble: Option<String>,
}

/// Sends one journal's entries.
pub struct Courier {
    settings: RedisSettings,
    path: PathBuf,
    network: Network,
    journal: JournalId,
    reader: Option<QueueReader>,
    link: Option<Link>,
    delivery: watch::Sender<Delivery>,
}

/// A part of the queue.
struct Page {
    /// When the entry before the first was queued.
    before: u64,
    entries: Vec<QueueEntry>,
    /// The last entry of the queue.
    last: QueueSeq,
}

impl Courier {
    /// A courier for the journal at `path`, which is named `journal`; and how far it is.
    pub fn new(
        settings: RedisSettings,
        path: PathBuf,
        network: Network,
        journal: JournalId,
    ) -> (Self, watch::Receiver<Delivery>) {
        let (delivery, told) = watch::channel(Delivery::default());
        (Self { settings, path, network, journal, reader: None, link: None, delivery }, told)
    }

    /// Sends what is in the journal and what comes, until dropped.
    pub async fn run(&mut self) {
        loop {
            match self.turn().await {
                Ok(0) => tokio::time::sleep(IDLE).await,
                Ok(_) => {}
                Err(_) => tokio::time::sleep(AFTER_ERROR).await,
            }
        }
    }

    /// Sends what is in the journal now.
    ///
    /// # Errors
    /// Something is left in the journal.
    pub async fn finish(&mut self) -> Result<(), QueueError> {
        while self.turn().await? > 0 {}
        Ok(())
    }

    /// Sends one part; tells and returns how much is left.
    async fn turn(&mut self) -> Result<u64, QueueError> {
        let turn = self.send().await;
        match &turn {
            Ok((sent, waiting)) => {
                let had =
                    self.delivery.send_replace(Delivery { sent: *sent, waiting: *waiting, trouble: None });
                if had.trouble.is_some() {
                    tracing::info!(sent = sent.get(), waiting, "the quote queue is sent again");
                }
            }
            Err(error) => {
                self.link = None;
                let reason = error.to_string();
                let told = self.delivery.borrow().trouble.as_ref() == Some(&reason);
                if !told {
                    tracing::warn!(reason, "the quote queue waits in the journal; mining goes on");
                }
                self.delivery.send_modify(|delivery| delivery.trouble = Some(reason));
            }
        }
        turn.map(|(_, waiting)| waiting)
    }

    /// Sends one part; where the stream ends then, and how much is left.
    async fn send(&mut self) -> Result<(QueueSeq, u64), QueueError> {
        let (sent, in_stream) = self.end_of_stream().await?;
        let page = self.page_behind(sent).await?;
        self.delivery.send_modify(|delivery| delivery.waiting = page.last.get() - sent.get());
        let Some(last) = page.entries.last().map(|entry| entry.seq) else { return Ok((sent, 0)) };
        if in_stream >= MOST_IN_STREAM {
            return Err(QueueError::NotTaken(in_stream));
        }
        let journal = self.journal;
        let link = self.link().await?;
        let key = link.stream(journal);
        let mut commands = pipe();
        commands.atomic();
        let mut before = page.before;
        for entry in &page.entries {
            commands.cmd("XADD").arg(&[&key, "NOMKSTREAM", &id_of(entry.seq)]);
            for (name, value) in message::fields(entry, before) {
                commands.arg(name).arg(value);
            }
            before = entry.at;
        }
        let kept: Vec<Value> = link.ask_all(&commands).await?;
        if kept.contains(&Value::Nil) {
            // Somebody removed the stream meanwhile: the next turn finds out where it ends.
            return Ok((sent, page.last.get() - sent.get()));
        }
        Ok((last, page.last.get() - last.get()))
    }

    /// The last entry that the stream ever had, and how many it holds. Makes the stream where there is
    /// none.
    async fn end_of_stream(&mut self) -> Result<(QueueSeq, u64), QueueError> {
        let journal = self.journal;
        let link = self.link().await?;
        let key = link.stream(journal);
        if !link.has_stream(journal).await? {
            let registered = link.registry();
            link.ask::<Value>(cmd("SADD").arg(registered).arg(journal.to_string())).await?;
            let create = ["CREATE", &key, MINT, "0", "MKSTREAM"];
            // The mint may be first.
            link.ask_unless::<Value>(cmd("XGROUP").arg(&create), "BUSYGROUP").await?;
        }
        link.end_of(&key).await
    }

    /// What is in the journal behind `sent`.
    async fn page_behind(&mut self, sent: QueueSeq) -> Result<Page, QueueError> {
        let reader = self.reader.take();
        let (path, network, journal) = (self.path.clone(), self.network, self.journal);
        let read = move || -> Result<_, QueueError> {
            let reader = match reader {
                Some(reader) => reader,
                None => QueueReader::open(&path, network)?,
            };
            let page = page(&reader, journal, sent)?;
            Ok((reader, page))
        };
        let (reader, page) = tokio::task::spawn_blocking(read).await.map_err(|_| QueueError::Broken)??;
        self.reader = Some(reader);
        Ok(page)
    }

    async fn link(&mut self) -> Result<&mut Link, QueueError> {
        let link = match self.link.take() {
            Some(link) => link,
            None => {
                let mut link = Link::open(&self.settings, self.network).await?;
                let registered = link.registry();
                link.ask::<Value>(cmd("SADD").arg(registered).arg(self.journal.to_string())).await?;
                link
            }
        };
        Ok(self.link.insert(link))
    }
}

fn page(reader: &QueueReader, journal: JournalId, sent: QueueSeq) -> Result<Page, QueueError> {
    let last = reader.last_entry()?;
    if sent > last {
        let held =
            format!("entries up to {last}: it is an older copy, or something else writes to its stream");
        return Err(QueueError::NotInJournal { journal, asked: sent.next(), held });
    }
    if sent == QueueSeq::START {
        return Ok(Page { before: 0, entries: reader.read(sent, AT_ONCE)?, last });
    }
    let mut entries = reader.read(QueueSeq::new(sent.get() - 1), AT_ONCE + 1)?;
    if entries.first().is_none_or(|entry| entry.seq != sent) {
        return Err(QueueError::NotInJournal { journal, asked: sent, held: "no entry so old".into() });
    }
    let before = entries.remove(0).at;
    Ok(Page { before, entries, last })
}

impl Link {
    /// The last entry that a stream ever had, and how many it holds.
    pub(super) async fn end_of(&mut self, key: &str) -> Result<(QueueSeq, u64), QueueError> {
        let fields: std::collections::HashMap<String, Value> =
            self.ask(cmd("XINFO").arg(&["STREAM", key])).await?;
        let field = |name: &str| fields.get(name).unwrap_or(&Value::Nil);
        let length = redis::from_redis_value_ref(field("length")).map_err(Into::into);
        let end: Result<String, _> =
            redis::from_redis_value_ref(field("last-generated-id")).map_err(Into::into);
        let (length, end) = (self.named(length)?, self.named(end)?);
        // An id that no pool made is behind every entry, as is its first part.
        let end = end.split('-').next().and_then(|seq| seq.parse().ok()).unwrap_or(u64::MAX);
        Ok((QueueSeq::new(end), length))
    }
}
