//! What the browser tests stand on: the demo, an appliance without its system, a browser, and a fake AxeOS
//! device.

#![allow(dead_code, reason = "each test file uses its part")]

mod appliance;

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use poolbox_testnode::free_port;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use appliance::Appliance;

/// Several times what a busy machine needs.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// The admin's.
pub const PASSWORD: &str = "a long secret";
/// What the demo says, in the directory of its test.
const SAID: &str = "demo.err";

/// The whole box on devnet, as a person starts it.
pub struct Demo {
    dir: TempDir,
    child: Mutex<Child>,
    port: u16,
}

impl Demo {
    /// Starts it with ports and a state directory of its own.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("pbd").tempdir_in("/tmp").unwrap();
        let flags = [
            "--stratum-port",
            "--stratum-v2-port",
            "--mint-port",
            "--dashboard-tls-port",
            "--dashboard-port",
        ];
        let ports = flags.map(|_| free_port());
        let mut command = Command::new(from_environment("POOLBOX_BIN_DIR").join("poolbox"));
        command.arg("--state").arg(dir.path().join("box")).arg("demo");
        command.arg("--node").arg(from_environment("BITCOIN_NODE"));
        for (flag, port) in flags.into_iter().zip(ports) {
            command.arg(flag).arg(port.to_string());
        }
        let said = File::create(dir.path().join(SAID)).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let child = Mutex::new(command.spawn().unwrap());
        Self { dir, child, port: ports[4] }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn presence_code(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("box/dashboard/presence.code")).unwrap()
    }

    /// A wallet of its own takes a token in; what the command says, as JSON.
    pub fn receives(&self, token: &str) -> Value {
        let mut command = Command::new(from_environment("POOLBOX_BIN_DIR").join("poolbox"));
        command
            .arg("--state")
            .arg(self.dir.path().join("box"))
            .args(["receive", "--wallet", "bob", "--json"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "the token was not taken");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What must not leave the box: seed, keys and passwords, as they stand in its files.
    pub fn secrets(&self) -> Vec<String> {
        let files = ["mint/seed", "node/rpc.password", "pool/sv2_authority.key", "dashboard/password"];
        let read = |file: &str| {
            let bytes = std::fs::read(self.dir.path().join("box").join(file))
                .unwrap_or_else(|error| panic!("{file}: {error}"));
            String::from_utf8(bytes).unwrap_or_else(|error| hex::encode(error.into_bytes()))
        };
        files.into_iter().map(|file| read(file).trim().to_owned()).collect()
    }

    /// Waits until pages are served.
    pub async fn answers(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while reqwest::get(self.url("/")).await.is_err() {
            let ended = self.child.lock().unwrap().try_wait().unwrap();
            let said = || std::fs::read_to_string(self.dir.path().join(SAID)).unwrap();
            assert!(ended.is_none(), "the demo ended ({ended:?}): {}", said());
            assert!(Instant::now() < deadline, "the dashboard does not answer: {}", said());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the dashboard has heard of pool and mint: a page without script stays as it was served.
    pub async fn is_whole(&self, limit: Duration) {
        self.answers(limit).await;
        let page = async |path| reqwest::get(self.url(path)).await.unwrap().text().await.unwrap();
        let deadline = Instant::now() + limit;
        while !page("/add").await.contains("stratum+tcp://") || page("/").await.contains("cannot be asked") {
            assert!(Instant::now() < deadline, "pool or mint do not answer the dashboard");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Demo {
    /// As with Ctrl-C, so that it stops its processes.
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        let _ = child.wait();
    }
}

/// Colours that a reader prefers.
#[derive(Clone, Copy, Debug)]
pub enum Scheme {
    Light,
    Dark,
}

/// Headless Chromium.
pub struct Browser {
    pub client: Client,
    driver: Child,
    profile: TempDir,
}

impl Browser {
    pub async fn start() -> Self {
        Self::with(json!({}), &[]).await
    }

    /// With a reader who prefers this scheme, on a screen so wide.
    pub async fn preferring(scheme: Scheme, width: u32) -> Self {
        let scheme = match scheme {
            Scheme::Dark => 0,
            Scheme::Light => 1,
        };
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        Self::with(json!({}), &[scheme, format!("--window-size={width},1000")]).await
    }

    pub async fn without_script() -> Self {
        Self::with(json!({ "profile.managed_default_content_settings.javascript": 2 }), &[]).await
    }

    async fn with(mut preferences: Value, more: &[String]) -> Self {
        let port = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        // The browser is of its group, and ends with it.
        command.process_group(0);
        let driver = command.spawn().unwrap_or_else(|error| panic!("chromedriver: {error}"));
        let profile = tempfile::tempdir().unwrap();
        preferences["download.default_directory"] = json!(profile.path().join("downloads"));
        preferences["download.prompt_for_download"] = json!(false);
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        arguments.extend_from_slice(more);
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments, "prefs": preferences },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let capabilities = capabilities.as_object().unwrap().clone();
        let url = format!("http://127.0.0.1:{port}");
        let deadline = Instant::now() + Duration::from_secs(60);
        let client = loop {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            match builder.capabilities(capabilities.clone()).connect(&url).await {
                Ok(client) => break client,
                Err(error) => assert!(Instant::now() < deadline, "no browser: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        };
        Self { client, driver, profile }
    }

    /// Waits until the page says `text`.
    pub async fn sees(&self, text: &str, limit: Duration) {
        self.sees_in("body", text, limit).await;
    }

    /// Waits until what the selector finds says `text`.
    pub async fn sees_in(&self, selector: &str, text: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let mut said = String::new();
            if let Ok(found) = self.client.find(Locator::Css(selector)).await {
                // Taken over by a newer one this moment: asked again.
                // Spaces that do not break are written as others, which drivers differ in.
                said = found.text().await.unwrap_or_default().replace('\u{a0}', " ");
            }
            if said.contains(text) {
                return;
            }
            assert!(Instant::now() < deadline, "{text:?} is not in {selector}, which says: {said}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits for a file that begins so among the downloads; where it is.
    pub async fn downloaded(&self, name: &str, limit: Duration) -> PathBuf {
        let deadline = Instant::now() + limit;
        loop {
            let files =
                std::fs::read_dir(self.profile.path().join("downloads")).into_iter().flatten().flatten();
            // A browser gives it its name when it is whole.
            let found = files.map(|file| file.file_name().into_string().unwrap());
            let whole = |file: &String| file.ends_with(".txt") || file.ends_with(".age");
            if let Some(file) = found.filter(whole).find(|file| file.starts_with(name)) {
                return self.profile.path().join("downloads").join(file);
            }
            assert!(Instant::now() < deadline, "nothing was downloaded");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Clicks; once more when the page was just taken over by a newer one.
    pub async fn click(&self, selector: &str) {
        for _ in 0..5 {
            if let Ok(found) = self.client.wait().for_element(Locator::Css(selector)).await
                && found.click().await.is_ok()
            {
                return;
            }
        }
        panic!("{selector} cannot be clicked");
    }

    /// Types into a field, in the place of what is in it.
    pub async fn types(&self, selector: &str, text: &str) {
        let field = self.client.wait().for_element(Locator::Css(selector)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// The first visit: code and password.
    pub async fn sets_up(&self, setup: &str, code: &str) {
        self.client.goto(setup).await.unwrap();
        self.types("main input[name=code]", code).await;
        self.types("main input[name=password]", PASSWORD).await;
        self.types("main input[name=again]", PASSWORD).await;
        self.click("main form button").await;
        self.sees("Log out", PATIENCE).await;
    }

    /// Logs in with the password that was set then.
    pub async fn logs_in(&self, login: &str) {
        self.client.goto(login).await.unwrap();
        self.types("main input[name=password]", PASSWORD).await;
        self.click("main form button").await;
        self.sees("Log out", PATIENCE).await;
    }

    /// Chooses a file of this machine.
    pub async fn chooses(&self, selector: &str, file: &Path) {
        let field = self.client.wait().for_element(Locator::Css(selector)).await.unwrap();
        field.send_keys(file.to_str().unwrap()).await.unwrap();
    }

    /// What the browser said was wrong with the pages: scripts or styles refused, files missing.
    pub async fn complaints(&self) -> Vec<String> {
        let script = "return performance.getEntriesByType('resource')\
            .filter(e => e.responseStatus >= 400).map(e => e.name)";
        let failed = self.client.execute(script, vec![]).await.unwrap();
        failed.as_array().unwrap().iter().map(ToString::to_string).collect()
    }

    pub async fn end(self) {
        self.client.clone().close().await.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Of a test that failed, the browser still runs.
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.driver.wait();
    }
}

/// A fake AxeOS device with the older firmware's settings, which it takes as they are written.
pub struct FakeAxeOs {
    pub address: String,
    info: Arc<Mutex<Value>>,
}

impl FakeAxeOs {
    pub async fn start() -> Self {
        let info = Arc::new(Mutex::new(json!({
            "version": "v2.9.0", "ASICModel": "BM1368", "hostname": "bitaxe", "hashRate": 612.5,
            "stratumURL": "old.example", "stratumPort": 3333, "stratumUser": "me.axe",
            "fallbackStratumURL": "second.example", "fallbackStratumPort": 3334, "fallbackStratumUser": "me.two",
        })));
        let take = |State(info): State<Arc<Mutex<Value>>>, Json(change): Json<Value>| async move {
            for (key, value) in change.as_object().unwrap() {
                info.lock().unwrap()[key] = value.clone();
            }
        };
        let router = Router::new()
            .route(
                "/api/system/info",
                get(
                    |State(info): State<Arc<Mutex<Value>>>| async move { Json(info.lock().unwrap().clone()) },
                ),
            )
            .route("/api/system", patch(take))
            .route("/api/system/restart", post(|| async {}))
            .with_state(Arc::clone(&info));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, info }
    }

    pub fn settings(&self) -> Value {
        self.info.lock().unwrap().clone()
    }
}

fn from_environment(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!("{variable} is not set: run `cargo xtask test`, which builds what the tests need"),
    }
}
