//! Variable difficulty: a pure state machine that steers a miner towards 15 shares a minute.
//!
//! All times are milliseconds of a clock that only moves forward. Steps are powers of two, so that
//! the nearest difficulty gives between 10.6 and 21.2 shares a minute. It never rejects: a job's
//! shares count at the job's difficulty, whatever the difficulty became since, and tell about the
//! miner's speed by the work they stand for.

mod class;
mod evidence;
mod start;

use poolbox_accounting::Difficulty;

pub use class::Class;
use evidence::Window;
pub use start::{Introduction, Start, password_difficulty};

/// A look at the plain average, to correct what a first guess from a few shares missed.
struct Look {
    /// When so many shares came at one difficulty.
    shares: u32,
    /// What is too slow, in hundredths of the ideal rate …
    slow: u64,
    /// … and what is too fast: 10.1 and 22.4 shares a minute, and the scatter of the average.
    fast: u64,
}

/// Later only proof counts.
const LOOKS: [Look; 3] = [
    Look { shares: 32, slow: 60, fast: 167 },
    Look { shares: 128, slow: 67, fast: 150 },
    Look { shares: 512, slow: 68, fast: 148 },
];
/// An average over more than this would be blind to what happens now.
const AVERAGED_SHARES: u32 = 512;
/// Steps of the first fall in silence; each further one is twice as deep.
const FIRST_FALL: u8 = 3;
/// Deep enough to get from any difficulty to any other in one.
const DEEPEST_FALL: u8 = 48;
/// How far silence may lower a miner whose speed was measured: it comes back at the same speed.
const MEASURED_FALL: u8 = 8;
/// How long a floor is held against silence when nothing is known of the miner …
const PATIENCE_MS: u64 = 5 * 60_000;
/// … and when its speed was measured, or is known from what it calls itself.
const LONG_PATIENCE_MS: u64 = 2 * 60 * 60_000;

/// Between which difficulties a miner may be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VardiffLimits {
    /// The easiest.
    pub min: Difficulty,
    /// The hardest. Where it is below the easiest it wins: a share is never harder than a block.
    pub max: Difficulty,
}

impl VardiffLimits {
    /// The nearest difficulty within the limits.
    pub fn clamp(self, difficulty: Difficulty) -> Difficulty {
        difficulty.max(self.min).min(self.max)
    }
}

/// One miner's difficulty over time.
#[derive(Clone, Debug)]
pub struct Vardiff {
    /// For the suspicion that it is too fast.
    rising: Window,
    /// For the suspicion that it is too slow.
    falling: Window,
    /// Since the last change, for averages.
    whole: Window,
    limits: VardiffLimits,
    difficulty: Difficulty,
    /// The lowest that silence leads to, until patience ends.
    floor: Difficulty,
    /// At which its speed was last found right.
    measured: Option<Difficulty>,
    wish: Option<Difficulty>,
    /// What it calls itself tells its speed.
    known: bool,
    looks: u8,
    /// The next fall in silence, in steps.
    fall: u8,
}

impl Vardiff {
    /// Starts at `start`, brought within `limits`, with no other floor than theirs.
    pub fn new(start: Difficulty, limits: VardiffLimits, now_ms: u64) -> Self {
        Self::begin(Start { difficulty: start, floor: limits.min, known: false }, limits, now_ms)
    }

    /// Starts as chosen for this miner, brought within `limits`.
    pub fn begin(start: Start, limits: VardiffLimits, now_ms: u64) -> Self {
        let window = Window::new(now_ms);
        Self {
            rising: window,
            falling: window,
            whole: window,
            limits,
            difficulty: limits.clamp(start.difficulty),
            floor: start.floor.min(start.difficulty),
            measured: None,
            wish: None,
            known: start.known,
            looks: 0,
            fall: FIRST_FALL,
        }
    }

    /// What the miner should work at.
    pub const fn difficulty(&self) -> Difficulty {
        self.difficulty
    }

    /// What is worth remembering of this miner for its next connection: the difficulty that fits
    /// its speed. None before its speed was measured.
    pub const fn measured(&self) -> Option<Difficulty> {
        self.measured
    }

    /// Sets the hardest difficulty from now on.
    pub fn set_max(&mut self, max: Difficulty) {
        self.set_limits(VardiffLimits { max, ..self.limits });
    }

    /// Sets the easiest difficulty from now on, as a device demands it.
    pub fn set_min(&mut self, min: Difficulty) {
        self.set_limits(VardiffLimits { min, ..self.limits });
    }

    fn set_limits(&mut self, limits: VardiffLimits) {
        self.limits = limits;
        let next = limits.clamp(self.difficulty);
        if next != self.difficulty {
            let steps = steps_between(self.difficulty, next);
            for window in [&mut self.rising, &mut self.falling, &mut self.whole] {
                window.rescale(steps);
            }
            self.difficulty = next;
        }
    }

    /// Starts over at a difficulty that the miner asked for. A wish that it repeats changes nothing,
    /// nor does one that comes after its speed was measured.
    pub fn restart(&mut self, wanted: Difficulty, now_ms: u64) {
        if self.measured.is_none() && self.wish != Some(wanted) {
            let start = Start { difficulty: wanted, floor: self.floor, known: self.known };
            *self = Self { wish: Some(wanted), ..Self::begin(start, self.limits, now_ms) };
        }
    }

