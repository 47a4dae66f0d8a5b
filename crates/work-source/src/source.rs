//! The handle of a work source: what its users see, whatever kind it is.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use crate::recall::Recall;
use crate::template::{Template, TemplateId};
use crate::transactions::Transactions;

/// How long a submitted block may take to become the tip before [`SubmitOutcome::Unconfirmed`].
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(10);

/// What a source tells its users.
#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// The tip moved, or the upstream pool began anew: jobs of earlier templates are stale.
    NewBlock(Arc<Template>),
    /// A better template on the same tip: earlier jobs are still good.
    Refreshed(Arc<Template>),
    /// No templates until the next event; the source keeps trying. Told once an outage.
    Lost {
        /// Why.
        reason: Outage,
    },
}

/// A header that meets the network's target, and its coinbase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution {
    /// The template it was made from.
    pub template_id: TemplateId,
    /// Version of the header.
    pub version: u32,
    /// Time of the header.
    pub time: u32,
    /// Nonce of the header.
    pub nonce: u32,
    /// The coinbase, serialised with its witness.
    pub coinbase: Vec<u8>,
}

/// What became of a solution that was handed to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// The tip moved to the block.
    Accepted(BlockHash),
    /// The tip did not move to the block within ten seconds: it was refused, lost a race, or was built
    /// upon at once. The node's `getblockheader` knows.
    Unconfirmed(BlockHash),
}

/// A solution that was not handed to the node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The template's block is past, or the node that gave it has restarted since.
    #[error("template {0} is not known to the node (any more)")]
    UnknownTemplate(TemplateId),
    /// The coinbase cannot be read.
    #[error("the coinbase of the solution is not a transaction: {0}")]
    Coinbase(String),
    /// The hash is above the target.
    #[error("block {0} does not meet the target of the network")]
    AboveTarget(BlockHash),
    /// The node takes solutions slower than they come.
    #[error("too many solutions are waiting for the node")]
    Busy,
    /// The source was shut down.
    #[error("the work source was shut down")]
    Closed,
}

/// A running source of templates. Dropping it ends the source.
#[derive(Debug)]
pub struct WorkSource {
    state: watch::Receiver<State>,
    submissions: mpsc::Sender<Submission>,
    recall: Arc<Recall>,
    stop: CancellationToken,
}

/// What the source knows right now.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Live(Arc<Template>),
    Waiting(Outage),
}

/// A solution on its way to the source.
#[derive(Debug)]
pub(crate) struct Submission {
    pub solution: Solution,
    pub reply: oneshot::Sender<Result<Submitted, SubmitError>>,
}

/// A solution that is on its way to the node.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub hash: BlockHash,
    /// Resolves when the tip is `hash`.
    pub became_tip: oneshot::Receiver<()>,
}

impl WorkSource {
    pub(crate) fn new(
        state: watch::Receiver<State>,
        submissions: mpsc::Sender<Submission>,
        recall: Arc<Recall>,
        stop: CancellationToken,
    ) -> Self {
        Self { state, submissions, recall, stop }
    }

    /// A reader of events from now on; the first event is the current template, when there is one.
    pub fn events(&self) -> Events {
        Events { state: self.state.clone(), told: None, live: false }
    }

    /// The newest template, or why there is none.
    pub fn current(&self) -> Result<Arc<Template>, Outage> {
        match &*self.state.borrow() {
            State::Live(template) => Ok(Arc::clone(template)),
            State::Waiting(outage) => Err(outage.clone()),
        }
    }

    /// Hands a solved block to the node and waits until the tip moved to it, or ten seconds. Once
    /// called, the solution is sent even if the caller stops waiting.
    ///
    /// # Errors
    /// A [`SubmitError`] when it was not sent: the block is lost unless the caller has another way.
    pub async fn submit(&self, solution: Solution) -> Result<SubmitOutcome, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.submissions.send(Submission { solution, reply }).await.map_err(|_| SubmitError::Closed)?;
        let Submitted { hash, became_tip } = answer.await.map_err(|_| SubmitError::Closed)??;
        match tokio::time::timeout(CONFIRMATION_TIMEOUT, became_tip).await {
            Ok(Ok(())) => Ok(SubmitOutcome::Accepted(hash)),
            Ok(Err(_)) | Err(_) => Ok(SubmitOutcome::Unconfirmed(hash)),
        }
    }

    /// The transactions of a template. They come a moment after it and are kept for the templates of the
    /// present and the previous tip, also when the provider is gone or has forgotten them.
    pub fn transactions(&self, template: TemplateId) -> Option<Transactions> {
        self.recall.transactions(template)
    }

    /// Waits for the transactions of a template; for ever when they never come. Cancel safe.
    pub async fn await_transactions(&self, template: TemplateId) -> Transactions {
        self.recall.await_transactions(template).await
    }

    /// Whether the block `hash` was the tip at some time during the last 64 tips.
    pub fn was_tip(&self, hash: BlockHash) -> bool {
        self.recall.was_tip(hash)
    }

    /// Ends the source and waits until it has left the node in order. Readers see the end of events.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        // The source owns the other end of the channel and drops it last.
        while self.state.changed().await.is_ok() {}
    }
}

impl Drop for WorkSource {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Reads the events of a source. A slow reader skips to the newest state and is told how that state
/// differs from the last one it saw, so it misses no new block and never lags behind.
#[derive(Clone, Debug)]
pub struct Events {
    state: watch::Receiver<State>,
    told: Option<Arc<Template>>,
    live: bool,
}

impl Events {
    /// The next event; `None` when the source has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<SourceEvent> {
        loop {
            let state = self.state.borrow_and_update().clone();
            if let Some(event) = self.tell(state) {
                return Some(event);
            }
            self.state.changed().await.ok()?;
        }
    }

    /// What is new in `state` for this reader.
    fn tell(&mut self, state: State) -> Option<SourceEvent> {
        let was_live = std::mem::replace(&mut self.live, matches!(state, State::Live(_)));
        match state {
            State::Waiting(reason) => was_live.then_some(SourceEvent::Lost { reason }),
            State::Live(template) => {
                let told = self.told.replace(Arc::clone(&template));
                match told {
                    Some(told) if told.id == template.id => None,
                    Some(told) if told.is_beside(&template) => Some(SourceEvent::Refreshed(template)),
                    _ => Some(SourceEvent::NewBlock(template)),
                }
            }
        }
    }
}
