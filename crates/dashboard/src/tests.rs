//! Every page as a browser gets it, from a box as it may be: empty, of one worker, of a thousand, and with
//! workers that call themselves something nasty.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, Request, StatusCode};
use poolbox_api::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::alerts::Topic;
use crate::app::{App, router};
use crate::disk::Disk;
use crate::feed::Snapshot;
use crate::fixture::{HOSTILE, NOW, snapshot, worker};
use crate::history::History;
use crate::node::NodeState;
use crate::settings::Settings;
use crate::wire::{Encrypted, Peer, Wire};

const PAGES: [&str; 9] =
    ["/", "/earnings", "/miners", "/add", "/why", "/alerts", "/settings", "/setup", "/?span=week"];
const JSON: [&str; 6] = [
    "/api/v1/status",
    "/api/v1/miners",
    "/api/v1/owners",
    "/api/v1/history?span=hour",
    "/api/v1/alerts",
    "/api/v1/openapi.json",
];

const FINGERPRINT: &str = "AB:CD:EF";

mod backup;
mod choices;

/// A dashboard that shows `now`.
pub struct Rig {
    router: Router,
    pub dir: TempDir,
    _out: watch::Sender<Arc<Snapshot>>,
}

/// What it answers.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Rig {
    pub fn new(now: Snapshot) -> Self {
        Self::made(now, "", None, None)
    }

    /// With more in its settings.
    fn with(now: Snapshot, more: &str) -> Self {
        Self::made(now, more, None, None)
    }

    /// With a mint whose local API this is.
    pub fn with_mint(now: Snapshot, mint: Router) -> Self {
        Self::made(now, "", Some(mint), None)
    }

    /// With alerts that an earlier run kept.
    fn with_alerts(now: Snapshot, alerts: &Value) -> Self {
        Self::made(now, "", None, Some(alerts))
    }

    fn made(now: Snapshot, more: &str, mint: Option<Router>, alerts: Option<&Value>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dashboard.toml");
        let text = format!(
            "data_dir = '{0}'\npool_socket = '{0}/none.sock'\nlog_dir = '{0}/logs'\n{more}",
            dir.path().display()
        );
        std::fs::write(&file, text).unwrap();
        if let Some(alerts) = alerts {
            std::fs::write(dir.path().join("alerts.json"), alerts.to_string()).unwrap();
        }
        let settings = Settings::load(&file).unwrap();
        let pool = Client::new(&settings.pool_socket).unwrap();
        let mut history = History::default();
        if let Some(pool) = &now.pool {
            history.sample(now.at - 60, pool);
            history.sample(now.at, pool);
        }
        let mint = mint.map(|api| {
            let socket = dir.path().join("mint.sock");
            let listener = tokio::net::UnixListener::bind(&socket).unwrap();
            tokio::spawn(async move { axum::serve(listener, api).await });
            Client::new(socket).unwrap()
        });
        let (out, feed) = watch::channel(Arc::new(now));
        let encrypted =
            settings.listen_tls.map(|at| Encrypted { port: at.port(), fingerprint: FINGERPRINT.to_owned() });
        let app =
            App::open(settings, encrypted, pool, mint, feed, history, CancellationToken::new()).unwrap();
        Self { router: router(Arc::new(app)), dir, _out: out }
    }

    pub async fn ask(&self, request: Request<Body>) -> Answer {
        self.ask_over(Wire::Open, request).await
    }

    async fn ask_over(&self, wire: Wire, request: Request<Body>) -> Answer {
        let (mut parts, body) = request.into_parts();
        let address = "192.168.1.7:50000".parse().unwrap();
        parts.extensions.insert(ConnectInfo(Peer { address, wire }));
        parts.headers.entry(HOST).or_insert("poolbox.local".parse().unwrap());
        let answer = self.router.clone().oneshot(Request::from_parts(parts, body)).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, 10 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn as_admin(&self, path: &str, cookie: &str) -> Answer {
        self.ask(Request::get(path).header(COOKIE, cookie).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, cookie: &str, form: &str) -> Answer {
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ORIGIN, "http://poolbox.local")
            .header(COOKIE, cookie);
        self.ask(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    /// Goes through the first visit; returns the cookie.
    pub async fn set_up(&self) -> String {
        let code = std::fs::read_to_string(self.dir.path().join("presence.code")).unwrap();
        let form = format!("code={code}&password=a+long+secret&again=a+long+secret");
        let answer = self.post("/setup", "", &form).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        let cookie = answer.headers[SET_COOKIE].to_str().unwrap().to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }
}

/// What the hidden field of a page's forms says.
pub fn token(page: &str) -> String {
    page.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn every_page_is_drawn_for_no_worker_one_and_a_thousand_and_while_nobody_answers() {
    for now in [Snapshot::default(), snapshot(0), snapshot(1), snapshot(1000)] {
        let rig = Rig::new(now);
        for path in PAGES {
            let answer = rig.get(path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert!(answer.text.contains("<main") && answer.text.trim_end().ends_with("</html>"), "{path}");
            assert!(!answer.text.contains("<script>") && !answer.text.contains(" style="), "{path}");
        }
        for path in JSON {
            let answer = rig.get(path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            serde_json::from_str::<serde_json::Value>(&answer.text).unwrap();
        }
        assert_eq!(rig.get("/metrics").await.status, StatusCode::SERVICE_UNAVAILABLE, "no pool answers here");
        assert_eq!(rig.get("/nowhere").await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_first_page_is_light_with_a_thousand_workers() {
    let rig = Rig::new(snapshot(1000));
    let mut bytes = 0;
    for path in ["/", "/static/style.css", "/static/live.js", "/static/icon.svg"] {
        bytes += rig.get(path).await.text.len();
    }
    assert!(bytes < 100_000, "{bytes} bytes");
    assert!(rig.get("/miners").await.text.len() < 250_000);
    assert_eq!(rig.get("/miners?page=10").await.text.matches("class=\"name\"").count(), 100);
}

#[tokio::test]
async fn a_hostile_name_is_shown_and_never_run() {
    let mut now = snapshot(0);
    let mut nasty = worker(HOSTILE, HOSTILE);
    nasty.user_agent = HOSTILE.to_owned();
    nasty.shares.rejected = [(HOSTILE.to_owned(), 1)].into();
    let pool = now.pool.as_mut().unwrap();
    pool.workers.push(nasty);
    pool.halted = Some(HOSTILE.to_owned());
    pool.blocks[0].finder = Some(HOSTILE.to_owned());
    let rig = Rig::new(now);
    let list = rig.get("/miners").await.text;
    let link = list.split("href=\"/miner?").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let link = format!("/miner?{link}");
    let query = "/miners?q=%3Cscript%3Ealert(1)%3C/script%3E%22";
    for path in ["/", "/miners", link.as_str(), "/why", query] {
        let answer = rig.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(answer.text.contains("alert(1)"), "the name is shown: {path}");
        for raw in ["<script>", "<img src=x", "&#x3c;img", "\"'&"] {
            assert!(!answer.text.contains(raw), "{raw} in {path}");
        }
    }
}

#[tokio::test]
async fn the_overview_tells_how_long_the_node_still_needs_where_that_is_known() {
    let node = NodeState {
        version: "Satoshi:31.0.0".to_owned(),
        height: 400_000,
        headers: 900_000,
        progress: 0.25,
        syncing: true,
        pruned: true,
        disk_bytes: 1 << 33,
        peers: 9,
        tip_time: NOW - 1_000_000,
        started_at: None,
    };
    let shown = async |sync_left_s, disk| {
        let now = Snapshot { node: Some(node.clone()), sync_left_s, disk, ..snapshot(0) };
        Rig::new(now).get("/").await.text
    };
    let known = shown(Some(5 * 3600 + 120), None).await;
    assert!(known.contains("25.00&nbsp;% checked") && known.contains("about 5 h 2 min left"), "{known}");
    let unknown = shown(None, Some(Disk { free_bytes: 1 << 30, total_bytes: 1 << 40 })).await;
    assert!(unknown.contains("25.00&nbsp;% checked") && !unknown.contains(" left"), "{unknown}");
    assert!(unknown.contains("The disk is nearly full: 1.07\u{a0}GB of 1.10\u{a0}TB are free."), "{unknown}");
}

#[tokio::test]
async fn an_alert_of_an_earlier_run_is_listed_whatever_is_in_it() {
    let event = |id: u64, topic: &str, over: bool| json!({ "id": id, "at": NOW - 60 * id, "event": topic, "over": over, "text": format!("{id}: {HOSTILE}") });
    let events =
        [event(3, "miner-silent", true), event(2, "coinbase-mismatch", false), event(1, "test", false)];
    let rig = Rig::with_alerts(snapshot(1), &json!({ "newest": 3, "events": events }));
    let page = rig.get("/alerts").await.text;
    for told in ["Miner back", "Coinbase mismatch", "Test alert", "3 min ago", "3: &#60;script&#62;alert(1)"]
    {
        assert!(page.contains(told), "{told} is not in {page}");
    }
    for raw in ["<script>", "<img src=x", "&#x3c;img", "\"'&"] {
        assert!(!page.contains(raw), "{raw}");
    }
    let told: Value = serde_json::from_str(&rig.get("/api/v1/alerts").await.text).unwrap();
    assert_eq!(
        (&told["events"][0]["event"], &told["events"][0]["over"]),
        (&json!("miner-silent"), &json!(true))
    );
    let broken = Rig::with_alerts(snapshot(1), &json!({ "events": 7 }));
    assert!(broken.get("/alerts").await.text.contains("Nothing has happened yet"));
}

#[tokio::test]
async fn the_frame_holds_on_every_answer_and_foreign_names_get_none() {
    let rig = Rig::new(snapshot(1));
    for path in ["/", "/nowhere", "/api/v1/status", "/static/live.js", "/static/../main.rs"] {
        let headers = rig.get(path).await.headers;
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
    let foreign = Request::get("/").header(HOST, "evil.example").body(Body::empty()).unwrap();
    let answer = rig.ask(foreign).await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    assert!(!answer.text.contains("garage"));
}

#[tokio::test]
async fn what_changes_something_needs_the_admin_the_forms_token_and_our_own_page() {
    let rig = Rig::new(snapshot(1));
    assert_eq!(rig.get("/logs").await.headers[LOCATION], "/setup");
    let cookie = rig.set_up().await;
    for path in ["/logs", "/logs/bundle", "/add/device?address=192.168.1.5", "/add/progress?id=1"] {
        assert_eq!(rig.get(path).await.headers[LOCATION], "/login", "{path}");
    }
    let forms = [
        ("/add/find", "token=T"),
        ("/add/point", "token=T&address=192.168.1.5&user=a"),
        ("/add/undo", "token=T&id=1"),
        ("/earnings/offer", "token=T"),
        ("/owner/claim", "token=T&owner=garage"),
        ("/owner/token", "token=T&owner=garage&id=1"),
        ("/owner/take-back", "token=T&owner=garage&id=1"),
        ("/owner/secret", "token=T&owner=garage"),
        ("/owner/payout", "token=T&owner=garage&target=a%40b.example"),
        ("/owner/payout/remove", "token=T&owner=garage"),
        ("/owner/payout/now", "token=T&owner=garage"),
        ("/alerts/test", "token=T"),
        ("/alerts/settings", "token=T&silent_after=15"),
        ("/alerts/settings/remove", "token=T"),
        ("/settings/password", "token=T&old=a&password=b&again=b"),
        ("/logout", "token=T"),
    ];
    for (path, form) in forms {
        assert_eq!(rig.post(path, "", form).await.headers[LOCATION], "/login", "{path} without a session");
        assert_eq!(
            rig.post(path, &cookie, form).await.status,
            StatusCode::FORBIDDEN,
            "{path} without its token"
        );
    }
    let page = rig.as_admin("/settings", &cookie).await;
    let logout = format!("token={}", token(&page.text));
    let foreign = Request::post("/logout")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ORIGIN, "http://evil.example")
        .header(COOKIE, &cookie)
        .body(Body::from(logout.clone()))
        .unwrap();
    assert_eq!(rig.ask(foreign).await.status, StatusCode::FORBIDDEN);
    assert_eq!(rig.as_admin("/logs", &cookie).await.status, StatusCode::OK, "still logged in");
    assert_eq!(rig.post("/logout", &cookie, &logout).await.status, StatusCode::SEE_OTHER);
    assert_eq!(rig.as_admin("/logs", &cookie).await.headers[LOCATION], "/login");
}

#[tokio::test]
async fn a_wrong_password_is_slowed_down_and_a_second_setup_is_refused() {
    let rig = Rig::new(snapshot(1));
    rig.set_up().await;
    assert_eq!(
        rig.post("/setup", "", "code=0&password=another+one&again=another+one").await.status,
        StatusCode::FORBIDDEN
    );
    for _ in 0..5 {
        assert_eq!(rig.post("/login", "", "password=guess").await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(rig.post("/login", "", "password=a+long+secret").await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn the_log_bundle_tells_enough_and_no_secret() {
    let rig = Rig::new(snapshot(1));
    let logs = rig.dir.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let lines = "2026-11-22T10:00:00Z  INFO pool: started\n2026-11-22T10:00:01Z  WARN pool: <b>odd</b> password=hunter22\n";
    std::fs::write(logs.join("pool.log"), lines).unwrap();
    let cookie = rig.set_up().await;
    let page = rig.as_admin("/logs?level=warn", &cookie).await.text;
    assert!(page.contains("&#60;b&#62;odd") && !page.contains("started"), "{page}");
    let bundle = rig.as_admin("/logs/bundle", &cookie).await;
    for told in ["Poolbox 0.", "pool 0.1.0 on devnet", "pool: started", "password=[removed]"] {
        assert!(bundle.text.contains(told), "{told} in {}", bundle.text);
    }
    assert!(!bundle.text.contains("hunter22"));
}

#[tokio::test]
async fn only_miners_at_home_are_touched() {
    let rig = Rig::new(snapshot(1));
    let cookie = rig.set_up().await;
    for address in ["8.8.8.8", "127.0.0.1", "169.254.169.254", "localhost", "192.168.1.5/../x"] {
        let answer = rig.as_admin(&format!("/add/device?address={address}"), &cookie).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{address}");
        assert!(answer.text.contains("role=\"alert\""), "{address}");
    }
}

#[tokio::test]
async fn the_door_over_the_open_wire_offers_the_encrypted_address() {
    let rig = Rig::with(snapshot(1), "listen_tls = '0.0.0.0:443'\n");
    let over = async |wire, path: &str| {
        rig.ask_over(wire, Request::get(path).body(Body::empty()).unwrap()).await.text
    };
    for door in ["/setup", "/login"] {
        let page = over(Wire::Open, door).await;
        assert!(page.contains(&format!("href=\"https://poolbox.local{door}\"")), "{page}");
        assert!(page.contains(FINGERPRINT), "{page}");
        assert!(!over(Wire::Encrypted, door).await.contains("id=\"encrypted\""), "{door}");
        if door == "/setup" {
            rig.set_up().await;
        }
    }
    assert!(over(Wire::Open, "/settings").await.contains(FINGERPRINT));
    let without = Rig::new(snapshot(1)).get("/setup").await.text;
    assert!(!without.contains("https://poolbox.local"), "{without}");
}

#[tokio::test]
async fn where_alerts_go_is_chosen_on_the_page_and_never_shown_whole_again() {
    let rig = Rig::new(snapshot(1));
    let cookie = rig.set_up().await;
    assert!(!rig.get("/alerts").await.text.contains("action=\"/alerts/settings\""), "for the admin alone");
    let page = rig.as_admin("/alerts", &cookie).await.text;
    let token = token(&page);
    assert!(!page.contains("/alerts/settings/remove"), "nothing is chosen yet");
    let form = |more: &str| format!("token={token}&silent_after=20&{more}");
    let hook = "webhook=https%3A%2F%2Fhooks.example%2FS3CRET";

    // What is wrong is said at its field, and nothing changes.
    for (more, told) in [
        ("webhook=S3CRET&event=block-found", "This is no address of the web."),
        (hook, "Choose at least one"),
        ("ntfy_token=tk_S3CRET", "Give the address of a topic too."),
    ] {
        let answer = rig.post("/alerts/settings", &cookie, &form(more)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{more}");
        assert!(answer.text.contains(told) && !answer.text.contains("S3CRET"), "{}", answer.text);
        assert!(!rig.as_admin("/alerts", &cookie).await.text.contains("Set: hooks.example"));
    }

    let whole = form(&format!(
        "{hook}&ntfy=https%3A%2F%2Fntfy.sh%2Ftopic-S3CRET&ntfy_token=tk_S3CRET&event=block-found&event=disk-full"
    ));
    assert_eq!(rig.post("/alerts/settings", &cookie, &whole).await.headers[LOCATION], "/alerts");
    let page = rig.as_admin("/alerts", &cookie).await.text;
    for told in ["Set: hooks.example/…", "Set: ntfy.sh/…", "One is set.", "20 min without a share"] {
        assert!(page.contains(told), "{told} is not in {page}");
    }
    assert_eq!(page.matches("name=\"event\"").count(), Topic::CHOICES.len());
    assert_eq!(page.matches(" checked").count(), 2, "{page}");
    for path in ["/alerts", "/api/v1/alerts"] {
        assert!(!rig.as_admin(path, &cookie).await.text.contains("S3CRET"), "{path}");
    }

    // Left empty, it stays; taken away, it is gone; forgotten, all of it is.
    rig.post("/alerts/settings", &cookie, &form("event=block-found&no_ntfy=true")).await;
    let page = rig.as_admin("/alerts", &cookie).await.text;
    assert!(page.contains("Set: hooks.example/…") && !page.contains("ntfy.sh/…"), "{page}");
    rig.post("/alerts/settings/remove", &cookie, &format!("token={token}")).await;
    let page = rig.as_admin("/alerts", &cookie).await.text;
    assert!(page.contains("nobody is told elsewhere") && !page.contains("Set: hooks.example"), "{page}");
}
