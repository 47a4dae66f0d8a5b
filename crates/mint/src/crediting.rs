//! The one task that writes: it follows the chain and the quote queue, moves the epochs, grows and
//! pays quotes. Whatever one step brings is posted in one database transaction together with the
//! position it was read at, so that ending the process at any moment loses and doubles nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use cdk::mint::Mint;
use poolbox_accounting::{Epoch, EpochId, EpochRules, EpochState, FeePpm, Network};
use poolbox_journal::{QueueEntry, QueueReader, QueueSeq, QuoteMessage};
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::invariants::{self, Breach, CheckError};
use crate::keys::Keys;
use crate::ledger::{self, Place, Progress, Settled};
use crate::posting::{self, Step};
use crate::treasury::Treasury;
use crate::watcher::Watcher;

/// Most queue entries in one transaction.
const BATCH: usize = 500;
/// Pause when there is nothing to do.
const IDLE: Duration = Duration::from_millis(250);
/// Pause after an error.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// How often the invariants are checked without a reason.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// Everything the task needs.
pub struct Crediting {
    /// cdk's mint.
    pub mint: Arc<Mint>,
    /// Names and locks quotes.
    pub keys: Keys,
    /// Sees rewards become spendable.
    pub treasury: Arc<Treasury>,
    /// Where progress is shown.
    pub health: Arc<Health>,
    /// Reads the chain.
    pub watcher: Watcher,
    /// The pool's journal.
    pub journal: PathBuf,
    /// Of the journal and the node.
    pub network: Network,
    /// The pool's fee.
    pub fee: FeePpm,
    /// When epochs close, become final and settle.
    pub rules: EpochRules,
}

/// The task while it runs.
struct Writer {
    parts: Crediting,
    progress: Progress,
    reader: Option<QueueReader>,
    /// Since when the node has answered without a break.
    connected_since: Option<u64>,
    checked: Instant,
    /// Whether the last read of the queue did not reach its end.
    behind: bool,
    complaints: Complaints,
}

/// What the task waits for. Each turn meets it again; it is logged once.
#[derive(Default)]
struct Complaints {
    last: Option<String>,
    raised: bool,
}

impl Complaints {
    fn raise(&mut self, error: &anyhow::Error) {
        self.raised = true;
        let text = format!("{error:#}");
        if self.last.as_ref() != Some(&text) {
            tracing::warn!(reason = text, "crediting waits");
            self.last = Some(text);
        }
    }

    fn end_turn(&mut self) {
        if !std::mem::take(&mut self.raised) {
            self.last = None;
        }
    }
}

