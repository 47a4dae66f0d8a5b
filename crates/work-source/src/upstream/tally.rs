//! The handle of the upstream: takes shares, and counts what became of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use super::UpstreamConfig;
use super::job::UpstreamJob;
use super::message::Refusal;

/// Shares that may wait to be sent.
const QUEUE: usize = 1024;
/// A reason for rejected shares is told to the log at most this often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Its job is over there.
const STALE: &str = "stale";
/// There was no connection, or too many waited.
const NOT_SENT: &str = "not-sent";
/// The connection ended, or too much time passed, before it was answered.
const UNANSWERED: &str = "unanswered";

/// A share that meets the upstream's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamShare {
    /// Its job.
    pub job: Arc<UpstreamJob>,
    /// The whole of the upstream's extranonce2.
    pub extranonce2: Vec<u8>,
    /// Header time.
    pub time: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Header version.
    pub version: u32,
}

/// How things stand with the upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamStatus {
    /// Where it is, as set.
    pub url: String,
    /// The user there.
    pub user: String,
    /// The difficulty that it told last; none before it did.
    pub difficulty: Option<f64>,
    /// Shares that it accepted since the start.
    pub accepted: u64,
    /// Shares that it rejected (`stale`, `duplicate`, `low-difficulty`, `unauthorized`, `other`), that were
    /// not handed on (`not-sent`, or `stale` for those of an earlier connection), or whose fate is not known
    /// (`unanswered`).
    pub rejected: BTreeMap<String, u64>,
    /// Shares on their way that are not answered yet.
    pub waiting: u64,
    /// When it accepted one last, Unix seconds.
    pub last_accepted_at: Option<u64>,
}

/// The upstream as seen by who has shares for it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Upstream(Arc<Room>);

#[derive(Debug)]
struct Room {
    url: String,
    user: String,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    line: Option<Line>,
    difficulty: Option<f64>,
    accepted: u64,
    rejected: BTreeMap<&'static str, u64>,
    waiting: u64,
    last_accepted_at: Option<u64>,
    told: BTreeMap<&'static str, Instant>,
}

/// The connection that shares go over.
#[derive(Debug)]
struct Line {
    session: u64,
    shares: mpsc::Sender<UpstreamShare>,
}

impl Upstream {
    pub(super) fn new(config: &UpstreamConfig) -> Self {
        let (url, user) = (config.url.clone(), config.user.clone());
        Self(Arc::new(Room { url, user, counts: Mutex::default() }))
    }

    /// Hands a share on. Never waits: one that cannot go out over the connection that its job came over is
    /// counted and dropped.
    pub fn submit(&self, share: UpstreamShare) {
        let mut counts = self.counts();
        let sent = match &counts.line {
            None => Err(NOT_SENT),
            Some(line) if line.session != share.job.session => Err(STALE),
            Some(line) => line.shares.try_send(share).map_err(|_| NOT_SENT),
        };
        match sent {
            Ok(()) => counts.waiting += 1,
            Err(reason) => counts.reject(reason, "it could not be handed on"),
        }
    }

    /// How things stand.
    pub fn status(&self) -> UpstreamStatus {
        let counts = self.counts();
        UpstreamStatus {
            url: self.0.url.clone(),
            user: self.0.user.clone(),
            difficulty: counts.difficulty,
            accepted: counts.accepted,
            rejected: counts.rejected.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            waiting: counts.waiting,
            last_accepted_at: counts.last_accepted_at,
        }
    }

    /// A connection begins.
    pub(super) fn join(&self, session: u64) -> mpsc::Receiver<UpstreamShare> {
        let (shares, queue) = mpsc::channel(QUEUE);
        self.counts().line = Some(Line { session, shares });
        queue
    }

    /// It ended, with so many shares unanswered, and what is still in its queue.
    pub(super) fn leave(&self, unanswered: usize, mut queue: mpsc::Receiver<UpstreamShare>) {
        let mut counts = self.counts();
        counts.line = None;
        while queue.try_recv().is_ok() {
            counts.answered();
            counts.reject(NOT_SENT, "the connection ended");
        }
        for _ in 0..unanswered {
            counts.answered();
            counts.reject(UNANSWERED, "the connection ended");
        }
    }

