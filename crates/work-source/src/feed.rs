//! The other end of a [`WorkSource`]: where a source of any kind publishes templates and learns of
//! solutions. Keeps what submitting needs: the templates the node still knows and the blocks whose
//! submitters wait for the tip to move.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::consensus::deserialize;
use bitcoin::{BlockHash, Transaction};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use crate::recall::Recall;
use crate::source::{Solution, State, Submission, SubmitError, Submitted, WorkSource};
use crate::template::{Template, TemplateId};

/// Solutions that may wait for the source. Blocks are rare; this is for regtest.
const WAITING_SUBMISSIONS: usize = 64;

/// Templates that a solution may refer to. Far more than are mined on between two blocks.
const KNOWN_TEMPLATES: usize = 1_024;

/// How long after a new tip solutions on the previous one are handed on. Providers drop those templates
/// after ten seconds, and a node that is told to use a template just then has already let go of it.
const PREVIOUS_TIP: Duration = Duration::from_secs(8);

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
    recall: Arc<Recall>,
    known: BTreeMap<TemplateId, Provided>,
    tip: Option<Tip>,
    awaiting_tip: HashMap<BlockHash, Vec<oneshot::Sender<()>>>,
}

struct Tip {
    hash: BlockHash,
    since: Instant,
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
        let recall = Arc::new(Recall::new());
        let source = WorkSource::new(watched, submitter, Arc::clone(&recall), stop.clone());
        let (known, awaiting_tip) = (BTreeMap::new(), HashMap::new());
        (source, Self { state, submissions, stop, recall, known, tip: None, awaiting_tip })
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
        let hash = template.prev_hash;
        self.recall.see_tip(hash);
        for submitter in self.awaiting_tip.remove(&hash).into_iter().flatten() {
            // An Err is a submitter that stopped waiting.
            let _ = submitter.send(());
        }
        if self.tip.as_ref().is_none_or(|tip| tip.hash != hash) {
            // Shares already under way may still solve a block on the previous tip, no older one.
            let previous = self.tip.replace(Tip { hash, since: Instant::now() }).map(|tip| tip.hash);
            self.known.retain(|_, known| Some(known.template.prev_hash) == previous);
        }
        // Of an upstream's jobs no block is ever submitted, and their coinbases are large.
        if template.upstream.is_none() {
            self.known.insert(template.id, provided);
        }
        if self.known.len() > KNOWN_TEMPLATES {
            self.known.pop_first();
        }

        if !self.is_live() {
            tracing::info!(height = template.height, "templates are coming in");
        }
        self.state.send_replace(State::Live(template));
    }

    /// Keeps the transactions of a template, so that its blocks can be submitted elsewhere too.
    pub fn keep_transactions(&self, template: &Template, transactions: Vec<Vec<u8>>) {
        self.recall.keep(template, transactions);
    }

    /// What its provider calls a template, when it still knows it.
    pub fn wire_id(&self, template: TemplateId) -> Option<u64> {
        self.known(template).map(|known| known.wire_id)
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

    fn known(&self, id: TemplateId) -> Option<&Provided> {
        self.known.get(&id).filter(|known| {
            let on_tip = |tip: &Tip| tip.hash == known.template.prev_hash;
            self.tip.as_ref().is_some_and(|tip| on_tip(tip) || tip.since.elapsed() < PREVIOUS_TIP)
        })
    }

    fn check(&self, solution: &Solution) -> Result<(u64, BlockHash), SubmitError> {
        let id = solution.template_id;
        let Provided { wire_id, template } = self.known(id).ok_or(SubmitError::UnknownTemplate(id))?;
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
