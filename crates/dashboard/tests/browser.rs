//! A person at a browser, in front of the whole box: from the first visit to the first share, a miner pointed
//! at the box and taken back, a token claimed and spent, the log bundle; and in front of an appliance, from the
//! presence code to the first change of its settings and back. The box is the demo's real processes, the browser headless
//! Chromium; the AxeOS device is a fake, named so. Needs BITCOIN_NODE, POOLBOX_BIN_DIR and chromedriver, as
//! `cargo xtask test` has them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is the failure of a test")]

mod rig;

use std::time::{Duration, Instant};

use fantoccini::Locator;
use rig::{Appliance, Browser, Demo, FakeAxeOs, PASSWORD, PATIENCE};

#[tokio::test]
async fn a_person_sets_the_box_up_sees_shares_and_points_a_miner_at_it_and_back() {
    let demo = Demo::start();
    let browser = Browser::start().await;
    let page = &browser.client;

    // The first visit: open to look at, and mining.
    demo.answers(PATIENCE).await;
    page.goto(&demo.url("/")).await.unwrap();
    browser.sees("Hash rate", PATIENCE).await;
    // The page follows by itself: it is not loaded again here.
    browser.sees_in(".pill.well", "Mining", PATIENCE).await;
    page.goto(&demo.url("/miners")).await.unwrap();
    browser.sees("garage.one", PATIENCE).await;
    page.goto(&demo.url("/earnings")).await.unwrap();
    browser.sees("all of it goes to this box's mint", PATIENCE).await;

    become_admin(&demo, &browser).await;

    // A miner, by its address: nothing changes before the button, everything goes back with undo.
    let fake = FakeAxeOs::start().await;
    let before = fake.settings();
    page.goto(&demo.url(&format!("/add/device?address={}&user=garage.one", fake.address))).await.unwrap();
    browser.sees("Nothing has been changed yet", PATIENCE).await;
    browser.sees("old.example:3333 as me.axe", PATIENCE).await;
    assert_eq!(fake.settings(), before);
    browser.click("form[action='/add/point'] button").await;
    // The demo's own miner of that name stands for the device, which cannot hash.
    browser.sees("It mines for this box", PATIENCE).await;
    assert_eq!(fake.settings()["fallbackStratumURL"], "old.example");
    browser.click("form[action='/add/undo'] button").await;
    browser.sees("Taken back to its old pool", PATIENCE).await;
    assert_eq!(fake.settings(), before);

    // Logs, and nothing that the browser complained about: no script refused, no file missing.
    page.goto(&demo.url("/logs")).await.unwrap();
    browser.sees("pool started", PATIENCE).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.end().await;
}

/// The door: presence code and password.
async fn become_admin(demo: &Demo, browser: &Browser) {
    browser.client.goto(&demo.url("/logs")).await.unwrap();
    browser.sees("Choose the admin password", PATIENCE).await;
    browser.sets_up(&demo.url("/setup"), &demo.presence_code()).await;
    browser.sees("This box", PATIENCE).await;
}

