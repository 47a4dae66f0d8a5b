//! The whole line: a share becomes sats in a second wallet, and the next start goes on from there.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rig::{Rig, files};
use serde_json::{Value, json};

/// Several times what a busy machine needs.
const LINE: Duration = Duration::from_secs(600);
const START: Duration = Duration::from_secs(60);

const PROCESSES: [&str; 6] = ["dashboard", "miner-one", "miner-two", "mint", "node", "pool"];

#[test]
fn a_share_becomes_sats_in_a_second_wallet() {
    let rig = Rig::new();
    let settled = rig.demo(&["--until", "settled", "--json", "--timeout", "590"]).ended_within(LINE);
    let first = settled.json();
    every_field_is_there(&first, &rig);
    the_numbers_add_up(&first);
    assert_eq!(rig.processes(), []);
    every_process_wrote_a_log(&rig);

    // Again, without --until: the same chain and balances.
    let again = rig.demo(&["--json"]);
    let mined = |now: &Value| {
        now["pool"]["journal"]["work_ehash"].as_u64() > Some(number(&first, "ehash.journalled"))
    };
    let now = rig.until("the next share is journalled", START, |now| mined(now) && !now["mint"].is_null());
    the_chain_goes_on(&first, &now);
    let (token, received) = paid_to_carol(&rig);
    let last = again.stopped();
    the_balances_go_on(&first, &last.json());
    assert!(received <= number(&last.json(), "ehash.issued"), "more ehash than was ever signed");

    let mut said = vec![("first start", settled.stderr), ("second start", last.stderr)];
    said.extend(PROCESSES.map(|process| (process, log(&rig, process))));
    no_secret_is_told(&rig, &said, &token);
    no_secret_is_readable_by_others(&rig.state());
}

fn every_field_is_there(summary: &Value, rig: &Rig) {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let all =
        ["network", "node_version", "elapsed_s", "steps", "miners", "epoch", "ehash", "sats", "paid", "urls"];
    assert_eq!(keys(summary), named(&all));
    let steps = ["node_ready_s", "first_share_s", "first_token_s", "block_s", "paid_s", "settled_s"];
    assert_eq!(keys(&summary["steps"]), named(&steps));
    let epoch = ["n", "height", "block_hash", "reward_sat", "work_ehash"];
    assert_eq!(keys(&summary["epoch"]), named(&epoch));
    assert_eq!(keys(&summary["ehash"]), named(&["journalled", "issued", "redeemed"]));
    assert_eq!(keys(&summary["sats"]), named(&["reserve", "outstanding", "redeemed"]));

    assert_eq!(summary["network"], "devnet");
    assert!(summary["node_version"].as_str().unwrap() >= "31", "{summary:#}");
    let times = steps.map(|step| summary["steps"][step].as_f64().unwrap());
    assert!(times.is_sorted() && times[5] <= summary["elapsed_s"].as_f64().unwrap(), "{summary:#}");
    let v2 = summary["urls"]["stratum_v2"].as_str().unwrap();
    assert!(v2.starts_with(&format!("stratum2+tcp://127.0.0.1:{}/9", rig.stratum_v2_port)), "{v2}");
    let urls = json!({
        "dashboard": format!("http://127.0.0.1:{}", rig.dashboard_port),
        "mint": format!("http://127.0.0.1:{}", rig.mint_port),
        "stratum_v1": format!("stratum+tcp://127.0.0.1:{}", rig.stratum_port),
        "stratum_v2": v2,
    });
    assert_eq!(summary["urls"], urls);
}

fn the_numbers_add_up(summary: &Value) {
    let of = |path| number(summary, path);
    assert!(of("ehash.issued") <= of("ehash.journalled"), "{summary:#}");
    assert!(of("ehash.redeemed") <= of("ehash.issued"), "{summary:#}");
    assert!(of("ehash.redeemed") > 0, "{summary:#}");
    assert!(of("sats.redeemed") > 0, "{summary:#}");
    assert!(of("sats.outstanding") <= of("sats.reserve"), "{summary:#}");
    let miners = summary["miners"].as_array().unwrap();
    let text = |miner: &Value, key: &str| miner[key].as_str().unwrap().to_owned();
    let known: BTreeSet<_> =
        miners.iter().map(|miner| (text(miner, "name"), text(miner, "protocol"))).collect();
    let address = summary["paid"]["on_chain"]["address"].as_str().unwrap();
    let two = (format!("{address}.two"), "sv2".to_owned());
    assert_eq!(known, [("garage.one".to_owned(), "sv1".to_owned()), two].into());
    assert!(of("paid.by_token_sat") > 0 && of("paid.on_chain.sat") > 0, "{summary:#}");
    assert!(of("paid.on_chain.fee_sat") > 0, "{summary:#}");
    let output = summary["paid"]["on_chain"]["output"].as_str().unwrap();
    assert_eq!(output.split_once(':').map(|(txid, _)| txid.len()), Some(64), "{output}");
    for miner in miners {
        assert!(miner["accepted"].as_u64() > Some(0), "{miner}");
        assert_eq!(miner["rejected"], 0, "{miner}");
    }
}

