//! The task that drives the accounts: reads what settled epochs owe, ticks every account that is due,
//! does what it says, and writes each step down before it is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use poolbox_accounting::{EpochId, Network, Owner, RoundId, Sats};
use poolbox_api::mint::payouts as api;
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Action, Event, Moment};
use super::books::{Books, Counts};
use super::payout::{Payout, Stage};
use super::rule::{Rule, Wish};
use super::teller::{Outcome, Teller};
use crate::crediting::unix_time;
use crate::health::Health;
use crate::settings::PayoutSettings;
use crate::undivided::undivided;

/// Pause between rounds.
const ROUND: Duration = Duration::from_secs(2);
/// Owners who are paid side by side: one slow host does not keep the others waiting.
const AT_ONCE: usize = 16;

/// Pays owners by their standing rules.
pub struct Paymaster {
    books: Books,
    teller: Teller,
    settings: PayoutSettings,
    network: Network,
    health: Arc<Health>,
    desk: Mutex<Desk>,
    bell: Notify,
}

/// What is in the books, in memory. Written first, changed after.
#[derive(Default)]
struct Desk {
    accounts: BTreeMap<Owner, Account>,
    counts: Counts,
    /// Whether the books may say something else, after a write that failed.
    doubtful: bool,
}

/// An owner's account as the local API shows it.
pub struct Standing {
    /// The rule that applies.
    pub rule: Option<Rule>,
    /// The account; none when nothing is known of the owner.
    pub account: Option<Account>,
}

