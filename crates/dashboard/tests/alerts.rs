//! The test alert, from the button to a receiver: a real dashboard that nobody else answers, and a real HTTP
//! server that stands for a webhook and, as a fake, for ntfy.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is the failure of a test")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Uri;
use poolbox_testnode::free_port;
use reqwest::header::{CONTENT_TYPE, COOKIE, ORIGIN, SET_COOKIE};

const PATIENCE: Duration = Duration::from_secs(60);
const FORM: &str = "application/x-www-form-urlencoded";

type Seen = Arc<Mutex<Vec<(String, serde_json::Value)>>>;

/// The dashboard as a process.
struct Dashboard {
    child: Child,
    url: String,
}

impl Dashboard {
    async fn start(dir: &Path, alerts: &str) -> Self {
        let port = free_port();
        let shown = dir.display();
        let settings = format!(
            "data_dir = '{shown}/data'\npool_socket = '{shown}/no.sock'\nlisten = '127.0.0.1:{port}'\n\
             log_file = '{shown}/dashboard.log'\n{alerts}"
        );
        let file = dir.join("dashboard.toml");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_poolbox-dashboard"));
        command.arg("--config").arg(&file).env("POOLBOX_LOG", "debug");
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Self { child, url: format!("http://127.0.0.1:{port}") };
        let deadline = Instant::now() + PATIENCE;
        while reqwest::get(format!("{}/alerts", started.url)).await.is_err() {
            assert!(Instant::now() < deadline, "the dashboard does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        started
    }

    async fn post(&self, path: &str, cookie: &str, form: String) -> reqwest::Response {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let request =
            client.post(format!("{}{path}", self.url)).header(ORIGIN, &self.url).header(COOKIE, cookie);
        request.header(CONTENT_TYPE, FORM).body(form).send().await.unwrap()
    }

    async fn page(&self, path: &str, cookie: &str) -> String {
        let asked = reqwest::Client::new().get(format!("{}{path}", self.url)).header(COOKIE, cookie);
        asked.send().await.unwrap().text().await.unwrap()
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_button_sends_a_test_alert_and_no_address_is_told() {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let take = move |uri: Uri, body: String| async move {
        noted.lock().unwrap().push((uri.to_string(), serde_json::from_str(&body).unwrap()));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let receiver = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(take)).await });

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hook"), format!("http://{receiver}/hook-S3CRET\n")).unwrap();
    let alerts = format!(
        "[alerts]\nwebhook_file = '{}/hook'\nntfy = 'http://{receiver}/topic-S3CRET'\n",
        dir.path().display()
    );
    let dashboard = Dashboard::start(dir.path(), &alerts).await;
    let code = std::fs::read_to_string(dir.path().join("data/presence.code")).unwrap();
    let form = format!("code={code}&password=a+long+secret&again=a+long+secret");
    let answer = dashboard.post("/setup", "", form).await;
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();

    let open = dashboard.page("/alerts", "").await;
    assert!(open.contains("Nothing has happened yet") && !open.contains("Send a test alert"), "{open}");
    let page = dashboard.page("/alerts", &cookie).await;
    let form = page.split("action=\"/alerts/test\"").nth(1).unwrap();
    let token = form.split("value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(dashboard.post("/alerts/test", &cookie, format!("token={token}")).await.status(), 303);
    let deadline = Instant::now() + PATIENCE;
    while seen.lock().unwrap().len() < 2 {
        assert!(Instant::now() < deadline, "the test alert did not arrive: {:?}", seen.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut paths: Vec<_> = seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/", "/hook-S3CRET"]);
    let page = dashboard.page("/alerts", &cookie).await;
    assert!(page.contains("Test alert") && page.contains("127.0.0.1"), "{page}");
    let json = dashboard.page("/api/v1/alerts", "").await;
    assert!(json.contains("\"event\":\"test\""), "{json}");
    drop(dashboard);

    let again = Dashboard::start(dir.path(), &alerts).await;
    assert!(again.page("/alerts", "").await.contains("Test alert"), "kept over a restart");
    drop(again);
    assert_eq!(seen.lock().unwrap().len(), 2, "and not sent again");
    let log = std::fs::read_to_string(dir.path().join("dashboard.log")).unwrap();
    let kept = std::fs::read_to_string(dir.path().join("data/alerts.json")).unwrap();
    for told in [&page, &json, &log, &kept] {
        assert!(!told.contains("S3CRET"), "an address is a secret: {told}");
    }
}
