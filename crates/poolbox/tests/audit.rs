//! The audit of a box that is at work, and of boxes whose records were falsified by hand.
#![allow(clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use std::path::Path;
use std::time::Duration;

use rig::Rig;
use rusqlite::{Connection, params};
use serde_json::Value;

/// Several times what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(600);

/// Changes a record of the mint's books, which hold JSON.
fn falsify(mint: &Connection, shelf: &str, key: Option<&str>, change: impl Fn(&mut Value)) {
    let select = "SELECT key, value FROM kv_store WHERE primary_namespace = 'poolbox' AND secondary_namespace = ?1 \
                  AND key = COALESCE(?2, key) ORDER BY key LIMIT 1";
    let (key, value): (String, Vec<u8>) =
        mint.query_row(select, params![shelf, key], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let mut record: Value = serde_json::from_slice(&value).unwrap();
    change(&mut record);
    let update = "UPDATE kv_store SET value = ?3 WHERE primary_namespace = 'poolbox' AND secondary_namespace = ?1 AND key = ?2";
    let value = serde_json::to_vec(&record).unwrap();
    assert_eq!(mint.execute(update, params![shelf, key, value]).unwrap(), 1);
}

fn plus(value: &mut Value, more: u64) {
    *value = (value.as_u64().unwrap() + more).into();
}

fn copy(from: &Path, to: &Path) {
    Connection::open(from).unwrap().execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
}

#[test]
fn a_box_at_work_passes_and_what_was_falsified_is_named() {
    let rig = Rig::new();
    assert_eq!(rig.demo(&["--until", "settled", "--json"]).ended_within(PATIENCE).status, Some(0));
    let demo = rig.demo(&[]);
    let credited = |now: &Value| now["mint"]["ehash"]["credited"].as_u64();
    let first = rig.until("it works", PATIENCE, |now| credited(now) > Some(0));
    rig.until("it goes on", PATIENCE, |now| credited(now) > credited(&first));
    let good = rig.poolbox(&["audit", "--json"]).json();
    assert_eq!(
        (&good["agrees"], &good["differences"]),
        (&Value::Bool(true), &serde_json::json!([])),
        "{good:#}"
    );
    assert!(
        good["epochs"][0]["redeemed"].as_u64() > Some(0) && good["shares"].as_u64() > Some(0),
        "{good:#}"
    );
    let table = rig.poolbox(&["audit"]);
    assert!(table.status == Some(0) && table.stdout.contains("everything agrees"), "{table:?}");

    let csv = rig.poolbox(&["export", "shares"]).stdout;
    assert!(csv.starts_with("journal,seq,at_ms,owner,worker,work_ehash,hash,block_height,mode\r\n"), "{csv}");
    let credits = rig.poolbox(&["export", "credits", "--format", "json"]).json();
    let of_first = credits.as_array().unwrap().iter().filter(|credit| credit["epoch"] == 1);
    let sum: u64 = of_first.map(|credit| credit["credited_ehash"].as_u64().unwrap()).sum();
    assert_eq!(sum, good["epochs"][0]["credited"].as_u64().unwrap());
    assert_eq!(rig.poolbox(&["export", "settlements", "--format", "json"]).json()[0]["epoch"], 1);
    assert!(rig.poolbox(&["export", "epochs"]).stdout.contains(",ehash-1,settled,"));

    // A share that vanished.
    let (journal, falsified) = (rig.state().join("pool/journal.sqlite"), rig.beside("falsified.sqlite"));
    copy(&journal, &falsified);
    let journal = Connection::open(&falsified).unwrap();
    journal.pragma_update(None, "foreign_keys", false).unwrap();
    assert_eq!(journal.execute("DELETE FROM shares WHERE seq = 2", []).unwrap(), 1);
    drop(journal);
    let found = rig.poolbox(&["audit", "--journal", falsified.to_str().unwrap()]);
    assert_eq!(found.status, Some(1), "{found:?}");
    assert!(
        found.stdout.contains("share 2 is missing") && found.stdout.contains("NOT EVERYTHING AGREES"),
        "{found:?}"
    );

    // Books that somebody wrote in while the mint was stopped.
    assert_eq!(demo.stopped().status, Some(0));
    let mint = Connection::open(rig.state().join("mint/mint.sqlite")).unwrap();
    falsify(&mint, "credits-1", None, |credit| plus(&mut credit["credited"], 7));
    falsify(&mint, "redeemed", Some("1"), |redeemed| plus(&mut redeemed["sats"], 9));
    falsify(&mint, "settled", Some("1"), |settled| plus(&mut settled["epoch"]["payouts"][0]["reward"], 11));
    let issued = "UPDATE keyset_amounts SET total_issued = total_issued + 5 WHERE keyset_id IN \
                  (SELECT id FROM keyset WHERE unit = 'ehash-1')";
    assert_eq!(mint.execute(issued, []).unwrap(), 1);
    drop(mint);
    let _demo = rig.demo(&[]);
    rig.until("the mint answers", PATIENCE, |now| now["mint"].is_object());
    let found = rig.poolbox(&["audit", "--json"]);
    assert_eq!(found.status, Some(1), "{found:?}");
    let report: Value = serde_json::from_str(&found.stdout).unwrap();
    let named: Vec<&str> = report["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["what"].as_str().unwrap())
        .collect();
    for what in ["by the journals and", "sats for it", "on the chain and", "signed by the keyset"] {
        assert!(named.iter().any(|named| named.contains(what)), "{what}: {named:#?}");
    }
    assert_eq!(report["epochs"][0]["agrees"], false);
}
