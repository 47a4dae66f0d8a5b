//! The way of a share from the miner to spendable sats, walked and timed.

use std::time::{Duration, Instant};

use anyhow::Context;
use cdk::nuts::CurrencyUnit;
use poolbox_accounting::{EpochId, EpochState, Sats};
use poolbox_api::mint::payouts::Payout;
use poolbox_api::mint::{self, Claimed, Epoch};
use poolbox_api::pool;
use poolbox_wallet::Purse;
use serde::Serialize;

use super::Step;
use super::payee;
use super::processes::Processes;
use crate::claim;
use crate::place::Place;

const POLL: Duration = Duration::from_millis(200);
/// The owner whose shares are followed.
const OWNER: &str = "garage";
/// The wallet that is sent the sats in the end.
const SECOND_WALLET: &str = "bob";

/// When each step was reached, in seconds from the start.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Times {
    /// The node gives work to pool and mint.
    pub node_ready_s: Option<f64>,
    /// A share is in the journal.
    pub first_share_s: Option<f64>,
    /// A wallet holds ehash.
    pub first_token_s: Option<f64>,
    /// The pool found a block and an epoch closed.
    pub block_s: Option<f64>,
    /// An owner that is an address was paid on-chain.
    pub paid_s: Option<f64>,
    /// A second wallet holds sats.
    pub settled_s: Option<f64>,
}

/// The walk.
pub struct Line {
    started: Instant,
    /// When each step was reached.
    pub times: Times,
    /// What the node says its version is.
    pub node_version: Option<String>,
    /// The epoch that was redeemed, or the last that closed.
    pub epoch: Option<EpochId>,
    /// What the owner that is an address was paid.
    pub payout: Option<Payout>,
    /// What the second wallet received by token.
    pub received: Option<Sats>,
    waiting_for: &'static str,
    /// What the last question was refused with.
    trouble: Option<String>,
}

impl Line {
    /// At the start.
    pub fn new(started: Instant) -> Self {
        Self {
            started,
            times: Times::default(),
            node_version: None,
            epoch: None,
            payout: None,
            received: None,
            waiting_for: "the node has not started",
            trouble: None,
        }
    }

    /// What is missing, for a person.
    pub fn where_it_stands(&self) -> String {
        match &self.trouble {
            Some(trouble) => format!("{}; last: {trouble}", self.waiting_for),
            None => self.waiting_for.to_owned(),
        }
    }

    /// Starts the processes and follows a share to `last`. Ends early when a process does.
    pub async fn walk(&mut self, processes: &mut Processes, last: Step) -> anyhow::Result<()> {
        self.node_ready(processes).await?;
        let place = processes.ready.place.clone();
        processes.start_miners(false).await?;
        let before = place.pool()?.get::<pool::Status>(pool::STATUS).await?.journal.shares;

        self.wait("no share of a miner was accepted yet (see miner-one.log and pool.log)");
        self.until(processes, || async {
            Ok(place.pool()?.get::<pool::Status>(pool::STATUS).await?.journal.shares > before)
        })
        .await?;
        self.times.first_share_s = Some(self.reached("first share accepted and on disk"));
        if last == Step::FirstShare {
            return Ok(());
        }
        self.first_token(processes, &place).await?;
        if last == Step::FirstToken {
            return Ok(());
        }
        self.block(processes, &place).await?;
        if last == Step::Block {
            return Ok(());
        }
        self.settle(processes, &place).await
    }

    async fn node_ready(&mut self, processes: &mut Processes) -> anyhow::Result<()> {
        self.say("starting the node and a private chain (a few seconds)");
        self.wait("the node does not answer (see node.log)");
        processes.start_node()?;
        let devnet = processes.devnet.clone();
        let version = tokio::select! {
            version = devnet.ready() => version?,
            died = processes.watch() => return Err(died),
        };
        self.node_version = Some(version);
        self.wait("mint and pool do not answer, or have no work (see mint.log and pool.log)");
        processes.start_mint_and_pool().await?;
        let place = processes.ready.place.clone();
        self.until(processes, || async {
            let mint = place.mint()?.get::<mint::Status>(mint::STATUS).await;
            let pool = place.pool()?.get::<pool::Status>(pool::STATUS).await;
            Ok(mint.is_ok_and(|mint| mint.chain.connected)
                && pool.is_ok_and(|pool| pool.source.height.is_some()))
        })
        .await?;
        self.times.node_ready_s = Some(self.reached("node, mint and pool are ready"));
        Ok(())
    }

    async fn first_token(&mut self, processes: &mut Processes, place: &Place) -> anyhow::Result<()> {
        self.wait("no ehash could be minted yet (see mint.log)");
        self.until(processes, || async { Ok(claim(place).await?.minted.ehash() > 0) }).await?;
        self.times.first_token_s = Some(self.reached("a wallet holds ehash for it"));
        Ok(())
    }

