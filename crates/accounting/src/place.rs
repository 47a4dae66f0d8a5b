//! Places: of a share in its journal, of an entry in its journal's quote queue, and of a journal
//! among all that one mint reads. How far each of them was credited is a [`Marks`].

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bitcoin::hex::{DisplayHex, FromHex};
use serde::{Deserialize, Serialize};

/// Sequence number of an accepted share in its journal: 1 for the first, without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShareSeq(u64);

impl ShareSeq {
    /// The place before the first share.
    pub const START: Self = Self(0);

    /// The share numbered `seq`.
    pub const fn new(seq: u64) -> Self {
        Self(seq)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ShareSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Place of an entry in a journal's quote queue: 1 for the first, without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueSeq(u64);

impl QueueSeq {
    /// The place before the first entry.
    pub const START: Self = Self(0);

    /// The entry numbered `seq`.
    pub const fn new(seq: u64) -> Self {
        Self(seq)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The entry after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for QueueSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Names one pool's journal among all that a mint reads. It is made with the journal and stays with
/// every copy of it. Written as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JournalId([u8; 16]);

/// A text that names no journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not the identity of a journal; those are 32 hex digits")]
pub struct NotAJournalId(String);

impl JournalId {
    /// The one journal of a mint whose records are older than identities.
    pub const UNNAMED: Self = Self([0; 16]);

    /// The journal with this name.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hex())
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalId({self})")
    }
}

impl FromStr for JournalId {
    type Err = NotAJournalId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = <[u8; 16]>::from_hex(text).map(Self).map_err(|_| NotAJournalId(text.to_owned()))?;
        if id.to_string() == text { Ok(id) } else { Err(NotAJournalId(text.to_owned())) }
    }
}

impl TryFrom<String> for JournalId {
    type Error = NotAJournalId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<JournalId> for String {
    fn from(id: JournalId) -> Self {
        id.to_string()
    }
}

/// How far one journal was credited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The last entry of its queue; [`QueueSeq::START`] in records that are older than this field.
    pub entry: QueueSeq,
    /// The last share that those entries credit.
    pub share: ShareSeq,
}

/// How far each journal was credited up to some moment. A journal that is not in it had nothing yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Marks(BTreeMap<JournalId, Mark>);

/// Records from before there were several journals hold one share's number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    OneShare(ShareSeq),
    Each(BTreeMap<JournalId, Mark>),
}

impl From<Stored> for Marks {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::OneShare(ShareSeq::START) => Self::default(),
            Stored::OneShare(share) => {
                Self([(JournalId::UNNAMED, Mark { entry: QueueSeq::START, share })].into())
            }
            Stored::Each(marks) => Self(marks),
        }
    }
}

impl Marks {
    /// How far this journal was credited.
    pub fn of(&self, journal: JournalId) -> Mark {
        self.0.get(&journal).copied().unwrap_or_default()
    }

    /// Each journal with its mark, ordered by journal.
    pub fn iter(&self) -> impl Iterator<Item = (JournalId, Mark)> {
        self.0.iter().map(|(&journal, &mark)| (journal, mark))
    }

    /// A journal was credited as far as `mark`; marks never go back.
    pub(crate) fn advance(&mut self, journal: JournalId, mark: Mark) {
        let so_far = self.0.entry(journal).or_default();
        so_far.entry = so_far.entry.max(mark.entry);
        so_far.share = so_far.share.max(mark.share);
    }

    /// What was known of the unnamed journal belongs to this one.
    pub(crate) fn name(&mut self, journal: JournalId) {
        if let Some(mark) = self.0.remove(&JournalId::UNNAMED) {
            self.advance(journal, mark);
        }
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (journal, mark)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{} of {journal}", mark.share)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_has_one_spelling() {
        let id = JournalId::new(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        let capitals = JournalId::new([0xab; 16]).to_string().to_uppercase();
        for wrong in ["", "00", capitals.as_str(), &format!("{id}0"), "z0000000000000000000000000000000"] {
            assert!(wrong.parse::<JournalId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_record_of_one_journal_is_read_as_the_unnamed_ones() {
        let mut marks: Marks = serde_json::from_str("17").unwrap();
        assert_eq!(marks.of(JournalId::UNNAMED).share, ShareSeq::new(17));
        let named = JournalId::new([7; 16]);
        marks.name(named);
        assert_eq!(marks.iter().collect::<Vec<_>>(), [(named, marks.of(named))]);
        let text = serde_json::to_string(&marks).unwrap();
        assert_eq!(serde_json::from_str::<Marks>(&text).unwrap(), marks);
        assert_eq!(serde_json::from_str::<Marks>("0").unwrap(), Marks::default());
    }
}
