//! Extranonces: which bytes of a coinbase are the server's, which the miner's, and that no two channels ever
//! have the same.
//!
//! A coinbase of our own has room for 4 + 8 bytes. An upstream pool leaves less, often 8 or 4, so there are
//! smaller layouts for its jobs, chosen when a connection or channel begins. The bytes that a layout leaves
//! over are a pad before it, and belong to the coinbase's prefix. Of one job, no two layouts ever make the same
//! extranonce2: where there is room for both, the pad of the narrow one ends with a number, made anew by
//! each process, that stands where the wide one has the server's part, and the wide one never hands it out.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::job::JobFeed;

/// The most that the server's part can have.
const MAX_SERVER_BYTES: usize = 4;
/// The most that a miner's part has, unless a Sv2 miner asks for more.
pub const MAX_MINER_BYTES: usize = 8;
/// Numbers of the server's part in the narrow layout.
const NARROW_NUMBERS: usize = 1 << 16;

/// What the pad of the narrow layout ends with. New in each process: after a restart within one block a miner
/// must not get its old extranonce.
static MARK: LazyLock<u32> = LazyLock::new(random);

/// How an extranonce is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    server: usize,
    miner: usize,
}

impl Layout {
    /// For coinbases of our own.
    pub const OWN: Self = Self { server: 4, miner: MAX_MINER_BYTES };
    /// For an upstream that leaves 8 bytes or more.
    pub const WIDE: Self = Self { server: 4, miner: 4 };
    /// For an upstream that leaves 4 bytes or more.
    pub const NARROW: Self = Self { server: 2, miner: 2 };

    /// The layout for an upstream that leaves so many bytes.
    const fn within(room: usize) -> Self {
        if room >= Self::WIDE.bytes() { Self::WIDE } else { Self::NARROW }
    }

    /// Bytes that the miner rolls.
    pub const fn miner_bytes(self) -> usize {
        self.miner
    }

    /// Bytes that the server chooses, unique for each channel.
    pub const fn server_bytes(self) -> usize {
        self.server
    }

    /// Bytes of both.
    pub const fn bytes(self) -> usize {
        self.server + self.miner
    }
}

/// What stands before extranonces of so many bytes where an upstream leaves `room`; none when it leaves less.
pub fn pad(room: usize, bytes: usize) -> Option<Vec<u8>> {
    let mut pad = vec![0; room.checked_sub(bytes)?];
    if bytes == Layout::NARROW.bytes() {
        let mark = MARK.to_be_bytes();
        pad.iter_mut().rev().zip(mark.iter().rev()).for_each(|(byte, mark)| *byte = *mark);
    }
    Some(pad)
}

/// The server's part of a channel's extranonces. Dropped with the channel.
#[derive(Debug)]
pub struct Extranonce {
    bytes: [u8; MAX_SERVER_BYTES],
    layout: Layout,
    /// To be given back.
    leased: Option<(u16, Arc<Mutex<Leases>>)>,
}

impl Extranonce {
    /// The server's part.
    pub fn server(&self) -> &[u8] {
        self.bytes.get(..self.layout.server).unwrap_or_default()
    }

    /// How large both parts are.
    pub const fn layout(&self) -> Layout {
        self.layout
    }
}

#[cfg(test)]
impl From<[u8; MAX_SERVER_BYTES]> for Extranonce {
    fn from(bytes: [u8; MAX_SERVER_BYTES]) -> Self {
        Self { bytes, layout: Layout::OWN, leased: None }
    }
}

impl Drop for Extranonce {
    fn drop(&mut self) {
        if let Some((number, leases)) = self.leased.take() {
            lock(&leases).give_back(number);
        }
    }
}

/// Hands out extranonces. Of the larger layouts 2^32 others come before one returns; of the narrow one,
/// 2^16 less those that open channels have.
#[derive(Debug)]
pub struct Extranonces {
    /// Where the room is known from; none for coinbases of our own.
    upstream: Option<JobFeed>,
    next: AtomicU32,
    narrow: Arc<Mutex<Leases>>,
}

impl Extranonces {
    /// For coinbases of our own. Begins at a random number: after a restart within one block a miner must
    /// not get its old extranonce, and with it the headers that were credited before.
    pub fn new() -> Self {
        Self { upstream: None, next: AtomicU32::new(random()), narrow: Arc::default() }
    }

    /// For the jobs of an upstream: of a size for which the newest of `jobs` has room.
    pub fn upstream(jobs: JobFeed) -> Self {
        Self { upstream: Some(jobs), ..Self::new() }
    }

    /// One that no channel has; none while channels have all there are.
    pub fn next(&self) -> Option<Extranonce> {
        let layout = match &self.upstream {
            None => Layout::OWN,
            Some(jobs) => {
                let job = jobs.borrow();
                let upstream = job.as_ref().and_then(|job| job.template.upstream.as_ref());
                upstream.map_or(Layout::NARROW, |upstream| Layout::within(upstream.extranonce_bytes))
            }
        };
        if layout == Layout::NARROW {
            let number = lock(&self.narrow).take()?;
            let [a, b] = number.to_be_bytes();
            let leased = Some((number, Arc::clone(&self.narrow)));
            return Some(Extranonce { bytes: [a, b, 0, 0], layout, leased });
        }
        let mut number = self.next.fetch_add(1, Ordering::Relaxed);
        if number == *MARK {
            number = self.next.fetch_add(1, Ordering::Relaxed);
        }
        Some(Extranonce { bytes: number.to_be_bytes(), layout, leased: None })
    }
}

