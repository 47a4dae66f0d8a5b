//! Mode proxy: payments of upstream pools end rounds, and what is final is shared out.

use std::time::{Duration, Instant};

use super::{Writer, unix_time};
use crate::invariants;
use crate::ledger::{self, Place, UpstreamAccount};
use crate::posting::Step;
use crate::{sharing, upstream};

/// How often it is looked for payments.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Writer {
    /// Takes note of payments that came, became final or left the chain.
    pub(super) async fn look_for_payments(&mut self) -> anyhow::Result<()> {
        if self.looked.is_some_and(|looked: Instant| looked.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        // A wallet that reads the chain again, as after a restore, does not know of all that is there.
        if self.parts.treasury.balance().await.height < self.progress.epochs.tip() {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let db = self.parts.mint.localstore();
        let account: Option<UpstreamAccount> = ledger::read(&db, &Place::upstream()).await?;
        let Some(account) = account else { return Ok(()) };
        let seen = match upstream::payments(&db, &self.parts.treasury, &account, self.parts.rules).await {
            Ok(seen) => seen,
            // Work is credited all the same.
            Err(error) => {
                self.complaints.raise(format!("payments of the upstream pool are not seen: {error:#}"));
                return Ok(());
            }
        };
        let mut step = Step::of(self.progress.clone());
        step.rounds = step.progress.rounds.see(&seen, unix_time(), self.parts.min_round_time_s);
        if step.progress != self.progress {
            self.commit(step).await?;
        }
        Ok(())
    }

    /// Pays owners of the oldest round that can be shared out; true when there may be more of them.
    pub(super) async fn share_out(&mut self) -> anyhow::Result<bool> {
        let mut progress = self.progress.clone();
        let Some((round, rate)) = progress.rounds.share_out(self.parts.fee)? else { return Ok(false) };
        let left = sharing::left_of(&self.parts.mint, round, rate).await?;
        match invariants::check_reserve(&self.parts.mint, &self.parts.treasury, left).await {
            Ok(()) => {}
            // Not owed yet: what came over Lightning may be bound in a channel until more has come. Were more
            // owed than there is without it, the invariants would say so.
            Err(error) => {
                self.complaints.raise(format!("round {round} is not shared out yet: {error}"));
                return Ok(false);
            }
        }
        let paid = sharing::pay(&self.parts.mint, &self.parts.keys, &mut progress, round, rate, unix_time());
        for quote in paid.await? {
            let amount = quote.amount_paid();
            self.parts.mint.pubsub_manager().mint_quote_payment(&quote, amount);
        }
        self.progress = progress;
        Ok(true)
    }
}
