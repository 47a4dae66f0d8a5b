//! cdk's mint begins anew within the process: before it runs out of units, and after its database
//! had failed.

use std::process::Command;

use crate::rig::{Person, Rig};
use poolbox_accounting::{EpochId, Owner};
use poolbox_mint::service;
use poolbox_mint::settings::Settings;
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn more_epochs_than_were_named_in_advance_open_and_can_be_minted_in() {
    let mut rig = Rig::new(1).await;
    rig.stop();
    let mut settings = Settings::load(&rig.path("mint.toml")).unwrap();
    settings.epochs_ahead = 2;
    let stop = CancellationToken::new();
    let running = tokio::spawn(service::run(settings, stop.clone()));
    rig.until("the mint answers", async |rig| rig.path("mint/mint.sock").exists()).await;

    let (alice, finder) = (Person::new(1).await, Owner::Household("finder".to_owned()));
    for n in 2..=6 {
        rig.block(&finder, 1).await;
        rig.until("the epoch opens", async |rig| {
            let epochs: Result<Vec<poolbox_api::mint::Epoch>, _> = rig.get("/epochs").await;
            epochs.is_ok_and(|epochs| epochs[0].n == EpochId::new(n))
        })
        .await;
        // Two units at a time: it begins anew while nothing waits for it.
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    }
    rig.share(&alice.owner(), 50).await;
    rig.until_amounts(&alice.owner(), 6, 50, 50).await;
    assert_eq!(alice.mint(&rig, &alice.owner(), 6).await.unwrap(), 50);
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// Lets the process write no file further than so many bytes: its disk is full.
fn limit_files(pid: u32, bytes: &str) {
    let limit = format!("--fsize={bytes}");
    let limited = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status().unwrap();
    assert!(limited.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_to_wallets_and_nothing_is_lost_by_it() {
    let mut rig = Rig::new(1).await;
    let alice = Person::new(1).await;
    rig.share(&alice.owner(), 50).await;
    rig.until_amounts(&alice.owner(), 1, 50, 50).await;
    let (url, key) = (rig.url("/v1/mint/quote/ehash"), alice.owner().to_string());
    let ask = async || {
        let quote = json!({ "unit": "sat", "amount": 1, "pubkey": key });
        let answer = reqwest::Client::new().post(&url).json(&quote).send().await;
        let Ok(answer) = answer else { return (0, String::new()) };
        (answer.status().as_u16(), answer.text().await.unwrap_or_default())
    };
    assert_eq!(ask().await.0, 200);

    limit_files(rig.pid(), "4096:unlimited");
    let (status, refusal) = ask().await;
    assert!(status == 503 && refusal.contains("cannot use its database"), "{status} {refusal}");
    rig.share(&alice.owner(), 7).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(rig.amounts(&alice.owner(), 1).await, Some((50, 50, 0)));
    assert!(rig.listing("/v1/info").await.contains("Poolbox"));

    limit_files(rig.pid(), "unlimited:unlimited");
    rig.until("the mint writes again", async |_| ask().await.0 == 200).await;
    rig.until("the mint answers", async |rig| rig.get::<serde_json::Value>("/status").await.is_ok()).await;
    rig.until_amounts(&alice.owner(), 1, 57, 57).await;
    assert_eq!(alice.mint(&rig, &alice.owner(), 1).await.unwrap(), 57);
    assert_eq!(rig.status().await.halted, None);
}
