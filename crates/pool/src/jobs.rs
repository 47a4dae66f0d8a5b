//! From templates to the job that every miner works on.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use poolbox_stratum::{Job, JobFeed, JobNumber, PayoutOutput};
use poolbox_work_source::{Events, SourceEvent, Template};
use tokio::sync::watch;
use tokio::time::Instant;

/// Turns the events of a work source into the newest job.
#[derive(Debug)]
pub struct JobMaker {
    payout: PayoutOutput,
    stale_after: Duration,
    next: JobNumber,
    feed: watch::Sender<Option<Arc<Job>>>,
}

impl JobMaker {
    /// Makes jobs that pay `payout`; without templates for `stale_after` there is no job at all.
    pub fn new(payout: PayoutOutput, stale_after: Duration) -> (Self, JobFeed) {
        let (feed, jobs) = watch::channel(None);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        (Self { payout, stale_after, next: JobNumber::starting_at(unix), feed }, jobs)
    }

    /// Runs until the source ends.
    pub async fn run(mut self, mut events: Events) {
        let mut stale_at: Option<Instant> = None;
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
                        tracing::info!(height = template.height, value_sat = template.coinbase.value.get(), "new block: new job");
                        self.publish(template);
                    }
                    Some(SourceEvent::Refreshed(template)) => {
                        stale_at = None;
                        tracing::debug!(height = template.height, value_sat = template.coinbase.value.get(), "better template");
                        self.publish(template);
                    }
                    Some(SourceEvent::Lost { reason }) => {
                        tracing::warn!(%reason, keep_miners_s = self.stale_after.as_secs(), "no templates from the node");
                        stale_at = Some(Instant::now() + self.stale_after);
                    }
                    None => return,
                },
                () = staleness => {
                    tracing::error!("the node gave no templates for too long; miners are closed so that their fallback pools engage");
                    stale_at = None;
                    self.feed.send_replace(None);
                }
            }
        }
    }

    fn publish(&mut self, template: Arc<Template>) {
        let number = self.next;
        self.next = number.next();
        match Job::new(number, template, &self.payout) {
            Ok(job) => {
                self.feed.send_replace(Some(Arc::new(job)));
            }
            Err(error) => tracing::error!(%error, "no job can be made from this template"),
        }
    }
}
