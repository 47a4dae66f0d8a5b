//! The other end of a [`WorkSource`]: where a source of any kind publishes templates and learns of
//! solutions. Keeps what submitting needs: the templates the node still knows and the blocks whose
//! submitters wait for the tip to move.

use std::collections::HashMap;
use std::sync::Arc;

use bitcoin::consensus::deserialize;
use bitcoin::{BlockHash, Transaction};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use crate::source::{Solution, State, Submission, SubmitError, Submitted, WorkSource};
use crate::template::{Template, TemplateId};

/// Solutions that may wait for the source. Blocks are rare; this is for regtest.
const WAITING_SUBMISSIONS: usize = 64;

/// A template together with the id its provider knows it by.
#[derive(Clone, Debug)]
pub struct Provided {
    /// The provider's id. Not unique across connections.
    pub wire_id: u64,
    /// The template.
    pub template: Arc<Template>,
}

/// The source's side of its handle.
pub struct Feed {
    state: watch::Sender<State>,
    submissions: mpsc::Receiver<Submission>,
    stop: CancellationToken,
    known: HashMap<TemplateId, Provided>,
    tip: Option<BlockHash>,
    awaiting_tip: HashMap<BlockHash, Vec<oneshot::Sender<()>>>,
}

/// What happens to a source from the outside.
pub enum Call {
    /// A block to submit.
    Submit(Submission),
    /// The handle is gone or asks for the end.
    Stop,
}

impl Feed {
    /// Both ends.
    pub fn new() -> (WorkSource, Self) {
        let (state, watched) = watch::channel(State::Waiting(Outage::Starting));
        let (submitter, submissions) = mpsc::channel(WAITING_SUBMISSIONS);
        let stop = CancellationToken::new();
        let source = WorkSource::new(watched, submitter, stop.clone());
        let feed =
            Self { state, submissions, stop, known: HashMap::new(), tip: None, awaiting_tip: HashMap::new() };
        (source, feed)
    }

    /// The next call. Cancel safe.
    pub async fn call(&mut self) -> Call {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Call::Stop,
            submission = self.submissions.recv() => submission.map_or(Call::Stop, Call::Submit),
        }
    }

    /// Tells users of a template.
    pub fn publish(&mut self, provided: Provided) {
        let template = Arc::clone(&provided.template);
        let tip = template.prev_hash;
        for submitter in self.awaiting_tip.remove(&tip).into_iter().flatten() {
            // An Err is a submitter that stopped waiting.
            let _ = submitter.send(());
        }
        if self.tip != Some(tip) {
            // Shares already under way may still solve a block on the previous tip, no older one.
            let previous = self.tip.replace(tip);
            self.known.retain(|_, known| Some(known.template.prev_hash) == previous);
        }
        self.known.insert(template.id, provided);

        if !self.is_live() {
            tracing::info!(height = template.height, "templates are coming in");
        }
        self.state.send_replace(State::Live(template));
    }

    /// Tells users that there is no template, and why. What is no news is not logged.
    pub fn wait(&mut self, outage: Outage) {
        let news = match &*self.state.borrow() {
            State::Live(_) => true,
            State::Waiting(earlier) => !outage.is_no_news_after(earlier),
        };
        if news {
            tracing::warn!("no templates: {outage}");
        }
        self.state.send_replace(State::Waiting(outage));
    }

    /// Whether users have a template to work on.
    pub fn is_live(&self) -> bool {
        matches!(&*self.state.borrow(), State::Live(_))
    }

    /// Forgets the templates of a connection that ended. Submitters go on waiting for their tip.
    pub fn forget_templates(&mut self) {
        self.known.clear();
    }

    /// Checks a solution and hands it to `send` with its template's id on the wire; answers the
    /// submitter.
    pub fn submit<F>(&mut self, submission: Submission, send: F)
    where
        F: FnOnce(u64, Solution) -> Result<(), SubmitError>,
    {
        let Submission { solution, reply } = submission;
        let answer = self.check(&solution).and_then(|(wire_id, hash)| {
            send(wire_id, solution)?;
            let (on_tip, became_tip) = oneshot::channel();
            self.awaiting_tip.retain(|_, waiting| waiting.iter().any(|submitter| !submitter.is_closed()));
            self.awaiting_tip.entry(hash).or_default().push(on_tip);
            Ok(Submitted { hash, became_tip })
        });
        // An Err is a submitter that stopped waiting.
        let _ = reply.send(answer);
    }

    /// Answers a submitter while there is no connection, when no template is known to a node.
    pub fn refuse(&self, submission: Submission) {
        let _ = submission.reply.send(Err(SubmitError::UnknownTemplate(submission.solution.template_id)));
    }

    fn check(&self, solution: &Solution) -> Result<(u64, BlockHash), SubmitError> {
        let id = solution.template_id;
        let Provided { wire_id, template } = self.known.get(&id).ok_or(SubmitError::UnknownTemplate(id))?;
        let coinbase: Transaction =
            deserialize(&solution.coinbase).map_err(|error| SubmitError::Coinbase(error.to_string()))?;
        let header =
            template.header(coinbase.compute_txid(), solution.version, solution.time, solution.nonce);
        match header.validate_pow(header.target()) {
            Ok(hash) => Ok((*wire_id, hash)),
            Err(_) => Err(SubmitError::AboveTarget(header.block_hash())),
        }
    }
}
