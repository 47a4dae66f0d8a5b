//! The status as Prometheus reads it. Everything here is in the JSON status as well; nothing is secret.
//! Labels are bounded: of the workers, those are told of that had a share last.

mod text;

use poolbox_api::pool::{Protocol, Shares, Status, Worker};

use self::text::{Kind, Page};
use crate::latency::Histogram;

/// The media type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Workers, and owners, that have labels of their own.
const MAX_LABELLED: usize = 1000;
/// Buckets of the job latency: from 128 µs to 67 s, doubling.
const BUCKETS_LOG2_US: std::ops::RangeInclusive<u32> = 7..=26;

/// The page of a status; `latency` is that of each job to each miner.
pub fn page(status: &Status, latency: &Histogram) -> String {
    let mut page = Page::default();
    whole(&mut page, status);
    jobs(&mut page, status, latency);
    upstream(&mut page, status);
    journal(&mut page, status);
    owners(&mut page, status);
    workers(&mut page, status);
    page.finish()
}

fn whole(page: &mut Page, status: &Status) {
    let mode = format!("{:?}", status.mode).to_lowercase();
    let network = status.network.to_string();
    page.family("poolbox_info", Kind::Gauge, "Version, network and mode of the pool.")
        .sample(&[("version", &status.version), ("network", &network), ("mode", &mode)], 1);
    let mut family =
        page.family("poolbox_start_time_seconds", Kind::Gauge, "When the pool started, Unix seconds.");
    family.value(status.started_at);
    page.family("poolbox_uptime_seconds", Kind::Gauge, "For how long the pool has run.")
        .value(status.uptime_s);
    let mut family = page.family(
        "poolbox_halted",
        Kind::Gauge,
        "Whether mining was stopped because a job would have paid the wrong party.",
    );
    family.value(u8::from(status.halted.is_some()));
    let mut family = page.family("poolbox_connections", Kind::Gauge, "Open miner connections.");
    for protocol in [Protocol::Sv1, Protocol::Sv2] {
        let open = status.connections_by.get(&protocol).copied().unwrap_or_default();
        family.sample(&[("protocol", protocol.name())], open);
    }
    let mut family = page.family("poolbox_workers", Kind::Gauge, "Workers that are known.");
    let connected = status.workers.iter().filter(|worker| worker.connected).count();
    family.sample(&[("connected", "true")], connected);
    family.sample(&[("connected", "false")], status.workers.len() - connected);
    let mut family = page.family(
        "poolbox_hashrate_hashes_per_second",
        Kind::Gauge,
        "Hash rate of all workers, from the work of their shares.",
    );
    for (window, rate) in status.hashrate.named() {
        family.sample(&[("window", window)], rate);
    }
    let Shares { accepted, rejected, work_ehash, best } = &status.shares;
    page.family("poolbox_shares_accepted_total", Kind::Counter, "Shares accepted.").value(accepted);
    let mut family = page.family("poolbox_shares_rejected_total", Kind::Counter, "Shares rejected.");
    for (reason, count) in rejected {
        family.sample(&[("reason", reason)], count);
    }
    let mut family = page.family(
        "poolbox_work_ehash_total",
        Kind::Counter,
        "Work of the accepted shares; an ehash is 2^20 expected hashes.",
    );
    family.value(work_ehash.ehash());
    if let Some(best) = best {
        let mut family = page.family(
            "poolbox_best_share_difficulty",
            Kind::Gauge,
            "Difficulty of the hardest hash found.",
        );
        family.value(best.difficulty);
    }
    let mut family = page.family(
        "poolbox_blocks",
        Kind::Gauge,
        "The latest hundred blocks found, by what became of them.",
    );
    for (state, confirmed, lost) in [("chain", true, false), ("sent", false, false), ("lost", false, true)] {
        let blocks = status.blocks.iter();
        let count =
            blocks.filter(|block| (block.confirmed, block.lost.is_some()) == (confirmed, lost)).count();
        family.sample(&[("state", state)], count);
    }
}

