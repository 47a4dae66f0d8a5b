//! What is recorded.

use bitcoin::BlockHash;
use bitcoin::secp256k1::PublicKey;
use poolbox_accounting::{Epoch, Epochs, JournalId, QueueSeq, Rate, Round, Rounds, Sats, Work};
use poolbox_journal::{Cursor, Cursors};
use serde::{Deserialize, Serialize};

/// How far chain and queues were followed, and what came of it: one record, written whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredProgress")]
pub struct Progress {
    /// The last block that was followed; its height is the epochs' tip.
    pub block: BlockHash,
    /// The epochs that are not settled.
    pub epochs: Epochs,
    /// How far each pool's queue was taken.
    pub cursors: Cursors,
    /// Work credited so far, over all epochs.
    pub credited: Work,
    /// The rounds of mode proxy that are not shared out.
    pub rounds: Rounds,
}

/// As it is on disk: with the one cursor, too, that mints had which knew one journal.
#[derive(Deserialize)]
struct StoredProgress {
    block: BlockHash,
    epochs: Epochs,
    #[serde(default)]
    cursors: Cursors,
    #[serde(default)]
    cursor: QueueSeq,
    #[serde(default)]
    cursor_at: u64,
    credited: Work,
    #[serde(default)]
    rounds: Rounds,
}

impl From<StoredProgress> for Progress {
    fn from(stored: StoredProgress) -> Self {
        let StoredProgress { block, epochs, mut cursors, cursor: seq, cursor_at: at, credited, rounds } =
            stored;
        if seq > QueueSeq::START {
            cursors.insert(JournalId::UNNAMED, Cursor { seq, at });
        }
        Self { block, epochs, cursors, credited, rounds }
    }
}

impl Progress {
    /// How far the queue of this journal was taken. A record of the one journal that had no identity
    /// is this one's from now on.
    pub fn cursor_of(&mut self, journal: JournalId) -> &mut Cursor {
        if let Some(unnamed) = self.cursors.remove(&JournalId::UNNAMED) {
            self.cursors.insert(journal, unnamed);
            self.epochs.name_journal(journal);
        }
        self.cursors.entry(journal).or_default()
    }
}

/// What one owner earned in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// Canonical text of the owner.
    pub owner: String,
    /// The key that the quotes are locked to.
    pub lock: PublicKey,
    /// Work credited.
    pub credited: Work,
    /// Work paid to the quotes.
    pub paid: Work,
    /// Quotes so far; the last one is growing.
    pub quotes: u32,
    /// Payments to the last quote.
    pub payments: u32,
}

/// What one owner earned in one round of mode proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Canonical text of the owner.
    pub owner: String,
    /// The key that the quote is locked to.
    pub lock: PublicKey,
    /// Work credited.
    pub work: Work,
    /// Sats paid to the quote; none before the round is shared out.
    pub paid: Option<Sats>,
}

/// A round that was shared out; nothing in it changes any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedOut {
    /// The round as it ended.
    pub round: Round,
    /// Paid to quotes, together.
    pub paid: Sats,
    /// When the last owner was paid, Unix seconds.
    pub at: u64,
}

/// Where upstream pools pay this mint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamAccount {
    /// An address of the treasury that nobody else is given.
    pub address: String,
    /// Payments above this height are the rounds'.
    pub since: u32,
    /// A standing offer (BOLT 12), once one was asked for.
    pub offer: Option<UpstreamOffer>,
}

/// An offer that upstream pools pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamOffer {
    /// Its text, `lno1…`.
    pub text: String,
    /// Its id, hex.
    pub id: String,
}

/// A settled epoch; nothing in it changes any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The epoch as it ended.
    pub epoch: Epoch,
    /// What its ehash is worth; none when it holds no work.
    pub rate: Option<Rate>,
}

/// What was paid out of an epoch, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeemed {
    /// Ehash taken back.
    pub ehash: Work,
    /// Sats paid for it.
    pub sats: Sats,
}

/// A Lightning payment that arrived and belongs to no quote: nobody's ecash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unquoted {
    /// Its hash, hex.
    pub payment_hash: String,
    /// Id of the offer, or hash of the invoice, that was paid.
    pub request: String,
    /// Millisatoshis.
    pub msat: u64,
    /// When it was noted, Unix seconds.
    pub seen_at: u64,
}
#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use poolbox_accounting::EpochRules;

    use super::*;

    #[test]
    fn progress_of_a_mint_that_knew_one_journal_is_read_and_named() {
        let epochs = Epochs::new(EpochRules::default(), 7);
        let now = Progress {
            block: BlockHash::all_zeros(),
            epochs,
            cursors: Cursors::new(),
            credited: Work::from_ehash(90),
            rounds: Rounds::default(),
        };
        let text = serde_json::to_string(&now).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), now);
        // As the first release wrote it.
        let old = text.replace(r#""cursors":{}"#, r#""cursor":41,"cursor_at":1700000000"#);
        let old = old.replacen(r#""credited":{}"#, r#""credited":40"#, 1);
        let rounds = serde_json::to_string(&Rounds::default()).unwrap();
        let old = old.replace(&format!(r#","rounds":{rounds}"#), "");
        assert!(!old.contains("rounds"), "{old}");
        assert_ne!(old, text);

        let mut read: Progress = serde_json::from_str(&old).unwrap();
        let journal = JournalId::new([7; 16]);
        let cursor = *read.cursor_of(journal);
        assert_eq!(cursor, Cursor { seq: QueueSeq::new(41), at: 1_700_000_000 });
        assert_eq!(read.cursors, Cursors::from([(journal, cursor)]));
        assert_eq!(read.epochs.credited().of(journal).share.get(), 40);
        assert_eq!(*read.cursor_of(JournalId::new([8; 16])), Cursor::default(), "another pool begins anew");
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), read);
    }
}