impl Paymaster {
    /// With the accounts in the books.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn open(
        books: Books,
        teller: Teller,
        settings: PayoutSettings,
        network: Network,
        health: Arc<Health>,
    ) -> anyhow::Result<Arc<Self>> {
        let desk = Mutex::new(read(&books).await?);
        let bell = Notify::new();
        Ok(Arc::new(Self { books, teller, settings, network, health, desk, bell }))
    }

    /// Pays until `stop`. What is cut off then is taken up again at the next start.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        // Tasks of their own: one of them may hold the accounts while this one waits for them.
        let mut served = JoinSet::new();
        let mut busy = BTreeSet::new();
        let mut troubles = Troubles::default();
        loop {
            // A mint that does not sign pays nobody either.
            let due = if self.health.halted().is_none() { self.due().await } else { Ok(Vec::new()) };
            troubles.take(None, due.as_ref().map(|_| ()));
            for owner in due.unwrap_or_default() {
                if served.len() < AT_ONCE && busy.insert(owner.clone()) {
                    served.spawn(undivided(Arc::clone(&self).serve_one(owner)));
                }
            }
            tokio::select! {
                () = stop.cancelled() => return served.shutdown().await,
                () = self.bell.notified() => {}
                () = tokio::time::sleep(ROUND) => {}
                Some(served) = served.join_next() => match served {
                    Ok((owner, ended)) => {
                        busy.remove(&owner);
                        troubles.take(Some(owner), ended.as_ref().copied());
                    }
                    Err(error) => tracing::error!(%error, "a payout broke; it is taken up again at the next start"),
                },
            }
        }
    }

    /// [`Self::serve`], with a pause after a failure and the owner's name to the result.
    async fn serve_one(self: Arc<Self>, owner: Owner) -> (Owner, anyhow::Result<()>) {
        let served = self.serve(&owner).await;
        if served.is_err() {
            tokio::time::sleep(ROUND).await;
        }
        (owner, served)
    }

    /// Owners whose account has something to do, with what settled meanwhile.
    async fn due(&self) -> anyhow::Result<Vec<Owner>> {
        self.read_again_if_doubtful().await?;
        while self.read_epoch().await? {}
        while self.read_round().await? {}
        let desk = self.desk.lock().await;
        let acts = |(owner, account): &(&Owner, &Account)| {
            let moment = self.moment(owner, account, desk.counts.last);
            (*account).clone().step(Event::Tick, &moment).action != Action::Wait
        };
        Ok(desk.accounts.iter().filter(acts).map(|(owner, _)| owner.clone()).collect())
    }

    async fn read_again_if_doubtful(&self) -> anyhow::Result<()> {
        let mut desk = self.desk.lock().await;
        if desk.doubtful {
            *desk = read(&self.books).await?;
        }
        Ok(())
    }

    /// Credits the owners of the next settled epoch; false when there is none yet.
    async fn read_epoch(&self) -> anyhow::Result<bool> {
        let epoch = EpochId::new(self.desk.lock().await.counts.epoch.saturating_add(1));
        let Some(owed) = self.books.owed(epoch).await? else { return Ok(false) };
        let desk = self.desk.lock().await;
        let counts = Counts { epoch: epoch.get(), ..desk.counts };
        self.owe(desk, owed, counts).await
    }

    /// Credits the owners of the next round that is shared out; false when there is none yet.
    async fn read_round(&self) -> anyhow::Result<bool> {
        let round = RoundId::new(self.desk.lock().await.counts.round.saturating_add(1));
        let Some(owed) = self.books.shared_out(round).await? else { return Ok(false) };
        let desk = self.desk.lock().await;
        let counts = Counts { round: round.get(), ..desk.counts };
        self.owe(desk, owed, counts).await
    }

    async fn owe(
        &self,
        mut desk: MutexGuard<'_, Desk>,
        owed: Vec<(Owner, Sats)>,
        counts: Counts,
    ) -> anyhow::Result<bool> {
        let mut changed = Vec::new();
        for (owner, sats) in owed {
            let known = desk.accounts.get(&owner).cloned();
            // A name without a rule needs no account: it has one from the moment it is given a rule.
            let Some(mut account) = known.or_else(|| self.new_account(&owner)) else { continue };
            account.step(Event::Settled(sats), &self.moment(&owner, &account, counts.last));
            changed.push((owner, account));
        }
        let written: Vec<_> = changed.iter().map(|(owner, account)| (owner, account)).collect();
        self.write(&mut desk, &written, None, counts).await?;
        desk.accounts.extend(changed);
        Ok(true)
    }

    fn new_account(&self, owner: &Owner) -> Option<Account> {
        self.rule(owner, &Wish::default()).map(|_| Account::new(owner.to_string()))
    }

    /// Steps through an owner's account until it waits.
    async fn serve(&self, owner: &Owner) -> anyhow::Result<()> {
        let (mut action, mut most) = self.step(owner, Event::Tick).await?;
        loop {
            let event = match action {
                Action::Wait => return Ok(()),
                Action::GoOn => Event::Tick,
                Action::Collect => match self.teller.collect(owner).await {
                    Ok((balance, None)) => Event::Holds(balance),
                    // What does not work in one epoch keeps no payout of the others.
                    Ok((balance, Some(trouble))) => {
                        (action, most) = self.step(owner, Event::Holds(balance)).await?;
                        self.step(owner, Event::NotCollected(trouble)).await?;
                        continue;
                    }
                    Err(error) => Event::NotCollected(told(owner, &error)),
                },
                Action::Quote { n, rule, balance } => {
                    match self.teller.quote(owner, &rule, balance, unix_time()).await {
                        Ok(offer) => Event::Offered(n, offer),
                        Err(error) => Event::NotOffered(n, told(owner, &error)),
                    }
                }
                Action::Pay { n, quote } => became(n, most, self.teller.pay(owner, &quote).await?),
                Action::Check { n, quote } => became(n, most, self.teller.check(owner, &quote).await?),
            };
            (action, most) = self.step(owner, event).await?;
        }
    }

    /// Takes an event into an account, written down before it counts; what to do next, and the most
    /// that the payout under way may take.
    async fn step(&self, owner: &Owner, event: Event) -> anyhow::Result<(Action, Sats)> {
        let mut desk = self.desk.lock().await;
        let Some(before) = desk.accounts.get(owner) else { return Ok((Action::Wait, Sats::ZERO)) };
        let mut account = before.clone();
        let wish = if let Event::RuleChanged(wish) = &event { wish.clone() } else { account.wish.clone() };
        let moment =
            Moment { rule: self.rule(owner, &wish), ..self.moment(owner, &account, desk.counts.last) };
        let step = account.step(event, &moment);
        let newest =
            account.payout.iter().chain(&step.ended).map(|payout| payout.n).max().unwrap_or_default();
        let counts = Counts { last: desk.counts.last.max(newest), ..desk.counts };
        if account != *before || step.ended.is_some() {
            self.write(&mut desk, &[(owner, &account)], step.ended.as_ref(), counts).await?;
            tell(account.payout.as_ref(), step.ended.as_ref());
        }
        let payout = account.payout.as_ref();
        let most = payout.map_or(Sats::ZERO, |payout| [payout.amount, payout.max_fee].into_iter().sum());
        desk.accounts.insert(owner.clone(), account);
        Ok((step.action, most))
    }

    async fn write(
        &self,
        desk: &mut Desk,
        accounts: &[(&Owner, &Account)],
        ended: Option<&Payout>,
        counts: Counts,
    ) -> anyhow::Result<()> {
        // Until it is known to be written: the future may be dropped at any moment.
        desk.doubtful = true;
        self.books.write(accounts, ended, counts).await.context("write payouts down")?;
        desk.counts = counts;
        desk.doubtful = false;
        Ok(())
    }

    fn rule(&self, owner: &Owner, wish: &Wish) -> Option<Rule> {
        wish.rule(owner, &self.settings)
    }

    fn moment(&self, owner: &Owner, account: &Account, last: u64) -> Moment {
        Moment { now: unix_time(), next: last.saturating_add(1), rule: self.rule(owner, &account.wish) }
    }

    /// Network of the box.
    pub const fn network(&self) -> Network {
        self.network
    }

    /// An owner's rule and account.
    pub async fn standing(&self, owner: &Owner) -> Standing {
        let account = self.desk.lock().await.accounts.get(owner).cloned();
        let wish = account.as_ref().map(|account| account.wish.clone()).unwrap_or_default();
        Standing { rule: self.rule(owner, &wish), account }
    }

    /// Sets an owner's rule, or takes it away.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn set_rule(&self, owner: &Owner, wish: Wish) -> anyhow::Result<()> {
        self.change(owner, Event::RuleChanged(wish)).await
    }

    /// Pays an owner as soon as can be.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn pay_now(&self, owner: &Owner) -> anyhow::Result<()> {
        self.change(owner, Event::Asked).await
    }

    async fn change(&self, owner: &Owner, event: Event) -> anyhow::Result<()> {
        self.read_again_if_doubtful().await?;
        {
            let mut desk = self.desk.lock().await;
            desk.accounts.entry(owner.clone()).or_insert_with(|| Account::new(owner.to_string()));
        }
        self.step(owner, event).await?;
        self.bell.notify_one();
        Ok(())
    }

    /// A payout's record.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn payout(&self, n: u64) -> anyhow::Result<Option<Payout>> {
        Ok(self.books.payout(n).await?)
    }

    /// Payouts before number `before`, newest first.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn page(&self, before: Option<u64>, limit: u32) -> anyhow::Result<api::Page> {
        let last = self.desk.lock().await.counts.last;
        let newest = before.map_or(last, |before| before.saturating_sub(1).min(last));
        let oldest = newest.saturating_sub(u64::from(limit.min(api::MAX_PAGE)));
        let mut payouts = Vec::new();
        for n in (oldest + 1..=newest).rev() {
            payouts.extend(self.payout(n).await?.map(api::Payout::from));
        }
        Ok(api::Page { payouts, next: (oldest > 0).then_some(oldest + 1) })
    }
}

