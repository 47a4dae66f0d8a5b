//! The mint's side: takes every pool's stream by the mint's own cursors, as the one consumer of its
//! group. What Redis lost, somebody removed or no pool wrote is asked for again: the stream begins
//! anew at the cursor and its pool sends what comes next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use poolbox_accounting::{JournalId, Network, QueueSeq};
use redis::streams::{StreamId, StreamRangeReply, StreamReadReply};
use redis::{Value, cmd, pipe};

use super::{Link, MINT, RedisSettings, id_of, message, seq_of};
use crate::queue::{Arrivals, Cursor, Cursors, QuoteQueue, merged};
use crate::{JournalError, QueueEntry, QueueError};

/// How often other pools' streams are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Ids in one acknowledgement.
const ACKNOWLEDGED_AT_ONCE: usize = 1000;
/// A stream that was begun anew and is damaged again waits so long, then twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// At the longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The quote queues of all pools that send to one Redis.
pub struct StreamQueue {
    settings: RedisSettings,
    network: Network,
    link: Option<Link>,
    following: BTreeMap<JournalId, Following>,
    looked: Option<Instant>,
    /// What is in the registry and names no journal; told once.
    foreign: BTreeSet<String>,
}

/// One journal's stream.
struct Following {
    /// Entries that were read and have not taken effect.
    held: VecDeque<QueueEntry>,
    /// The last of them, or the cursor.
    read: Cursor,
    acknowledged: QueueSeq,
    trouble: Option<Trouble>,
    /// Before the next attempt to mend it; none while it was never mended since it last went on.
    pause: Option<Duration>,
}

struct Trouble {
    error: QueueError,
    mend_at: Instant,
}

impl StreamQueue {
    /// The queues behind `settings` whose pools are on `network`.
    pub fn new(settings: RedisSettings, network: Network) -> Self {
        let (following, foreign) = (BTreeMap::new(), BTreeSet::new());
        Self { settings, network, link: None, following, looked: None, foreign }
    }

    /// After an error nothing is known of Redis: all is asked anew.
    fn unlink(&mut self) {
        self.link = None;
        self.looked = None;
        self.following.values_mut().for_each(|following| following.held.clear());
    }

