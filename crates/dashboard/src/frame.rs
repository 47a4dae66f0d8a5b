//! What surrounds every page: navigation, the state of the box in one word, and alarms.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::admin::Visitor;
use crate::alarms::{Alarm, Gravity, alarms};
use crate::app::{App, Refusal};
use crate::assets;
use crate::feed::Snapshot;
use crate::words;

/// Where in the navigation a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The box at a glance.
    Overview,
    /// All workers, and each.
    Miners,
    /// What to type into a miner, and doing it.
    Add,
    /// Where the way of a share ends.
    Why,
    /// What was earned and what is owed.
    Earnings,
    /// What happened, and who is told.
    Alerts,
    /// What the services wrote.
    Logs,
    /// What is set.
    Settings,
    /// None of them.
    Nowhere,
}

/// An entry of the navigation.
pub struct Link {
    section: Section,
    /// Where it leads.
    pub path: &'static str,
    /// What it says.
    pub name: &'static str,
}

const LINKS: [Link; 8] = [
    Link { section: Section::Overview, path: "/", name: "Overview" },
    Link { section: Section::Miners, path: "/miners", name: "Miners" },
    Link { section: Section::Add, path: "/add", name: "Add a miner" },
    Link { section: Section::Why, path: "/why", name: "Why isn't it mining?" },
    Link { section: Section::Earnings, path: "/earnings", name: "Earnings" },
    Link { section: Section::Alerts, path: "/alerts", name: "Alerts" },
    Link { section: Section::Logs, path: "/logs", name: "Logs" },
    Link { section: Section::Settings, path: "/settings", name: "Settings" },
];

/// What surrounds a page.
pub struct Frame {
    /// Of the window.
    pub title: String,
    section: Section,
    /// Network, when it is not the real one.
    pub network: Option<&'static str>,
    /// The state of the box in a word.
    pub state: &'static str,
    /// Its class in the style sheet.
    pub state_class: &'static str,
    /// What is wrong.
    pub alarms: Vec<Alarm>,
    /// When what is shown was asked.
    pub at: u64,
    /// What forms of the admin carry; none for anybody else.
    pub token: Option<String>,
    /// Whether there is a password.
    pub is_set: bool,
    /// Of the static files.
    pub version: &'static str,
}

impl Frame {
    /// Around a page of `section`.
    pub fn new(app: &App, visitor: &Visitor, section: Section, title: &str) -> Self {
        Self::of(&app.now(), visitor, section, title)
    }

    /// Around a page that shows `now`.
    pub fn of(now: &Snapshot, visitor: &Visitor, section: Section, title: &str) -> Self {
        let alarms = alarms(now);
        let network = now.pool.as_ref().map(|pool| pool.network.name());
        let mining = now.pool.as_ref().is_some_and(|pool| pool.hashrate.ten_minutes > 0);
        let (state, state_class) = if alarms.iter().any(|alarm| alarm.gravity == Gravity::Alarm) {
            ("Needs attention", "alarm")
        } else if now.pool.is_none() {
            ("Starting", "idle")
        } else if mining {
            ("Mining", "well")
        } else {
            ("Ready, no miner at work", "idle")
        };
        Self {
            title: title.to_owned(),
            section,
            network: network.filter(|network| *network != "mainnet"),
            state,
            state_class,
            alarms,
            at: now.at,
            token: visitor.session.as_ref().map(|session| session.token().to_owned()),
            is_set: visitor.is_set,
            version: &assets::VERSION,
        }
    }

    /// The navigation.
    pub fn links(&self) -> &'static [Link] {
        &LINKS
    }

    /// Whether this page is in the link's section.
    pub fn is_at(&self, link: &Link) -> bool {
        self.section == link.section
    }

    /// When what is shown was asked, for machines.
    pub fn stamp(&self) -> String {
        words::stamp(self.at)
    }
}

/// A page as an answer.
pub fn page(template: &impl Template) -> Response {
    page_with(StatusCode::OK, template)
}

/// A page as an answer with a status of its own.
pub fn page_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(error = error.to_string(), "a page cannot be drawn");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "This page cannot be drawn; see the log.")
                .into_response()
        }
    }
}
