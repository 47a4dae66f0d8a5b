//! Every page for readers who see little, who have no mouse, and who hear it: contrast of every text in light and
//! dark, structure and names, nothing wider than a phone, and every control within reach of the Tab key, in order
//! and with a focus that shows. In Chromium, on the demo's real pages and on an appliance's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is the failure of a test")]

mod rig;

use std::time::{Duration, Instant};

use fantoccini::key::Key;
use rig::{Appliance, Browser, Demo, PATIENCE, Scheme};
use serde_json::Value;

const INSPECT: &str = include_str!("rig/inspect.js");
/// Pages that stand still, so that controls do not move on below the fingers of the test.
const STILL: &str = "Object.defineProperty(document, 'hidden', { get: () => true });\
    document.activeElement?.blur(); window.scrollTo(0, 0);";
/// The control that has the focus: where it is among all, and whether that shows.
const FOCUSED: &str = "const all = [...document.querySelectorAll(\
        'a[href], button, input:not([type=hidden]), select, textarea, summary')]\
        .filter((one) => one.checkVisibility() || one.matches('.skip'));\
    const at = document.activeElement;\
    const style = getComputedStyle(at);\
    const shows = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;\
    return [all.indexOf(at), at.outerHTML.slice(0, 80), shows];";
/// Where all controls are that Tab has to reach: of radio buttons of one name, the one that is chosen.
const REACHABLE: &str = "const all = [...document.querySelectorAll(\
        'a[href], button, input:not([type=hidden]), select, textarea, summary')]\
        .filter((one) => one.checkVisibility() || one.matches('.skip'));\
    return all.map((one, at) => [one, at]).filter(([one]) => one.type !== 'radio' || one.checked)\
        .map(([one, at]) => [at, one.outerHTML.slice(0, 80)]);";

/// What is wrong with a page, with its address.
async fn inspect(browser: &Browser, url: &str, wrong: &mut Vec<String>) {
    browser.client.goto(url).await.unwrap();
    let found = browser.client.execute(INSPECT, vec![]).await.unwrap();
    wrong.extend(found.as_array().unwrap().iter().map(|what| format!("{url}: {}", what.as_str().unwrap())));
}

/// What is not as it should be is found.
async fn finds_what_is_wrong(browser: &Browser, url: &str) {
    let spoil = "document.querySelector('h1').style.color = 'rgb(120, 130, 120)';\
        document.querySelector('main').append(document.createElement('button'), document.createElement('h4'));";
    browser.client.goto(url).await.unwrap();
    // In one go, before the page is brought up to date.
    let found = browser.client.execute(&format!("{spoil}{INSPECT}"), vec![]).await.unwrap().to_string();
    for told in ["contrast 3.", "no name: <button>", "a heading is skipped"] {
        assert!(found.contains(told), "{told} is not in {found}");
    }
}

/// Who goes by the keyboard stays at a link while the page around it is brought up to date.
async fn keeps_the_focus(browser: &Browser, url: &str) {
    let page = &browser.client;
    page.goto(url).await.unwrap();
    let take = "window.taken = document.querySelector('#cards a[href=\"/miners\"]'); window.taken.focus();";
    page.execute(take, vec![]).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while page.execute("return window.taken.isConnected", vec![]).await.unwrap() == true {
        assert!(Instant::now() < deadline, "the page was never brought up to date");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let focused = page.execute("return document.activeElement.textContent", vec![]).await.unwrap();
    assert_eq!(focused, "all miners");
}

/// Goes through a page with the Tab key.
async fn tab_through(browser: &Browser, url: &str, wrong: &mut Vec<String>) {
    let page = &browser.client;
    page.goto(url).await.unwrap();
    page.execute(STILL, vec![]).await.unwrap();
    let reachable = page.execute(REACHABLE, vec![]).await.unwrap();
    let mut left: Vec<(i64, String)> = serde_json::from_value(reachable).unwrap();
    assert!(left.len() > 8, "{url}: {left:?}");
    let mut last = -1;
    // Some more than there are controls: what scrolls takes the focus as well.
    for _ in 0..left.len() + 10 {
        page.active_element().await.unwrap().send_keys(&Key::Tab.to_string()).await.unwrap();
        let focused: Value = page.execute(FOCUSED, vec![]).await.unwrap();
        let (at, what, shows): (i64, String, bool) = serde_json::from_value(focused).unwrap();
        if at < 0 {
            continue;
        }
        if at < last {
            break;
        }
        last = at;
        left.retain(|(nth, _)| *nth != at);
        if !shows {
            wrong.push(format!("{url}: the focus does not show: {what}"));
        }
    }
    wrong.extend(left.into_iter().map(|(_, what)| format!("{url}: Tab does not reach {what}")));
}

#[tokio::test]
async fn every_page_can_be_read_in_both_schemes_and_gone_through_by_keyboard() {
    let demo = Demo::start();
    demo.is_whole(PATIENCE).await;
    let mut wrong = Vec::new();
    let pages = [
        "/",
        "/miners",
        "/miner?owner=garage&name=one",
        "/add",
        "/why",
        "/earnings",
        "/owner?owner=garage",
        "/claim",
        "/alerts",
        "/logs",
        "/settings",
        "/owner?owner=a/b",
        "/nowhere",
    ];
    let first = Browser::start().await;
    inspect(&first, &demo.url("/setup"), &mut wrong).await;
    tab_through(&first, &demo.url("/setup"), &mut wrong).await;
    first.sees_in("body", "Welcome", PATIENCE).await;
    first.client.goto(&demo.url("/miners")).await.unwrap();
    first.sees("garage.one", PATIENCE).await;
    first.sets_up(&demo.url("/setup"), &demo.presence_code()).await;
    for path in pages {
        tab_through(&first, &demo.url(path), &mut wrong).await;
    }
    finds_what_is_wrong(&first, &demo.url("/")).await;
    keeps_the_focus(&first, &demo.url("/")).await;
    first.end().await;
    for (scheme, width) in
        [(Scheme::Light, 1280), (Scheme::Dark, 1280), (Scheme::Light, 500), (Scheme::Dark, 500)]
    {
        let browser = Browser::preferring(scheme, width).await;
        let dark = "return matchMedia('(prefers-color-scheme: dark)').matches";
        let is_dark = browser.client.execute(dark, vec![]).await.unwrap();
        assert_eq!(is_dark, matches!(scheme, Scheme::Dark), "the browser does not prefer {scheme:?}");
        inspect(&browser, &demo.url("/login"), &mut wrong).await;
        browser.logs_in(&demo.url("/login")).await;
        for path in pages {
            let before = wrong.len();
            inspect(&browser, &demo.url(path), &mut wrong).await;
            wrong[before..].iter_mut().for_each(|what| what.push_str(&format!(" ({scheme:?}, {width})")));
        }
        browser.end().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_settings_of_an_appliance_can_be_read_and_gone_through_by_keyboard() {
    let appliance = Appliance::start().await;
    let mut wrong = Vec::new();
    for (nth, scheme) in [Scheme::Light, Scheme::Dark].into_iter().enumerate() {
        let browser = Browser::preferring(scheme, 500).await;
        match nth {
            0 => browser.sets_up(&appliance.url("/setup"), &appliance.presence_code()).await,
            _ => browser.logs_in(&appliance.url("/login")).await,
        }
        for path in ["/start", "/start?step=payout", "/settings", "/backup", "/backup/restore"] {
            inspect(&browser, &appliance.url(path), &mut wrong).await;
            tab_through(&browser, &appliance.url(path), &mut wrong).await;
        }
        browser.end().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
