//! Alerts on their way to a receiver that really listens: once, with backoff, without following or reading.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, LOCATION};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use axum::{Router, http::StatusCode};
use futures::stream;
use poolbox_api::pool::Block;
use poolbox_service::Tls;
use reqwest_tls::Certificate;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::way::builder;
use super::{AlertSettings, Alerts, Kind, Topic, Typed, Way, Wish};
use crate::feed::Snapshot;
use crate::fixture::{self, HOSTILE};
use crate::wire::{self, TlsListener};

const PATIENCE: Duration = Duration::from_secs(60);

/// What came in: path, authorization, body.
type Seen = Arc<Mutex<Vec<(String, Option<String>, Value)>>>;

/// A receiver that answers as `answer` says; it stands for a webhook and as a fake for ntfy.
struct Receiver {
    address: String,
    seen: Seen,
}

impl Receiver {
    async fn start(answer: fn(&str, usize) -> Response) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        Self::at(address, listener, answer)
    }

    async fn over_tls(tls: Tls, answer: fn(&str, usize) -> Response) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        Self::at(address, TlsListener::new(listener, tls), answer)
    }

    fn at<L: Listener>(address: String, listener: L, answer: fn(&str, usize) -> Response) -> Self
    where
        L::Addr: std::fmt::Debug,
    {
        let seen = Seen::default();
        let noted = Arc::clone(&seen);
        let take = move |uri: Uri, headers: HeaderMap, body: String| async move {
            let token = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
            let body = serde_json::from_str(&body).unwrap();
            let mut seen = noted.lock().unwrap();
            seen.push((uri.to_string(), token, body));
            answer(uri.path(), seen.len())
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(take)).await });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<(String, Option<String>, Value)> {
        self.seen.lock().unwrap().clone()
    }

    async fn sees(&self, count: usize) -> Vec<(String, Option<String>, Value)> {
        let deadline = Instant::now() + PATIENCE;
        while self.seen().len() < count {
            assert!(Instant::now() < deadline, "{count} messages were not seen: {:?}", self.seen());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.seen()
    }
}

/// Alerts that run.
struct Running {
    alerts: Arc<Alerts>,
    out: watch::Sender<Arc<Snapshot>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(dir: &std::path::Path, ways: Vec<Way>) -> Self {
        let topics = [Topic::BlockFound, Topic::MinerSilent].into();
        let settings = AlertSettings { ways, topics, silent_after_s: 900 };
        let alerts = Arc::new(Alerts::open(dir, &settings).unwrap());
        let (out, feed) = watch::channel(Arc::new(Snapshot::default()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&alerts).run(feed, stop.clone()));
        Self { alerts, out, stop, task }
    }

