//! How far the disk and the quote queue are behind the miners.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use poolbox_accounting::ShareSeq;

/// Shares journalled within this time are told by the first of them.
const GRAIN_MS: u64 = 1000;
/// Times that are kept apart: an hour of an idle quote queue. Beyond, only the oldest is told right.
const MAX_MARKS: usize = 3600;

/// Shares between their acceptance and the quote queue.
#[derive(Debug, Default)]
pub struct Lag {
    waiting: AtomicU64,
    unqueued: Mutex<VecDeque<Mark>>,
}

/// Shares up to this one were journalled, the first of them at this time.
#[derive(Clone, Copy, Debug)]
struct Mark {
    through: ShareSeq,
    since_ms: u64,
}

/// Shares on their way to the disk, for as long as it lives.
#[derive(Debug)]
pub struct Waiting<'a> {
    lag: &'a Lag,
    shares: u64,
}

impl Lag {
    /// So many shares are on their way to the disk.
    pub fn waiting(&self, shares: u64) -> Waiting<'_> {
        self.waiting.fetch_add(shares, Ordering::Relaxed);
        Waiting { lag: self, shares }
    }

    /// Shares on their way to the disk.
    pub fn shares_waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Shares up to `last` are on disk.
    pub fn journalled(&self, last: ShareSeq, now_ms: u64) {
        let mut marks = self.marks();
        let full = marks.len() >= MAX_MARKS;
        match marks.back_mut() {
            Some(mark) if full || now_ms.saturating_sub(mark.since_ms) < GRAIN_MS => {
                mark.through = mark.through.max(last);
            }
            _ => marks.push_back(Mark { through: last, since_ms: now_ms }),
        }
    }

    /// How long ago the oldest share was journalled that is not in the quote queue, to within a second.
    pub fn oldest_unqueued_ms(&self, queued_through: ShareSeq, now_ms: u64) -> Option<u64> {
        self.queued(queued_through);
        self.marks().front().map(|oldest| now_ms.saturating_sub(oldest.since_ms))
    }

    /// Forgets what is in the quote queue; to be called now and then.
    pub fn queued(&self, through: ShareSeq) {
        let mut marks = self.marks();
        while marks.front().is_some_and(|oldest| oldest.through <= through) {
            marks.pop_front();
        }
    }

    fn marks(&self) -> MutexGuard<'_, VecDeque<Mark>> {
        self.unqueued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.lag.waiting.fetch_sub(self.shares, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(n: u64) -> ShareSeq {
        ShareSeq::new(n)
    }

    #[test]
    fn the_oldest_share_that_is_not_queued_is_told_to_within_a_second() {
        let lag = Lag::default();
        assert_eq!(lag.oldest_unqueued_ms(seq(0), 0), None);
        for (n, at_ms) in [(10, 0), (20, 400), (30, 900), (40, 1500), (50, 9000)] {
            lag.journalled(seq(n), at_ms);
        }
        let ages = [0, 10, 29, 30, 40, 50].map(|through| lag.oldest_unqueued_ms(seq(through), 10_000));
        assert_eq!(ages, [Some(10_000), Some(10_000), Some(10_000), Some(8500), Some(1000), None]);
    }

    #[test]
    fn an_idle_queue_takes_no_more_memory_and_its_oldest_share_stays_known() {
        let lag = Lag::default();
        (0..100_000).for_each(|n| lag.journalled(seq(n), n * 2000));
        assert_eq!(lag.marks().len(), MAX_MARKS);
        assert_eq!(lag.oldest_unqueued_ms(seq(0), 1_000_000), Some(998_000));
        assert_eq!(lag.oldest_unqueued_ms(seq(99_999), 1_000_000), None);
    }

    #[test]
    fn shares_wait_until_they_are_on_disk_or_given_up() {
        let lag = Lag::default();
        let (one, _two) = (lag.waiting(3), lag.waiting(4));
        assert_eq!(lag.shares_waiting(), 7);
        drop(one);
        assert_eq!(lag.shares_waiting(), 4);
    }
}
