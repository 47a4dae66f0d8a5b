//! `cargo xtask bench pages`: what the dashboard's pages weigh and how long they take, with a thousand miners on the
//! pool beside it.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lexopt::Arg;
use serde_json::{Map, Value, json};

use crate::failure::{bad_flag, run as run_command};
use crate::rig::{Chain, Launch, Load, Network, OurPool, OurSettings, Process, Rig, free_port, wait};
use crate::setup;
use crate::terminal::{as_stderr, say};
use crate::workspace::cargo;

const HELP: &str = "\
cargo xtask bench pages [--json]

The dashboard in the release profile, beside a pool with a thousand miners that find 500 shares a second: bytes
and time of its pages, each asked for 200 times on a new connection. A table on standard error; --json prints an
object on standard output. Under a minute, not counting what is built first.
";
const MINERS: u32 = 1_000;
/// Shares a second of all of them.
const RATE: u32 = 500;
/// How often each page is asked for.
const TIMES: usize = 200;
/// What a browser loads once with the first page.
const ASSETS: [&str; 3] = ["/static/style.css", "/static/live.js", "/static/icon.svg"];
const PAGES: [(&str, &str); 3] = [("overview", "/"), ("miners", "/miners"), ("why", "/why")];
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the command.
pub fn run(arguments: &[OsString]) -> Result<()> {
    let bad = |error: lexopt::Error| bad_flag(&error, "bench pages");
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut as_json = false;
    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => {
                print!("{HELP}");
                return Ok(());
            }
            Arg::Long("json") => as_json = true,
            other => return Err(bad(other.unexpected())),
        }
    }
    let results = measure()?;
    if as_json {
        println!("{}", Value::Object(results));
    }
    Ok(())
}

fn measure() -> Result<Map<String, Value>> {
    let ready = setup::everything()?;
    let programs = ["poolbox-pool", "poolbox-miner", "poolbox-dashboard"];
    let packages = programs.iter().flat_map(|program| ["--package", program]);
    run_command(cargo(["build", "--release"]).args(packages).stdout(as_stderr()?))?;
    let program = |name: &str| ready.workspace.target.join("release").join(name);

    let rig = Rig::new()?;
    let chain = Chain::start(&rig, "node", &ready.node, Network::Regtest, None)?;
    let settings =
        OurSettings { program: &program("poolbox-pool"), name: "pool", free_shares: true, core: None };
    let pool = OurPool::start(&rig, &chain, settings)?;
    let load = Load {
        url: format!("stratum2+tcp://127.0.0.1:{}", pool.stratum_v2),
        authority: Some(pool.authority.clone()),
        mode: "latency",
        channel: "extended",
        connections: MINERS,
        seconds: 60,
        rate: Some(RATE),
        window: None,
    };
    let mut running = load.start(&rig, &program("poolbox-miner"), None)?;
    load.wait_until_connected(&mut running, PATIENCE)?;

    let port = free_port()?;
    let folder = rig.disk("dashboard")?;
    let config = folder.join("dashboard.toml");
    let text = format!(
        "data_dir = {folder:?}\nlisten = \"127.0.0.1:{port}\"\npool_socket = {socket:?}\n",
        socket = pool.socket
    );
    std::fs::write(&config, text).context("cannot write dashboard.toml")?;
    let mut dashboard = rig.start(Launch {
        name: "dashboard",
        program: &program("poolbox-dashboard"),
        arguments: vec!["--config".into(), config.into()],
        environment: &[("POOLBOX_LOG", "warn")],
        core: None,
        result: false,
    })?;
    knows_all(&mut dashboard, port)?;
    let mut results = Map::new();
    say(&format!("  {:10} {:>8} {:>10} {:>10} {:>10}", "page", "bytes", "median", "p99", "slowest"));
    for (name, path) in PAGES {
        results.insert(name.to_owned(), page(port, name, path)?);
    }
    let assets: usize = ASSETS.iter().map(|path| Ok(get(port, path)?.len())).sum::<Result<usize>>()?;
    say(&format!("  {:10} {assets:>8}   once", "assets"));
    results.insert("assets_bytes".to_owned(), assets.into());
    running.must_run().context("the miners left too early")?;
    Ok(results)
}

/// Waits until the dashboard shows every miner.
fn knows_all(dashboard: &mut Process, port: u16) -> Result<()> {
    let last = format!("/miners?page={}", MINERS / 100);
    wait("the dashboard to know all miners", PATIENCE, || {
        dashboard.must_run()?;
        let page = get(port, &last).unwrap_or_default();
        Ok(page.contains("class=\"name\"").then_some(()))
    })
}

fn page(port: u16, name: &str, path: &str) -> Result<Value> {
    let mut bytes = 0;
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let began = Instant::now();
        bytes = get(port, path)?.len();
        times.push(began.elapsed().as_micros());
    }
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() - 1) * share / 100).copied().unwrap_or_default();
    let ms = |micros: u128| format!("{}.{} ms", micros / 1000, micros % 1000 / 100);
    say(&format!("  {name:10} {bytes:>8} {:>10} {:>10} {:>10}", ms(at(50)), ms(at(99)), ms(at(100))));
    let us = |share| u64::try_from(at(share)).unwrap_or(u64::MAX);
    Ok(json!({ "bytes": bytes, "median_us": us(50), "p99_us": us(99), "slowest_us": us(100) }))
}

/// The body of a page, on a connection of its own.
fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => bail!("{path}: {}", answer.lines().next().unwrap_or_default()),
    }
}
