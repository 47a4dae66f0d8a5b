//! What events may have missed is found by looking: payments that arrived and were not booked, and
//! melts that ended while nobody asked. Events are quick and can be lost; this is neither.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use cdk::mint::Mint;
use cdk_common::QuoteId;
use cdk_common::payment::PaymentIdentifier;
use tokio_util::sync::CancellationToken;

use super::Treasury;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(2);
/// A melt is asked about when it has been under way so long: cdk keeps a melt to itself while it
/// sends a Lightning payment, which takes ten seconds at most.
const PATIENCE: Duration = Duration::from_secs(12);
/// Blocks looked back: as deep as a coinbase matures, and a day more.
const DEPTH: u32 = 244;

/// The task that looks.
pub struct Reconciling {
    mint: Arc<Mint>,
    treasury: Arc<Treasury>,
    /// Melts under way, since when they are seen.
    melts: HashMap<QuoteId, Instant>,
    /// Height at which payments were last looked for.
    height: u32,
    complaint: Option<String>,
}

impl Reconciling {
    /// A task for `mint`.
    pub fn new(mint: Arc<Mint>, treasury: Arc<Treasury>) -> Self {
        Self { mint, treasury, melts: HashMap::new(), height: 0, complaint: None }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let complaint = self.look().await.err().map(|error| format!("{error:#}"));
            if let Some(reason) = complaint.as_ref().filter(|_| complaint != self.complaint) {
                tracing::warn!(reason, "payments are not reconciled");
            }
            self.complaint = complaint;
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let melts = self.finish_melts().await;
        let height = self.treasury.balance().await.height;
        if height != self.height {
            self.book_deposits().await?;
            self.height = height;
        }
        melts
    }

    /// Has cdk ask about melts under way, and finish or release them.
    async fn finish_melts(&mut self) -> anyhow::Result<()> {
        let pending = self.treasury.ecash().pending().await?;
        self.melts.retain(|id, _| pending.iter().any(|melt| melt.id == *id));
        let mut result = Ok(());
        for melt in pending {
            let since = *self.melts.entry(melt.id.clone()).or_insert_with(Instant::now);
            if since.elapsed() > PATIENCE {
                // One that cannot be asked about does not keep the others.
                let asked = self.mint.check_melt_quote(&melt.id).await;
                result = result.and(asked.map(drop).with_context(|| format!("ask about melt {}", melt.id)));
            }
        }
        result
    }

    /// Books confirmed payments to the addresses of quotes.
    async fn book_deposits(&self) -> anyhow::Result<()> {
        let oldest = self.height.saturating_sub(DEPTH);
        let mut quotes = HashSet::new();
        self.treasury
            .each_transaction(|transaction| {
                if transaction.sent_sat == 0 {
                    quotes.extend(transaction.outputs.iter().filter_map(|output| output.quote_id.clone()));
                }
                transaction.confirmation_height.is_none_or(|height| height >= oldest)
            })
            .await?;
        for quote in quotes.iter().filter_map(|quote| QuoteId::from_str(quote).ok()) {
            for payment in self.treasury.received_for(&PaymentIdentifier::QuoteId(quote)).await? {
                self.mint.pay_mint_quote_for_request_id(payment).await?;
            }
        }
        Ok(())
    }
}