    pub(super) fn set_difficulty(&self, difficulty: f64) {
        self.counts().difficulty = Some(difficulty);
    }

    pub(super) fn accepted(&self) {
        let mut counts = self.counts();
        counts.answered();
        counts.accepted += 1;
        counts.last_accepted_at =
            SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
    }

    pub(super) fn rejected(&self, refusal: &Refusal) {
        let mut counts = self.counts();
        counts.answered();
        counts.reject(reason(refusal), &refusal.text);
    }

    pub(super) fn unanswered(&self) {
        let mut counts = self.counts();
        counts.answered();
        counts.reject(UNANSWERED, "no answer came");
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn answered(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    fn reject(&mut self, reason: &'static str, said: &str) {
        *self.rejected.entry(reason).or_default() += 1;
        if self.told.get(reason).is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told.insert(reason, Instant::now());
            tracing::info!(reason, said, "the upstream pool was not given a share, or did not take it");
        }
    }
}

/// A few names for what pools say in many ways.
fn reason(refusal: &Refusal) -> &'static str {
    match refusal.code {
        Some(21) => STALE,
        Some(22) => "duplicate",
        Some(23) => "low-difficulty",
        Some(24 | 25) => "unauthorized",
        _ => {
            let said = refusal.text.to_lowercase();
            let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
            if says(&["stale", "job not found", "unknown job", "invalid job", "expired"]) {
                STALE
            } else if says(&["duplicate"]) {
                "duplicate"
            } else if says(&["low diff", "above target", "high-hash", "difficulty too low"]) {
                "low-difficulty"
            } else if says(&["unauthorized", "not authorized", "not subscribed"]) {
                "unauthorized"
            } else {
                "other"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Target;

    use super::*;

    fn upstream() -> Upstream {
        let [url, user, password] = ["stratum+tcp://a:1", "me", "x"].map(str::to_owned);
        Upstream::new(&UpstreamConfig { url, user, password, ca_file: None })
    }

    fn share(session: u64) -> UpstreamShare {
        let job = UpstreamJob {
            id: "j".into(),
            coinbase_prefix: Vec::new(),
            coinbase_suffix: Vec::new(),
            extranonce_bytes: 4,
            target: Target::MAX,
            version_mask: 0,
            session,
            era: 0,
        };
        UpstreamShare { job: Arc::new(job), extranonce2: vec![0; 4], time: 0, nonce: 0, version: 0 }
    }

    fn counted(upstream: &Upstream) -> Vec<(String, u64)> {
        upstream.status().rejected.into_iter().collect()
    }

    #[test]
    fn every_share_is_counted_once_whatever_becomes_of_it() {
        let upstream = upstream();
        upstream.submit(share(1));
        let mut queue = upstream.join(2);
        upstream.submit(share(1));
        for _ in 0..QUEUE + 2 {
            upstream.submit(share(2));
        }
        assert_eq!(counted(&upstream), [("not-sent".into(), 3), ("stale".into(), 1)]);
        assert_eq!(upstream.status().waiting, QUEUE as u64);
        for _ in 0..4 {
            assert!(queue.try_recv().is_ok());
        }
        upstream.accepted();
        upstream.rejected(&Refusal { code: Some(23), text: String::new() });
        upstream.leave(2, queue);
        let left = QUEUE as u64 - 4 + 3;
        let expected = [("low-difficulty", 1), ("not-sent", left), ("stale", 1), ("unanswered", 2)];
        assert_eq!(counted(&upstream), expected.map(|(reason, count)| (reason.to_owned(), count)));
        let status = upstream.status();
        assert_eq!((status.waiting, status.accepted), (0, 1));
        assert!(status.last_accepted_at.is_some());
    }

    #[test]
    fn reasons_are_a_few_whatever_pools_say() {
        let named = |code, text: &str| reason(&Refusal { code, text: text.into() });
        assert_eq!(named(Some(21), ""), "stale");
        assert_eq!(named(None, "Stale share"), "stale");
        assert_eq!(named(Some(-1), "Duplicate"), "duplicate");
        assert_eq!(named(Some(20), "difficulty too low"), "low-difficulty");
        assert_eq!(named(None, "no thanks"), "other");
    }
}
