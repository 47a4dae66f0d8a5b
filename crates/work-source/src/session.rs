//! One connection to whoever gives templates, once it stands: templates to the feed, solutions to the
//! provider, transactions to the memory. The same for every source that speaks the messages of the
//! Template Distribution Protocol.

use std::time::Duration;

use async_channel::{Receiver, Sender};
use stratum_core::parsers_sv2::TemplateDistributionOwned as Message;
use stratum_core::template_distribution_sv2::{
    RequestTransactionDataOwned, RequestTransactionDataSuccessOwned, SubmitSolutionOwned,
};
use tokio::time::{Instant, sleep_until};

use crate::assembly::{Assembly, AssemblyError};
use crate::backoff::Backoff;
use crate::feed::{Call, Feed, Provided};
use crate::outage::Outage;
use crate::requests::Requests;
use crate::source::{Solution, Submission, SubmitError};

/// How long a provider may take to answer, and then to send its first template, before it is mentioned.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Solutions that may wait for a provider to answer.
const HELD: usize = 64;

/// Messages from and to the provider. The channels close when the connection is over.
pub struct Line {
    /// From the provider.
    pub incoming: Receiver<Message>,
    /// To the provider.
    pub outgoing: Sender<Message>,
}

/// In what the kinds of providers differ.
pub struct Manner {
    /// Sequence that coinbases have instead of the provider's.
    pub sequence: Option<u32>,
    /// What it means when no template comes.
    pub quiet: Outage,
    /// What it means when the connection ends.
    pub closed: Outage,
}

/// Why a session is over.
pub enum End {
    /// Our side wants no more.
    Stopped,
    /// The provider is gone, or was none.
    Failed(Outage),
}

/// Runs one session after the other until the handle is gone.
pub async fn keep_up<F>(feed: Feed, session: F)
where
    F: AsyncFnMut(&mut Feed) -> End,
{
    keep_up_with(Backoff::new(), feed, session).await;
}

/// The same with other delays between the sessions.
pub async fn keep_up_with<F>(mut backoff: Backoff, mut feed: Feed, mut session: F)
where
    F: AsyncFnMut(&mut Feed) -> End,
{
    loop {
        let began = Instant::now();
        let end = session(&mut feed).await;
        feed.forget_templates();
        match end {
            End::Stopped => return,
            End::Failed(outage) => {
                if feed.is_live() {
                    backoff.served(began.elapsed());
                }
                feed.wait(outage);
            }
        }
        if meanwhile(&mut feed, tokio::time::sleep(backoff.delay())).await.is_none() {
            return;
        }
    }
}

/// Does `work` that has no session yet; none when it is time to stop.
pub async fn meanwhile<T>(feed: &mut Feed, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            call = feed.call() => match call {
                Call::Submit(submission) => feed.refuse(submission),
                Call::Stop => return None,
            },
        }
    }
}

/// Serves `feed` from `line` until one of them ends it.
pub async fn serve(line: Line, manner: &Manner, feed: &mut Feed) -> End {
    let assembly = Assembly::default();
    let session = Session { line, manner, assembly, requests: Requests::default(), held: Vec::new() };
    session.run(feed).await
}

struct Session<'a> {
    line: Line,
    manner: &'a Manner,
    assembly: Assembly,
    requests: Requests,
    held: Vec<Held>,
}

/// A solution that waits for the transactions of its template.
struct Held {
    submission: Submission,
    until: Instant,
}

