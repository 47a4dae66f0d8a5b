//! What the demo measured, as JSON. A field is null where there is nothing to tell (yet).

use poolbox_accounting::{EpochId, Sats, Work};
use poolbox_api::{mint, pool};
use serde::Serialize;

use super::line::{self, Line, Times};
use super::processes::Processes;

/// The summary.
#[derive(Debug, Serialize)]
pub struct Summary {
    network: &'static str,
    node_version: Option<String>,
    elapsed_s: f64,
    steps: Times,
    miners: Vec<Miner>,
    epoch: Option<Epoch>,
    ehash: Option<Ehash>,
    sats: Option<SatTotals>,
    paid: Paid,
    urls: Urls,
}

/// How the two owners were paid.
#[derive(Debug, Serialize)]
struct Paid {
    on_chain: Option<OnChain>,
    by_token_sat: Option<Sats>,
}

#[derive(Debug, Serialize)]
struct OnChain {
    address: String,
    sat: Sats,
    fee_sat: Option<Sats>,
    output: Option<String>,
}

#[derive(Debug, Serialize)]
struct Miner {
    name: String,
    protocol: pool::Protocol,
    accepted: u64,
    rejected: u64,
}

#[derive(Debug, Serialize)]
struct Epoch {
    n: EpochId,
    height: Option<u32>,
    block_hash: Option<String>,
    reward_sat: Sats,
    work_ehash: Work,
}

#[derive(Debug, Serialize)]
struct Ehash {
    journalled: Work,
    issued: Work,
    redeemed: Work,
}

#[derive(Debug, Serialize)]
struct SatTotals {
    reserve: Sats,
    outstanding: Sats,
    redeemed: Sats,
}

#[derive(Debug, Serialize)]
struct Urls {
    dashboard: String,
    mint: String,
    stratum_v1: String,
    stratum_v2: Option<String>,
}

/// Asks every process that still answers.
pub async fn collect(processes: &Processes, line: &Line) -> Summary {
    let place = &processes.ready.place;
    let pool = match place.pool() {
        Ok(client) => client.get::<pool::Status>(pool::STATUS).await.ok(),
        Err(_) => None,
    };
    let mint = match place.mint() {
        Ok(client) => client.get::<mint::Status>(mint::STATUS).await.ok(),
        Err(_) => None,
    };
    let epochs = line::epochs(place).await.unwrap_or_default();
    let epoch = epochs.into_iter().find(|epoch| Some(epoch.n) == line.epoch);
    let worker = |worker: &pool::Worker| Miner {
        name: format!("{}.{}", worker.owner, worker.name),
        protocol: worker.protocol,
        accepted: worker.shares.accepted,
        rejected: worker.shares.rejected.values().sum(),
    };
    Summary {
        network: "devnet",
        node_version: line.node_version.clone(),
        elapsed_s: line.elapsed_s(),
        steps: line.times,
        miners: pool.iter().flat_map(|pool| pool.workers.iter().map(worker)).collect(),
        epoch: epoch.map(|epoch| Epoch {
            n: epoch.n,
            height: epoch.height,
            block_hash: epoch.block_hash,
            reward_sat: epoch.reward,
            work_ehash: epoch.work,
        }),
        ehash: mint.as_ref().zip(pool.as_ref()).map(|(mint, pool)| Ehash {
            journalled: pool.journal.work_ehash,
            issued: mint.ehash.issued,
            redeemed: mint.ehash.redeemed,
        }),
        sats: mint.as_ref().map(|mint| SatTotals {
            reserve: mint.sats.reserve,
            outstanding: mint.sats.outstanding,
            redeemed: mint.sats.redeemed,
        }),
        paid: Paid {
            on_chain: line.payout.clone().map(|payout| OnChain {
                address: payout.target,
                sat: payout.amount,
                fee_sat: payout.fee,
                output: payout.proof,
            }),
            by_token_sat: line.received,
        },
        urls: Urls {
            dashboard: processes.ready.dashboard(),
            mint: format!("http://127.0.0.1:{}", processes.ready.ports.mint),
            stratum_v1: processes.ready.stratum_v1(),
            stratum_v2: processes.ready.stratum_v2().ok(),
        },
    }
}
