//! What happened, as it is listed and sent.

use serde::{Deserialize, Serialize};

/// What an event is about. Most have an end, which is told as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// A worker found a block.
    BlockFound,
    /// A harder hash than all before.
    BestShare,
    /// A miner stopped sending shares.
    MinerSilent,
    /// The node gives no fresh work.
    NodeStale,
    /// The disk has little room left.
    DiskFull,
    /// A block would not pay as it is set.
    CoinbaseMismatch,
    /// The mint signs nothing.
    MintHalted,
    /// The pool does not answer.
    PoolAway,
    /// A newer version waits for the next start.
    UpdateReady,
    /// A newer version was tried and given up.
    UpdateFailed,
    /// Somebody pressed the button.
    Test,
}

impl Topic {
    /// Those that can be chosen in the settings.
    pub const CHOICES: [Self; 10] = [
        Self::BlockFound,
        Self::BestShare,
        Self::MinerSilent,
        Self::NodeStale,
        Self::DiskFull,
        Self::CoinbaseMismatch,
        Self::MintHalted,
        Self::PoolAway,
        Self::UpdateReady,
        Self::UpdateFailed,
    ];

    /// As it is written in settings and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BlockFound => "block-found",
            Self::BestShare => "best-share",
            Self::MinerSilent => "miner-silent",
            Self::NodeStale => "node-stale",
            Self::DiskFull => "disk-full",
            Self::CoinbaseMismatch => "coinbase-mismatch",
            Self::MintHalted => "mint-halted",
            Self::PoolAway => "pool-away",
            Self::UpdateReady => "update-ready",
            Self::UpdateFailed => "update-failed",
            Self::Test => "test",
        }
    }

    /// In a few words, when it begins.
    pub const fn title(self) -> &'static str {
        title(self, false)
    }

    /// The choice of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::CHOICES.into_iter().find(|topic| topic.name() == name)
    }
}

/// What is new, before it has a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What it is about.
    pub topic: Topic,
    /// Whether it tells that something is over.
    pub over: bool,
    /// In one sentence or two.
    pub text: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up, over restarts too.
    pub id: u64,
    /// When it was noticed, Unix seconds.
    pub at: u64,
    /// What it is about.
    #[serde(rename = "event")]
    pub topic: Topic,
    /// Whether it tells that something is over.
    pub over: bool,
    /// In one sentence or two.
    pub text: String,
}

impl Event {
    /// In a few words.
    pub const fn title(&self) -> &'static str {
        title(self.topic, self.over)
    }

    /// Class in the style sheet.
    pub const fn class(&self) -> &'static str {
        match (self.topic, self.over) {
            (Topic::BlockFound | Topic::BestShare, _) | (_, true) => "well",
            (Topic::CoinbaseMismatch | Topic::MintHalted | Topic::PoolAway, false) => "alarm",
            (Topic::MinerSilent | Topic::NodeStale | Topic::DiskFull | Topic::UpdateFailed, false) => {
                "warning"
            }
            (Topic::UpdateReady | Topic::Test, false) => "idle",
        }
    }
}

const fn title(topic: Topic, over: bool) -> &'static str {
    match (topic, over) {
        (Topic::BlockFound, _) => "Block found",
        (Topic::BestShare, _) => "New best share",
        (Topic::MinerSilent, false) => "Miner silent",
        (Topic::MinerSilent, true) => "Miner back",
        (Topic::NodeStale, false) => "No fresh work",
        (Topic::NodeStale, true) => "Fresh work again",
        (Topic::DiskFull, false) => "Disk nearly full",
        (Topic::DiskFull, true) => "Room on the disk again",
        (Topic::CoinbaseMismatch, false) => "Coinbase mismatch",
        (Topic::CoinbaseMismatch, true) => "Coinbase right again",
        (Topic::MintHalted, false) => "Mint halted",
        (Topic::MintHalted, true) => "Mint signs again",
        (Topic::PoolAway, false) => "Pool away",
        (Topic::PoolAway, true) => "Pool back",
        (Topic::UpdateReady, false) => "Update ready",
        (Topic::UpdateReady, true) => "No update waits",
        (Topic::UpdateFailed, false) => "Update failed",
        (Topic::UpdateFailed, true) => "Failed update over",
        (Topic::Test, _) => "Test alert",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_one_name_everywhere() {
        for topic in Topic::CHOICES {
            assert_eq!(serde_json::to_value(topic).unwrap(), topic.name());
            assert_eq!(Topic::named(topic.name()), Some(topic));
        }
        assert_eq!(Topic::named("test"), None, "not a choice");
    }
}
