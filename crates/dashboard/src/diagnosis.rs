//! "Why isn't it mining?": the way of a share from the node to the journal, step by step, and where it ends.
//! Pure: made of the latest snapshot.

use poolbox_api::pool;

use crate::feed::Snapshot;
use crate::words;

/// Work older than this does not count as fresh.
const FRESH_S: u64 = 120;
/// A connected worker without a share for so long is silent.
const SILENT_S: u64 = 600;
/// Hashes that difficulty 1 takes, on average.
const HASHES_PER_DIFFICULTY: f64 = 4_294_967_296.0;

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Passed.
    Done,
    /// The way ends here.
    Failed,
    /// Not reached, as an earlier one failed, or nobody can be asked.
    Open,
}

impl Verdict {
    /// Class in the style sheet.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Done => "well",
            Self::Failed => "alarm",
            Self::Open => "idle",
        }
    }

    /// For people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "well",
            Self::Failed => "here it ends",
            Self::Open => "not reached",
        }
    }
}

/// A step on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What has to be so.
    pub name: &'static str,
    /// Whether it is.
    pub verdict: Verdict,
    /// How it is.
    pub detail: String,
    /// What to do when it is not.
    pub remedy: &'static str,
}

/// What is found of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it mines.
    pub verdict: Verdict,
    /// How far it comes.
    pub detail: String,
    /// What to do.
    pub remedy: &'static str,
}

/// The way through the box. Everything behind the first failure is open.
pub fn steps(now: &Snapshot) -> Vec<Step> {
    // A box that works for another pool needs no node to mine.
    let is_proxy = now.pool.as_ref().is_some_and(|pool| pool.mode == pool::Mode::Proxy);
    let mut steps = if is_proxy { Vec::new() } else { vec![node(now)] };
    steps.push(pool_answers(now));
    if let Some(pool) = &now.pool {
        steps.extend(of_pool(pool, now.at));
    }
    let failed = steps.iter().position(|step| step.verdict == Verdict::Failed).unwrap_or(usize::MAX);
    for step in steps.iter_mut().skip(failed.saturating_add(1)) {
        if step.verdict == Verdict::Failed {
            step.verdict = Verdict::Open;
        }
    }
    steps
}

fn step(name: &'static str, well: bool, detail: impl Into<String>, remedy: &'static str) -> Step {
    let verdict = if well { Verdict::Done } else { Verdict::Failed };
    Step { name, verdict, detail: detail.into(), remedy }
}

fn node(now: &Snapshot) -> Step {
    const NAME: &str = "The node has the whole chain";
    match (&now.node, &now.node_trouble) {
        (Some(node), _) if node.syncing => step(
            NAME,
            false,
            format!(
                "{:.2} % checked, block {} of {}",
                node.progress * 100.0,
                words::grouped(node.height.into()),
                words::grouped(node.headers.into())
            ),
            "Wait: the first time this takes from hours to a day or two. Mining begins by itself then.",
        ),
        (Some(node), _) => step(NAME, true, format!("block {}", words::grouped(node.height.into())), ""),
        (None, Some(trouble)) => step(
            NAME,
            false,
            trouble.clone(),
            "It may be starting: wait some minutes. If it stays so, look at its log, and at the disk.",
        ),
        (None, None) => Step {
            name: NAME,
            verdict: Verdict::Open,
            detail: "the node is not asked by this dashboard".to_owned(),
            remedy: "",
        },
    }
}

fn pool_answers(now: &Snapshot) -> Step {
    let detail = match (&now.pool, &now.pool_trouble) {
        (Some(pool), _) => format!("up for {}", words::duration(pool.uptime_s)),
        (None, Some(trouble)) => trouble.clone(),
        (None, None) => "not asked yet".to_owned(),
    };
    step(
        "The pool runs",
        now.pool.is_some(),
        detail,
        "Wait a minute. If it stays so, look at the pool's log.",
    )
}

fn of_pool(pool: &pool::Status, now: u64) -> Vec<Step> {
    let job = pool.job.as_ref();
    let fresh = pool.source.connected && job.is_some_and(|job| job.age_ms / 1000 <= FRESH_S);
    let work = match (job, &pool.source.trouble) {
        (_, Some(trouble)) => trouble.clone(),
        (Some(job), None) => {
            format!(
                "for block {}, {} old",
                words::grouped(job.height.into()),
                words::duration(job.age_ms / 1000)
            )
        }
        (None, None) => "none yet".to_owned(),
    };
    let known: u32 = pool.workers.iter().map(|worker| worker.connections).sum();
    let last = pool.workers.iter().filter_map(|worker| worker.last_share_at).max();
    let shared = last.is_some_and(|last| now.saturating_sub(last) <= SILENT_S);
    vec![
        step(
            "There is fresh work",
            fresh,
            work,
            if pool.mode == pool::Mode::Proxy {
                "The other pool gives none. Look at its address and the user name in the settings, and whether the \
                 internet is there."
            } else {
                "The node gives none. While it catches up with the chain that is normal; otherwise see its log."
            },
        ),
        step(
            "The pool may serve it",
            pool.halted.is_none() && !pool.journal.failing,
            match (&pool.halted, pool.journal.failing) {
                (Some(reason), _) => reason.clone(),
                (None, true) => "shares cannot be written to the disk".to_owned(),
                (None, false) => "the coinbase pays as it is set, and shares are kept".to_owned(),
            },
            "Check the payout settings, or free the disk; then restart the pool.",
        ),
        step(
            "A miner is connected",
            pool.connections > 0,
            format!("{} connections", pool.connections),
            "Is the miner on, in the same network, and set to this box's address? Copy it from “Add a miner”.",
        ),
        step(
            "It said who it is",
            known > 0,
            if known == 0 {
                "a connection is open, but no user name was accepted".to_owned()
            } else {
                format!("{known} of {} connections have a user name", pool.connections)
            },
            "Give the miner a user name such as garage.bitaxe: letters, digits, and a dot before the machine.",
        ),
        step(
            "A share was accepted",
            shared,
            last.map_or_else(
                || "none yet".to_owned(),
                |last| format!("the newest {}", words::ago(last, now)),
            ),
            "Look at the miners below: each says where it stops.",
        ),
    ]
}

