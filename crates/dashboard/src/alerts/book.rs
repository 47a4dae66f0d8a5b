//! The book of alerts: what happened lately, and what of it still has to be sent where. Pure: the clock is
//! given, and whoever sends says how it went.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::event::{Event, News};
use super::watch::Kept;
use super::way::Kind;

/// Events that are remembered.
const MAX_EVENTS: usize = 200;
/// The wait after the first try that failed; it doubles from there.
const FIRST_WAIT_S: u64 = 10;
const LONGEST_WAIT_S: u64 = 3600;
/// Older events are not sent any more.
const KEPT_UP_S: u64 = 86_400;

/// What has to be sent on one way, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Queue {
    events: VecDeque<u64>,
    /// Tries in a row that failed.
    failed: u32,
    /// When the next one may be, Unix seconds.
    next_at: u64,
}

/// All of it, as it is kept in a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Book {
    /// The number of the newest event.
    newest: u64,
    /// The newest first.
    events: VecDeque<Event>,
    queues: BTreeMap<Kind, Queue>,
    /// What the watch remembers.
    pub watch: Kept,
}

/// What is to be done on a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send this.
    Send(Event),
    /// Ask again in so many seconds.
    Wait(u64),
    /// Ask again when something happened.
    Nothing,
}

impl Book {
    /// Forgets what was to be sent on ways that are not set any more.
    pub fn keep_ways(&mut self, ways: &[Kind]) {
        self.queues.retain(|kind, _| ways.contains(kind));
    }

    /// Notes an event, to be sent on `ways`.
    pub fn note(&mut self, news: News, at: u64, ways: &[Kind]) {
        self.newest += 1;
        let News { topic, over, text } = news;
        self.events.push_front(Event { id: self.newest, at, topic, over, text });
        self.events.truncate(MAX_EVENTS);
        for kind in ways {
            self.queues.entry(*kind).or_default().events.push_back(self.newest);
        }
    }

    /// The newest first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// Events that wait on a way.
    pub fn waiting(&self, kind: Kind) -> usize {
        self.queues.get(&kind).map_or(0, |queue| queue.events.len())
    }

    /// What is to be done on a way now.
    pub fn due(&mut self, kind: Kind, now: u64) -> Due {
        let Some(queue) = self.queues.get_mut(&kind) else { return Due::Nothing };
        let known = |id: u64| self.events.iter().find(|event| event.id == id);
        let fresh = |event: &&Event| now.saturating_sub(event.at) < KEPT_UP_S;
        while let Some(id) = queue.events.front() {
            let Some(event) = known(*id).filter(fresh) else {
                queue.events.pop_front();
                continue;
            };
            // A clock that was set back does not make anybody wait for longer than is ever waited.
            return match queue.next_at.saturating_sub(now) {
                0 => Due::Send(event.clone()),
                wait => Due::Wait(wait.min(LONGEST_WAIT_S)),
            };
        }
        Due::Nothing
    }

    /// It arrived, or never will.
    pub fn done(&mut self, kind: Kind, id: u64) {
        if let Some(queue) = self.queues.get_mut(&kind) {
            queue.events.retain(|waiting| *waiting != id);
            (queue.failed, queue.next_at) = (0, 0);
        }
    }

    /// It did not arrive: it is tried again later. Returns in how many seconds.
    pub fn failed(&mut self, kind: Kind, now: u64) -> u64 {
        let queue = self.queues.entry(kind).or_default();
        let wait = FIRST_WAIT_S.checked_shl(queue.failed.min(16)).unwrap_or(LONGEST_WAIT_S);
        let wait = wait.min(LONGEST_WAIT_S);
        queue.failed = queue.failed.saturating_add(1);
        queue.next_at = now + wait;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Topic;
    use super::*;

    const NOW: u64 = 1_795_564_800;

    fn news(text: &str) -> News {
        News { topic: Topic::BlockFound, over: false, text: text.to_owned() }
    }

    fn sent(due: Due) -> Option<String> {
        match due {
            Due::Send(event) => Some(event.text),
            Due::Wait(_) | Due::Nothing => None,
        }
    }

    #[test]
    fn an_event_is_sent_once_on_each_way_also_past_a_restart() {
        let mut book = Book::default();
        book.note(news("one"), NOW, &[Kind::Webhook, Kind::Ntfy]);
        assert_eq!(sent(book.due(Kind::Webhook, NOW)).unwrap(), "one");
        book.done(Kind::Webhook, 1);
        let kept = serde_json::to_vec(&book).unwrap();
        let mut again: Book = serde_json::from_slice(&kept).unwrap();
        assert_eq!(again.due(Kind::Webhook, NOW), Due::Nothing);
        assert_eq!(sent(again.due(Kind::Ntfy, NOW)).unwrap(), "one", "it did not leave that way yet");
        again.note(news("two"), NOW, &[Kind::Webhook]);
        assert_eq!(again.events().map(|event| event.id).collect::<Vec<_>>(), [2, 1]);
        again.keep_ways(&[Kind::Webhook]);
        assert_eq!(again.waiting(Kind::Ntfy), 0);
    }

    #[test]
    fn what_does_not_arrive_is_tried_ever_more_seldom_and_for_a_day() {
        let mut book = Book::default();
        book.note(news("one"), NOW, &[Kind::Ntfy]);
        let (mut now, mut waits) = (NOW, Vec::new());
        while sent(book.due(Kind::Ntfy, now)).is_some() {
            waits.push(book.failed(Kind::Ntfy, now));
            assert_eq!(book.due(Kind::Ntfy, now), Due::Wait(*waits.last().unwrap()));
            now += waits.last().unwrap();
        }
        assert_eq!(waits[..10], [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]);
        assert!(waits.len() < 40 && now - NOW >= KEPT_UP_S, "{} tries in {} s", waits.len(), now - NOW);
        book.note(news("two"), now, &[Kind::Ntfy]);
        assert!(
            matches!(book.due(Kind::Ntfy, now - 10_000), Due::Wait(..=LONGEST_WAIT_S)),
            "a clock set back"
        );
    }

    #[test]
    fn old_events_make_room() {
        let mut book = Book::default();
        for nth in 0..500 {
            book.note(news(&nth.to_string()), NOW, &[Kind::Webhook]);
        }
        assert_eq!(book.events().count(), MAX_EVENTS);
        assert_eq!(sent(book.due(Kind::Webhook, NOW)).unwrap(), "300", "what is not remembered is not sent");
        assert_eq!(book.waiting(Kind::Webhook), MAX_EVENTS);
    }
}