    async fn block(&mut self, processes: &mut Processes, place: &Place) -> anyhow::Result<()> {
        self.say("mining gently for a block (ten seconds or so each)");
        self.wait("no block of the pool closed an epoch yet (see pool.log)");
        let epoch = self
            .until_some(processes, || async {
                let held = claim(place).await?.waiting.into_iter().map(|waiting| waiting.epoch).min();
                let closed = |epoch: &Epoch| matches!(epoch.state, EpochState::Closed | EpochState::Settled);
                Ok(epochs(place).await?.into_iter().find(|epoch| held == Some(epoch.n) && closed(epoch)))
            })
            .await?;
        self.epoch = Some(epoch.n);
        let said = format!("block found: epoch {} closed with {} for {}", epoch.n, epoch.reward, epoch.work);
        self.times.block_s = Some(self.reached(&said));
        Ok(())
    }

    async fn settle(&mut self, processes: &mut Processes, place: &Place) -> anyhow::Result<()> {
        let number = self.epoch.context("an epoch closed")?;
        self.say("mining 100 blocks at full speed, so that the reward can be spent (about a minute)");
        self.wait("the reward is not spendable yet (see mint.log)");
        let earlier = payee::paid(place).await?.map(|payout| payout.n);
        processes.start_miners(true).await?;
        let started = self.started;
        let mut told = Instant::now();
        self.until(processes, || {
            let say = told.elapsed() > Duration::from_secs(5);
            if say {
                told = Instant::now();
            }
            async move {
                let epoch = epochs(place)
                    .await?
                    .into_iter()
                    .find(|epoch| epoch.n == number)
                    .context("an epoch vanished")?;
                if let (true, Some(blocks)) = (say, epoch.blocks_to_maturity) {
                    print_line(started, &format!("{blocks} blocks to go"));
                }
                Ok(epoch.state == EpochState::Settled)
            }
        })
        .await?;
        self.wait("the owner that is an address was not paid on-chain (see mint.log)");
        // Blocks go on at full speed: its transaction has to be in one.
        let payout = self
            .until_some(processes, || async {
                Ok(payee::paid(place).await?.filter(|payout| Some(payout.n) > earlier))
            })
            .await?;
        let Payout { target, amount, fee, .. } = &payout;
        let said = format!("{target} was paid {amount} on-chain, fee {}", fee.unwrap_or_default());
        self.times.paid_s = Some(self.reached(&said));
        self.payout = Some(payout);
        processes.start_miners(false).await?;
        self.wait("the ehash was not redeemed (see mint.log)");
        // The mint pays only what its own wallet says can be spent: a sync later.
        let claimed = self
            .until_some(processes, || async {
                let claimed = claim(place).await?;
                Ok((claimed.sats > Sats::ZERO).then_some(claimed))
            })
            .await?;
        self.wait("the second wallet did not receive the sats");
        let received = send_to_second(place).await?;
        self.received = Some(received);
        let Claimed { redeemed, sats, .. } = claimed;
        let said = format!("{redeemed} redeemed for {sats}; the second wallet received {received}");
        self.times.settled_s = Some(self.reached(&said));
        Ok(())
    }

    fn wait(&mut self, for_what: &'static str) {
        self.waiting_for = for_what;
        self.trouble = None;
    }

    /// Asks until the answer is yes, or a process ends.
    async fn until<F: Future<Output = anyhow::Result<bool>>>(
        &mut self,
        processes: &mut Processes,
        mut ask: impl FnMut() -> F,
    ) -> anyhow::Result<()> {
        let ask = || {
            let answer = ask();
            async { Ok(answer.await?.then_some(())) }
        };
        self.until_some(processes, ask).await
    }

    async fn until_some<T, F: Future<Output = anyhow::Result<Option<T>>>>(
        &mut self,
        processes: &mut Processes,
        mut ask: impl FnMut() -> F,
    ) -> anyhow::Result<T> {
        loop {
            match ask().await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => self.trouble = None,
                // Services that are starting or catching up refuse now and then.
                Err(error) => self.trouble = Some(format!("{error:#}")),
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                died = processes.watch() => return Err(died),
            }
        }
    }

    fn say(&self, text: &str) {
        print_line(self.started, text);
    }

    fn reached(&self, text: &str) -> f64 {
        print_line(self.started, text);
        self.elapsed_s()
    }

    /// Seconds since the start, in tenths.
    pub fn elapsed_s(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 10.0).round() / 10.0
    }
}

fn print_line(started: Instant, text: &str) {
    eprintln!("{:>6.1} s  {text}", started.elapsed().as_secs_f64());
}

/// Mints and redeems what can be, as `poolbox claim garage --keep` does.
async fn claim(place: &Place) -> anyhow::Result<Claimed> {
    claim::collect(place, OWNER).await
}

/// Every epoch, newest first.
pub async fn epochs(place: &Place) -> anyhow::Result<Vec<Epoch>> {
    Ok(place.mint()?.get(mint::EPOCHS).await?)
}

/// Claims all sats as a token, and receives it in a wallet that is not the box's.
async fn send_to_second(place: &Place) -> anyhow::Result<Sats> {
    let mint = place.mint()?;
    let url = mint.get::<mint::Status>(mint::STATUS).await?.url;
    let path = mint::owner_path(OWNER, "claim");
    let claimed: Claimed = mint.post_patiently(&path, &mint::ClaimRequest::default()).await?;
    let token = claimed.token.context("there are no sats to claim")?;
    let second = Purse::open(&place.wallet(SECOND_WALLET)).await?;
    let received = second.pocket(&url, CurrencyUnit::Sat).await?.receive(&token.text, None).await?;
    Ok(Sats::new(received))
}
