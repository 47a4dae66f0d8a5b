//! From templates to the job that every miner works on.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use poolbox_stratum::{CoinbaseError, Job, JobFeed, JobNumber, Layout, PayoutOutput, PayoutPolicy};
use poolbox_work_source::{Events, SourceEvent, Template};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Whether a coinbase was found to pay the wrong party, here or by who looks at jobs from outside: then all mining
/// stops, until a person has looked and started the pool again.
#[derive(Debug, Default)]
pub struct Halt {
    reason: OnceLock<String>,
    news: Notify,
}

impl Halt {
    /// Stops all mining for this reason.
    pub fn tell(&self, reason: &str) {
        if self.reason.set(reason.to_owned()).is_ok() {
            tracing::error!(
                reason,
                "MINING STOPPED: look at the settings and at the node before starting the pool again"
            );
        }
        self.news.notify_waiters();
        self.news.notify_one();
    }

    /// Why mining was stopped; none while all is well.
    pub fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// Resolves when mining is stopped. Cancel safe.
    async fn told(&self) {
        while self.reason().is_none() {
            self.news.notified().await;
        }
    }
}

/// Turns the events of a work source into the newest job.
#[derive(Debug)]
pub struct JobMaker {
    policy: PayoutPolicy,
    stale_after: Duration,
    halt: Arc<Halt>,
    next: JobNumber,
    feed: watch::Sender<Option<Arc<Job>>>,
}

impl JobMaker {
    /// Makes jobs whose coinbases pay as `policy` says; without templates for `stale_after`, or once
    /// `halt` tells that one would pay somebody else, there is no job at all.
    pub fn new(policy: PayoutPolicy, stale_after: Duration, halt: Arc<Halt>) -> (Self, JobFeed) {
        let (feed, jobs) = watch::channel(None);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        (Self { policy, stale_after, halt, next: JobNumber::starting_at(unix), feed }, jobs)
    }

    /// Runs until the source ends.
    pub async fn run(mut self, mut events: Events) {
        let mut stale_at: Option<Instant> = None;
        let giver = self.giver();
        loop {
            let staleness = async {
                match stale_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = events.next() => match event {
                    Some(SourceEvent::NewBlock(template)) => {
                        stale_at = None;
                        tracing::info!(height = template.height, value_sat = template.coinbase.value.get(), "new block, or jobs begin anew: new job");
                        self.publish(template);
                    }
                    Some(SourceEvent::Refreshed(template)) => {
                        stale_at = None;
                        tracing::debug!(height = template.height, value_sat = template.coinbase.value.get(), "better template");
                        self.publish(template);
                    }
                    Some(SourceEvent::Lost { reason }) => {
                        tracing::warn!(%reason, keep_miners_s = self.stale_after.as_secs(), "no templates from {giver}");
                        stale_at = Some(Instant::now() + self.stale_after);
                    }
                    None => return,
                },
                () = self.halt.told() => return self.stop(),
                () = staleness => {
                    tracing::error!("{giver} gave no templates for too long; miners are closed so that their fallback pools engage");
                    stale_at = None;
                    self.feed.send_replace(None);
                }
            }
        }
    }

    /// Makes the job of a template, for every miner.
    pub fn publish(&mut self, template: Arc<Template>) {
        let job = Job::new(self.next, template);
        self.next = self.next.next();
        // But in mode solo all coinbases are one: whatever is wrong with it is found before anybody is told.
        let common = match &self.policy {
            PayoutPolicy::Pool(payout) => Some((payout, Layout::OWN)),
            PayoutPolicy::Upstream => Some((&PayoutOutput::UPSTREAM, Layout::NARROW)),
            PayoutPolicy::Solo(_) => None,
        };
        if let Some((payout, layout)) = common
            && let Err(error) = job.coinbase(payout, layout.bytes())
        {
            match error {
                CoinbaseError::Mismatch(_) => self.halt.tell(&error.to_string()),
                CoinbaseError::ScriptTooLong(_) | CoinbaseError::Misplaced | CoinbaseError::NoRoom => {
                    tracing::error!(%error, "no job can be made from this template");
                }
            }
            return;
        }
        self.feed.send_replace(Some(Arc::new(job)));
    }

    /// Who gives templates, for the log.
    const fn giver(&self) -> &'static str {
        match self.policy {
            PayoutPolicy::Upstream => "the upstream pool",
            PayoutPolicy::Pool(_) | PayoutPolicy::Solo(_) => "the node",
        }
    }

    /// Closes every miner and never makes a job again.
    fn stop(&self) {
        self.feed.send_replace(None);
    }
}

#[cfg(test)]
pub mod fixture {
    //! A template like the ones a node gives, for the tests of this crate.

    use bitcoin::hashes::Hash;
    use bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, TxMerkleNode, TxOut};
    use poolbox_accounting::Sats;
    use poolbox_work_source::{CoinbaseTemplate, Template, TemplateId};

    /// What its coinbase pays, in sats: more than the subsidy.
    pub const VALUE: u64 = 312_600_000;

    /// A template whose target nobody meets.
    pub fn template() -> Template {
        let commitment = [vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed], vec![0x44; 32]].concat();
        Template {
            id: TemplateId::fresh(),
            version: 0x2000_0000,
            prev_hash: BlockHash::from_byte_array([0x11; 32]),
            bits: CompactTarget::from_consensus(0x1703_4219),
            time: 1_700_000_000,
            height: 840_000,
            coinbase: CoinbaseTemplate {
                tx_version: 2,
                script_prefix: vec![0x03, 0x40, 0xd1, 0x0c],
                sequence: 0xffff_fffe,
                value: Sats::new(VALUE),
                outputs: vec![TxOut {
                    value: Amount::ZERO,
                    script_pubkey: ScriptBuf::from_bytes(commitment),
                }],
                lock_time: 839_999,
            },
            merkle_path: vec![TxMerkleNode::from_byte_array([0x22; 32])],
            upstream: None,
        }
    }
}
