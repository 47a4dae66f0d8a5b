//! Mode proxy, chosen in a real browser on an appliance, with a real pool as the other one.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use std::time::{Duration, Instant};

use fantoccini::Locator;
use rig::{Appliance, Browser, PATIENCE};

#[tokio::test]
async fn a_person_has_the_box_work_for_another_pool_and_takes_it_back() {
    let appliance = Appliance::whole().await;
    let (_another, url) = appliance.another_pool();
    let browser = Browser::start().await;
    let page = &browser.client;
    browser.sets_up(&appliance.url("/setup"), &appliance.presence_code()).await;
    browser.sees("Which network?", PATIENCE).await;
    let before = appliance.pool_toml();

    // An address of the box stands where the user name belongs, once the mint has told it.
    let mode = "main section:has(input[name=mode])";
    let deadline = Instant::now() + PATIENCE;
    let ours = loop {
        page.goto(&appliance.url("/settings")).await.unwrap();
        let field = page.wait().for_element(Locator::Css("input[name=upstream_user]")).await.unwrap();
        let value = field.prop("value").await.unwrap().unwrap_or_default();
        if value.starts_with("tb1q") {
            break value;
        }
        assert!(Instant::now() < deadline, "no address of the box: {}", page.source().await.unwrap());
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert!(
        !page.find(Locator::Css("input[name=upstream_url]")).await.unwrap().is_displayed().await.unwrap()
    );
    browser.click("input[name=mode][value=proxy]").await;
    browser.types("input[name=upstream_url]", "https://pool.example").await;
    browser.click(&format!("{mode} button")).await;
    browser.sees("Pool upstream: write it as the pool does", PATIENCE).await;
    browser.types("input[name=upstream_url]", &url).await;
    browser.click(&format!("{mode} button")).await;
    browser.sees(&format!("{url} as {ours}"), PATIENCE).await;
    browser.sees("What it pays this box is shared out in sats", PATIENCE).await;
    browser.click("form[action='/settings/apply'] button").await;
    browser.sees("Done.", PATIENCE).await;
    assert!(appliance.pool_toml().contains("mode = \"proxy\""));

    // Its shares are taken there, the page says so, and where the money is to come.
    let miner = appliance.miner("garage.one");
    page.goto(&appliance.url("/")).await.unwrap();
    browser.sees("shares taken", PATIENCE).await;
    browser.sees("The newest was taken", PATIENCE).await;
    browser.sees("so far. The next payment of the other pool", PATIENCE).await;
    page.goto(&appliance.url("/earnings")).await.unwrap();
    browser.sees(&ours, PATIENCE).await;
    browser.sees("Rounds", PATIENCE).await;
    page.goto(&appliance.url("/owner?owner=garage")).await.unwrap();
    browser.sees("By round", PATIENCE).await;
    page.goto(&appliance.url("/why")).await.unwrap();
    browser.sees("There is fresh work", PATIENCE).await;
    drop(miner);

    // Back, by undoing it.
    page.goto(&appliance.url("/settings/change?id=1")).await.unwrap();
    browser.click("form[action='/settings/undo'] button").await;
    browser.sees("Undone: the settings are as they were.", PATIENCE).await;
    assert_eq!(appliance.pool_toml(), before);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.end().await;
}
