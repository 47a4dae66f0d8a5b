//! Shares that wait for their answer.

use std::collections::VecDeque;

/// A share that was answered already.
const ANSWERED: u64 = u64::MAX;

/// When each share of a connection was written, by its number. Numbers count up from 0.
#[derive(Default)]
pub struct Flight {
    /// Nanoseconds, the oldest share that is not answered first.
    written: VecDeque<u64>,
    /// The number of the first of them.
    first: u32,
    waiting: u32,
}

impl Flight {
    /// The number of the next share.
    pub fn next(&self) -> u32 {
        self.first.wrapping_add(self.written.len() as u32)
    }

    /// The next share was written at this time.
    pub fn push(&mut self, written: u64) {
        self.written.push_back(written);
        self.waiting += 1;
    }

    /// How many wait.
    pub const fn waiting(&self) -> u32 {
        self.waiting
    }

    /// One share was answered: when it was written, if it was waiting.
    pub fn answer(&mut self, number: u32) -> Option<u64> {
        let slot = self.written.get_mut(number.wrapping_sub(self.first) as usize)?;
        let written = std::mem::replace(slot, ANSWERED);
        while self.written.front() == Some(&ANSWERED) {
            self.written.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        let found = (written != ANSWERED).then_some(written);
        self.waiting -= u32::from(found.is_some());
        found
    }

    /// All shares up to `last` that still wait were answered: each is given to `each`.
    pub fn answer_through(&mut self, last: u32, mut each: impl FnMut(u64)) -> u32 {
        let through = last.wrapping_sub(self.first) as usize;
        if through >= self.written.len() {
            return 0;
        }
        let mut answered = 0;
        for written in self.written.drain(..=through).filter(|&written| written != ANSWERED) {
            answered += 1;
            each(written);
        }
        self.first = last.wrapping_add(1);
        while self.written.front() == Some(&ANSWERED) {
            self.written.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        self.waiting -= answered;
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(shares: u64) -> Flight {
        let mut flight = Flight { first: u32::MAX - 1, ..Flight::default() };
        (0..shares).for_each(|time| flight.push(time));
        flight
    }

    #[test]
    fn an_answer_covers_all_shares_up_to_its_own() {
        let mut flight = flight(5);
        let mut times = Vec::new();
        assert_eq!(flight.answer_through(0, |time| times.push(time)), 3);
        assert_eq!((times, flight.waiting(), flight.next()), (vec![0, 1, 2], 2, 3));
        assert_eq!(flight.answer_through(0, |_| {}), 0);
        assert_eq!(flight.answer_through(3, |_| {}), 0);
    }

    #[test]
    fn a_share_is_answered_once() {
        let mut flight = flight(4);
        assert_eq!(flight.answer(0), Some(2));
        assert_eq!(flight.answer(0), None);
        assert_eq!(flight.answer(u32::MAX - 1), Some(0));
        assert_eq!(flight.answer_through(1, |_| {}), 2);
        assert_eq!((flight.waiting(), flight.answer(1)), (0, None));
    }
}