    /// Shows a snapshot, and waits until it was looked at.
    async fn show(&self, snapshot: Snapshot) {
        self.out.send_replace(Arc::new(snapshot));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    async fn health(&self, kind: Kind, holds: impl Fn(&super::Health, usize) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ways = self.alerts.ways();
            let (.., health, waiting) = ways.iter().find(|(found, ..)| *found == kind).unwrap();
            if holds(health, *waiting) {
                return;
            }
            assert!(Instant::now() < deadline, "{health:?}, {waiting} waiting");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A box that found this block just now.
fn found(height: u32) -> Snapshot {
    let at = crate::feed::now();
    let mut snapshot = fixture::snapshot(1);
    snapshot.at = at;
    let block = Block {
        height,
        hash: format!("{height:064}"),
        finder: Some(HOSTILE.to_owned()),
        found_at: at,
        confirmed: false,
        lost: None,
        trouble: None,
    };
    snapshot.pool.as_mut().unwrap().blocks.insert(0, block);
    snapshot
}

fn quiet() -> Snapshot {
    Snapshot { at: crate::feed::now(), ..fixture::snapshot(1) }
}

#[tokio::test]
async fn an_event_arrives_on_each_way_once_and_not_again_after_a_restart() {
    let receiver = Receiver::start(|_, _| StatusCode::OK.into_response()).await;
    let dir = tempfile::tempdir().unwrap();
    let ways = vec![
        Way::new(Kind::Webhook, &format!("{}/hook/S3CRET?key=1", receiver.address), None).unwrap(),
        Way::new(Kind::Ntfy, &format!("{}/box-topic", receiver.address), Some("tk_S3CRET".into())).unwrap(),
    ];
    let running = Running::start(dir.path(), ways.clone());
    running.show(quiet()).await;
    running.show(found(900_001)).await;
    let seen = receiver.sees(2).await;
    let (_, token, hook) = seen.iter().find(|(path, ..)| path == "/hook/S3CRET?key=1").unwrap();
    assert_eq!(*token, None, "the token is for ntfy alone");
    assert_eq!(
        (&hook["event"], &hook["over"], &hook["title"]),
        (&"block-found".into(), &false.into(), &"Block found".into())
    );
    assert!(hook["text"].as_str().unwrap().starts_with("Block 900,001 was found by "), "{hook}");
    assert!(!hook["text"].as_str().unwrap().contains('<'), "{hook}");
    let (_, token, note) = seen.iter().find(|(path, ..)| path == "/").unwrap();
    assert_eq!(token.as_deref(), Some("Bearer tk_S3CRET"));
    assert_eq!((&note["topic"], &note["message"]), (&"box-topic".into(), &hook["text"]));
    running.health(Kind::Webhook, |health, waiting| health.sent_at.is_some() && waiting == 0).await;
    running.health(Kind::Ntfy, |health, waiting| health.sent_at.is_some() && waiting == 0).await;
    running.end().await;
    let kept = std::fs::read_to_string(dir.path().join("alerts.json")).unwrap();
    assert!(!kept.contains("S3CRET") && kept.contains("900,001"), "{kept}");

    let again = Running::start(dir.path(), ways);
    again.show(found(900_001)).await;
    again.alerts.test().await;
    let seen = receiver.sees(4).await;
    assert!(seen[2..].iter().all(|(.., body)| body.to_string().contains("This is a test")), "{seen:?}");
    assert_eq!(again.alerts.events().len(), 2, "both are listed, the block once");
    again.end().await;
}

#[tokio::test]
async fn what_is_not_chosen_is_listed_and_not_sent() {
    let receiver = Receiver::start(|_, _| StatusCode::OK.into_response()).await;
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), vec![Way::new(Kind::Webhook, &receiver.address, None).unwrap()]);
    running.show(quiet()).await;
    let mut halted = quiet();
    halted.pool.as_mut().unwrap().halted = Some("it pays somebody else".to_owned());
    running.show(halted).await;
    running.alerts.test().await;
    let seen = receiver.sees(1).await;
    assert_eq!(seen[0].2["event"], "test");
    let listed: Vec<_> = running.alerts.events().iter().map(|event| event.topic).collect();
    assert_eq!(listed, [Topic::Test, Topic::CoinbaseMismatch]);
    running.end().await;
}

#[tokio::test]
async fn what_does_not_arrive_is_tried_again_also_after_a_restart() {
    // Away the first time, in the way of many a proxy.
    let answer = |_: &str, nth: usize| {
        if nth == 1 { StatusCode::BAD_GATEWAY.into_response() } else { StatusCode::OK.into_response() }
    };
    let receiver = Receiver::start(answer).await;
    let dir = tempfile::tempdir().unwrap();
    let ways = vec![Way::new(Kind::Webhook, &receiver.address, None).unwrap()];
    let running = Running::start(dir.path(), ways.clone());
    running.alerts.test().await;
    running
        .health(Kind::Webhook, |health, waiting| {
            waiting == 1 && health.trouble.as_deref() == Some("it answered 502")
        })
        .await;
    running.end().await;
    let again = Running::start(dir.path(), ways);
    again.health(Kind::Webhook, |health, waiting| waiting == 0 && health.trouble.is_none()).await;
    let seen = receiver.seen();
    assert_eq!((seen.len(), &seen[0].2), (2, &seen[1].2), "the same, in the end");
    again.end().await;
}

#[tokio::test]
async fn nothing_is_followed_and_no_long_answer_is_read() {
    let answer = |path: &str, _: usize| match path {
        "/away" => (StatusCode::FOUND, [(LOCATION, "/elsewhere")]).into_response(),
        // It never ends.
        _ => Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 1 << 16])))
            .into_response(),
    };
    let receiver = Receiver::start(answer).await;
    let dir = tempfile::tempdir().unwrap();
    let ways = vec![
        Way::new(Kind::Webhook, &format!("{}/away", receiver.address), None).unwrap(),
        Way::new(Kind::Ntfy, &format!("{}/flood/topic", receiver.address), None).unwrap(),
    ];
    let running = Running::start(dir.path(), ways);
    running.alerts.test().await;
    running.health(Kind::Ntfy, |health, waiting| health.sent_at.is_some() && waiting == 0).await;
    running
        .health(Kind::Webhook, |health, waiting| {
            waiting == 1 && health.trouble.as_deref().is_some_and(|why| why.contains("not followed"))
        })
        .await;
    let paths: Vec<_> = receiver.seen().into_iter().map(|(path, ..)| path).collect();
    assert!(!paths.iter().any(|path| path == "/elsewhere"), "{paths:?}");
    running.end().await;
}

