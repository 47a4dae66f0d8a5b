//! A box that is lost, and comes back from the backup that was made while it ran.
#![allow(clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rig::{Rig, files};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

/// Several times what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(600);
const PASSPHRASE: &str = "four words at random";

impl Rig {
    /// A file with the passphrase.
    fn passphrase(&self, words: &str) -> PathBuf {
        let path = self.beside("passphrase");
        std::fs::write(&path, format!("{words}\n")).unwrap();
        path
    }

    /// Ids of the mint's keysets.
    fn keysets(&self) -> BTreeSet<String> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.mint_port)).unwrap();
        let request = "GET /ehash/v1/keysets HTTP/1.1\r\nHost: mint\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        body["keysets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|keyset| keyset["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What the mint's local API says of an owner.
    fn owner(&self, owner: &str) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = poolbox_api::Client::new(self.state().join("mint/mint.sock")).unwrap();
        runtime.block_on(client.get(&format!("/owners/{owner}"))).unwrap()
    }

    /// An owner's quotes in settled epochs: they do not change.
    fn old_quotes(&self, owner: &str, settled: &[Value]) -> Vec<Value> {
        let epochs: Vec<&Value> = settled.iter().map(|epoch| &epoch["n"]).collect();
        let quotes = self.owner(owner)["quotes"].as_array().unwrap().clone();
        quotes.into_iter().filter(|quote| epochs.contains(&&quote["epoch"])).collect()
    }

    /// Has the owner that is paid on-chain wait for more than there will be, and what is under way end.
    fn pay_out_nothing_more(&self) {
        let paid = self.poolbox(&["payouts", "--json"]).json();
        let owner = paid["payouts"][0]["owner"].as_str().unwrap().to_owned();
        let high = "2100000000000000";
        assert_eq!(self.poolbox(&["payouts", &owner, "--threshold", high]).status, Some(0));
        self.until("its last payout has ended", PATIENCE, |_| {
            self.poolbox(&["payouts", &owner, "--json"]).json()["under_way"] == Value::Null
        });
    }

    /// The newest epoch in which the owner has at least so much ehash that can be minted.
    fn epoch_with_ehash(&self, owner: &str, least: u64) -> u64 {
        let mut found = None;
        self.until("an epoch with ehash to claim", PATIENCE, |_| {
            let quotes = self.owner(owner)["quotes"].as_array().unwrap().clone();
            let paid =
                |quote: &&Value| quote["paid"].as_u64() >= Some(least) && quote["epoch"].as_u64() > Some(1);
            found = quotes.iter().rev().find(paid).and_then(|quote| quote["epoch"].as_u64());
            found.is_some()
        });
        found.unwrap()
    }
}

/// The settled epochs of a status, oldest first.
fn settled(status: &Value) -> Vec<Value> {
    let epochs = status["epochs"].as_array().unwrap().iter();
    epochs.rev().filter(|epoch| epoch["state"] == "settled").cloned().collect()
}

fn credited(status: &Value) -> Option<u64> {
    status["mint"]["ehash"]["credited"].as_u64()
}

fn journalled(status: &Value) -> Option<u64> {
    status["pool"]["journal"]["work_ehash"].as_u64()
}