/// What keeps payouts from being looked at: of each owner, and of all.
#[derive(Default)]
struct Troubles(BTreeMap<Option<Owner>, String>);

impl Troubles {
    /// Takes note, and tells the log what is new.
    fn take(&mut self, owner: Option<Owner>, ended: Result<(), &anyhow::Error>) {
        let Err(error) = ended else {
            self.0.remove(&owner);
            return;
        };
        let reason = format!("{error:#}");
        if self.0.get(&owner) != Some(&reason) {
            let whose = owner.as_ref().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(owner = whose, reason, "payouts wait");
            self.0.insert(owner, reason);
        }
    }
}

async fn read(books: &Books) -> anyhow::Result<Desk> {
    let accounts = books.accounts().await.context("read the payout accounts")?;
    let counts = books.counts().await.context("read the payout counts")?;
    Ok(Desk { accounts: accounts.into_iter().collect(), counts, doubtful: false })
}

fn became(n: u64, most: Sats, outcome: Outcome) -> Event {
    match outcome {
        Outcome::Paid(spent, proof) => {
            if spent > most {
                tracing::warn!(payout = n, %spent, %most, "a payout took more than its quote allowed");
            }
            Event::Paid(n, spent, proof)
        }
        Outcome::Pending => Event::Pending(n),
        Outcome::Refused(reason) => Event::Refused(n, reason),
    }
}

/// One line for a trouble, which is also shown.
fn told(owner: &Owner, error: &anyhow::Error) -> String {
    let reason = format!("{error:#}");
    tracing::warn!(%owner, reason, "a payout waits");
    reason
}

fn tell(under_way: Option<&Payout>, ended: Option<&Payout>) {
    if let Some(Payout { n, owner, amount, max_fee, stage: Stage::Sent, .. }) = under_way {
        tracing::info!(payout = n, owner, sats = amount.get(), max_fee = max_fee.get(), "payout handed over");
    }
    let Some(Payout { n, owner, amount, fee, stage, trouble, .. }) = ended else { return };
    let reason = trouble.as_deref().unwrap_or_default();
    match stage {
        Stage::Confirmed => {
            let fee = fee.map_or(0, Sats::get);
            tracing::info!(payout = n, owner, sats = amount.get(), fee, "payout made");
        }
        _ => tracing::warn!(payout = n, owner, reason, "payout ended without payment"),
    }
}
