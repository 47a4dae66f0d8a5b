//! The coinbase as the dashboard reads it from the wire: a real node, a real pool and a real dashboard. In mode solo it
//! pays the address that asks; a pool whose coinbase pays somebody else is stopped.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is the failure of a test")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use poolbox_testnode::{TestNode, free_port};
use serde_json::Value;
use tempfile::TempDir;

/// Several times what two looks take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pays the public key one, and that key twice: neither is anybody's.
const ONE: &str = "wpkh(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)";
const TWO: &str = "wpkh(02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5)";

/// Pool and dashboard on a node.
struct Box {
    dir: TempDir,
    url: String,
    pool: Child,
    dashboard: Child,
}

impl Box {
    /// `pool` and `dashboard` are lines of their settings.
    fn start(node: &TestNode, pool: &str, dashboard: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("pbc").tempdir_in("/tmp").unwrap();
        let port = free_port();
        let shown = dir.path().display();
        std::fs::write(dir.path().join("one"), ONE).unwrap();
        std::fs::write(dir.path().join("two"), TWO).unwrap();
        let pool = format!(
            "network = 'regtest'\ndata_dir = '{shown}/pool'\napi_socket = '{shown}/pool.sock'\n{pool}\n\
             [stratum_v1]\nlisten = '127.0.0.1:0'\n[stratum_v2]\nlisten = '127.0.0.1:0'\n\
             [node]\nrpc_port = {}\ncookie_file = '{}'\nipc_socket = '{}'\n",
            node.rpc_url().rsplit(':').next().unwrap(),
            node.cookie_file().display(),
            node.socket().display(),
        );
        let dashboard = format!(
            "data_dir = '{shown}/dashboard'\nlisten = '127.0.0.1:{port}'\npool_socket = '{shown}/pool.sock'\n{dashboard}\n"
        );
        let started = |name: &str, program: PathBuf, settings: String| {
            let file = dir.path().join(format!("{name}.toml"));
            std::fs::write(&file, settings).unwrap();
            let mut command = Command::new(program);
            command.arg("--config").arg(&file).current_dir(dir.path()).env_remove("POOLBOX_LOG");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let bin_dir = std::env::var_os("POOLBOX_BIN_DIR").unwrap_or_else(|| {
            panic!("POOLBOX_BIN_DIR is not set: run `cargo xtask test`, which builds what the tests need")
        });
        let pool = started("pool", Path::new(&bin_dir).join("poolbox-pool"), pool);
        let dashboard = started("dashboard", env!("CARGO_BIN_EXE_poolbox-dashboard").into(), dashboard);
        Self { dir, url: format!("http://127.0.0.1:{port}"), pool, dashboard }
    }

    async fn page(&self, path: &str) -> Option<String> {
        reqwest::get(format!("{}{path}", self.url)).await.ok()?.text().await.ok()
    }

    /// Waits until the box's status is so.
    async fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = self.page("/api/v1/status").await.and_then(|text| serde_json::from_str(&text).ok());
            if let Some(status) = &told
                && so(status)
            {
                return status.clone();
            }
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}; {told:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Box {
    fn drop(&mut self) {
        for child in [&mut self.dashboard, &mut self.pool] {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mode_solo_a_job_pays_the_address_that_asked_for_it() {
    let node = TestNode::regtest();
    node.mine(1);
    // What is set for mode pool counts for nothing here.
    let started = Box::start(&node, "mode = 'solo'", "coinbase_descriptor_file = 'two'");
    let status = started.until("a job was read", |status| status["coinbase"].is_object()).await;
    let seen = &status["coinbase"];
    assert_eq!(seen["right"], true, "{seen}");
    assert!(seen["verdict"].as_str().unwrap().contains("the miner that was sent the job"), "{seen}");
    let pays = seen["pays"].as_array().unwrap();
    assert_eq!((pays.len(), &pays[0][1]), (1, &Value::from(5_000_000_000_u64)), "{seen}");
    assert!(pays[0][0].as_str().unwrap().starts_with("bcrt1q"), "{seen}");
    // Who looks is no miner.
    let listed = started.page("/api/v1/miners").await.unwrap();
    assert!(!listed.contains("bcrt1q"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_jobs_pay_somebody_else_is_stopped_after_two_looks() {
    let node = TestNode::regtest();
    node.mine(1);
    let pool = "mode = 'pool'\ncoinbase_descriptor_file = 'one'";
    let right = Box::start(&node, pool, "coinbase_descriptor_file = 'one'");
    let wrong = Box::start(&node, pool, "coinbase_descriptor_file = 'two'");
    wrong.until("the first look", |status| status["coinbase"]["right"] == false).await;
    let is_stopped = |status: &Value| status["alarms"].to_string().contains("Mining is stopped: ");
    wrong.until("the pool is stopped", |status| status["job"].is_null() && is_stopped(status)).await;
    let page = wrong.page("/").await.unwrap();
    for told in ["Mining is stopped: ", "twice in a row: it pays somebody else", "restarted"] {
        assert!(page.contains(told), "{told} is not in {page}");
    }
    let log = std::fs::read_to_string(wrong.dir.path().join("dashboard/alerts.json")).unwrap();
    assert!(log.contains("coinbase-mismatch"), "{log}");
    // The other one, which was looked at all the while, mines on.
    let status = right.until("it was looked at", |status| status["coinbase"]["right"] == true).await;
    assert!(!is_stopped(&status) && status["job"].is_object(), "{status}");
}