#[test]
fn a_lost_box_comes_back_from_its_backup_and_goes_on() {
    let mut old = Rig::new();
    assert_eq!(old.demo(&["--until", "settled", "--json"]).ended_within(PATIENCE).status, Some(0));
    let _demo = old.demo(&[]);
    old.until("it mines", PATIENCE, |now| credited(now) > Some(0) && journalled(now) > credited(now));
    // A household name's ehash: a part of it in a token that is not spent yet, the rest in its wallet.
    let epoch = old.epoch_with_ehash("garage", 2);
    let made_before =
        old.poolbox(&["claim", "garage", "--ehash", &epoch.to_string(), "--amount", "1", "--json"]).json();
    let token = made_before["token"].as_str().unwrap().to_owned();
    let before = old.status();
    let epochs = settled(&before);
    assert!(!epochs.is_empty(), "{before:#}");
    let (keysets, quotes) = (old.keysets(), old.old_quotes("garage", &epochs));
    assert!(!quotes.is_empty());

    // Sats that left after the backup would be owed once more by its books, and rightly halt the mint.
    old.pay_out_nothing_more();
    let (file, passphrase) = (old.beside("box.age"), old.passphrase(PASSPHRASE));
    let (file, passphrase) = (file.to_str().unwrap(), passphrase.to_str().unwrap());
    let made = old.poolbox(&["backup", file, "--passphrase-file", passphrase, "--json"]).json();
    assert_eq!(made["network"], "devnet");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!old.state().join("backup.partial").exists());
    old.poolbox(&["backup", file, "--passphrase-file", passphrase]).refused(&["exists", "--replace"]);
    // The demo first: it would start the others again.
    while !old.processes().is_empty() {
        for pid in old.pids("/poolbox").into_iter().chain(old.processes().into_iter().map(|(pid, _)| pid)) {
            // Some end by themselves when another is gone.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    // Another machine with the same address and chain, and nothing else.
    let mut new = Rig::new();
    (new.mint_port, new.stratum_port, new.stratum_v2_port) =
        (old.mint_port, old.stratum_port, old.stratum_v2_port);
    std::fs::create_dir(new.state()).unwrap();
    std::fs::rename(old.state().join("node"), new.state().join("node")).unwrap();
    let wrong = new.passphrase("other words at random");
    new.poolbox(&["restore", file, "--passphrase-file", wrong.to_str().unwrap()]).refused(&["passphrase"]);
    let restored = new.poolbox(&["restore", file, "--passphrase-file", passphrase]);
    assert_eq!(restored.status, Some(0), "{restored:?}");
    assert!(restored.stdout.contains("poolbox restore --accept"), "{restored:?}");
    new.poolbox(&["restore", file, "--passphrase-file", passphrase]).refused(&["already", "--set-aside"]);
    old.mint_port = 0;

    let demo = new.demo(&[]);
    let first = new.until("it answers again", PATIENCE, |now| journalled(now).is_some());
    let back = new.until("it mines again", PATIENCE, |now| {
        journalled(now) > journalled(&first)
            && now["mint"]["queue"]["waiting"] == 0
            && credited(now) == journalled(now)
    });
    assert_eq!(back["mint"]["halted"], Value::Null, "{back:#}");
    assert_eq!(back["mint"]["restored"]["made_at"], made["made_at"]);
    let same = |epoch: &Value| {
        ["n", "unit", "block_hash", "through", "reward", "work"].map(|key| epoch[key].clone())
    };
    let again = settled(&back);
    for (was, is) in epochs.iter().zip(&again) {
        assert_eq!(same(was), same(is));
        // A payout may have redeemed some between the look and the backup; nothing is undone.
        let grown = |key| is[key].as_u64() >= was[key].as_u64();
        assert!(["issued", "redeemed", "paid"].iter().all(grown), "{was:#} {is:#}");
    }
    assert_eq!(new.old_quotes("garage", &epochs), quotes);
    assert!(new.keysets().is_superset(&keysets));
    // What was spent since is not known: nothing is signed before the owner says so.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = new.poolbox(&["claim", "garage", "--json"]).json();
        assert!(held["token"].is_null() && held["minted"] == 0, "{held:#}");
        if held["trouble"].is_string() {
            break;
        }
        // Its wallet has all that it was credited until now; it mines on.
        assert!(Instant::now() < deadline, "nothing was asked for: {held:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let refused = new.poolbox_reads(&["receive", "--wallet", "carol", "--json"], &token);
    assert!(refused.status == Some(1) && refused.stderr.contains("restored from a backup"), "{refused:?}");
    assert_eq!(new.poolbox(&["restore", "--accept"]).status, Some(0));

    // The ehash of a household name, found again by the wallet that was made anew.
    let claimed = new.poolbox(&["claim", "garage", "--ehash", &epoch.to_string(), "--json"]).json();
    let token = claimed["token"].as_str().unwrap();
    let received = new.poolbox_reads(&["receive", "--wallet", "carol", "--json"], token).json();
    assert_eq!((&received["unit"], &received["amount"]), (&claimed["unit"], &claimed["amount"]));
    // What the mint refused while it was held is taken up again.
    let mut last = claimed["trouble"].clone();
    let finished = (0..60).any(|_| {
        std::thread::sleep(Duration::from_secs(1));
        last = new.poolbox(&["claim", "garage", "--keep", "--json"]).json()["trouble"].clone();
        last.is_null()
    });
    assert!(finished, "the wallet does not come to rest: {last}");
    assert!(new.keysets().len() > keysets.len(), "sat is signed with a new keyset");
    new.until("it mines on", PATIENCE, |now| {
        journalled(now) > journalled(&back)
            && credited(now) == journalled(now)
            && now["mint"]["halted"].is_null()
    });
    assert_eq!(demo.stopped().status, Some(0));
}

#[test]
fn a_backup_without_the_seed_asks_for_its_words_and_a_damaged_one_restores_nothing() {
    let rig = Rig::new();
    let words = "install scatter logic circle pencil average fall shoe quantum disease suspect usage";
    for (name, content) in [("network", "devnet"), ("seed", words), ("mint.toml", "x = 1")] {
        std::fs::create_dir_all(rig.state().join("mint")).unwrap();
        std::fs::write(rig.state().join("mint").join(name), content).unwrap();
    }
    let (file, passphrase) = (rig.beside("b.age"), rig.passphrase(PASSPHRASE));
    let (file, passphrase) = (file.to_str().unwrap(), passphrase.to_str().unwrap());
    let made =
        rig.poolbox(&["backup", file, "--passphrase-file", passphrase, "--without-seed", "--json"]).json();
    assert_eq!(
        (&made["seed"]["included"], made["left_out"][0]["path"].as_str()),
        (&Value::Bool(false), Some("mint/seed"))
    );
    let checked = rig.poolbox(&["backup", file, "--check", "--passphrase-file", passphrase, "--json"]).json();
    assert_eq!(checked, made);

    let target = rig.beside("new");
    let seed_file = rig.beside("words");
    let restore = |file: &str| {
        let arguments =
            ["--state", target.to_str().unwrap(), "restore", file, "--passphrase-file", passphrase];
        rig.run("poolbox", &[arguments.as_slice(), &["--seed-file", seed_file.to_str().unwrap()]].concat())
    };
    std::fs::write(&seed_file, "abandon ".repeat(11) + "about").unwrap();
    restore(file).refused(&["73c5da0a", "nothing was restored"]);
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() - 1000;
    bytes[middle] ^= 1;
    let damaged = rig.beside("damaged.age");
    std::fs::write(&damaged, &bytes).unwrap();
    let broken = restore(damaged.to_str().unwrap());
    assert!(broken.status == Some(1) && broken.stderr.contains("damaged"), "{broken:?}");
    assert!(!target.join("mint").exists(), "{:?}", files(&target));

    std::fs::write(&seed_file, format!(" {}\n", words.to_uppercase())).unwrap();
    let restored = restore(file);
    assert_eq!(restored.status, Some(0), "{restored:?}");
    assert_eq!(std::fs::read_to_string(target.join("mint/seed")).unwrap().trim(), words);
    assert_eq!(std::fs::metadata(target.join("mint/seed")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        Path::new(&target.join("mint/restored.json")).exists() && !target.join("restore.partial").exists()
    );
}
