//! Pointing a miner at the box and back, against a fake of AxeOS: settings kept and answered as the old and
//! the new firmware do, over real HTTP.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Address, AxeOs, Goal, Pointings, Stage};
use crate::feed::{Snapshot, now};
use crate::fixture;

/// A fake AxeOS device. Settings take effect as they are written; restarts are counted.
#[derive(Clone)]
struct FakeAxeOs {
    info: Arc<Mutex<Value>>,
    restarts: Arc<Mutex<u32>>,
    /// Answers yes to everything and takes nothing over.
    deaf: bool,
}

impl FakeAxeOs {
    fn old_firmware() -> Value {
        json!({
            "version": "v2.9.0", "ASICModel": "BM1368", "hostname": "bitaxe", "hashRate": 612.5,
            "stratumURL": "old.example", "stratumPort": 3333, "stratumUser": "me.axe",
            "fallbackStratumURL": "second.example", "fallbackStratumPort": 3334, "fallbackStratumUser": "me.two",
        })
    }

    fn new_firmware() -> Value {
        json!({
            "version": "v2.14.0", "ASICModel": "BM1370", "hostname": "bitaxe", "hashRate": 1200,
            "pools": [
                { "id": 0, "url": "old.example", "port": 3333, "user": "me.axe", "protocol": "SV1", "tls": 0 },
                { "id": 1, "url": "second.example", "port": 3334, "user": "me.two", "protocol": "SV1", "tls": 0 },
            ],
            "primaryPoolIndex": 0, "secondaryPoolIndex": 1,
        })
    }

    async fn start(info: Value, deaf: bool) -> (Self, Address) {
        let fake = Self { info: Arc::new(Mutex::new(info)), restarts: Arc::default(), deaf };
        let router = Router::new()
            .route("/api/system/info", get(Self::tell))
            .route("/api/system", patch(Self::take))
            .route("/api/system/restart", post(Self::restart))
            .with_state(fake.clone());
        (fake, serve(router).await)
    }

    async fn tell(State(fake): State<Self>) -> Json<Value> {
        Json(fake.info.lock().unwrap().clone())
    }

    async fn take(State(fake): State<Self>, Json(change): Json<Value>) -> StatusCode {
        let mut info = fake.info.lock().unwrap();
        let is_new = info.get("pools").is_some();
        for (key, value) in change.as_object().unwrap() {
            match key.as_str() {
                _ if fake.deaf => {}
                "pools" if is_new => value.as_array().unwrap().iter().for_each(|slot| put(&mut info, slot)),
                // The new firmware says yes to the old keys and ignores them.
                key if is_new && key.to_lowercase().contains("stratum") => {}
                key => info[key] = value.clone(),
            }
        }
        StatusCode::OK
    }

    async fn restart(State(fake): State<Self>) -> &'static str {
        *fake.restarts.lock().unwrap() += 1;
        "System will restart shortly."
    }

    /// Without what the box may leave behind in a slot of its own.
    fn settings(&self) -> Value {
        let mut info = self.info.lock().unwrap().clone();
        if let Some(pools) = info.get_mut("pools").and_then(Value::as_array_mut) {
            pools.retain(|slot| slot["id"] == 0 || slot["id"] == 1);
        }
        info
    }
}

/// A slot is replaced whole; its password is never told.
fn put(info: &mut Value, slot: &Value) {
    assert!(["url", "port", "user"].iter().all(|field| slot.get(field).is_some()), "{slot}");
    let mut slot = slot.clone();
    slot.as_object_mut().unwrap().remove("password");
    let pools = info["pools"].as_array_mut().unwrap();
    pools.retain(|known| known["id"] != slot["id"]);
    pools.push(slot);
}

async fn serve(router: Router) -> Address {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Address { ip: Ipv4Addr::LOCALHOST, port }
}

fn goal() -> Goal {
    Goal { host: "192.168.1.20".into(), port: 3333, user: "garage.bitaxe".into() }
}

fn pointings(dir: &Path) -> Arc<Pointings> {
    Arc::new(Pointings::open(dir, AxeOs::new().unwrap()))
}