fn jobs(page: &mut Page, status: &Status, latency: &Histogram) {
    let mut family =
        page.family("poolbox_source_connected", Kind::Gauge, "Whether the work source gives current jobs.");
    family.value(u8::from(status.source.connected));
    if let Some(job) = &status.job {
        page.family("poolbox_job_height", Kind::Gauge, "Height of the block being worked on.")
            .value(job.height);
        let mut family =
            page.family("poolbox_job_age_seconds", Kind::Gauge, "How long ago the newest job was made.");
        family.value(seconds(job.age_ms * 1000));
        let mut family = page.family(
            "poolbox_job_template_time_seconds",
            Kind::Gauge,
            "Header time of the newest job's template, Unix seconds.",
        );
        family.value(job.template_time);
        page.family("poolbox_job_reward_sats", Kind::Gauge, "What the newest job's coinbase pays.")
            .value(job.reward_sat);
        page.family("poolbox_job_fees_sats", Kind::Gauge, "The part of it that is fees.").value(job.fees_sat);
        let mut family = page.family(
            "poolbox_network_difficulty",
            Kind::Gauge,
            "Difficulty of the block being worked on.",
        );
        family.value(job.network_difficulty);
        let mut family = page.family(
            "poolbox_coinbase_mismatches",
            Kind::Gauge,
            "Coinbases of the newest job that do not pay as the settings say.",
        );
        family.value(job.coinbases.iter().filter(|coinbase| coinbase.mismatch.is_some()).count());
    }
    let mut family = page.family(
        "poolbox_job_latency_seconds",
        Kind::Histogram,
        "From the arrival of a template to the moment its job was written to a miner.",
    );
    for log2 in BUCKETS_LOG2_US {
        family.suffixed("_bucket", &[("le", &seconds(1 << log2))], latency.below(log2));
    }
    family.suffixed("_bucket", &[("le", "+Inf")], latency.count());
    family.suffixed("_sum", &[], seconds(latency.sum_us()));
    family.suffixed("_count", &[], latency.count());
}

fn upstream(page: &mut Page, status: &Status) {
    let Some(upstream) = &status.upstream else { return };
    let mut family = page.family(
        "poolbox_upstream_connected",
        Kind::Gauge,
        "Whether the upstream pool is connected and gives jobs.",
    );
    family.value(u8::from(status.source.connected));
    if let Some(difficulty) = upstream.difficulty {
        let mut family = page.family(
            "poolbox_upstream_difficulty",
            Kind::Gauge,
            "Difficulty that the upstream pool told.",
        );
        family.value(difficulty);
    }
    let mut family = page.family(
        "poolbox_upstream_shares_accepted_total",
        Kind::Counter,
        "Shares that the upstream pool accepted.",
    );
    family.value(upstream.accepted);
    let mut family = page.family(
        "poolbox_upstream_shares_rejected_total",
        Kind::Counter,
        "Shares that the upstream pool rejected, or that could not be handed on.",
    );
    for (reason, count) in &upstream.rejected {
        family.sample(&[("reason", reason)], count);
    }
    let mut family = page.family(
        "poolbox_upstream_shares_waiting",
        Kind::Gauge,
        "Shares that the upstream pool has not answered yet.",
    );
    family.value(upstream.waiting);
    if let Some(at) = upstream.last_accepted_at {
        let mut family = page.family(
            "poolbox_upstream_last_accepted_time_seconds",
            Kind::Gauge,
            "When the upstream pool last accepted a share, Unix seconds.",
        );
        family.value(at);
    }
}

fn journal(page: &mut Page, status: &Status) {
    let journal = &status.journal;
    page.family("poolbox_journal_shares_total", Kind::Counter, "Shares in the journal, of all time.")
        .value(journal.shares);
    let mut family =
        page.family("poolbox_journal_work_ehash_total", Kind::Counter, "Work in the journal, of all time.");
    family.value(journal.work_ehash.ehash());
    let mut family =
        page.family("poolbox_journal_waiting_shares", Kind::Gauge, "Shares on their way to the disk.");
    family.value(journal.waiting);
    let mut family =
        page.family("poolbox_journal_commit_seconds", Kind::Gauge, "How long the latest group commit took.");
    family.value(seconds(journal.commit_us));
    let mut family = page.family(
        "poolbox_journal_unqueued_shares",
        Kind::Gauge,
        "Shares in the journal that are not in the quote queue.",
    );
    family.value(journal.shares.saturating_sub(journal.queued_through.get()));
    let mut family = page.family(
        "poolbox_journal_oldest_unqueued_seconds",
        Kind::Gauge,
        "How long ago the oldest of them was journalled; zero when there is none.",
    );
    family.value(seconds(journal.oldest_unqueued_ms.unwrap_or_default() * 1000));
    let mut family = page.family("poolbox_journal_failing", Kind::Gauge, "Whether the latest write failed.");
    family.value(u8::from(journal.failing));
    if let Some(delivery) = &status.delivery {
        let mut family = page.family(
            "poolbox_queue_unsent_entries",
            Kind::Gauge,
            "Entries of the quote queue that wait in the journal for Redis.",
        );
        family.value(delivery.waiting);
        let mut family =
            page.family("poolbox_queue_failing", Kind::Gauge, "Whether the latest sending to Redis failed.");
        family.value(u8::from(delivery.trouble.is_some()));
    }
}

