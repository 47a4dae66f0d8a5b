//! Whether services that were asked to restart are back, from what each says of itself. Pure.

use serde::{Deserialize, Serialize};

use super::Service;
use super::change::Asked;
use crate::feed::Snapshot;

/// Two clocks of the same machine may differ by so much, in seconds.
const SLACK_S: u64 = 2;

/// Since when services run, Unix seconds; none where one did not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pool: Option<u64>,
    mint: Option<u64>,
    dashboard: u64,
}

/// Where a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It runs anew.
    Back,
    /// It is on its way.
    Waiting,
    /// It should be back by now.
    Late,
}

impl Arrival {
    /// Class in the style sheet.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Back => "well",
            Self::Waiting => "warning",
            Self::Late => "alarm",
        }
    }

    /// For people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Back => "is back",
            Self::Waiting => "restarts",
            Self::Late => "has not come back",
        }
    }
}

impl Started {
    /// As it is now; `dashboard` is when this process started.
    pub fn at(now: &Snapshot, dashboard: u64) -> Self {
        Self {
            pool: now.pool.as_ref().map(|pool| pool.started_at),
            mint: now.mint.as_ref().map(|mint| mint.started_at),
            dashboard,
        }
    }
}

impl Asked {
    /// Where each service is that was asked to restart.
    pub fn arrivals(&self, now: &Snapshot, dashboard: u64) -> Vec<(Service, Arrival)> {
        let is = Started::at(now, dashboard);
        let waited = now.at.saturating_sub(self.at);
        let arrival = |service: &Service| {
            let back = match service {
                Service::Pool => self.is_new(self.before.pool, is.pool),
                Service::Mint => self.is_new(self.before.mint, is.mint),
                Service::Dashboard => self.is_new(Some(self.before.dashboard), Some(is.dashboard)),
                Service::Node => {
                    let since = now.node.as_ref().and_then(|node| node.started_at);
                    since.is_some_and(|since| since + SLACK_S >= self.at)
                }
                // Work that came after it was asked for comes from it.
                Service::TemplateProvider => {
                    let job = now.pool.as_ref().and_then(|pool| pool.job.as_ref());
                    job.is_some_and(|job| now.at.saturating_sub(job.age_ms / 1000) > self.at)
                }
            };
            let arrival = match (back, patience(*service, now)) {
                (true, _) => Arrival::Back,
                (false, Some(patience)) if waited > patience => Arrival::Late,
                (false, _) => Arrival::Waiting,
            };
            (*service, arrival)
        };
        self.services.iter().map(arrival).collect()
    }

    fn is_new(&self, before: Option<u64>, is: Option<u64>) -> bool {
        is.is_some_and(|is| Some(is) != before && is + SLACK_S >= self.at)
    }
}

/// How long a restart may take, in seconds; none: as long as the node takes.
fn patience(service: Service, now: &Snapshot) -> Option<u64> {
    let node_answers = now.node_trouble.is_none();
    match service {
        Service::Pool | Service::Dashboard => Some(120),
        // It stops between two payments, and starts when the node answers.
        Service::Mint => node_answers.then_some(180),
        // It writes the chain's state at its end and reads it at its start.
        Service::Node => Some(1200),
        // It has nothing to give before the node has read the chain.
        Service::TemplateProvider => {
            let reads = now.node.as_ref().is_some_and(|node| node.syncing);
            (node_answers && !reads).then_some(300)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{NOW, snapshot};

    fn asked(at: u64, services: &[Service]) -> Asked {
        Asked { at, services: services.to_vec(), before: Started::at(&snapshot(0), NOW - 9000) }
    }

    #[test]
    fn a_pool_is_back_when_it_says_that_it_started_anew() {
        let asked = asked(NOW, &[Service::Pool]);
        let mut now = snapshot(0);
        now.at = NOW + 5;
        let is = |now: &Snapshot| asked.arrivals(now, NOW - 9000)[0].1;
        assert_eq!(is(&now), Arrival::Waiting, "the old one still answers");
        now.pool = None;
        assert_eq!(is(&now), Arrival::Waiting);
        now.at = NOW + 200;
        assert_eq!(is(&now), Arrival::Late);
        now.pool = snapshot(0).pool;
        now.pool.as_mut().unwrap().started_at = NOW + 3;
        assert_eq!(is(&now), Arrival::Back);
    }

    #[test]
    fn new_work_is_the_template_providers_and_the_dashboard_knows_itself() {
        let asked = asked(NOW, &[Service::TemplateProvider, Service::Dashboard]);
        let mut now = snapshot(0);
        now.at = NOW + 8;
        let is = |now: &Snapshot, since| {
            asked.arrivals(now, since).into_iter().map(|(_, arrival)| arrival).collect::<Vec<_>>()
        };
        assert_eq!(is(&now, NOW - 9000), [Arrival::Back, Arrival::Waiting], "work of four seconds ago");
        now.pool.as_mut().unwrap().job.as_mut().unwrap().age_ms = 30_000;
        assert_eq!(is(&now, NOW + 2), [Arrival::Waiting, Arrival::Back]);
    }
}