    /// A share arrived whose job was sent out at `job_difficulty`. Returns the new difficulty when
    /// it changes.
    pub fn on_share(&mut self, job_difficulty: Difficulty, now_ms: u64) -> Option<Difficulty> {
        let steps = steps_between(self.difficulty, job_difficulty);
        self.fall = FIRST_FALL;
        self.falling.add(steps);
        if steps > 0 {
            // It still works on a harder job, whose shares stand for many each: too coarse a measure to
            // raise anybody by. Averages begin when it is done with it.
            self.whole = Window::new(now_ms);
        } else {
            self.rising.add(steps);
            self.whole.add(steps);
        }
        self.on_tick(now_ms)
    }

    /// Time passed. Returns the new difficulty when it changes.
    pub fn on_tick(&mut self, now_ms: u64) -> Option<Difficulty> {
        if self.rising.proves_speed(now_ms) {
            return self.raise(self.rising, now_ms);
        }
        let stranger = self.measured.is_none() && self.whole.is_empty();
        if self.falling.proves_slowness(now_ms, stranger) {
            return self.lower(self.falling, now_ms);
        }
        self.look(now_ms)
    }

    /// Whether the average after a few dozen shares bears out the difficulty.
    fn look(&mut self, now_ms: u64) -> Option<Difficulty> {
        let whole = self.whole;
        if let Some(look) = LOOKS.get(usize::from(self.looks))
            && whole.holds(look.shares)
        {
            let slow = !whole.is_above(look.slow, now_ms);
            // An average over a pause says nothing: the slowness must have lasted until now.
            if slow && self.falling.elapsed_ms(now_ms) < whole.elapsed_ms(now_ms) / 2 {
                self.whole = Window::new(now_ms);
                return None;
            }
            self.looks += 1;
            self.measured = Some(self.difficulty);
            if whole.is_above(look.fast, now_ms) {
                return self.raise(whole, now_ms);
            }
            if slow {
                return self.lower(whole, now_ms);
            }
        }
        if whole.holds(AVERAGED_SHARES) {
            self.whole = Window::new(now_ms);
        }
        None
    }

    fn raise(&mut self, seen: Window, now_ms: u64) -> Option<Difficulty> {
        self.rising = Window::new(now_ms);
        let next = self.limits.clamp(self.difficulty.harder_by(seen.steps_up(now_ms)));
        self.change(next, now_ms)
    }

    fn lower(&mut self, seen: Window, now_ms: u64) -> Option<Difficulty> {
        self.falling = Window::new(now_ms);
        // A few shares are hardly more than silence. Many prove a speed, and who is proven slow cannot
        // flood: no floor is needed.
        let steps = match (seen.proves(), seen.is_empty()) {
            (true, _) => seen.steps_down(now_ms),
            (false, true) => self.fall,
            (false, false) => seen.steps_down(now_ms).min(self.fall),
        };
        let lowest = if seen.proves() { self.limits.min } else { self.lowest() };
        let mut next = self.lowered(steps, lowest);
        if next == self.difficulty && self.loses_patience(now_ms) {
            next = self.lowered(steps, self.limits.min);
        }
        let measured = self.measured;
        let changed = self.change(next, now_ms);
        if !seen.proves() {
            self.measured = measured;
            self.fall = (steps * 2).min(DEEPEST_FALL);
        }
        changed
    }

    fn lowered(&self, steps: u8, lowest: Difficulty) -> Difficulty {
        self.limits.clamp(self.difficulty.easier_by(steps).max(lowest.min(self.difficulty)))
    }

    /// The lowest that silence leads to.
    fn lowest(&self) -> Difficulty {
        match self.measured {
            Some(measured) => self.floor.max(measured.easier_by(MEASURED_FALL)),
            None => self.floor,
        }
    }

    /// A floor guards against floods; it must not starve a miner that is slower than it seemed.
    fn loses_patience(&mut self, now_ms: u64) -> bool {
        let long = self.known || self.measured.is_some();
        let patience_ms = if long { LONG_PATIENCE_MS } else { PATIENCE_MS };
        let lost = self.whole.elapsed_ms(now_ms) >= patience_ms && self.whole.is_starved(now_ms);
        if lost {
            self.floor = self.limits.min;
            self.measured = None;
            self.known = false;
        }
        lost
    }

    fn change(&mut self, next: Difficulty, now_ms: u64) -> Option<Difficulty> {
        let steps = steps_between(self.difficulty, next);
        match steps.abs() {
            0 => return None,
            1 => self.measured = self.measured.map(|_| next),
            // Far off is a new beginning: the coarse guess deserves a second look.
            _ => self.looks = 0,
        }
        let window = Window::new(now_ms);
        (self.rising, self.falling, self.whole) = (window, window, window);
        self.difficulty = next;
        Some(next)
    }
}

/// How many steps harder `to` is than `from`; negative when it is easier.
fn steps_between(from: Difficulty, to: Difficulty) -> i16 {
    i16::from(to.log2()) - i16::from(from.log2())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