    async fn look(&mut self, cursors: &Cursors, limit: usize) -> Result<Arrivals, QueueError> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let link = Link::open(&self.settings, self.network).await?;
                tracing::info!(address = self.settings.address(), "reading the quote queue from Redis");
                link
            }
        };
        if self.looked.is_none_or(|looked| looked.elapsed() > LOOK_EVERY) {
            let known = self.looked.is_some();
            self.find(&mut link, cursors, known).await?;
            self.looked = Some(Instant::now());
        }
        for (&journal, following) in &mut self.following {
            following.went_on(cursors.get(&journal).copied().unwrap_or_default());
            if following.trouble.as_ref().is_some_and(|trouble| trouble.mend_at <= Instant::now()) {
                following.mend(&mut link, journal, cursors).await?;
            }
        }
        let full = self.read(&mut link, cursors, limit).await?;
        self.link = Some(link);
        let entries = merged(self.following.iter().map(|(&id, of)| (id, of.held.clone())).collect());
        let troubles = self.following.values().filter_map(|following| following.trouble.as_ref());
        Ok(Arrivals { entries, more: full, refused: troubles.map(|trouble| trouble.error.clone()).collect() })
    }

    /// Finds the streams: those of the registry, and of every journal that ever was credited. With
    /// `known` only new ones are looked at.
    async fn find(&mut self, link: &mut Link, cursors: &Cursors, known: bool) -> Result<(), QueueError> {
        let registry = link.registry();
        let registered: Vec<String> = link.ask(cmd("SMEMBERS").arg(registry)).await?;
        let mut journals: BTreeSet<JournalId> = cursors.keys().copied().collect();
        for name in registered {
            match name.parse() {
                Ok(journal) => drop(journals.insert(journal)),
                Err(error) if self.foreign.insert(name) => {
                    tracing::warn!(reason = %error, "something else than a journal is registered in Redis; it is left alone");
                }
                Err(_) => {}
            }
        }
        for journal in journals {
            if known && self.following.contains_key(&journal) {
                continue;
            }
            let cursor = cursors.get(&journal).copied().unwrap_or_default();
            let followed = follow(link, journal, cursor).await?;
            let former = self.following.insert(journal, followed);
            if let (Some(former), Some(followed)) = (former, self.following.get_mut(&journal)) {
                (followed.trouble, followed.pause) = (former.trouble, former.pause);
            } else if !cursors.contains_key(&journal) {
                tracing::info!(%journal, "a pool that was not seen before: its work is credited from its first entry");
            }
        }
        Ok(())
    }

    /// Reads on in every stream; true when there may be more.
    async fn read(&mut self, link: &mut Link, cursors: &Cursors, limit: usize) -> Result<bool, QueueError> {
        let wanting = |following: &Following| following.trouble.is_none() && following.held.len() < limit;
        let wanted: Vec<JournalId> =
            self.following.iter().filter(|(_, following)| wanting(following)).map(|(&id, _)| id).collect();
        let mut full = self.following.values().any(|following| following.held.len() >= limit);
        if wanted.is_empty() {
            return Ok(full);
        }
        let mut command = cmd("XREADGROUP");
        command.arg(&["GROUP", MINT, MINT, "COUNT"]).arg(limit).arg("STREAMS");
        for &journal in &wanted {
            command.arg(link.stream(journal));
        }
        command.arg(vec![">"; wanted.len()]);
        let Some(reply) = link.ask_unless::<Option<StreamReadReply>>(&command, "NOGROUP").await? else {
            // Somebody removed a stream: find what there is.
            self.looked = None;
            return Ok(full);
        };
        for stream in reply.unwrap_or_default().keys {
            let Some(&journal) = wanted.iter().find(|&&journal| link.stream(journal) == stream.key) else {
                continue;
            };
            let Some(following) = self.following.get_mut(&journal) else { continue };
            full |= stream.ids.len() >= limit;
            let trouble =
                stream.ids.iter().try_for_each(|entry| following.hold(journal, entry, self.network)).err();
            if let Some(error) = trouble {
                tracing::warn!(%journal, reason = %error, "the quote queue is damaged");
                let first = following.pause.is_none();
                let mend_at = Instant::now() + following.pause.unwrap_or_default();
                following.trouble = Some(Trouble { error, mend_at });
                if first {
                    following.mend(link, journal, cursors).await?;
                }
            }
        }
        Ok(full)
    }
}

/// Joins a stream behind `cursor`, wherever it is, was or should be.
async fn follow(link: &mut Link, journal: JournalId, cursor: Cursor) -> Result<Following, QueueError> {
    let (key, id) = (link.stream(journal), id_of(cursor.seq));
    if link.has_stream(journal).await? && goes_on(link, &key, cursor.seq).await? {
        link.ask_unless::<Value>(cmd("XGROUP").arg(&["CREATE", &key, MINT, &id]), "BUSYGROUP").await?;
        // What was given to the mint and did not take effect is given again.
        link.ask::<Value>(cmd("XGROUP").arg(&["SETID", &key, MINT, &id])).await?;
        link.acknowledge_pending(&key, cursor.seq).await?;
    } else {
        link.begin_stream(journal, cursor.seq).await?;
    }
    Ok(Following {
        held: VecDeque::new(),
        read: cursor,
        acknowledged: cursor.seq,
        trouble: None,
        pause: None,
    })
}

/// Whether the entry after `seq` is the next one in a stream, or will be.
async fn goes_on(link: &mut Link, key: &str, seq: QueueSeq) -> Result<bool, QueueError> {
    let next = cmd("XRANGE").arg(&[key, &id_of(seq.next()), "+", "COUNT", "1"]).to_owned();
    let next: StreamRangeReply = link.ask(&next).await?;
    match next.ids.first() {
        Some(entry) => Ok(seq_of(&entry.id) == Some(seq.next())),
        None => Ok(link.end_of(key).await?.0 <= seq),
    }
}

