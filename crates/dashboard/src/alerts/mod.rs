//! Alerts: what happened, listed on a page and sent out of the house. `watch` decides what is news, `book`
//! remembers it and what has to be sent, `way` sends. Nothing here is waited for by anybody.

mod book;
mod event;
#[cfg(test)]
mod sending_tests;
mod state;
mod watch;
#[cfg(test)]
mod watch_tests;
mod way;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{Notify, watch as channel};
use tokio_util::sync::CancellationToken;

use self::book::{Book, Due};
use self::event::News;
pub use self::event::{Event, Topic};
use self::watch::Watch;
use self::way::Failure;
pub use self::way::{Kind, Way};
use crate::feed::{Snapshot, now};

/// How long what is on its way at the end may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// What is told of, and where it is sent.
#[derive(Clone, Debug)]
pub struct AlertSettings {
    /// At most one of each kind.
    pub ways: Vec<Way>,
    /// What is sent; everything is listed.
    pub topics: BTreeSet<Topic>,
    /// A miner without a share for so long is silent, in seconds.
    pub silent_after_s: u64,
}

/// How a way does.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// When something arrived last, Unix seconds.
    pub sent_at: Option<u64>,
    /// Why the last try failed, if it did.
    pub trouble: Option<String>,
}

struct Line {
    way: Way,
    health: Mutex<Health>,
    /// Something was put in its queue.
    wake: Notify,
}

/// The alerts of the box.
pub struct Alerts {
    book: Mutex<Book>,
    file: PathBuf,
    /// Writing the file, one at a time.
    turn: tokio::sync::Mutex<()>,
    lines: Vec<Line>,
    topics: BTreeSet<Topic>,
    silent_after_s: u64,
    http: reqwest_tls::Client,
}

