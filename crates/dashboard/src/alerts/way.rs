//! The ways out of the house: a webhook that takes JSON, and a topic of ntfy. An address of either is a secret,
//! so only its host is ever told.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use reqwest_tls::redirect::Policy;
use reqwest_tls::{Client, ClientBuilder, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::event::{Event, Topic};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long sending may take altogether.
const ALL: Duration = Duration::from_secs(30);

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A POST with JSON.
    Webhook,
    /// A message to a topic of ntfy.
    Ntfy,
}

impl Kind {
    /// As it is written in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Ntfy => "ntfy",
        }
    }
}

/// A way that is set. Debug output shows its host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Way {
    /// Which.
    pub kind: Kind,
    /// Its host, which may be told.
    pub host: String,
    /// As it was written.
    pub(super) address: String,
    /// Where it is sent; of ntfy, the server.
    pub(super) url: Url,
    /// The last part of an ntfy address.
    topic: String,
    /// Access token for ntfy.
    pub(super) token: Option<String>,
}

/// Why an event did not arrive, in words that hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may next time.
    Later(String),
    /// This event never will.
    Never(String),
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Way({} at {}, …)", self.kind.name(), self.host)
    }
}

impl Way {
    /// A way to `address`.
    ///
    /// # Errors
    /// What is wrong with the address, without it.
    pub fn new(kind: Kind, address: &str, token: Option<String>) -> Result<Self, &'static str> {
        let mut url: Url = address.trim().parse().map_err(|_| "is no address of the web")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("begins with neither https:// nor http://");
        }
        let host = url.host_str().ok_or("names no host")?.to_owned();
        let mut topic = String::new();
        if kind == Kind::Ntfy {
            // Published as JSON at the server's root: headers could not carry every character of a name.
            let path = url.path().trim_end_matches('/').to_owned();
            let (root, last) = path.rsplit_once('/').unwrap_or_default();
            topic = last.to_owned();
            if topic.is_empty() {
                return Err("names no topic; write it as https://ntfy.sh/TOPIC");
            }
            url.set_path(&format!("{root}/"));
            url.set_query(None);
        }
        Ok(Self { kind, host, address: address.trim().to_owned(), url, topic, token })
    }

    /// Whether it goes with an access token.
    pub const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Sends an event. The answer's status counts; its body is not read.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn send(&self, http: &Client, event: &Event) -> Result<(), Failure> {
        let mut request = http.post(self.url.clone()).json(&match self.kind {
            Kind::Webhook => for_webhook(event),
            Kind::Ntfy => for_ntfy(event, &self.topic),
        });
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| Failure::Later(cause(&error)))?;
        let status = answer.status();
        let said = || format!("it answered {}", status.as_u16());
        match status {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => {
                Err(Failure::Later(format!("{}, and redirects are not followed", said())))
            }
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(Failure::Never(said()))
            }
            _ => Err(Failure::Later(said())),
        }
    }
}

/// One client for all ways. Nothing about the surroundings, such as a proxy, changes who is asked.
///
/// # Errors
/// When it cannot be set up.
pub fn client() -> anyhow::Result<Client> {
    builder().build().context("set up the client for alerts")
}

pub(super) fn builder() -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .timeout(ALL)
        .pool_max_idle_per_host(0)
        .user_agent("poolbox")
}

/// `text` is also what Slack, Mattermost and the like show.
fn for_webhook(event: &Event) -> Value {
    json!({
        "id": event.id,
        "at": event.at,
        "event": event.topic,
        "over": event.over,
        "title": event.title(),
        "text": event.text,
    })
}

fn for_ntfy(event: &Event, topic: &str) -> Value {
    let (priority, tag) = match (event.class(), event.topic) {
        (_, Topic::BlockFound) => (4, "tada"),
        ("alarm", _) => (5, "rotating_light"),
        ("warning", _) => (4, "warning"),
        _ => (3, "white_check_mark"),
    };
    let title = format!("Poolbox: {}", event.title());
    json!({ "topic": topic, "title": title, "message": event.text, "priority": priority, "tags": [tag] })
}

/// The innermost cause: without the address, in the system's words.
fn cause(error: &reqwest_tls::Error) -> String {
    if error.is_timeout() {
        return "it takes too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // Of reqwest itself, which names the address.
    if cause.downcast_ref::<reqwest_tls::Error>().is_some() {
        return "it cannot be asked".to_owned();
    }
    cause.to_string().chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_never_shown() {
        let secret = "https://hooks.example/services/T0/S3CRET?key=S3CRET";
        let way = Way::new(Kind::Webhook, secret, None).unwrap();
        assert_eq!((way.host.as_str(), way.url.as_str()), ("hooks.example", secret));
        assert!(!format!("{way:?}").contains("S3CRET"));
        for wrong in ["hooks.example/x", "ftp://hooks.example/S3CRET", "", "https://"] {
            let why = Way::new(Kind::Webhook, wrong, None).unwrap_err();
            assert!(!why.contains("S3CRET"), "{why}");
        }
    }

    #[test]
    fn a_topic_of_ntfy_is_the_last_part_of_its_address() {
        let way = Way::new(Kind::Ntfy, "https://home.example/ntfy/box-S3CRET/", None).unwrap();
        assert_eq!((way.url.as_str(), way.topic.as_str()), ("https://home.example/ntfy/", "box-S3CRET"));
        assert!(!format!("{way:?}").contains("S3CRET"));
        assert!(Way::new(Kind::Ntfy, "https://ntfy.sh/", None).is_err());
    }
}