impl Link {
    /// Acknowledges and trims all up to `through`.
    async fn acknowledge_pending(&mut self, key: &str, through: QueueSeq) -> Result<(), QueueError> {
        let last = id_of(through);
        loop {
            let pending: Vec<(String, Value, Value, Value)> =
                self.ask(cmd("XPENDING").arg(&[key, MINT, "-", &last]).arg(ACKNOWLEDGED_AT_ONCE)).await?;
            if pending.is_empty() {
                break;
            }
            let ids: Vec<String> = pending.into_iter().map(|(id, ..)| id).collect();
            self.ask::<Value>(cmd("XACK").arg(&[key, MINT]).arg(ids)).await?;
        }
        self.ask::<Value>(cmd("XTRIM").arg(&[key, "MINID", &id_of(through.next())])).await.map(drop)
    }
}

impl Following {
    /// The mint's cursor is here now.
    fn went_on(&mut self, cursor: Cursor) {
        while self.held.front().is_some_and(|entry| entry.seq <= cursor.seq) {
            self.held.pop_front();
            self.pause = None;
        }
    }

    /// Takes an entry in, if it is the next one.
    fn hold(&mut self, journal: JournalId, entry: &StreamId, network: Network) -> Result<(), QueueError> {
        let damaged = |reason: String| QueueError::Damaged { journal, reason };
        let Cursor { seq: last, at } = self.read;
        let seq = seq_of(&entry.id).ok_or_else(|| damaged(format!("id {} is no entry's", entry.id)))?;
        if seq <= last {
            return Ok(());
        }
        if seq != last.next() {
            return Err(damaged(format!("entry {seq} follows entry {last}")));
        }
        let (entry, before) = message::entry(seq, &entry.map, network).map_err(damaged)?;
        if before != at {
            return Err(JournalError::NotTheCredited { journal, entry: last }.into());
        }
        self.read = Cursor { seq, at: entry.at };
        self.held.push_back(entry);
        Ok(())
    }

    /// Begins the stream anew behind the cursor.
    async fn mend(
        &mut self,
        link: &mut Link,
        journal: JournalId,
        cursors: &Cursors,
    ) -> Result<(), QueueError> {
        let cursor = cursors.get(&journal).copied().unwrap_or_default();
        link.begin_stream(journal, cursor.seq).await?;
        tracing::info!(%journal, cursor = cursor.seq.get(), "its stream begins anew; its pool sends again what comes next");
        self.held.clear();
        self.read = cursor;
        self.acknowledged = cursor.seq;
        self.trouble = None;
        self.pause = Some(self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE)));
        Ok(())
    }
}

#[async_trait]
impl QuoteQueue for StreamQueue {
    async fn next(&mut self, cursors: &Cursors, limit: usize) -> Result<Arrivals, QueueError> {
        if cursors.contains_key(&JournalId::UNNAMED) {
            return Err(QueueError::Unnamed);
        }
        let looked = self.look(cursors, limit).await;
        if looked.is_err() {
            self.unlink();
        }
        looked
    }

    async fn acknowledge(&mut self, cursors: &Cursors) -> Result<(), QueueError> {
        // Without a connection: when there is one again, all up to the cursor is acknowledged.
        let Some(link) = &mut self.link else { return Ok(()) };
        let mut acknowledged = Ok(());
        for (&journal, following) in &mut self.following {
            let Some(cursor) = cursors.get(&journal).filter(|cursor| cursor.seq > following.acknowledged)
            else {
                continue;
            };
            acknowledged = link.acknowledge(journal, following.acknowledged, cursor.seq).await;
            if acknowledged.is_err() {
                break;
            }
            following.acknowledged = cursor.seq;
        }
        if acknowledged.is_err() {
            self.unlink();
        }
        acknowledged
    }
}

impl Link {
    /// Acknowledges and trims the entries after `from` up to `to`.
    async fn acknowledge(
        &mut self,
        journal: JournalId,
        from: QueueSeq,
        to: QueueSeq,
    ) -> Result<(), QueueError> {
        let key = self.stream(journal);
        let ids: Vec<String> = (from.get() + 1..=to.get()).map(|seq| id_of(QueueSeq::new(seq))).collect();
        let mut commands = pipe();
        commands.atomic();
        for ids in ids.chunks(ACKNOWLEDGED_AT_ONCE) {
            commands.cmd("XACK").arg(&[&key, MINT]).arg(ids);
        }
        commands.cmd("XTRIM").arg(&[&key, "MINID", &id_of(to.next())]);
        self.ask_all::<Value>(&commands).await.map(drop)
    }
}