impl Alerts {
    /// Goes on from what is kept in `dir`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn open(dir: &Path, settings: &AlertSettings) -> anyhow::Result<Self> {
        let file = dir.join("alerts.json");
        let mut book = load(&file);
        let lines: Vec<_> = settings.ways.iter().cloned().map(Line::new).collect();
        book.keep_ways(&lines.iter().map(|line| line.way.kind).collect::<Vec<_>>());
        Ok(Self {
            book: Mutex::new(book),
            file,
            turn: tokio::sync::Mutex::default(),
            lines,
            topics: settings.topics.clone(),
            silent_after_s: settings.silent_after_s,
            http: way::client()?,
        })
    }

    /// What happened lately, the newest first.
    pub fn events(&self) -> Vec<Event> {
        self.book().events().cloned().collect()
    }

    /// Each way that is set: its kind, its host, how it does, and how many events wait for it.
    pub fn ways(&self) -> Vec<(Kind, String, Health, usize)> {
        let book = self.book();
        let told = self.lines.iter().map(|line| {
            let Way { kind, host, .. } = &line.way;
            (*kind, host.clone(), lock(&line.health).clone(), book.waiting(*kind))
        });
        told.collect()
    }

    /// Sends something, to see whether it arrives.
    pub async fn test(&self) {
        let text = "This is a test. Alerts of this box arrive here.".to_owned();
        self.note(vec![News { topic: Topic::Test, over: false, text }], now()).await;
    }

    /// Follows the box and sends what is news, until `stop`.
    pub async fn run(self: Arc<Self>, mut feed: channel::Receiver<Arc<Snapshot>>, stop: CancellationToken) {
        let sending = (0..self.lines.len()).map(|nth| {
            let (alerts, stop) = (Arc::clone(&self), stop.clone());
            tokio::spawn(async move { alerts.send(nth, &stop).await })
        });
        let sending: Vec<_> = sending.collect();
        let mut watch = Watch::new(self.book().watch.clone());
        let following = async {
            while feed.changed().await.is_ok() {
                let snapshot = Arc::clone(&feed.borrow_and_update());
                self.step(&mut watch, &snapshot).await;
            }
        };
        stop.run_until_cancelled(following).await;
        for task in sending {
            // What is left is in the file.
            let _ = task.await;
        }
    }

    async fn step(&self, watch: &mut Watch, snapshot: &Snapshot) {
        let news = watch.step(snapshot, self.silent_after_s);
        let changed = {
            let mut book = self.book();
            let changed = book.watch != watch.kept;
            if changed {
                book.watch = watch.kept.clone();
            }
            changed
        };
        if !news.is_empty() {
            self.note(news, snapshot.at).await;
        } else if changed {
            self.keep().await;
        }
    }

    /// Notes what is news; it is in the file before it is sent.
    async fn note(&self, news: Vec<News>, at: u64) {
        let ways: Vec<_> = self.lines.iter().map(|line| line.way.kind).collect();
        for news in news {
            tracing::info!(event = news.topic.name(), over = news.over, text = news.text, "alert");
            let wanted = news.topic == Topic::Test || self.topics.contains(&news.topic);
            self.book().note(news, at, if wanted { &ways } else { &[] });
        }
        self.keep().await;
        self.lines.iter().for_each(|line| line.wake.notify_one());
    }

    /// Sends what is in one queue, until `stop`. What is on its way then has a moment to arrive: it would be sent
    /// again otherwise.
    async fn send(&self, nth: usize, stop: &CancellationToken) {
        let Some(line) = self.lines.get(nth) else { return };
        let kind = line.way.kind;
        while !stop.is_cancelled() {
            let due = self.book().due(kind, now());
            match due {
                Due::Nothing => {
                    stop.run_until_cancelled(line.wake.notified()).await;
                }
                Due::Wait(seconds) => {
                    stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(seconds))).await;
                }
                Due::Send(event) => tokio::select! {
                    () = self.send_one(line, &event) => {}
                    () = async { stop.cancelled().await; tokio::time::sleep(FAREWELL).await } => return,
                },
            }
        }
    }

    /// Sends one event and notes how it went.
    async fn send_one(&self, line: &Line, event: &Event) {
        let Way { kind, host, .. } = &line.way;
        let sent = line.way.send(&self.http, event).await;
        let trouble = match sent {
            Ok(()) => {
                self.book().done(*kind, event.id);
                None
            }
            Err(Failure::Later(reason)) => {
                let again_s = self.book().failed(*kind, now());
                tracing::warn!(way = kind.name(), host, reason, again_s, "an alert did not arrive");
                Some(reason)
            }
            Err(Failure::Never(reason)) => {
                self.book().done(*kind, event.id);
                tracing::warn!(way = kind.name(), host, reason, "an alert was refused and is not sent again");
                Some(reason)
            }
        };
        line.note(trouble);
        self.keep().await;
    }

    /// Writes the file, whole or not at all.
    async fn keep(&self) {
        let _turn = self.turn.lock().await;
        let bytes = serde_json::to_vec(&*self.book());
        let file = self.file.clone();
        let write = move || -> anyhow::Result<()> {
            let partial = file.with_extension("partial");
            std::fs::write(&partial, bytes?)
                .and_then(|()| std::fs::rename(&partial, &file))
                .with_context(|| format!("write {}", file.display()))
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "alerts were not kept; after a restart some may be sent again"
            );
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }
}

impl Line {
    fn new(way: Way) -> Self {
        Self { way, health: Mutex::default(), wake: Notify::new() }
    }

    fn note(&self, trouble: Option<String>) {
        let mut health = lock(&self.health);
        if trouble.is_none() {
            health.sent_at = Some(now());
        }
        health.trouble = trouble;
    }
}

/// What an earlier run kept; empty when there is nothing that can be read.
fn load(file: &Path) -> Book {
    let read = || -> anyhow::Result<Book> { Ok(serde_json::from_slice(&std::fs::read(file)?)?) };
    match read() {
        Ok(book) => book,
        Err(error) => {
            if file.exists() {
                tracing::warn!(error = format!("{error:#}"), "the list of alerts begins anew");
            }
            Book::default()
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