fn owners(page: &mut Page, status: &Status) {
    let mut owners: Vec<_> = status.owners.iter().collect();
    owners.sort_by_key(|owner| std::cmp::Reverse((owner.connected, owner.hashrate.day)));
    owners.truncate(MAX_LABELLED);
    let mut family = page.family(
        "poolbox_owner_hashrate_hashes_per_second",
        Kind::Gauge,
        "Hash rate of an owner's workers together.",
    );
    for owner in &owners {
        for (window, rate) in owner.hashrate.named() {
            family.sample(&[("owner", &owner.owner), ("window", window)], rate);
        }
    }
}

fn workers(page: &mut Page, status: &Status) {
    let mut workers: Vec<_> = status.workers.iter().collect();
    workers.sort_by_key(|worker| std::cmp::Reverse((worker.connected, worker.last_share_at)));
    workers.truncate(MAX_LABELLED);
    let mut family = page.family(
        "poolbox_worker_hashrate_hashes_per_second",
        Kind::Gauge,
        "Hash rate of a worker, from the work of its shares.",
    );
    for worker in &workers {
        for (window, rate) in worker.hashrate.named() {
            let [owner, name] = labels(worker);
            family.sample(&[owner, name, ("window", window)], rate);
        }
    }
    let mut each = |name, kind, help, value: &dyn Fn(&Worker) -> Option<f64>| {
        let mut family = page.family(name, kind, help);
        for worker in &workers {
            if let Some(value) = value(worker) {
                family.sample(&labels(worker), value);
            }
        }
    };
    each("poolbox_worker_shares_accepted_total", Kind::Counter, "Shares accepted of a worker.", &|worker| {
        Some(worker.shares.accepted as f64)
    });
    each(
        "poolbox_worker_work_ehash_total",
        Kind::Counter,
        "Work of a worker's accepted shares.",
        &|worker| Some(worker.shares.work_ehash.ehash() as f64),
    );
    each("poolbox_worker_connections", Kind::Gauge, "Connections of a worker.", &|worker| {
        Some(worker.connections.into())
    });
    each("poolbox_worker_difficulty", Kind::Gauge, "Advertised difficulty of a worker.", &|worker| {
        Some(f64::from(worker.difficulty_log2).exp2())
    });
    each(
        "poolbox_worker_best_share_difficulty",
        Kind::Gauge,
        "Difficulty of the hardest hash a worker found.",
        &|worker| worker.shares.best.as_ref().map(|best| best.difficulty),
    );
    each(
        "poolbox_worker_last_share_time_seconds",
        Kind::Gauge,
        "When the latest share of a worker was accepted, Unix seconds.",
        &|worker| worker.last_share_at.map(|at| at as f64),
    );
    let mut family =
        page.family("poolbox_worker_shares_rejected_total", Kind::Counter, "Shares rejected of a worker.");
    for worker in &workers {
        for (reason, count) in &worker.shares.rejected {
            let [owner, name] = labels(worker);
            family.sample(&[owner, name, ("reason", reason)], count);
        }
    }
}

fn labels(worker: &Worker) -> [(&'static str, &str); 2] {
    [("owner", &worker.owner), ("worker", &worker.name)]
}

/// Microseconds as seconds, exactly.
fn seconds(us: u64) -> String {
    let (whole, rest) = (us / 1_000_000, us % 1_000_000);
    format!("{whole}.{rest:06}")
}

#[cfg(test)]
mod tests;
