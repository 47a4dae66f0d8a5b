//! The one task that writes: it follows the chain and the pools' quote queues, moves the epochs,
//! grows and pays quotes. Whatever one step brings is posted in one database transaction together
//! with the position it was read at, so that ending the process at any moment loses and doubles
//! nothing.

mod rounds;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use cdk::mint::Mint;
use poolbox_accounting::{Earns, Epoch, EpochId, EpochRules, EpochState, FeePpm, Mark};
use poolbox_journal::{Arrival, Cursor, QueueError, QuoteMessage, QuoteQueue};
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::invariants::{self, Breach, CheckError};
use crate::keys::Keys;
use crate::ledger::{self, Place, Progress, Settled};
use crate::posting::{self, Step};
use crate::sharing;
use crate::treasury::Treasury;
use crate::watcher::Watcher;

/// Most entries of a pool in one transaction. Many, so that catching up pays an owner once for many of
/// them.
const BATCH: usize = 20_000;
/// Quotes in one transaction, past which it takes no further owner: while it runs, wallets wait.
const QUOTES_AT_ONCE: usize = 4000;
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
    /// What the pools say.
    pub queue: Box<dyn QuoteQueue>,
    /// The pool's fee.
    pub fee: FeePpm,
    /// When epochs close, become final and settle.
    pub rules: EpochRules,
    /// How long a round of mode proxy is open at least, in seconds.
    pub min_round_time_s: u64,
}

/// The task while it runs.
struct Writer {
    parts: Crediting,
    progress: Progress,
    /// Since when the node has answered without a break.
    connected_since: Option<u64>,
    checked: Instant,
    /// When it was last looked for payments of upstream pools.
    looked: Option<Instant>,
    /// Whether the last read of the queue did not reach its end.
    behind: bool,
    complaints: Complaints,
}

impl Step {
    /// Whether an entry may join: it pays nobody, or somebody who is paid in this step anyway, or the
    /// step is not full.
    fn has_room(&self, arrival: &Arrival) -> bool {
        let QuoteMessage::Create { owner, earns, .. } = &arrival.entry.message else { return true };
        let is_paid_anyway = match earns {
            Earns::Ehash => {
                let open = self.progress.epochs.live().last().map(|epoch| epoch.id);
                open.is_some_and(|open| self.credits.contains_key(&(open, owner.clone())))
            }
            Earns::Sats => self.parts.contains_key(&(self.progress.rounds.open(), owner.clone())),
        };
        !self.is_full() || is_paid_anyway
    }

    fn is_full(&self) -> bool {
        self.credits.len() + self.parts.len() >= QUOTES_AT_ONCE
    }
}

/// What the task waits for. Each turn meets it again; it is logged once.
#[derive(Default)]
struct Complaints {
    now: BTreeSet<String>,
    before: BTreeSet<String>,
}

impl Complaints {
    fn raise(&mut self, reason: String) {
        if !self.before.contains(&reason) && !self.now.contains(&reason) {
            tracing::warn!(reason, "crediting waits");
        }
        self.now.insert(reason);
    }