impl Crediting {
    /// Runs until `stop`, or until the mint halts.
    pub async fn run(self, mut progress: Progress, stop: CancellationToken) {
        progress.epochs.set_rules(self.rules);
        let mut writer = Writer {
            parts: self,
            progress,
            reader: None,
            connected_since: None,
            checked: Instant::now(),
            behind: false,
            complaints: Complaints::default(),
        };
        while !stop.is_cancelled() && writer.parts.health.halted().is_none() {
            let pause = writer.turn().await;
            if !pause.is_zero() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

impl Writer {
    /// One round: chain, settlement, queue. Returns how long to pause.
    async fn turn(&mut self) -> Duration {
        match self.steps().await {
            Ok(more) => {
                self.complaints.end_turn();
                if more { Duration::ZERO } else { IDLE }
            }
            Err(error) => {
                if let Some(breach) = error.chain().find_map(|cause| cause.downcast_ref::<Breach>()) {
                    self.parts.health.halt(&breach.to_string());
                }
                self.complaints.raise(&error);
                // Whether a failed commit took effect is only known to the database.
                if let Err(error) = self.reload().await {
                    tracing::error!(error = format!("{error:#}"), "the mint's books cannot be read");
                }
                AFTER_ERROR
            }
        }
    }

    async fn steps(&mut self) -> anyhow::Result<bool> {
        let at_tip = self.follow_chain().await?;
        let settled = self.settle().await?;
        let more = self.read_queue(at_tip).await?;
        if self.checked.elapsed() > CHECK_EVERY {
            self.check_invariants().await?;
        }
        self.show();
        // A node that does not answer is not asked without pause.
        Ok(settled || more || (!at_tip && self.connected_since.is_some()))
    }

    /// Steps towards the tip; true when it is reached. A node that does not answer is no error:
    /// crediting goes on without it.
    async fn follow_chain(&mut self) -> anyhow::Result<bool> {
        let mut progress = self.progress.clone();
        let mut events = Vec::new();
        let answer = self.parts.watcher.follow(&mut progress, &mut events, unix_time()).await;
        if progress != self.progress {
            self.commit(Step { progress, events, credits: BTreeMap::new() }).await?;
        }
        match answer {
            Ok(at_tip) => {
                if self.connected_since.is_none() {
                    self.connected_since = Some(unix_time());
                    tracing::info!(height = self.progress.epochs.tip(), "following the node's chain");
                    self.parts.treasury.refresh_login().await?;
                }
                Ok(at_tip)
            }
            Err(error) => {
                self.connected_since = None;
                self.complaints.raise(&error.context("the chain is not followed"));
                Ok(false)
            }
        }
    }

    /// Books epochs whose rewards the chain and the treasury both call spendable.
    async fn settle(&mut self) -> anyhow::Result<bool> {
        let mature = |epoch: &&Epoch| epoch.state() == EpochState::Settled;
        let payouts: Vec<_> = self
            .progress
            .epochs
            .live()
            .iter()
            .filter(mature)
            .flat_map(|epoch| epoch.payouts.clone())
            .collect();
        let any = self.progress.epochs.live().iter().any(|epoch| mature(&epoch));
        if !any || !self.parts.treasury.holds(&payouts, self.parts.rules.maturity_confirmations).await? {
            return Ok(false);
        }
        let mut progress = self.progress.clone();
        let settled: Vec<Settled> = progress
            .epochs
            .take_settled()
            .into_iter()
            .map(|epoch| Settled { rate: epoch.rate(self.parts.fee).ok(), epoch })
            .collect();
        posting::settle(&self.parts.mint, &progress, &settled).await?;
        self.progress = progress;
        for Settled { epoch, rate } in &settled {
            let payable = rate.map_or(0, |rate| rate.payable().get());
            tracing::info!(
                epoch = %epoch.id,
                reward_sat = epoch.reward().get(),
                payable_sat = payable,
                work_ehash = epoch.work.ehash(),
                "epoch settled: its ehash redeems for sats"
            );
        }
        Ok(true)
    }

    /// Takes one batch of queue entries into effect; true when there may be more.
    async fn read_queue(&mut self, at_tip: bool) -> anyhow::Result<bool> {
        let entries = self.next_entries().await?;
        let mut step = Step { progress: self.progress.clone(), events: Vec::new(), credits: BTreeMap::new() };
        let total = entries.len();
        let mut taken = 0;
        for entry in entries {
            if !self.take(entry, at_tip, &mut step)? {
                break;
            }
            taken += 1;
        }
        if taken > 0 {
            self.commit(step).await?;
        }
        let waiting = (total - taken) as u64;
        self.parts.health.update(|condition| condition.waiting = waiting);
        if (total == BATCH) != self.behind {
            self.behind = total == BATCH;
            let cursor = self.progress.cursor;
            let state = if self.behind { "behind" } else { "read to its end" };
            tracing::info!(cursor, "the quote queue is {state}");
        }
        Ok(taken > 0 && total == BATCH)
    }

    /// Applies one entry to `step`; false when it has to wait for the chain.
    fn take(&self, entry: QueueEntry, at_tip: bool, step: &mut Step) -> anyhow::Result<bool> {
        let progress = &mut step.progress;
        match entry.message {
            QuoteMessage::Create { owner, work, through } => {
                let (epoch, events) = progress.epochs.credit(through, work, entry.at)?;
                step.events.extend(events);
                let credit = step.credits.entry((epoch, owner)).or_default();
                *credit = credit.checked_add(work).context("more work than can be counted")?;
                progress.credited =
                    progress.credited.checked_add(work).context("more work than can be counted")?;
            }
            QuoteMessage::Update { share, height, block_hash } => {
                let known = progress.epochs.knows_payout(block_hash);
                let lost = progress.epochs.tip() >= height;
                if !known && !lost && self.may_still_come(entry.at, at_tip) {
                    return Ok(false);
                }
                tracing::info!(height, block = %block_hash, %share, known, "block announced by the pool");
                step.events.extend(progress.epochs.announce(block_hash, share));
            }
        }
        progress.cursor = entry.seq.get();
        progress.cursor_at = entry.at;
        Ok(true)
    }

    /// Whether a block announced at `at` may still join the chain that is followed here. (Not when
    /// another block has its height: should it win after all, it counts as unannounced.)
    fn may_still_come(&self, at: u64, at_tip: bool) -> bool {
        let Some(connected) = self.connected_since else { return true };
        !at_tip || unix_time() <= at.max(connected) + self.parts.rules.announcement_grace_s
    }

    async fn next_entries(&mut self) -> anyhow::Result<Vec<QueueEntry>> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => match QueueReader::open(&self.parts.journal, self.parts.network) {
                Ok(reader) => {
                    self.check_journal(&reader)?;
                    reader
                }
                Err(error @ poolbox_journal::JournalError::NotCreatedYet(_)) => {
                    self.complaints.raise(&error.into());
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error.into()),
            },
        };
        let after = QueueSeq::new(self.progress.cursor);
        let (reader, entries) = tokio::task::spawn_blocking(move || {
            let entries = reader.read(after, BATCH);
            (reader, entries)
        })
        .await?;
        let entries = entries.context("read the quote queue")?;
        self.reader = Some(reader);
        Ok(entries)
    }

    /// A journal that lacks what was credited from it is another one, or an old copy: its entries
    /// would be skipped in silence, or credited twice.
    fn check_journal(&self, reader: &QueueReader) -> anyhow::Result<()> {
        let Progress { cursor, cursor_at, .. } = self.progress;
        if cursor == 0 {
            return Ok(());
        }
        let last = reader.read(QueueSeq::new(cursor - 1), 1)?;
        if last.first().is_some_and(|entry| entry.seq.get() == cursor && entry.at == cursor_at) {
            return Ok(());
        }
        let journal = self.parts.journal.display();
        self.parts.health.halt(&format!(
            "the journal {journal} is not the one credited so far (entry {cursor} differs); restore the right one"
        ));
        anyhow::bail!("the journal {journal} is not the one credited so far")
    }

    /// Writes what a step brought, and says so.
    async fn commit(&mut self, step: Step) -> anyhow::Result<()> {
        let Crediting { mint, keys, .. } = &self.parts;
        let paid = posting::post(mint, keys, &step, unix_time()).await?;
        for quote in paid {
            let amount = quote.amount_paid();
            mint.pubsub_manager().mint_quote_payment(&quote, amount);
        }
        posting::tell(&step.events);
        self.progress = step.progress;
        Ok(())
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        self.reader = None;
        let stored: Option<Progress> =
            ledger::read(&self.parts.mint.localstore(), &Place::progress()).await?;
        self.progress = stored.context("the record of progress is gone")?;
        self.progress.epochs.set_rules(self.parts.rules);
        Ok(())
    }

    async fn check_invariants(&mut self) -> anyhow::Result<()> {
        let live: Vec<EpochId> = self.progress.epochs.live().iter().map(|epoch| epoch.id).collect();
        self.checked = Instant::now();
        match invariants::check(&self.parts.mint, &self.parts.treasury, &live).await {
            Err(CheckError::Breach(breach)) => Err(breach.into()),
            Err(CheckError::TreasuryBehind) => Ok(()),
            checked => Ok(checked?),
        }
    }

    fn show(&self) {
        let Progress { block, epochs, cursor, .. } = &self.progress;
        let connected = self.connected_since.is_some();
        self.parts.health.update(|condition| {
            condition.connected = connected;
            condition.height = epochs.tip();
            condition.block = *block;
            condition.cursor = *cursor;
        });
    }
}

/// Unix seconds.
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
