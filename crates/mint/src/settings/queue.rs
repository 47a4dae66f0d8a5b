//! Where the quote queue comes from: the journal of the pool on this machine, or a Redis to which
//! pools anywhere send theirs.

use std::path::PathBuf;

use poolbox_accounting::Network;
use poolbox_journal::{LocalQueue, QuoteQueue, RedisSettings, StreamQueue};
use poolbox_service::Misconfigured;

/// Where the quote queue comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueSource {
    /// The journal of one pool.
    Journal(PathBuf),
    /// The streams of any number of pools.
    Redis(RedisSettings),
}

impl QueueSource {
    pub(super) fn check(
        journal: Option<PathBuf>,
        redis: Option<RedisSettings>,
    ) -> Result<Self, Misconfigured> {
        match (journal, redis) {
            (Some(journal), None) => Ok(Self::Journal(journal)),
            (None, Some(redis)) => Ok(Self::Redis(redis)),
            (None, None) => Err(Misconfigured::new(
                "journal is missing: name the pool's journal.sqlite, or the Redis that pools send to in [redis]",
            )),
            (Some(_), Some(_)) => Err(Misconfigured::new(
                "journal and [redis] are two ways to the same work; remove journal where the pool sends to Redis, \
                 [redis] where it does not",
            )),
        }
    }

    /// The queue itself, not opened yet.
    pub fn open(self, network: Network) -> Box<dyn QuoteQueue> {
        match self {
            Self::Journal(path) => Box::new(LocalQueue::new(path, network)),
            Self::Redis(redis) => {
                if redis.in_the_clear() {
                    tracing::warn!(
                        address = redis.address(),
                        "work and the password of Redis cross the network in the clear: set redis.tls = true"
                    );
                }
                Box::new(StreamQueue::new(redis, network))
            }
        }
    }
}
