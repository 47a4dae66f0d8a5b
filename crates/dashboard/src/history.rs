//! How fast box and workers were: the work that the pool counted, in buckets of a minute, ten minutes and
//! an hour. Kept in memory and, now and then, in a file; a bucket that nobody watched stays empty.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use poolbox_accounting::Work;
use poolbox_api::pool;
use poolbox_service::write_whole;
use serde::{Deserialize, Serialize};

/// Hashes that one ehash stands for.
const HASHES_PER_EHASH: u128 = 1 << 20;
/// Workers whose history is kept, those with the newest shares.
const MAX_WORKERS: usize = 1000;
/// Two samples further apart than this leave a gap between them.
const MAX_GAP_S: u64 = 120;
/// A bucket is shown when it was watched for a tenth of its time.
const SHOWN_FROM: u64 = 10;

/// A stretch of time that a chart shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// An hour in minutes.
    Hour,
    /// A day in steps of ten minutes.
    #[default]
    Day,
    /// A week in hours.
    Week,
}

impl Span {
    /// From the shortest.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// Seconds in a bucket.
    pub const fn step(self) -> u64 {
        match self {
            Self::Hour => 60,
            Self::Day => 600,
            Self::Week => 3600,
        }
    }

    /// Buckets in it.
    pub const fn buckets(self) -> usize {
        match self {
            Self::Hour => 60,
            Self::Day => 144,
            Self::Week => 168,
        }
    }

    /// As it is written in addresses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    /// For people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hour => "1 hour",
            Self::Day => "24 hours",
            Self::Week => "7 days",
        }
    }

    /// The span of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|span| span.name() == name)
    }
}

/// Work within a bucket, and for how long it was watched.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Bucket {
    ehash: u64,
    watched_s: u64,
}

/// The buckets of one span, the newest last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Ring {
    /// Number of the newest bucket: its time divided by the step.
    newest: u64,
    buckets: VecDeque<Bucket>,
}

/// One line of a chart in all spans.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Track {
    /// All work at the last sample.
    ehash: Option<u64>,
    hour: Ring,
    day: Ring,
    week: Ring,
    /// When it had a share last.
    last_share: u64,
}

/// What was sampled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// When the last sample was taken, Unix seconds.
    at: u64,
    total: Track,
    /// By owner and worker.
    workers: BTreeMap<String, BTreeMap<String, Track>>,
}

/// Points of a chart, oldest first, a bucket apart; none where nobody watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Points {
    /// When the last bucket ends, Unix seconds.
    pub end: u64,
    /// Seconds between two points.
    pub step_s: u64,
    /// Hashes a second.
    pub rates: Vec<Option<u64>>,
}

impl Ring {
    fn add(&mut self, span: Span, at: u64, ehash: u64, watched_s: u64) {
        let bucket = at / span.step();
        if bucket < self.newest {
            return;
        }
        let missing = bucket - self.newest;
        if self.buckets.is_empty() || missing >= span.buckets() as u64 {
            self.buckets.clear();
            self.buckets.push_back(Bucket::default());
        } else {
            self.buckets.extend((0..missing).map(|_| Bucket::default()));
        }
        self.newest = bucket;
        while self.buckets.len() > span.buckets() {
            self.buckets.pop_front();
        }
        if let Some(newest) = self.buckets.back_mut() {
            newest.ehash = newest.ehash.saturating_add(ehash);
            newest.watched_s = newest.watched_s.saturating_add(watched_s);
        }
    }

    fn points(&self, span: Span, now: u64) -> Points {
        let newest = now / span.step();
        let oldest = (newest + 1).saturating_sub(span.buckets() as u64);
        let first = (self.newest + 1).saturating_sub(self.buckets.len() as u64);
        let rate = |number: u64| {
            let index = usize::try_from(number.checked_sub(first)?).ok()?;
            let bucket = self.buckets.get(index)?;
            // Of the bucket that is still filling, whatever there is.
            let enough = bucket.watched_s * SHOWN_FROM >= span.step();
            let hashes = u128::from(bucket.ehash) * HASHES_PER_EHASH;
            enough.then(|| u64::try_from(hashes / u128::from(bucket.watched_s)).unwrap_or(u64::MAX))
        };
        Points {
            end: (newest + 1) * span.step(),
            step_s: span.step(),
            rates: (oldest..=newest).map(rate).collect(),
        }
    }
}

impl Track {
    fn sample(&mut self, at: u64, since_last: Option<u64>, work: Work) {
        let now = work.ehash();
        // Less than before: the pool was killed before it noted all. Count from here.
        let before = self.ehash.filter(|before| *before <= now);
        self.ehash = Some(now);
        let (Some(before), Some(watched_s)) = (before, since_last) else { return };
        for (span, ring) in
            [(Span::Hour, &mut self.hour), (Span::Day, &mut self.day), (Span::Week, &mut self.week)]
        {
            ring.add(span, at, now - before, watched_s);
        }
    }

    fn points(&self, span: Span, now: u64) -> Points {
        match span {
            Span::Hour => self.hour.points(span, now),
            Span::Day => self.day.points(span, now),
            Span::Week => self.week.points(span, now),
        }
    }
}

