//! An upstream pool over a real socket. The pool is a scripted one: it says what a test has it say. Real ones
//! are in the tests of `crates/pool`.

#![cfg(test)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use poolbox_work_source::upstream::{self, Upstream, UpstreamConfig, UpstreamShare};
use poolbox_work_source::{Events, Outage, SourceEvent, Template, WorkSource};
use serde_json::{Value, json};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
/// A coinbase of height 840,000 up to an extranonce of 12 bytes, and from there.
const COINB1: &str = concat!(
    "02000000010000000000000000000000000000000000000000000000000000000000000000ffffffff1003",
    "40d10c"
);
const COINB2: &str = "fdffffff0100f2052a01000000015100000000";

/// A scripted upstream pool.
struct ScriptedPool {
    listener: TcpListener,
}

/// A connection to it.
struct Client {
    lines: BufReader<TcpStream>,
}

impl ScriptedPool {
    fn open() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn config(&self) -> UpstreamConfig {
        UpstreamConfig {
            url: format!("stratum+tcp://{}", self.listener.local_addr().unwrap()),
            user: "somebody.box".into(),
            password: "secret".into(),
            ca_file: None,
        }
    }

    fn start(&self) -> (WorkSource, Upstream) {
        upstream::start(self.config()).unwrap()
    }

    fn accept(&self) -> Client {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { lines: BufReader::new(stream) }
    }
}

impl Client {
    fn say(&mut self, line: &Value) {
        self.write(&(line.to_string() + "\n"));
    }

    fn write(&mut self, text: &str) {
        // The other side may have gone already.
        let _ = self.lines.get_mut().write_all(text.as_bytes());
    }

    fn hear(&mut self, method: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "waiting for {method}");
            let said: Value = serde_json::from_str(&line).unwrap();
            if said["method"] == method {
                return said;
            }
        }
    }

    fn answer(&mut self, to: &Value, result: Value) {
        self.say(&json!({"id": to["id"], "result": result, "error": null}));
    }

    /// Up to the first job.
    fn welcome(&mut self, extranonce1: &str, job: &str) {
        let configure = self.hear("mining.configure");
        self.answer(&configure, json!({"version-rolling": true, "version-rolling.mask": "1fffe000"}));
        let subscribe = self.hear("mining.subscribe");
        assert!(subscribe["params"][0].as_str().unwrap().starts_with("poolbox/"));
        self.answer(&subscribe, json!([[["mining.notify", "1"]], extranonce1, 8]));
        let authorize = self.hear("mining.authorize");
        assert_eq!(authorize["params"], json!(["somebody.box", "secret"]));
        self.answer(&authorize, json!(true));
        self.say(&json!({"id": null, "method": "mining.set_difficulty", "params": [16]}));
        self.notify(job, false);
    }

    fn notify(&mut self, job: &str, clean: bool) {
        let params = json!([
            job,
            "11".repeat(32),
            COINB1,
            COINB2,
            ["22".repeat(32)],
            "20000000",
            "17034219",
            "6553f100",
            clean
        ]);
        self.say(&json!({"id": null, "method": "mining.notify", "params": params}));
    }
}

async fn next(events: &mut Events) -> SourceEvent {
    timeout(PATIENCE, events.next()).await.unwrap().unwrap()
}

async fn new_job(events: &mut Events) -> Arc<Template> {
    loop {
        if let SourceEvent::NewBlock(template) = next(events).await {
            return template;
        }
    }
}

fn share(template: &Template) -> UpstreamShare {
    let job = Arc::clone(template.upstream.as_ref().unwrap());
    UpstreamShare { job, extranonce2: vec![7; 8], time: template.time, nonce: 1, version: template.version }
}

