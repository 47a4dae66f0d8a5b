//! What is wrong with the box at this moment, gravest first, each with what to do. Drawn on every page.

use poolbox_api::pool;

use crate::disk::Disk;
use crate::feed::Snapshot;
use crate::words;

/// How long after the last new job it is called old. Bitcoin Core gives a template at least this often.
const OLD_JOB_S: u64 = 120;

/// How grave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Nothing is mined, or money is at stake.
    Alarm,
    /// It goes on, but somebody should look.
    Warning,
}

impl Gravity {
    /// Class in the style sheet.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// How grave.
    pub gravity: Gravity,
    /// What is wrong, in one sentence.
    pub what: String,
    /// What to do, in one sentence.
    pub remedy: &'static str,
}

/// Everything that is wrong.
pub fn alarms(now: &Snapshot) -> Vec<Alarm> {
    let mut list = Vec::new();
    let mut add = |gravity, what: String, remedy| list.push(Alarm { gravity, what, remedy });
    match (&now.pool, &now.pool_trouble) {
        (Some(pool), _) => of_pool(pool, &mut add),
        (None, Some(trouble)) => add(
            Gravity::Alarm,
            format!("The pool cannot be asked: {trouble}."),
            "Wait a minute; if it stays, look at the pool's log. Miners go to their fallback pool meanwhile.",
        ),
        (None, None) => {}
    }
    if let Some(seen) = now.coinbase.as_ref().filter(|seen| !seen.right) {
        add(
            Gravity::Alarm,
            format!("A job was sent whose block would pay wrongly: {}.", seen.verdict),
            "It is read once more in a few seconds. If it would pay wrongly again, the pool is stopped.",
        );
    }
    if let Some(reason) = now.mint.as_ref().and_then(|mint| mint.halted.as_ref()) {
        add(
            Gravity::Alarm,
            format!("The mint signs nothing: {reason}."),
            "Mining goes on and no work is lost. Leave everything as it is and look at the mint's log.",
        );
    }
    let restored = now.mint.as_ref().and_then(|mint| mint.restored.as_ref());
    if restored.is_some_and(|restored| restored.accepted_at.is_none()) {
        add(
            Gravity::Warning,
            "The mint was restored from a backup and signs nothing until you say so.".to_owned(),
            "Mining goes on and work is credited. See Settings, Backup, Restore; or poolbox restore --accept.",
        );
    }
    if let Some(trouble) = &now.mint_trouble {
        add(
            Gravity::Warning,
            format!("The mint cannot be asked: {trouble}."),
            "Mining goes on and shares are credited later. If it stays, look at the mint's log.",
        );
    }
    if now.mint.as_ref().is_some_and(|mint| !mint.chain.connected) {
        add(
            Gravity::Warning,
            "The mint cannot reach the node.".to_owned(),
            "It goes on by itself once the node answers.",
        );
    }
    if let Some(trouble) = &now.node_trouble {
        add(Gravity::Warning, format!("The node cannot be asked: {trouble}."), "Look at the node's log.");
    }
    if let Some(disk) = now.disk.filter(Disk::is_nearly_full) {
        let room = format!("{} of {}", words::bytes(disk.free_bytes), words::bytes(disk.total_bytes));
        add(
            Gravity::Warning,
            format!("The disk is nearly full: {room} are free."),
            "When it is full, shares cannot be kept. Remove what is not needed, or put in a larger disk.",
        );
    }
    list.sort_by_key(|alarm| alarm.gravity);
    list
}

fn of_pool(pool: &pool::Status, add: &mut impl FnMut(Gravity, String, &'static str)) {
    if let Some(reason) = &pool.halted {
        add(
            Gravity::Alarm,
            format!("Mining is stopped: {reason}."),
            "A block would have paid the wrong party. Check the payout settings and keep the pool's log; it serves nobody until \
             it is restarted, on an appliance on the page Settings.",
        );
    }
    if pool.journal.failing {
        add(
            Gravity::Alarm,
            "Shares cannot be kept: the disk does not take them.".to_owned(),
            "Free some room on the disk, or replace it. Miners are told that their shares do not count.",
        );
    }
    if !pool.source.connected {
        let trouble = pool.source.trouble.as_deref().unwrap_or("the node gives no work");
        add(
            Gravity::Alarm,
            format!("There is no new work to mine: {trouble}."),
            if pool.mode == pool::Mode::Proxy {
                "Miners go to their fallback pool if it lasts. See “Why isn't it mining?”."
            } else {
                "The node may be starting or catching up. See “Why isn't it mining?”."
            },
        );
    } else if let Some(job) = pool.job.as_ref().filter(|job| job.age_ms / 1000 > OLD_JOB_S) {
        add(
            Gravity::Warning,
            format!("The newest work is {} old.", words::duration(job.age_ms / 1000)),
            if pool.mode == pool::Mode::Proxy {
                "The other pool should give some every minute or so. Look at the pool's log."
            } else {
                "The node should give some every half minute. Look at the node's log."
            },
        );
    }
    for coinbase in pool.job.iter().flat_map(|job| &job.coinbases) {
        if let Some(mismatch) = &coinbase.mismatch {
            add(
                Gravity::Alarm,
                format!("A block would not pay as it is set: {mismatch}."),
                "Check the payout settings, then restart the pool.",
            );
        }
    }
}