#[tokio::test]
async fn over_tls_a_receiver_is_told_when_its_certificate_is_vouched_for() {
    let dir = tempfile::tempdir().unwrap();
    let tls = wire::OWN.load_or_make(dir.path(), &[], |_| {}).unwrap();
    let certificate = Certificate::from_pem(tls.certificate.as_bytes()).unwrap();
    let receiver = Receiver::over_tls(tls, |_, _| StatusCode::OK.into_response()).await;
    let way = Way::new(Kind::Webhook, &format!("{}/hook/S3CRET", receiver.address), None).unwrap();
    let running = Running::start(dir.path(), vec![way.clone()]);
    running.alerts.test().await;
    running
        .health(Kind::Webhook, |health, waiting| {
            waiting == 1 && health.trouble.as_deref().is_some_and(|why| why.contains("certificate"))
        })
        .await;
    assert!(receiver.seen().is_empty(), "nobody vouches for it");
    let event = running.alerts.events().remove(0);
    running.end().await;

    let http = builder().add_root_certificate(certificate).build().unwrap();
    way.send(&http, &event).await.unwrap();
    let seen = receiver.seen();
    assert_eq!((seen.len(), seen[0].0.as_str(), &seen[0].2["event"]), (1, "/hook/S3CRET", &"test".into()));
}

#[tokio::test]
async fn what_is_chosen_on_the_page_counts_at_once_and_until_it_is_forgotten() {
    let receiver = Receiver::start(|_, _| StatusCode::OK.into_response()).await;
    let dir = tempfile::tempdir().unwrap();
    let written = vec![Way::new(Kind::Webhook, &format!("{}/written", receiver.address), None).unwrap()];
    let running = Running::start(dir.path(), written.clone());
    let wish = Wish {
        webhook: Typed { new: format!("{}/chosen", receiver.address), remove: false },
        events: vec!["coinbase-mismatch".to_owned()],
        silent_after: "15".to_owned(),
        ..Wish::default()
    };
    running.alerts.choose(&wish).await.unwrap();
    running.alerts.test().await;
    assert_eq!(receiver.sees(1).await[0].0, "/chosen");
    running.end().await;

    // After a restart too; and what is sent is what was chosen.
    let again = Running::start(dir.path(), written);
    again.show(quiet()).await;
    let mut halted = quiet();
    halted.pool.as_mut().unwrap().halted = Some("it pays somebody else".to_owned());
    again.show(halted).await;
    let seen = receiver.sees(2).await;
    assert_eq!((seen[1].0.as_str(), &seen[1].2["event"]), ("/chosen", &"coinbase-mismatch".into()));
    again.alerts.forget_choice().await.unwrap();
    again.alerts.test().await;
    assert_eq!(receiver.sees(3).await[2].0, "/written");
    again.end().await;
    let kept = std::fs::read_to_string(dir.path().join("alerts.json")).unwrap();
    assert!(!kept.contains("/chosen") && !kept.contains("/written"), "{kept}");
}