fn until(upstream: &Upstream, what: &str, ask: impl Fn(&upstream::UpstreamStatus) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ask(&upstream.status()) {
        assert!(Instant::now() < deadline, "{what}: {:?}", upstream.status());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn outage(source: &WorkSource, wanted: impl Fn(&Outage) -> bool) -> Outage {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match source.current() {
            Err(outage) if wanted(&outage) => return outage,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_come_shares_go_and_a_new_connection_begins_anew() {
    let pool = ScriptedPool::open();
    let (source, upstream) = pool.start();
    let mut events = source.events();
    let mut client = pool.accept();
    client.welcome("aabbccdd", "first");
    let first = new_job(&mut events).await;
    assert_eq!((first.height, first.coinbase.value.get()), (840_000, 5_000_000_000));
    client.notify("second", false);
    assert!(matches!(next(&mut events).await, SourceEvent::Refreshed(second) if second.is_beside(&first)));

    upstream.submit(share(&first));
    let submit = client.hear("mining.submit");
    let params = json!(["somebody.box", "first", "0707070707070707", "6553f100", "00000001", "00000000"]);
    assert_eq!(submit["params"], params);
    client.answer(&submit, json!(true));
    until(&upstream, "it is accepted", |status| (status.accepted, status.waiting) == (1, 0));
    assert_eq!(upstream.status().difficulty, Some(16.0));

    // One without an answer, and one that comes too late for its connection.
    upstream.submit(share(&first));
    client.hear("mining.submit");
    drop(client);
    assert!(matches!(next(&mut events).await, SourceEvent::Lost { reason: Outage::UpstreamClosed }));
    upstream.submit(share(&first));
    let mut client = pool.accept();
    client.welcome("00112233", "first");
    let again = new_job(&mut events).await;
    assert!(again.prev_hash == first.prev_hash && !again.is_beside(&first));
    upstream.submit(share(&first));
    upstream.submit(share(&again));
    let submit = client.hear("mining.submit");
    client.say(&json!({"id": submit["id"], "result": null, "error": [23, "Low difficulty", null]}));
    until(&upstream, "all is counted", |status| status.rejected.values().sum::<u64>() == 4);
    let counted: Vec<_> = upstream.status().rejected.into_iter().collect();
    let expected = ["low-difficulty", "not-sent", "stale", "unanswered"].map(|reason| (reason.to_owned(), 1));
    assert_eq!(counted, expected);

    client.say(&json!({"id": 1, "method": "mining.ping", "params": []}));
    let mut line = String::new();
    while !line.contains("pong") {
        line.clear();
        client.lines.read_line(&mut line).unwrap();
    }
    source.shutdown().await;
    assert!(timeout(PATIENCE, async { while events.next().await.is_some() {} }).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_with_its_remedy() {
    let pool = ScriptedPool::open();
    let (source, _upstream) = pool.start();
    let mut client = pool.accept();
    let authorize = client.hear("mining.authorize");
    client.say(&json!({"id": authorize["id"], "result": false, "error": null}));
    let told = outage(&source, |outage| matches!(outage, Outage::UpstreamUnauthorised { .. })).to_string();
    assert!(told.contains("somebody.box") && told.contains("upstream.user") && !told.contains("secret"));

    let mut client = pool.accept();
    let subscribe = client.hear("mining.subscribe");
    client.answer(&subscribe, json!([[], "aabb", 2]));
    outage(&source, |outage| matches!(outage, Outage::UpstreamRoom { bytes: 2, least: 4 }));

    for rubbish in
        ["HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(), "x".repeat(300_000), "{\"id\":1}\n".to_owned()]
    {
        let mut client = pool.accept();
        client.write(&rubbish);
        outage(&source, |outage| matches!(outage, Outage::UpstreamGarbled(_)));
        drop(client);
    }
    // A job that cannot be mined, after one that can.
    let mut client = pool.accept();
    client.welcome("aabbccdd", "good");
    timeout(PATIENCE, new_job(&mut source.events())).await.unwrap();
    client.say(&json!({"method": "mining.notify", "params": ["bad", "00", "", "", [], "1", "1", "1", true]}));
    outage(&source, |outage| matches!(outage, Outage::UpstreamGarbled(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_not_there_yet_is_waited_for() {
    let pool = ScriptedPool::open();
    let (config, address) = (pool.config(), pool.listener.local_addr().unwrap());
    drop(pool);
    let (source, _upstream) = upstream::start(config).unwrap();
    let told = outage(&source, |outage| matches!(outage, Outage::UpstreamRefused(_)));
    assert!(told.to_string().contains("upstream.url"), "{told}");
    let pool = ScriptedPool { listener: TcpListener::bind(address).unwrap() };
    let mut client = pool.accept();
    client.welcome("aabbccdd", "first");
    timeout(PATIENCE, new_job(&mut source.events())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_moves_to_another_port_of_the_same_host_when_it_is_told_to() {
    let (pool, other) = (ScriptedPool::open(), ScriptedPool::open());
    let (source, _upstream) = pool.start();
    let mut events = source.events();
    let mut client = pool.accept();
    client.welcome("aabbccdd", "first");
    new_job(&mut events).await;
    client.say(&json!({"method": "client.reconnect", "params": ["elsewhere.example", 1, 0]}));
    client.notify("second", false);
    assert!(matches!(next(&mut events).await, SourceEvent::Refreshed(_)), "it stays");
    let port = other.listener.local_addr().unwrap().port();
    client.say(&json!({"method": "client.reconnect", "params": ["", port, 0]}));
    let mut client = other.accept();
    client.welcome("01020304", "third");
    let third = new_job(&mut events).await;
    assert_eq!(&*third.upstream.as_ref().unwrap().id, "third");
    // For one connection only: the next is as set.
    drop(client);
    pool.accept();
}
