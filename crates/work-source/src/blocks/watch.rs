//! The life of one found block, from its solution to the chain or the grave.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::rpc::{Rpc, RpcError};
use super::store::{Content, Kept};
use super::verdict::{Report, Verdict};
use super::{Found, Outcome, Pending, Room};
use crate::backoff::Backoff;
use crate::source::{Events, Solution, SourceEvent, SubmitError, SubmitOutcome};

/// The longest delay between two looks at the chain when nothing happens.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// One block under watch.
pub struct Watch {
    room: Arc<Room>,
    kept: Kept,
    /// What it was made of, when that was in this process.
    found: Option<Found>,
    tell: oneshot::Sender<Outcome>,
    /// The solution on its way through the source.
    handing: Option<Handing>,
    /// Why it is not in the chain, as was told last.
    trouble: Option<String>,
}

type Handing = JoinHandle<Result<SubmitOutcome, SubmitError>>;

/// Why the watch looks again.
enum Wake {
    /// The source is done with the solution.
    Handed(Result<SubmitOutcome, SubmitError>),
    /// The transactions came.
    Transactions,
    /// The tip moved; false when the source has ended.
    NewTip(bool),
    /// Time passed.
    Time,
}

impl Watch {
    /// A block that a file was left of.
    pub fn of_file(
        room: Arc<Room>,
        kept: Kept,
        found_at: SystemTime,
        tell: oneshot::Sender<Outcome>,
    ) -> Self {
        tracing::warn!(height = kept.height, hash = %kept.hash, "a block found earlier is not known to be in the chain; trying again");
        let watch = Self { room, kept, found: None, tell, handing: None, trouble: None };
        watch.list(found_at);
        watch
    }

    /// A block that was just found. Its solution is on its way to the source on return.
    pub fn of_solution(room: Arc<Room>, found: Found, tell: oneshot::Sender<Outcome>) -> Self {
        let handing = Some(hand(&room, &found));
        let kept = Kept {
            height: found.template.height,
            hash: found.header.block_hash(),
            content: Content::solution(&found.header, &found.coinbase),
        };
        let watch = Self { room, kept, found: Some(found), tell, handing, trouble: None };
        watch.list(SystemTime::now());
        watch
    }

    /// Runs until the block is in the chain or lost.
    pub async fn run(mut self) {
        let mut events = self.room.source.events();
        let mut sourced = true;
        self.keep().await;
        let mut incomplete = !self.complete();
        let mut again = false;
        let mut backoff = Backoff::up_to(LONGEST_DELAY);
        loop {
            match self.look().await {
                Verdict::OnChain => return self.confirm().await,
                Verdict::Lost(reason) => return self.bury(reason).await,
                Verdict::Open(trouble) => self.note(trouble),
            }
            let wake = tokio::select! {
                result = handed(&mut self.handing) => Wake::Handed(result),
                () = transactions(&self.room, self.found.as_ref()), if incomplete => Wake::Transactions,
                moved = new_tip(&mut events), if sourced => Wake::NewTip(moved),
                () = sleep(backoff.delay()) => Wake::Time,
            };
            match wake {
                Wake::Handed(result) => again = self.take_handed(result),
                Wake::Transactions => {
                    incomplete = false;
                    self.keep().await;
                }
                Wake::NewTip(moved) => sourced = moved,
                Wake::Time => {
                    if let Some(found) = self.found.as_ref().filter(|_| std::mem::take(&mut again)) {
                        self.handing = Some(hand(&self.room, found));
                    }
                }
            }
        }
    }

    /// Writes to disk what there is of the block. What cannot be written stays in memory.
    async fn keep(&mut self) {
        if let Some(found) = &self.found
            && let Some(transactions) = self.room.source.transactions(found.template.id)
        {
            let (header, coinbase) = (found.header, found.coinbase.clone());
            match blocking(move || transactions.block(header, &coinbase)).await {
                Some(Ok(block)) => self.kept.content = Content::Block(block.into()),
                Some(Err(error)) => {
                    tracing::error!(hash = %self.kept.hash, %error, "the block is kept without its transactions")
                }
                None => {}
            }
        }
        let (store, kept) = (self.room.store.clone(), self.kept.clone());
        if let Some(Err(error)) = blocking(move || store.write(&kept)).await {
            tracing::error!(hash = %self.kept.hash, %error, "a found block cannot be written to disk; it is in memory only");
        }
        let complete = self.complete();
        if let Some(pending) = self.room.pending().get_mut(&self.kept.hash) {
            pending.complete = complete;
        }
    }

    /// Where the block stands, submitting it by RPC unless it is in the chain.
    async fn look(&self) -> Verdict {
        let (hash, height) = (self.kept.hash, self.kept.height);
        if self.room.source.was_tip(hash) {
            return Verdict::OnChain;
        }
        let Some(rpc) = &self.room.rpc else {
            return Verdict::Open("the tip did not move to it, and no node RPC is configured to ask".into());
        };
        match ask(rpc, &self.kept).await {
            Ok(report) => report.judge(),
            Err(error) if error.fatal() => Verdict::Lost(error.to_string()),
            Err(error) => {
                tracing::debug!(height, %hash, %error, "a found block cannot be looked up");
                Verdict::Open(error.to_string())
            }
        }
    }

