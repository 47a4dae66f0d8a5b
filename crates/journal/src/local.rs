//! The quote queue of one pool on this machine: read from its journal's file by cursor. The file is
//! the queue, so there is nothing to acknowledge.

use std::path::PathBuf;

use async_trait::async_trait;
use poolbox_accounting::{JournalId, Network};

use crate::queue::{Arrival, Arrivals, Cursors, QuoteQueue};
use crate::{JournalError, QueueError, QueueReader};

/// The queue in a journal's file, which the pool may not have made yet.
#[derive(Debug)]
pub struct LocalQueue {
    path: PathBuf,
    network: Network,
    reader: Option<QueueReader>,
}

impl LocalQueue {
    /// The queue in the journal at `path`.
    pub const fn new(path: PathBuf, network: Network) -> Self {
        Self { path, network, reader: None }
    }
}

#[async_trait]
impl QuoteQueue for LocalQueue {
    async fn next(&mut self, cursors: &Cursors, limit: usize) -> Result<Arrivals, QueueError> {
        let reader = self.reader.take();
        let (path, network, cursors) = (self.path.clone(), self.network, cursors.clone());
        let read = move || -> Result<_, JournalError> {
            let reader = match reader {
                Some(reader) => reader,
                None => QueueReader::open(&path, network)?,
            };
            let journal = reader.identity();
            // Records from before journals had identities are of this one, if its entries agree.
            let cursor = cursors.get(&journal).or_else(|| cursors.get(&JournalId::UNNAMED));
            let entries = reader.read_on(cursor.copied().unwrap_or_default(), limit)?;
            Ok((reader, entries))
        };
        let (reader, entries) = tokio::task::spawn_blocking(read).await.map_err(|_| QueueError::Broken)??;
        let journal = reader.identity();
        self.reader = Some(reader);
        Ok(Arrivals {
            more: entries.len() == limit,
            entries: entries.into_iter().map(|entry| Arrival { journal, entry }).collect(),
            refused: Vec::new(),
        })
    }

    async fn acknowledge(&mut self, _: &Cursors) -> Result<(), QueueError> {
        Ok(())
    }
}