impl Session<'_> {
    async fn run(mut self, feed: &mut Feed) -> End {
        let end = self.converse(feed).await;
        for held in self.held {
            feed.refuse(held.submission);
        }
        end
    }

    async fn converse(&mut self, feed: &mut Feed) -> End {
        let mentioned_at = Instant::now() + PATIENCE;
        let mut quiet = true;
        loop {
            self.ask();
            tokio::select! {
                biased;
                call = feed.call() => match call {
                    Call::Submit(submission) => self.take_solution(submission, feed),
                    Call::Stop => {
                        self.release(None, feed);
                        return End::Stopped;
                    }
                },
                message = self.line.incoming.recv() => {
                    let Ok(message) = message else { return End::Failed(self.manner.closed.clone()) };
                    match self.take(message, feed) {
                        Ok(()) => quiet &= !feed.is_live(),
                        Err(error) => return End::Failed(Outage::Malformed(error.to_string())),
                    }
                }
                () = sleep_until(mentioned_at), if quiet => {
                    quiet = false;
                    feed.wait(self.manner.quiet.clone());
                }
                () = at(self.wake_at()) => self.release(Some(Instant::now()), feed),
            }
        }
    }

    fn take(&mut self, message: Message, feed: &mut Feed) -> Result<(), AssemblyError> {
        let provided = match message {
            Message::NewTemplate(mut message) => {
                if let Some(sequence) = self.manner.sequence {
                    message.coinbase_tx_input_sequence = sequence;
                }
                self.assembly.new_template(message)?
            }
            Message::SetNewPrevHash(message) => Some(self.assembly.set_new_prev_hash(&message)?),
            Message::RequestTransactionDataSuccess(message) => {
                self.take_transactions(message, feed);
                None
            }
            Message::RequestTransactionDataError(message) => {
                let code = String::from_utf8_lossy(message.error_code.as_bytes()).into_owned();
                tracing::debug!(template = message.template_id, code, "no transactions of a template");
                self.requests.answered(message.template_id);
                self.release(None, feed);
                None
            }
            // Messages to a provider.
            _ => None,
        };
        if let Some(provided) = provided {
            self.requests.want(provided.clone());
            feed.publish(provided);
        }
        Ok(())
    }

    fn take_transactions(&mut self, message: RequestTransactionDataSuccessOwned, feed: &mut Feed) {
        if let Some(Provided { template, .. }) = self.requests.answered(message.template_id) {
            self.release(None, feed);
            let transactions = message.transaction_list.into_inner();
            feed.keep_transactions(
                &template,
                transactions.into_iter().map(|transaction| transaction.to_owned_bytes()).collect(),
            );
        }
    }

    /// Asks for the next template's transactions, when it is time.
    fn ask(&mut self) {
        if let Some(template_id) = self.requests.next(Instant::now()) {
            let request = Message::RequestTransactionData(RequestTransactionDataOwned { template_id });
            if self.line.outgoing.try_send(request).is_err() {
                tracing::debug!("the provider takes no request for transactions");
                self.requests.answered(template_id);
            }
        }
    }

    fn take_solution(&mut self, submission: Submission, feed: &mut Feed) {
        let until = feed
            .wire_id(submission.solution.template_id)
            .and_then(|wire_id| self.requests.solved(wire_id))
            .filter(|until| Instant::now() < *until);
        match until {
            Some(until) if self.held.len() < HELD => self.held.push(Held { submission, until }),
            _ => self.submit(submission, feed),
        }
    }

    /// Submits held solutions: those whose time has come by `now`, or all.
    fn release(&mut self, now: Option<Instant>, feed: &mut Feed) {
        for held in std::mem::take(&mut self.held) {
            if now.is_some_and(|now| now < held.until) {
                self.held.push(held);
            } else {
                self.submit(held.submission, feed);
            }
        }
    }

    fn submit(&self, submission: Submission, feed: &mut Feed) {
        feed.submit(submission, |template_id, solution| {
            let Solution { version, time, nonce, coinbase, .. } = solution;
            let coinbase_tx = coinbase.try_into().map_err(|_| SubmitError::Coinbase("over 64 KiB".into()))?;
            let message = SubmitSolutionOwned {
                template_id,
                version,
                header_timestamp: time,
                header_nonce: nonce,
                coinbase_tx,
            };
            self.line.outgoing.try_send(Message::SubmitSolution(message)).map_err(|_| SubmitError::Busy)
        });
    }

    fn wake_at(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.until).chain(self.requests.overdue_at()).min()
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stratum_core::template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};
    use tokio::time::timeout;

    use super::*;
    use crate::source::{Solution, SourceEvent, WorkSource};
    use crate::template::Template;

    /// A provider that is played by hand.
    struct Provider {
        to_us: Sender<Message>,
        from_us: Receiver<Message>,
    }

    impl Provider {
        async fn send_template(&self, template_id: u64, tip: u8) {
            let template = NewTemplateOwned {
                template_id,
                future_template: true,
                version: 0x2000_0000,
                coinbase_tx_version: 2,
                coinbase_prefix: vec![0x51].try_into().unwrap(),
                coinbase_tx_input_sequence: u32::MAX,
                coinbase_tx_value_remaining: 50,
                coinbase_tx_outputs_count: 0,
                coinbase_tx_outputs: Vec::new().try_into().unwrap(),
                coinbase_tx_locktime: 0,
                merkle_path: vec![].try_into().unwrap(),
            };
            let prev_hash = SetNewPrevHashOwned {
                template_id,
                prev_hash: [tip; 32].into(),
                header_timestamp: 1_700_000_000,
                n_bits: 0x207f_ffff,
                target: [0xff; 32].into(),
            };
            self.to_us.send(Message::NewTemplate(template)).await.unwrap();
            self.to_us.send(Message::SetNewPrevHash(prev_hash)).await.unwrap();
        }

        async fn send_transactions(&self, template_id: u64) {
            let transactions = vec![vec![1; 60].try_into().unwrap()];
            let message = RequestTransactionDataSuccessOwned {
                template_id,
                excess_data: Vec::new().try_into().unwrap(),
                transaction_list: transactions.try_into().unwrap(),
            };
            self.to_us.send(Message::RequestTransactionDataSuccess(message)).await.unwrap();
        }

        async fn heard(&self) -> Message {
            timeout(Duration::from_secs(5), self.from_us.recv()).await.unwrap().unwrap()
        }

        async fn asked_for(&self) -> u64 {
            match self.heard().await {
                Message::RequestTransactionData(request) => request.template_id,
                other => panic!("expected a request, got {other}"),
            }
        }

        async fn solution_for(&self) -> u64 {
            match self.heard().await {
                Message::SubmitSolution(solution) => solution.template_id,
                other => panic!("expected a solution, got {other}"),
            }
        }
    }

    fn session() -> (WorkSource, Provider) {
        let (source, mut feed) = Feed::new();
        let (to_us, incoming) = async_channel::bounded(64);
        let (outgoing, from_us) = async_channel::bounded(64);
        tokio::spawn(async move {
            let manner = Manner { sequence: None, quiet: Outage::Downloading, closed: Outage::Closed };
            serve(Line { incoming, outgoing }, &manner, &mut feed).await
        });
        (source, Provider { to_us, from_us })
    }

    fn solve(template: &Template) -> Solution {
        let coinbase = template.coinbase.transaction(&[0; 8], &[]);
        let mut header = template.header(coinbase.compute_txid(), template.version, template.time, 0);
        while header.validate_pow(header.target()).is_err() {
            header.nonce += 1;
        }
        Solution {
            template_id: template.id,
            version: template.version,
            time: template.time,
            nonce: header.nonce,
            coinbase: bitcoin::consensus::serialize(&coinbase),
        }
    }

    #[tokio::test]
    async fn a_solution_waits_while_the_transactions_of_its_template_are_under_way() {
        let (source, provider) = session();
        let mut events = source.events();
        provider.send_template(1, 1).await;
        let Some(SourceEvent::NewBlock(template)) = events.next().await else { panic!("no template") };
        assert_eq!(provider.asked_for().await, 1);
        let solution = solve(&template);
        let source = Arc::new(source);
        let submitter = Arc::clone(&source);
        let _submitting = tokio::spawn(async move { submitter.submit(solution).await });
        let early = timeout(Duration::from_millis(300), provider.from_us.recv()).await;
        assert!(early.is_err(), "the solution is held: {early:?}");
        provider.send_transactions(1).await;
        assert_eq!(provider.solution_for().await, 1);
        assert_eq!(source.await_transactions(template.id).await.len(), 1);
    }

    #[tokio::test]
    async fn a_provider_that_answers_no_request_gets_the_solution_a_second_later() {
        let (source, provider) = session();
        let mut events = source.events();
        provider.send_template(1, 1).await;
        let Some(SourceEvent::NewBlock(template)) = events.next().await else { panic!("no template") };
        assert_eq!(provider.asked_for().await, 1);
        let solution = solve(&template);
        let _submitting = tokio::spawn(async move { source.submit(solution).await });
        assert_eq!(provider.solution_for().await, 1);
    }

    #[tokio::test]
    async fn solutions_of_other_templates_do_not_wait() {
        let (source, provider) = session();
        let mut events = source.events();
        provider.send_template(1, 1).await;
        let Some(SourceEvent::NewBlock(template)) = events.next().await else { panic!("no template") };
        assert_eq!(provider.asked_for().await, 1);
        provider.send_transactions(1).await;
        provider.send_template(2, 2).await;
        assert_eq!(provider.asked_for().await, 2);
        let solution = solve(&template);
        let _submitting = tokio::spawn(async move { source.submit(solution).await });
        let sent = timeout(Duration::from_millis(500), provider.solution_for()).await;
        assert_eq!(sent, Ok(1), "also on the previous tip");
    }
}