impl History {
    /// Takes a sample. Anything but a moment since the last one is a gap, and nothing is made up for it.
    pub fn sample(&mut self, at: u64, status: &pool::Status) {
        let since_last = at.checked_sub(self.at).filter(|gap| (1..=MAX_GAP_S).contains(gap));
        if at == self.at {
            return;
        }
        self.at = at;
        self.total.sample(at, since_last, status.journal.work_ehash);
        for worker in &status.workers {
            let known = self.workers.get(&worker.owner).is_some_and(|names| names.contains_key(&worker.name));
            if !known && !worker.connected {
                continue;
            }
            let names = self.workers.entry(worker.owner.clone()).or_default();
            let track = names.entry(worker.name.clone()).or_default();
            track.last_share = worker.last_share_at.unwrap_or_default();
            track.sample(at, since_last, worker.shares.work_ehash);
        }
        self.forget();
    }

    /// Keeps the workers with the newest shares.
    fn forget(&mut self) {
        let all = || self.workers.values().flat_map(BTreeMap::values);
        let count = all().count();
        if count <= MAX_WORKERS + MAX_WORKERS / 10 {
            return;
        }
        let mut newest: Vec<u64> = all().map(|track| track.last_share).collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        let least = newest.get(MAX_WORKERS - 1).copied().unwrap_or_default();
        let mut room = MAX_WORKERS;
        for names in self.workers.values_mut() {
            names.retain(|_, track| {
                let keep = room > 0 && track.last_share >= least;
                room -= usize::from(keep);
                keep
            });
        }
        self.workers.retain(|_, names| !names.is_empty());
    }

    /// The span that tells most: a day, once half an hour of it is known.
    pub fn telling(&self, now: u64) -> Span {
        let known = self.total(Span::Day, now).rates.iter().flatten().count();
        if known >= 3 { Span::Day } else { Span::Hour }
    }

    /// The whole box.
    pub fn total(&self, span: Span, now: u64) -> Points {
        self.total.points(span, now)
    }

    /// One worker; none when nothing was kept of it.
    pub fn worker(&self, owner: &str, name: &str, span: Span, now: u64) -> Option<Points> {
        Some(self.workers.get(owner)?.get(name)?.points(span, now))
    }

    /// What an earlier run kept; empty when there is nothing that can be read.
    pub fn load(file: &Path) -> Self {
        let read = || -> anyhow::Result<Self> { Ok(serde_json::from_slice(&std::fs::read(file)?)?) };
        match read() {
            Ok(history) => history,
            Err(error) => {
                if file.exists() {
                    tracing::warn!(error = format!("{error:#}"), "the history of hash rates begins anew");
                }
                Self::default()
            }
        }
    }

    /// Keeps it for the next run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, file: &Path) -> anyhow::Result<()> {
        write_whole(file, &serde_json::to_vec(self)?, 0o640)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full hour, long after the beginning of time.
    const T: u64 = 3_600_000;

    fn track(samples: &[(u64, u64)]) -> Track {
        let (mut track, mut last) = (Track::default(), None::<u64>);
        for (at, ehash) in samples {
            let gap = last.map(|last| at - last).filter(|gap| *gap <= MAX_GAP_S);
            track.sample(*at, gap, Work::from_ehash(*ehash));
            last = Some(*at);
        }
        track
    }

    #[test]
    fn a_bucket_tells_the_work_in_the_time_that_was_watched() {
        let track = track(&[(T + 600, 1000), (T + 630, 1030), (T + 659, 1059)]);
        let points = track.points(Span::Hour, T + 659);
        assert_eq!(points.rates.len(), 60);
        assert_eq!(points.rates[59], Some(1 << 20));
        assert_eq!(points.rates[58], None, "nobody watched before");
        assert_eq!(points.end, T + 660);
    }

    #[test]
    fn time_that_nobody_watched_stays_empty_and_its_work_is_not_made_up() {
        let track =
            track(&[(T + 600, 0), (T + 659, 59), (T + 3600, 10_000), (T + 3630, 10_030), (T + 3659, 10_059)]);
        let points = track.points(Span::Hour, T + 3659);
        let shown: Vec<_> = points.rates.iter().flatten().collect();
        assert_eq!(shown, [&(1 << 20), &(1 << 20)]);
    }

    #[test]
    fn a_pool_that_counts_less_than_before_is_counted_from_there() {
        let track = track(&[(T + 600, 500), (T + 610, 520), (T + 620, 100), (T + 630, 110)]);
        let newest = track.points(Span::Hour, T + 630).rates[59];
        assert_eq!(newest, Some((30 << 20) / 20));
    }

    #[test]
    fn old_buckets_make_room_and_a_long_pause_clears_all() {
        let samples: Vec<_> = (0..200).map(|n| (T + n * 60, n)).collect();
        let track = track(&samples);
        assert_eq!(track.hour.buckets.len(), 60);
        assert!(track.points(Span::Hour, T + 200 * 60 + 7200).rates.iter().all(Option::is_none));
    }

    #[test]
    fn history_survives_a_restart_and_a_broken_file_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("history.json");
        let history =
            History { at: T + 630, total: track(&[(T + 600, 0), (T + 630, 30)]), workers: BTreeMap::new() };
        history.save(&file).unwrap();
        let again = History::load(&file);
        assert_eq!(again.total(Span::Hour, T + 630), history.total(Span::Hour, T + 630));
        std::fs::write(&file, "{").unwrap();
        assert!(History::load(&file).total(Span::Hour, T + 630).rates.iter().all(Option::is_none));
    }
}
