//! Alerts: what happened, listed on a page and sent out of the house. `watch` decides what is news, `book`
//! remembers it and what has to be sent, `way` sends; where to is in the settings or, over them, in `chosen`.
//! Nothing here is waited for by anybody.

mod book;
mod chosen;
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

use poolbox_service::write_whole;
use tokio::sync::{Notify, watch as channel};
use tokio_util::sync::CancellationToken;

use self::book::{Book, Due};
use self::chosen::Chosen;
pub use self::chosen::{Field, Mistake, Typed, Wish};
use self::event::News;
pub use self::event::{Event, Topic};
use self::watch::Watch;
use self::way::Failure;
pub use self::way::{Kind, Way};
use crate::feed::{Snapshot, now};

/// What happened, and what of it has to be sent.
const BOOK: &str = "alerts.json";
/// How long what is on its way at the end may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// At fifteen shares a minute even the luckless find one within this.
pub const LEAST_SILENCE_S: u64 = 180;

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

/// What counts now.
struct InForce {
    settings: AlertSettings,
    /// One for each way of the settings.
    lines: Vec<Arc<Line>>,
    /// Whether it was chosen on the page.
    is_chosen: bool,
}

/// The alerts of the box.
pub struct Alerts {
    book: Mutex<Book>,
    dir: PathBuf,
    /// Writing the file, one at a time.
    turn: tokio::sync::Mutex<()>,
    /// As dashboard.toml has it.
    written: AlertSettings,
    in_force: channel::Sender<Arc<InForce>>,
    http: reqwest_tls::Client,
}

impl Alerts {
    /// Goes on from what is kept in `dir`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn open(dir: &Path, settings: &AlertSettings) -> anyhow::Result<Self> {
        let mut book = load(&dir.join(BOOK));
        let in_force = match Chosen::load(dir) {
            Some(chosen) => InForce::new(chosen, true, &[]),
            None => InForce::new(settings.clone(), false, &[]),
        };
        book.keep_ways(&in_force.kinds());
        Ok(Self {
            book: Mutex::new(book),
            dir: dir.to_owned(),
            turn: tokio::sync::Mutex::default(),
            written: settings.clone(),
            in_force: channel::Sender::new(Arc::new(in_force)),
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
        let in_force = self.in_force();
        let told = in_force.lines.iter().map(|line| {
            let Way { kind, host, .. } = &line.way;
            (*kind, host.clone(), lock(&line.health).clone(), book.waiting(*kind))
        });
        told.collect()
    }

    /// What is told of, and where it is sent.
    pub fn settings(&self) -> AlertSettings {
        self.in_force().settings.clone()
    }

    /// Whether that was chosen on the page.
    pub fn is_chosen(&self) -> bool {
        self.in_force().is_chosen
    }

    /// Whether dashboard.toml says where to send anything.
    pub fn is_written(&self) -> bool {
        !self.written.ways.is_empty()
    }

    /// Puts what was chosen on the page in force, at once and after a restart.
    ///
    /// # Errors
    /// [`Mistake`]; then all is as before.
    pub async fn choose(&self, wish: &Wish) -> Result<(), Mistake> {
        let chosen = Chosen::of(wish, &self.in_force().settings)?;
        let settings = chosen.clone().check()?;
        chosen.keep(&self.dir)?;
        tracing::info!(ways = ?settings.ways, "where alerts go was chosen on the page");
        self.put_in_force(settings, true).await;
        Ok(())
    }

    /// Goes back to what dashboard.toml says.
    ///
    /// # Errors
    /// [`Mistake`] when the disk fails.
    pub async fn forget_choice(&self) -> Result<(), Mistake> {
        Chosen::forget(&self.dir)?;
        tracing::info!("where alerts go is no longer chosen on the page");
        self.put_in_force(self.written.clone(), false).await;
        Ok(())
    }

    /// What waits for a way that stays goes to its new address; of others it is forgotten.
    async fn put_in_force(&self, settings: AlertSettings, is_chosen: bool) {
        let fresh = InForce::new(settings, is_chosen, &self.in_force().lines);
        self.book().keep_ways(&fresh.kinds());
        self.in_force.send_replace(Arc::new(fresh));
        self.keep().await;
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.borrow())
    }

    /// Sends something, to see whether it arrives.
    pub async fn test(&self) {
        let text = "This is a test. Alerts of this box arrive here.".to_owned();
        self.note(vec![News { topic: Topic::Test, over: false, text }], now()).await;
    }

    /// Follows the box and sends what is news, until `stop`.
    pub async fn run(self: Arc<Self>, mut feed: channel::Receiver<Arc<Snapshot>>, stop: CancellationToken) {
        let sending = tokio::spawn(Arc::clone(&self).send_all(stop.clone()));
        let mut watch = Watch::new(self.book().watch.clone());
        let following = async {
            while feed.changed().await.is_ok() {
                let snapshot = Arc::clone(&feed.borrow_and_update());
                self.step(&mut watch, &snapshot).await;
            }
        };
        stop.run_until_cancelled(following).await;
        // What is left is in the file.
        let _ = sending.await;
    }

    /// Sends on every way that is in force, until `stop`.
    async fn send_all(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.in_force.subscribe();
        while !stop.is_cancelled() {
            let lines = changes.borrow_and_update().lines.clone();
            let round = stop.child_token();
            let sending = lines.into_iter().map(|line| {
                let (alerts, round) = (Arc::clone(&self), round.clone());
                tokio::spawn(async move { alerts.send(&line, &round).await })
            });
            let sending: Vec<_> = sending.collect();
            stop.run_until_cancelled(changes.changed()).await;
            round.cancel();
            for task in sending {
                let _ = task.await;
            }
        }
    }

    async fn step(&self, watch: &mut Watch, snapshot: &Snapshot) {
        let news = watch.step(snapshot, self.in_force().settings.silent_after_s);
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
        let in_force = self.in_force();
        let ways = in_force.kinds();
        for news in news {
            tracing::info!(event = news.topic.name(), over = news.over, text = news.text, "alert");
            let wanted = news.topic == Topic::Test || in_force.settings.topics.contains(&news.topic);
            self.book().note(news, at, if wanted { &ways } else { &[] });
        }
        self.keep().await;
        in_force.lines.iter().for_each(|line| line.wake.notify_one());
    }

    /// Sends what is in one queue, until `stop`. What is on its way then has a moment to arrive: it would be sent
    /// again otherwise.
    async fn send(&self, line: &Line, stop: &CancellationToken) {
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
        let file = self.dir.join(BOOK);
        let write = move || write_whole(&file, &bytes?, 0o640);
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

impl InForce {
    /// A way that was in force before goes on with its health.
    fn new(settings: AlertSettings, is_chosen: bool, before: &[Arc<Line>]) -> Self {
        let line = |way: &Way| {
            let same = before.iter().find(|line| line.way == *way).map(Arc::clone);
            same.unwrap_or_else(|| Arc::new(Line::new(way.clone())))
        };
        Self { lines: settings.ways.iter().map(line).collect(), settings, is_chosen }
    }

    fn kinds(&self) -> Vec<Kind> {
        self.lines.iter().map(|line| line.way.kind).collect()
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
