//! The mint's database in trouble while work comes in: it is said, and when the trouble is over
//! everything is credited once.

use std::os::unix::fs::FileExt;

use poolbox_accounting::Owner;
use rusqlite::Connection;
use serde_json::json;

use crate::rig::{Person, Rig};

fn owner() -> Owner {
    Owner::Household("garage".to_owned())
}

/// A mint that has credited 50.
async fn rig() -> Rig {
    let mut rig = Rig::new(1).await;
    rig.share(&owner(), 50).await;
    rig.until_amounts(&owner(), 1, 50, 50).await;
    rig
}

async fn until_told(rig: &Rig) -> String {
    rig.until("the trouble is told", async |rig| rig.status().await.queue.trouble.is_some()).await;
    rig.status().await.queue.trouble.unwrap()
}

/// Work of 7 comes in; until now it must not have been credited.
async fn assert_it_goes_on(rig: &Rig) {
    rig.until_amounts(&owner(), 1, 57, 57).await;
    rig.until("no trouble is told", async |rig| rig.status().await.queue.trouble.is_none()).await;
    let status = rig.status().await;
    assert_eq!((status.halted, status.ehash.credited.ehash()), (None, 57));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_database_is_waited_for() {
    let mut rig = rig().await;
    let other = Connection::open(rig.path("mint/mint.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    rig.share(&owner(), 7).await;
    let told = until_told(&rig).await;
    assert!(told.contains("locked"), "{told}");
    assert!(rig.logged("crediting waits") > 0);
    assert_eq!(rig.amounts(&owner(), 1).await, Some((50, 50, 0)));
    other.execute_batch("ROLLBACK").unwrap();
    assert_it_goes_on(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_refused_and_a_restored_one_is_credited_on() {
    let mut rig = rig().await;
    rig.stop();
    let path = rig.path("mint/mint.sqlite");
    let (page, size) = {
        let database = Connection::open(&path).unwrap();
        database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        let quotes = "SELECT rootpage FROM sqlite_schema WHERE name = 'mint_quote'";
        let page: u64 = database.query_row(quotes, [], |row| row.get(0)).unwrap();
        let size: u64 = database.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
        (page, size)
    };
    let good = std::fs::read(&path).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&vec![0xaa; size as usize], (page - 1) * size).unwrap();

    rig.share(&owner(), 7).await;
    assert!(!rig.run("run").success());
    assert!(rig.logged("malformed") > 0, "{}", rig.log());

    for beside in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{beside}", path.display()));
    }
    std::fs::write(&path, good).unwrap();
    rig.start().await;
    assert_it_goes_on(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_are_told_to_come_back_while_the_database_is_busy() {
    let rig = rig().await;
    let alice = Person::new(1).await;
    let ask = async || {
        let quote = json!({ "unit": "sat", "amount": 1, "pubkey": alice.owner().to_string() });
        let request = reqwest::Client::new().post(rig.url("/v1/mint/quote/ehash")).json(&quote);
        request.send().await.ok()
    };
    let other = Connection::open(rig.path("mint/mint.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = ask().await.unwrap();
    assert_eq!(refused.status(), 503);
    let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(seconds > 0);
    let told = refused.text().await.unwrap();
    assert!(told.contains("try again in a moment") && !told.contains("locked"), "{told}");
    other.execute_batch("ROLLBACK").unwrap();
    rig.until("wallets are served again", async |_| {
        ask().await.is_some_and(|answer| answer.status().is_success())
    })
    .await;
}