/// One file a process, and `poolbox logs` shows all of them as one stream.
fn every_process_wrote_a_log(rig: &Rig) {
    for process in PROCESSES {
        assert!(!log(rig, process).trim().is_empty(), "{process}");
    }
    let shown = rig.poolbox(&["logs", "--lines", "1000000"]);
    assert_eq!(shown.status, Some(0), "{shown:?}");
    let lines = shown.stdout.lines().filter_map(|line| line.split_once(char::is_whitespace));
    let (services, texts): (BTreeSet<_>, Vec<_>) =
        lines.map(|(service, text)| (service, text.trim())).unzip();
    assert_eq!(services, PROCESSES.into());
    let times: Vec<_> = texts.iter().filter_map(|text| text.split_once('Z')).map(|(time, _)| time).collect();
    let times: Vec<_> = times.into_iter().filter(|time| time.starts_with("20")).collect();
    assert!(times.len() > 100 && times.is_sorted(), "{}", shown.stdout);
}

fn the_chain_goes_on(first: &Value, now: &Value) {
    let matured = number(first, "epoch.height") + 99;
    assert!(number(now, "mint.chain.height") >= matured, "{now:#}");
    let epochs = now["epochs"].as_array().unwrap();
    let same = epochs.iter().find(|epoch| epoch["n"] == first["epoch"]["n"]).unwrap();
    assert_eq!(same["block_hash"], first["epoch"]["block_hash"]);
    assert_eq!(same["state"], "settled");
    for epoch in epochs {
        let within = |part: &str, whole: &str| number(epoch, part) <= number(epoch, whole);
        assert!(within("paid", "reward") && within("issued", "work"), "{epoch:#}");
    }
    assert!(number(now, "mint.epoch") > number(first, "epoch.n"), "{now:#}");
    assert_eq!(now["mint"]["halted"], Value::Null);
}

fn the_balances_go_on(first: &Value, last: &Value) {
    for path in ["ehash.journalled", "ehash.issued", "ehash.redeemed", "sats.reserve", "sats.redeemed"] {
        assert!(number(last, path) >= number(first, path), "{path}: {first:#} {last:#}");
    }
    assert!(number(last, "ehash.issued") <= number(last, "ehash.journalled"), "{last:#}");
    assert!(number(last, "sats.outstanding") <= number(last, "sats.reserve"), "{last:#}");
}

/// The commands that a person types: ehash that waits for its epoch goes to a third wallet.
fn paid_to_carol(rig: &Rig) -> (String, u64) {
    let kept = rig.poolbox(&["claim", "garage", "--keep", "--json"]).json();
    let waiting = kept["waiting"].as_array().and_then(|waiting| waiting.last());
    let epoch = waiting.unwrap_or_else(|| panic!("no ehash waits: {kept:#}"))["epoch"].to_string();
    let claimed = rig.poolbox(&["claim", "garage", "--ehash", &epoch, "--json"]).json();
    let token = claimed["token"].as_str().unwrap_or_else(|| panic!("no token: {claimed:#}")).to_owned();
    // The demo that runs meanwhile makes tokens too.
    let is_listed = || {
        let unspent = rig.poolbox(&["tokens", "garage", "--json"]).json();
        unspent.as_array().unwrap().iter().any(|listed| listed["text"] == claimed["token"])
    };
    assert!(is_listed(), "a token that nobody has spent is not listed");
    let received = rig.poolbox_reads(&["receive", "--wallet", "carol", "--json"], &token).json();
    assert!(!is_listed(), "a token that was received is still listed");
    assert_eq!(received["amount"], claimed["amount"], "{received:#}");
    assert_eq!(received["balance"], received["amount"]);
    (token, number(&received, "amount"))
}

fn no_secret_is_told(rig: &Rig, said: &[(&str, String)], token: &str) {
    let mut secrets = secrets(&rig.state());
    secrets.push(token.to_owned());
    for (who, text) in said {
        // Not printed: it holds a secret.
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "the log of {who} tells a secret");
        assert!(!text.contains("cashuB"), "the log of {who} shows a token");
    }
}

/// Seeds and the password are their owner's alone, wherever they are written; so is ecash.
fn no_secret_is_readable_by_others(state: &Path) {
    let secrets = secrets(state);
    for (file, content) in files(state) {
        let content = String::from_utf8_lossy(&content);
        let ecash = ["wallets", "mint/purses"].iter().any(|folder| file.starts_with(state.join(folder)));
        if ecash || secrets.iter().any(|secret| content.contains(secret)) {
            assert!(is_private(&file, state), "others can read {}", file.display());
        }
    }
}

/// Neither group nor others reach it: by its own mode, or by that of a folder above it.
fn is_private(file: &Path, state: &Path) -> bool {
    let closed = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o077 == 0;
    file.ancestors().take_while(|path| *path != state).any(closed)
}

/// The seeds of the mint and of each wallet, and the password of the node.
fn secrets(state: &Path) -> Vec<String> {
    let holds_one = |file: &Path| file.ends_with("seed") || file.ends_with("rpc.password");
    let found = files(state).into_iter().filter(|(file, _)| holds_one(file));
    let secrets: Vec<_> =
        found.map(|(_, content)| String::from_utf8(content).unwrap().trim().to_owned()).collect();
    // Mint, node, bob and carol.
    assert_eq!(secrets.len(), 4);
    assert!(secrets.iter().all(|secret| secret.len() > 30));
    secrets
}

fn log(rig: &Rig, process: &str) -> String {
    std::fs::read_to_string(rig.state().join("logs").join(format!("{process}.log"))).unwrap()
}

#[track_caller]
fn number(value: &Value, path: &str) -> u64 {
    let found = path.split('.').fold(value, |value, key| &value[key]).as_u64();
    found.unwrap_or_else(|| panic!("no number {path} in {value:#}"))
}