    /// What was raised in the turn that ends.
    fn end_turn(&mut self) -> Option<String> {
        self.before = std::mem::take(&mut self.now);
        let all: Vec<&str> = self.before.iter().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

impl Crediting {
    /// Runs until `stop`, or until the mint halts.
    pub async fn run(self, mut progress: Progress, stop: CancellationToken) {
        progress.epochs.set_rules(self.rules);
        let mut writer = Writer {
            parts: self,
            progress,
            connected_since: None,
            checked: Instant::now(),
            looked: None,
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
        let pause = match self.steps().await {
            Ok(more) => {
                if more {
                    Duration::ZERO
                } else {
                    IDLE
                }
            }
            Err(error) => {
                if let Some(reason) = halting(&error) {
                    self.parts.health.halt(&reason);
                }
                self.complaints.raise(format!("{error:#}"));
                // Whether a failed commit took effect is only known to the database.
                if let Err(error) = self.reload().await {
                    tracing::error!(error = format!("{error:#}"), "the mint's books cannot be read");
                }
                AFTER_ERROR
            }
        };
        let trouble = self.complaints.end_turn();
        self.parts.health.update(|condition| condition.trouble = trouble);
        pause
    }

    async fn steps(&mut self) -> anyhow::Result<bool> {
        let at_tip = self.follow_chain().await?;
        let settled = self.settle().await?;
        self.look_for_payments().await?;
        let shared = self.share_out().await?;
        let more = self.read_queue(at_tip).await?;
        if self.checked.elapsed() > CHECK_EVERY {
            self.check_invariants().await?;
        }
        self.show();
        // A node that does not answer is not asked without pause.
        Ok(settled || shared || more || (!at_tip && self.connected_since.is_some()))
    }

    /// Steps towards the tip; true when it is reached. A node that does not answer is no error:
    /// crediting goes on without it.
    async fn follow_chain(&mut self) -> anyhow::Result<bool> {
        let mut progress = self.progress.clone();
        let mut events = Vec::new();
        let answer = self.parts.watcher.follow(&mut progress, &mut events, unix_time()).await;
        if progress != self.progress {
            self.commit(Step { events, ..Step::of(progress) }).await?;
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
                self.complaints.raise(format!("the chain is not followed: {error:#}"));
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
        posting::settle(&self.parts.mint, &progress, &settled, unix_time()).await?;
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
        let arrivals = match self.parts.queue.next(&self.progress.cursors, BATCH).await {
            Ok(arrivals) => arrivals,
            // Not there yet, or away: the chain is followed all the same.
            Err(error) if !error.is_final() => {
                self.complaints.raise(error.to_string());
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        arrivals.refused.iter().for_each(|error| self.complaints.raise(error.to_string()));
        let mut step = Step::of(self.progress.clone());
        let (mut taken, mut left) = (0_u64, 0_u64);
        // A pool whose next entry has to wait holds up no other, but all that is behind it.
        let mut held_up = BTreeSet::new();
        for arrival in arrivals.entries {
            let journal = arrival.journal;
            let goes = !held_up.contains(&journal) && step.has_room(&arrival);
            if goes && self.take(arrival, at_tip, &mut step)? {
                taken += 1;
            } else {
                held_up.insert(journal);
                left += 1;
            }
        }
        let full = step.is_full();
        if taken > 0 {
            self.commit(step).await?;
            if let Err(error) = self.parts.queue.acknowledge(&self.progress.cursors).await {
                self.complaints.raise(error.to_string());
            }
        }
        self.parts.health.update(|condition| condition.waiting = left);
        let more = taken > 0 && (arrivals.more || full);
        if more != self.behind {
            self.behind = more;
            let state = if self.behind { "behind" } else { "read to its end" };
            tracing::info!("the quote queue is {state}");
        }
        Ok(more)
    }

    /// Applies one entry to `step`; false when it has to wait for the chain.
    fn take(&self, arrival: Arrival, at_tip: bool, step: &mut Step) -> anyhow::Result<bool> {
        let Arrival { journal, entry } = arrival;
        let progress = &mut step.progress;
        let cursor = *progress.cursor_of(journal);
        ensure!(
            entry.seq == cursor.seq.next(),
            "entry {} of journal {journal} does not follow entry {}, which was credited last",
            entry.seq,
            cursor.seq
        );
        match entry.message {
            QuoteMessage::Create { owner, work, through, earns: Earns::Sats } => {
                let mark = Mark { entry: entry.seq, share: through };
                let round = progress.rounds.credit(journal, mark, work)?;
                let part = step.parts.entry((round, owner)).or_default();
                *part = part.checked_add(work).context("more work than can be counted")?;
            }
            QuoteMessage::Create { owner, work, through, earns: Earns::Ehash } => {
                let mark = Mark { entry: entry.seq, share: through };
                let (epoch, events) = progress.epochs.credit(journal, mark, work, entry.at)?;
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
                tracing::info!(height, block = %block_hash, %journal, %share, known, "block announced by the pool");
                let mark = Mark { entry: entry.seq, share };
                step.events.extend(progress.epochs.announce(block_hash, journal, mark));
            }
        }
        *progress.cursor_of(journal) = Cursor { seq: entry.seq, at: entry.at };
        Ok(true)
    }

    /// Whether a block announced at `at` may still join the chain that is followed here. (Not when
    /// another block has its height: should it win after all, it counts as unannounced.)
    fn may_still_come(&self, at: u64, at_tip: bool) -> bool {
        let Some(connected) = self.connected_since else { return true };
        !at_tip || unix_time() <= at.max(connected) + self.parts.rules.announcement_grace_s
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
        sharing::tell(&step.rounds);
        self.progress = step.progress;
        Ok(())
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
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
            Err(CheckError::TreasuryBehind | CheckError::LightningDown) => Ok(()),
            checked => Ok(checked?),
        }
    }

    fn show(&self) {
        let Progress { block, epochs, .. } = &self.progress;
        let connected = self.connected_since.is_some();
        self.parts.health.update(|condition| {
            condition.connected = connected;
            condition.height = epochs.tip();
            condition.block = *block;
        });
    }
}

/// What SQLite says of a damaged file; cdk passes its errors on as text.
const DAMAGED: [&str; 2] = ["database disk image is malformed", "file is not a database"];

/// Why crediting must not go on until a person has looked: an invariant fails, the queue's own
/// journal is an older copy, or the mint's database is damaged.
fn halting(error: &anyhow::Error) -> Option<String> {
    let known = error.chain().find_map(|cause| {
        let breach = cause.downcast_ref::<Breach>().map(Breach::to_string);
        let other = cause.downcast_ref::<QueueError>().filter(|error| error.is_final());
        breach.or_else(|| other.map(QueueError::to_string))
    });
    let text = format!("{error:#}");
    let damaged = || format!("the mint's database mint.sqlite is damaged ({text}); restore it from a backup");
    known.or_else(|| DAMAGED.iter().any(|words| text.contains(words)).then(damaged))
}

/// Unix seconds.
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_database_halts_and_a_full_or_busy_one_does_not() {
        let said = |words: &str| halting(&anyhow::anyhow!("Error code: {words}").context("write the books"));
        for damaged in DAMAGED {
            let reason = said(damaged).unwrap();
            assert!(reason.contains("mint.sqlite is damaged") && reason.contains("backup"), "{reason}");
        }
        for passing in ["database is locked", "database or disk is full", "disk I/O error"] {
            assert_eq!(said(passing), None);
        }
    }
}