#[tokio::test]
async fn a_token_claimed_on_the_page_is_money_in_a_wallet_and_the_logs_tell_no_secret() {
    let demo = Demo::start();
    let browser = Browser::start().await;
    let page = &browser.client;
    demo.is_whole(PATIENCE).await;
    let code = demo.presence_code();
    become_admin(&demo, &browser).await;

    // Ehash of the first epoch, which needs no block, as soon as there is some: the first share may be worth one.
    let owner = demo.url("/owner?owner=garage");
    let deadline = Instant::now() + PATIENCE;
    loop {
        page.goto(&owner).await.unwrap();
        if page.find(Locator::Css("select[name=epoch] option:nth-child(2)")).await.is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "nothing can be claimed: {}", page.source().await.unwrap());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    browser.click("select[name=epoch] option:nth-child(2)").await;
    browser.types("form[action='/owner/claim'] input[name=amount]", "1").await;
    browser.click("form[action='/owner/claim'] button").await;
    browser.sees("1 ehash-", PATIENCE).await;
    let shown = page.find(Locator::Css("textarea#token")).await.unwrap();
    let token = shown.prop("value").await.unwrap().unwrap();
    assert!(token.starts_with("cashu"), "{token}");
    page.goto(&owner).await.unwrap();
    browser.sees("Tokens that nobody has spent", PATIENCE).await;

    // A wallet takes it in, at the mint; then it is nobody's token any more.
    let received = demo.receives(&token);
    assert_eq!((&received["amount"], &received["balance"]), (&1.into(), &1.into()), "{received}");
    assert!(received["unit"].as_str().unwrap().starts_with("ehash-"), "{received}");
    let deadline = Instant::now() + PATIENCE;
    while page.source().await.unwrap().contains("Tokens that nobody has spent") {
        assert!(Instant::now() < deadline, "the token is still listed");
        page.goto(&owner).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    // A rule: what the mint refuses is said at the form, and what it takes is shown.
    browser.types("input[name=target]", "nowhere").await;
    browser.click("form[action='/owner/payout'] button").await;
    browser.sees("neither a bitcoin address", PATIENCE).await;
    browser.types("input[name=target]", "nowhere@wallet.example").await;
    browser.types("input[name=threshold]", "123456").await;
    browser.click("form[action='/owner/payout'] button").await;
    browser.sees("nowhere@wallet.example, over Lightning", PATIENCE).await;
    browser.sees("123,456 sat on", PATIENCE).await;
    browser.click("button[formaction='/owner/payout/remove']").await;
    browser.sees("no rule is set", PATIENCE).await;

    // The bundle: the logs of every process, and nothing in it that is worth something to a thief.
    page.goto(&demo.url("/logs")).await.unwrap();
    browser.click("a[href='/logs/bundle']").await;
    let bundle = browser.downloaded("poolbox-logs-", PATIENCE).await;
    let bundle = std::fs::read_to_string(bundle).unwrap();
    for told in ["Poolbox 0.", "on devnet", "pool started", "dashboard started", "mint "] {
        assert!(bundle.contains(told), "{told} is not in the bundle");
    }
    let cookie = page.get_named_cookie("poolbox").await.unwrap().value().to_owned();
    let mut secrets = demo.secrets();
    secrets.extend([PASSWORD.to_owned(), code, cookie, token]);
    for secret in secrets {
        assert!(!bundle.contains(&secret), "the bundle tells {secret}");
    }
    browser.end().await;
}

#[tokio::test]
async fn a_person_sets_an_appliance_up_makes_a_first_change_and_undoes_it() {
    let appliance = Appliance::start().await;
    let browser = Browser::start().await;
    let page = &browser.client;

    // The door, then the first steps, with mode solo chosen on the way.
    browser.sets_up(&appliance.url("/setup"), &appliance.presence_code()).await;
    browser.sees("Which network?", PATIENCE).await;
    browser.click("main form button").await;
    browser.sees("Whom shall a block pay?", PATIENCE).await;
    browser.click("input[name=mode][value=solo]").await;
    browser.click("main form button").await;
    browser.sees("Nothing has been changed yet", PATIENCE).await;
    browser.sees("Mining stops for some seconds", PATIENCE).await;
    assert!(!appliance.has_choice());
    let before = appliance.pool_toml();
    browser.click("form[action='/settings/apply'] button").await;

    // The page follows by itself until the real pool runs with it.
    browser.sees("Done.", PATIENCE).await;
    assert!(appliance.pool_toml().contains("mode = \"solo\""));
    page.goto(&appliance.url("/settings")).await.unwrap();
    browser.sees("solo: a block pays the miner that finds it", PATIENCE).await;

    // What restarts nobody here is changed as well.
    browser.click("input[name=node][value=small]").await;
    browser.click("main section:has(input[name=node]) button").await;
    browser.sees("Blocks beyond that are removed for good", PATIENCE).await;
    browser.click("form[action='/settings/apply'] button").await;
    browser.sees("Done.", PATIENCE).await;
    browser.click("form[action='/settings/undo'] button").await;
    browser.sees("Undone: the settings are as they were.", PATIENCE).await;
    page.goto(&appliance.url("/settings")).await.unwrap();

    // What the real mint refuses is refused here, with its field.
    browser.types("main input[name=onchain]", "10").await;
    browser.click("main section:has(input[name=onchain]) button").await;
    browser.sees("must be 1000 or more", PATIENCE).await;

    // Undone after a restart of the dashboard, which ended the session.
    appliance.restart_dashboard();
    browser.logs_in(&appliance.url("/login")).await;
    browser.sees("Latest changes", PATIENCE).await;
    browser.click("a[href='/settings/change?id=1']").await;
    browser.click("form[action='/settings/undo'] button").await;
    browser.sees("Undone: the settings are as they were.", PATIENCE).await;
    assert!(!appliance.has_choice());
    assert_eq!(appliance.pool_toml(), before);
    page.goto(&appliance.url("/settings")).await.unwrap();
    browser.sees("pool: a block pays the mint", PATIENCE).await;

    // A box whose system does not take it up: the page says so, and undo is still offered.
    appliance.takes_up(false);
    browser.click("input[name=mode][value=solo]").await;
    browser.click("main section:has(input[name=mode]) button").await;
    browser.click("form[action='/settings/apply'] button").await;
    browser.sees("poolbox-apply does not run", PATIENCE).await;
    browser.sees("Undo puts the settings back", PATIENCE).await;
    browser.click("form[action='/settings/undo'] button").await;
    appliance.takes_up(true);
    browser.sees("Undone: the settings are as they were.", PATIENCE).await;
    assert_eq!(appliance.pool_toml(), before);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.end().await;
}

#[tokio::test]
async fn a_person_backs_an_appliance_up_with_a_passphrase_and_keeps_the_file() {
    let appliance = Appliance::start().await;
    let browser = Browser::start().await;
    let page = &browser.client;
    browser.sets_up(&appliance.url("/setup"), &appliance.presence_code()).await;
    browser.sees("Which network?", PATIENCE).await;
    page.goto(&appliance.url("/settings")).await.unwrap();
    browser.sees("No backup was ever made.", PATIENCE).await;
    browser.click("a[href='/backup']").await;

    // What the page itself refuses, and then a backup of the real command.
    browser.types("input[name=passphrase]", "four words at random").await;
    browser.types("input[name=again]", "four words at randem").await;
    browser.click("form[action='/backup/make'] button").await;
    browser.sees("The two passphrases are not the same.", PATIENCE).await;
    browser.types("input[name=passphrase]", "four words at random").await;
    browser.types("input[name=again]", "four words at random").await;
    browser.click("form[action='/backup/make'] button").await;
    browser.sees("Your backup is ready", PATIENCE).await;
    browser.click("a[href='/backup/file']").await;
    let file = browser.downloaded("poolbox-devnet-", PATIENCE).await;
    assert!(std::fs::read(&file).unwrap().starts_with(b"age-encryption.org/v1\n"));
    assert!(appliance.checks(&file, "four words at random"));
    assert!(!appliance.checks(&file, "four other words"));
    browser.sees("The last backup was made", PATIENCE).await;

    // A box whose mint does not answer cannot say that nobody has anything of it.
    browser.click("a[href='/backup/restore']").await;
    browser.sees("does not say yet whether people have ecash of it", PATIENCE).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.end().await;
}

#[tokio::test]
async fn a_person_restores_a_lost_box_on_a_new_one() {
    // The box that is lost, with a mint of its own.
    let lost = Appliance::whole().await;
    let kept = tempfile::tempdir().unwrap();
    let (backup, other) = (kept.path().join("box.age"), kept.path().join("picture.age"));
    lost.backs_up(&backup, "four words at random");
    std::fs::write(&other, "no backup").unwrap();
    let seed = lost.seed();
    drop(lost);

    let appliance = Appliance::whole().await;
    assert_ne!(appliance.seed(), seed);
    let browser = Browser::start().await;
    let page = &browser.client;
    browser.sets_up(&appliance.url("/setup"), &appliance.presence_code()).await;
    browser.sees("Which network?", PATIENCE).await;
    page.goto(&appliance.url("/backup")).await.unwrap();
    browser.click("a[href='/backup/restore']").await;
    // Until the new mint says that nobody has anything of it.
    let deadline = Instant::now() + PATIENCE;
    while page.find(Locator::Css("input[name=file]")).await.is_err() {
        assert!(Instant::now() < deadline, "nothing can be uploaded: {}", page.source().await.unwrap());
        page.goto(&appliance.url("/backup/restore")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    // What is no backup, a passphrase that is not its own, and then the box.
    browser.chooses("input[name=file]", &other).await;
    browser.click("form[action='/backup/upload'] button").await;
    browser.sees("That is no backup", PATIENCE).await;
    browser.chooses("input[name=file]", &backup).await;
    browser.click("form[action='/backup/upload'] button").await;
    browser.sees("is here. It is removed when it was restored", PATIENCE).await;
    browser.types("input[name=passphrase]", "four other words").await;
    browser.click("form[action='/backup/restore'] button").await;
    browser.sees("Nothing was restored.", PATIENCE).await;
    assert_ne!(appliance.seed(), seed);
    page.goto(&appliance.url("/backup/restore")).await.unwrap();
    browser.types("input[name=passphrase]", "four words at random").await;
    browser.click("form[action='/backup/restore'] button").await;

    // The page outlives the dashboard that served it; the session does not.
    browser.sees("The box is back.", PATIENCE).await;
    browser.sees("May the mint sign again?", PATIENCE).await;
    assert_eq!(appliance.seed(), seed);
    page.find(Locator::Css("#restore a[href='/login']")).await.unwrap();
    browser.logs_in(&appliance.url("/login")).await;
    page.goto(&appliance.url("/backup/restore")).await.unwrap();
    browser.click("form[action='/backup/accept'] button").await;
    browser.sees("The mint signs again", PATIENCE).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.end().await;
}

#[tokio::test]
async fn every_page_tells_the_same_without_script() {
    let demo = Demo::start();
    demo.is_whole(PATIENCE).await;
    let browser = Browser::without_script().await;
    let pages = [
        ("/", "Hash rate"),
        ("/miners", "Miners"),
        ("/add", "stratum+tcp://"),
        ("/why", "The way of a share"),
    ];
    for (path, text) in
        pages.into_iter().chain([("/earnings", "Earnings"), ("/alerts", "Alerts"), ("/settings", "This box")])
    {
        browser.client.goto(&demo.url(path)).await.unwrap();
        browser.sees(text, Duration::from_secs(30)).await;
        assert!(!browser.client.source().await.unwrap().contains("class=\"script\""), "script ran");
    }
    browser.end().await;
}