/// The stage once it is none of those on the way.
async fn ended(pointings: &Pointings, id: u64, on_the_way: &[Stage]) -> Stage {
    for _ in 0..500 {
        let stage = pointings.get(id).unwrap().stage;
        if !on_the_way.contains(&stage) {
            return stage;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("still {:?}", pointings.get(id).unwrap().stage)
}

/// From first look to first share, and back.
async fn there_and_back(info: Value) {
    let dir = tempfile::tempdir().unwrap();
    let (fake, address) = FakeAxeOs::start(info, false).await;
    let before = fake.settings();
    let pointings = pointings(dir.path());
    let (out, feed) = watch::channel(Arc::new(Snapshot::default()));
    let device = pointings.axeos().read(address).await.unwrap();
    assert_eq!(fake.settings(), before, "looking changes nothing");

    let id = pointings.begin(address, &device, goal(), feed).unwrap();
    assert_eq!(ended(&pointings, id, &[Stage::Writing, Stage::Restarting]).await, Stage::Waiting);
    let there = pointings.axeos().read(address).await.unwrap();
    assert_eq!(there.primary().unwrap().spoken(), "192.168.1.20:3333 as garage.bitaxe");
    assert_eq!(there.fallback().unwrap().host, "old.example", "the old pool is the fallback");
    assert_eq!(*fake.restarts.lock().unwrap(), 1);

    let mut mining = fixture::snapshot(0);
    let mut worker = fixture::worker("garage", "bitaxe");
    worker.last_share_at = Some(now() - 100);
    mining.pool.as_mut().unwrap().workers = vec![worker];
    out.send_replace(Arc::new(mining.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(pointings.get(id).unwrap().stage, Stage::Waiting, "an old share is no proof");
    mining.pool.as_mut().unwrap().workers[0].last_share_at = Some(now());
    out.send_replace(Arc::new(mining));
    assert_eq!(ended(&pointings, id, &[Stage::Waiting]).await, Stage::Mining);

    // After a restart of the dashboard too.
    let again = self::pointings(dir.path());
    again.undo(id).await.unwrap();
    assert_eq!(again.get(id).unwrap().stage, Stage::Undone);
    assert_eq!(fake.settings(), before);
    assert_eq!(*fake.restarts.lock().unwrap(), 2);
}

#[tokio::test]
async fn a_miner_with_old_firmware_goes_there_and_back() {
    there_and_back(FakeAxeOs::old_firmware()).await;
}

#[tokio::test]
async fn a_miner_with_new_firmware_goes_there_and_back() {
    there_and_back(FakeAxeOs::new_firmware()).await;
}

#[tokio::test]
async fn a_miner_that_only_says_yes_is_found_out_and_not_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let (fake, address) = FakeAxeOs::start(FakeAxeOs::new_firmware(), true).await;
    let pointings = pointings(dir.path());
    let (_out, feed) = watch::channel(Arc::new(Snapshot::default()));
    let device = pointings.axeos().read(address).await.unwrap();
    let id = pointings.begin(address, &device, goal(), feed).unwrap();
    let stage = ended(&pointings, id, &[Stage::Writing]).await;
    assert!(matches!(&stage, Stage::Failed(reason) if reason.contains("did not take")), "{stage:?}");
    assert_eq!(*fake.restarts.lock().unwrap(), 0);
}

#[tokio::test]
async fn redirects_strangers_and_long_answers_are_refused() {
    let elsewhere = Router::new().route(
        "/api/system/info",
        get(|| async { Redirect::temporary("http://127.0.0.1:1/api/system/info").into_response() }),
    );
    let stranger = Router::new().route("/api/system/info", get(|| async { "<html>a printer</html>" }));
    let endless = Router::new().route(
        "/api/system/info",
        get(|| async { Response::new(axum::body::Body::from(" ".repeat(1 << 20))) }),
    );
    for (router, reason) in [(elsewhere, "elsewhere"), (stranger, "no AxeOS"), (endless, "too long")] {
        let address = serve(router).await;
        let error = AxeOs::new().unwrap().read(address).await.unwrap_err();
        assert!(format!("{error:#}").contains(reason), "{error:#}");
    }
}