/// Where one worker stops.
pub fn worker(worker: &pool::Worker, now: u64) -> Finding {
    let find = |verdict, detail: String, remedy| Finding { verdict, detail, remedy };
    let rejected: u64 = worker.shares.rejected.values().sum();
    let silent = worker.last_share_at.map(|at| now.saturating_sub(at));
    if !worker.connected {
        let detail = silent.map_or_else(
            || "It is not connected and never had a share accepted.".to_owned(),
            |silent| format!("It is not connected. Its last share was {} ago.", words::duration(silent)),
        );
        return find(
            Verdict::Failed,
            detail,
            "Is it on, and in the network? It may be mining for its fallback pool: look at its own page.",
        );
    }
    if worker.shares.accepted == 0 && rejected > 0 {
        return find(
            Verdict::Failed,
            format!("It sends shares, and all {rejected} were rejected."),
            "Its page tells the reasons and what each means. Restart the miner; if it stays, lower its clock.",
        );
    }
    match silent {
        Some(silent) if silent <= SILENT_S => {
            find(Verdict::Done, format!("Its last share: {}.", words::ago(0, silent)), "")
        }
        _ => {
            let difficulty = f64::from(worker.difficulty_log2).exp2();
            let at_one_tera = words::long_duration(difficulty * HASHES_PER_DIFFICULTY / 1e12);
            let waited = worker.connected_since.map_or(0, |since| now.saturating_sub(since));
            find(
                if waited > SILENT_S { Verdict::Failed } else { Verdict::Open },
                format!(
                    "Connected for {}, and no share lately. At its difficulty {} a miner of 1 TH/s finds one every {}.",
                    words::duration(waited),
                    words::difficulty(difficulty),
                    at_one_tera
                ),
                "Small miners may need some minutes. Otherwise look at the miner's own page: is it hashing, and not too hot?",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn failing(now: &Snapshot) -> Option<&'static str> {
        let steps = steps(now);
        let failed: Vec<_> = steps.iter().filter(|step| step.verdict == Verdict::Failed).collect();
        assert!(failed.len() <= 1, "one first step at most: {failed:?}");
        assert!(failed.iter().all(|step| !step.remedy.is_empty()));
        failed.first().map(|step| step.name)
    }

    #[test]
    fn a_box_that_mines_has_nothing_failing() {
        assert_eq!(failing(&fixture::snapshot(1)), None);
    }

    #[test]
    fn the_first_step_that_fails_is_named() {
        let broken = |breaking: fn(&mut pool::Status)| {
            let mut now = fixture::snapshot(1);
            breaking(now.pool.as_mut().unwrap());
            failing(&now)
        };
        let gone = Snapshot { pool_trouble: Some("gone".into()), ..Snapshot::default() };
        assert_eq!(failing(&gone), Some("The pool runs"));
        assert_eq!(broken(|pool| pool.source.connected = false), Some("There is fresh work"));
        assert_eq!(broken(|pool| pool.halted = Some("x".into())), Some("The pool may serve it"));
        assert_eq!(
            broken(|pool| (pool.mode, pool.source.connected) = (pool::Mode::Proxy, false)),
            Some("There is fresh work")
        );
        assert_eq!(broken(|pool| pool.connections = 0), Some("A miner is connected"));
        assert_eq!(broken(|pool| pool.workers.clear()), Some("It said who it is"));
        assert_eq!(broken(|pool| pool.workers[0].last_share_at = None), Some("A share was accepted"));
    }

    #[test]
    fn a_worker_is_told_apart_from_a_silent_and_a_refused_one() {
        let now = fixture::NOW;
        let mut one = fixture::worker("garage", "one");
        assert_eq!(worker(&one, now).verdict, Verdict::Done);
        one.last_share_at = Some(now - 10_000);
        assert_eq!(worker(&one, now).verdict, Verdict::Failed);
        one.connected = false;
        assert!(worker(&one, now).detail.contains("not connected"));
        (one.connected, one.shares.accepted) = (true, 0);
        one.shares.rejected = [("above-target".to_owned(), 9)].into();
        assert!(worker(&one, now).detail.contains("all 9 were rejected"));
    }
}