impl Default for Extranonces {
    fn default() -> Self {
        Self::new()
    }
}

/// Which numbers of the narrow layout are taken.
#[derive(Debug)]
struct Leases {
    /// A bit each.
    taken: Box<[u64]>,
    next: u16,
}

impl Default for Leases {
    fn default() -> Self {
        Self { taken: vec![0; NARROW_NUMBERS / 64].into(), next: random() as u16 }
    }
}

impl Leases {
    /// The next one that is free. One that was given back comes again as late as can be.
    fn take(&mut self) -> Option<u16> {
        for step in 0..=u16::MAX {
            let number = self.next.wrapping_add(step);
            let bit = 1 << (number % 64);
            if let Some(word) = self.taken.get_mut(usize::from(number / 64))
                && *word & bit == 0
            {
                *word |= bit;
                self.next = number.wrapping_add(1);
                return Some(number);
            }
        }
        None
    }

    fn give_back(&mut self, number: u16) {
        if let Some(word) = self.taken.get_mut(usize::from(number / 64)) {
            *word &= !(1 << (number % 64));
        }
    }
}

fn lock(leases: &Mutex<Leases>) -> MutexGuard<'_, Leases> {
    leases.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The standard library's hasher is keyed by the system's random source.
fn random() -> u32 {
    (RandomState::new().build_hasher().finish() >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use tokio::sync::watch;

    use super::*;
    use crate::job::fixture;

    fn with_room(room: usize) -> Extranonces {
        let job = fixture::job(fixture::upstream_template(room, u32::MAX));
        Extranonces::upstream(watch::channel(Some(job)).1)
    }

    #[test]
    fn a_restart_does_not_hand_out_the_same_extranonces_again() {
        let server = |extranonces: Extranonces| extranonces.next().unwrap().server().to_vec();
        for make in [Extranonces::new, || with_room(8), || with_room(4)] {
            let starts: HashSet<_> = (0..8).map(|_| server(make())).collect();
            assert!(starts.len() > 6, "{starts:?}");
        }
    }

    #[test]
    fn the_layout_fits_the_newest_job() {
        let (jobs, feed) = watch::channel(None);
        let extranonces = Extranonces::upstream(feed);
        let layout = || extranonces.next().unwrap().layout();
        assert_eq!(layout(), Layout::NARROW, "nothing is known yet");
        for (room, expected) in
            [(4, Layout::NARROW), (7, Layout::NARROW), (8, Layout::WIDE), (20, Layout::WIDE)]
        {
            jobs.send_replace(Some(fixture::job(fixture::upstream_template(room, u32::MAX))));
            assert_eq!(layout(), expected, "{room}");
        }
        assert_eq!(Extranonces::new().next().unwrap().layout(), Layout::OWN);
    }

    #[test]
    fn an_open_channel_keeps_its_number_and_a_closed_one_gives_it_back() {
        let extranonces = with_room(4);
        let mut open: Vec<_> = (0..NARROW_NUMBERS).map(|_| extranonces.next().unwrap()).collect();
        let numbers: HashSet<_> = open.iter().map(|extranonce| extranonce.server().to_vec()).collect();
        assert_eq!(numbers.len(), NARROW_NUMBERS);
        assert!(extranonces.next().is_none());
        let gone = open.swap_remove(12_345).server().to_vec();
        assert_eq!(extranonces.next().unwrap().server(), gone);
        assert_eq!(extranonces.next().unwrap().server(), gone, "it was given back again");
    }

    #[test]
    fn the_wide_layout_leaves_out_the_mark_of_the_narrow_one() {
        let extranonces = with_room(8);
        extranonces.next.store(MARK.wrapping_sub(1), Ordering::Relaxed);
        let [before, after] = [1, 2].map(|_| extranonces.next().unwrap().bytes);
        assert_eq!(before, MARK.wrapping_sub(1).to_be_bytes());
        assert_eq!(after, MARK.wrapping_add(1).to_be_bytes());
    }

    proptest! {
        /// Whatever room an upstream leaves: what any two channels make of it differs and fills it.
        #[test]
        fn no_two_channels_make_the_same_extranonce2(
            room in 4usize..40, near_mark in any::<bool>(), miners in prop::collection::vec(any::<u32>(), 1..40),
        ) {
            let narrow = with_room(4);
            let wide = with_room(8);
            if near_mark {
                wide.next.store(MARK.wrapping_sub(5), Ordering::Relaxed);
            }
            let mut made = HashSet::new();
            let mut open = Vec::new();
            let channels = miners.iter().enumerate();
            for (nth, miner) in channels {
                let extranonce = if nth % 2 == 0 { narrow.next() } else { wide.next() }.unwrap();
                let layout = extranonce.layout();
                let Some(mut bytes) = pad(room, layout.bytes()) else {
                    prop_assert!(room < 8 && layout == Layout::WIDE);
                    continue;
                };
                bytes.extend_from_slice(extranonce.server());
                bytes.extend_from_slice(&miner.to_be_bytes()[..layout.miner_bytes()]);
                prop_assert_eq!(bytes.len(), room);
                // Another channel may well have rolled the same: only all of it must differ.
                prop_assert!(made.insert(bytes));
                open.push(extranonce);
            }
        }
    }
}