    /// Tells what the source did with the solution; true when it is to be handed over again.
    fn take_handed(&self, result: Result<SubmitOutcome, SubmitError>) -> bool {
        let (height, hash) = (self.kept.height, self.kept.hash);
        match result {
            // The next look says so too.
            Ok(SubmitOutcome::Accepted(_)) => false,
            Ok(SubmitOutcome::Unconfirmed(_)) => {
                tracing::warn!(height, %hash, "block was sent, but the tip did not move to it");
                false
            }
            Err(error) => {
                let by_rpc = self.room.rpc.is_some() && self.complete();
                tracing::warn!(height, %hash, %error, by_rpc, "block could not be handed to the source");
                error == SubmitError::Busy
            }
        }
    }

    /// Remembers why the block is not in the chain, and tells it once.
    fn note(&mut self, trouble: String) {
        if self.trouble.as_ref() == Some(&trouble) {
            return;
        }
        // The first look is often too early.
        if self.trouble.is_some() || self.found.is_none() {
            tracing::warn!(height = self.kept.height, hash = %self.kept.hash, trouble, "block is not in the chain yet");
        }
        if let Some(pending) = self.room.pending().get_mut(&self.kept.hash) {
            pending.trouble = Some(trouble.clone());
        }
        self.trouble = Some(trouble);
    }

    async fn confirm(self) {
        let (store, kept) = (self.room.store.clone(), self.kept.clone());
        if let Some(Err(error)) = blocking(move || store.remove(&kept)).await {
            tracing::warn!(hash = %self.kept.hash, %error, "the file of a block that is in the chain cannot be removed");
        }
        tracing::info!(height = self.kept.height, hash = %self.kept.hash, "block is in the chain");
        self.end(Outcome::OnChain);
    }

    async fn bury(self, reason: String) {
        let (store, kept) = (self.room.store.clone(), self.kept.clone());
        let (height, hash) = (self.kept.height, self.kept.hash);
        match blocking(move || store.bury(&kept)).await {
            Some(Ok(grave)) => {
                tracing::error!(height, %hash, reason, file = %grave.display(), "block is lost")
            }
            Some(Err(error)) => {
                tracing::error!(height, %hash, reason, %error, "block is lost, and its file cannot be moved")
            }
            None => {}
        }
        self.end(Outcome::Lost { reason });
    }

    fn end(self, outcome: Outcome) {
        self.room.pending().remove(&self.kept.hash);
        // An Err is a finder that does not wait.
        let _ = self.tell.send(outcome);
    }

    fn list(&self, found_at: SystemTime) {
        let Kept { height, hash, .. } = self.kept;
        let complete = self.complete();
        self.room.pending().insert(hash, Pending { hash, height, found_at, complete, trouble: None });
    }

    fn complete(&self) -> bool {
        matches!(self.kept.content, Content::Block(_))
    }
}

/// Hands the solution to the source.
fn hand(room: &Arc<Room>, found: &Found) -> Handing {
    let solution = Solution {
        template_id: found.template.id,
        version: found.header.version.to_consensus().cast_unsigned(),
        time: found.header.time,
        nonce: found.header.nonce,
        coinbase: found.coinbase.clone(),
    };
    let room = Arc::clone(room);
    tokio::spawn(async move { room.source.submit(solution).await })
}

/// What the node says of a block, which is submitted unless it is in the chain.
async fn ask(rpc: &Rpc, kept: &Kept) -> Result<Report, RpcError> {
    let mut report = Report { confirmations: rpc.confirmations(kept.hash).await?, ..Report::default() };
    if report.judge() == Verdict::OnChain {
        return Ok(report);
    }
    if let Content::Block(block) = &kept.content {
        report.refusal = rpc.submit(Arc::clone(block)).await?;
        report.confirmations = rpc.confirmations(kept.hash).await?;
    }
    if let Some(rival) = rpc.hash_at(kept.height).await?.filter(|there| *there != kept.hash) {
        let confirmations = rpc.confirmations(rival).await?.unwrap_or_default();
        report.rival = Some((rival, u32::try_from(confirmations).unwrap_or_default()));
    }
    Ok(report)
}

async fn handed(handing: &mut Option<Handing>) -> Result<SubmitOutcome, SubmitError> {
    match handing {
        Some(running) => {
            let result = running.await.unwrap_or(Err(SubmitError::Closed));
            *handing = None;
            result
        }
        None => std::future::pending().await,
    }
}

async fn transactions(room: &Room, found: Option<&Found>) {
    match found {
        Some(found) => drop(room.source.await_transactions(found.template.id).await),
        None => std::future::pending().await,
    }
}

/// Waits for the tip to move; false when the source has ended.
async fn new_tip(events: &mut Events) -> bool {
    loop {
        match events.next().await {
            Some(SourceEvent::NewBlock(_)) => return true,
            Some(SourceEvent::Refreshed(_) | SourceEvent::Lost { .. }) => {}
            None => return false,
        }
    }
}

/// Runs what would hold up other tasks; none when it panicked or the process ends.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
