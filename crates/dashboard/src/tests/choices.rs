//! Changing settings in the browser, as forms come in: who may, what is refused, and that nothing is written
//! then.

use super::*;
use crate::choices::fixture::Fixture;

const FORMS: [(&str, &str); 4] = [
    ("/settings/preview", "token=T&mode=solo"),
    ("/settings/apply", "token=T&mode=solo&basis=0"),
    ("/settings/undo", "token=T&id=1"),
    ("/settings/restart", "token=T&service=pool"),
];

fn on(fixture: &Fixture) -> Rig {
    Rig::with(snapshot(1), &fixture.in_settings())
}

/// What a hidden field of a page's form says.
fn hidden(page: &str, name: &str) -> String {
    let field = format!("name=\"{name}\" value=\"");
    page.split(&field).nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn who_is_not_the_admin_and_a_form_of_another_session_change_nothing() {
    let fixture = Fixture::new();
    let rig = on(&fixture);
    assert_eq!(rig.get("/start").await.headers[LOCATION], "/setup");
    let cookie = rig.set_up().await;
    assert_eq!(rig.get("/start").await.headers[LOCATION], "/login");
    for (path, form) in FORMS {
        assert_eq!(rig.post(path, "", form).await.headers[LOCATION], "/login", "{path}");
        assert_eq!(rig.post(path, &cookie, form).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let looked_at = rig.get("/settings").await.text;
    assert!(!looked_at.contains("action=\"/settings/"), "a guest gets no forms");
    assert!(fixture.chosen().is_empty());
}

#[tokio::test]
async fn a_change_is_shown_then_made_then_undone() {
    let fixture = Fixture::new();
    let rig = on(&fixture);
    let cookie = rig.set_up().await;
    let settings = rig.as_admin("/settings", &cookie).await.text;
    assert!(settings.contains("Each alone") && settings.contains("Restart a service"));
    let token = token(&settings);

    let preview = rig.post("/settings/preview", &cookie, &format!("token={token}&mode=solo")).await;
    assert_eq!(preview.status, StatusCode::OK);
    for told in ["Nothing has been changed yet", "Restarted: Pool", "garage.axe0000 has a user name"] {
        assert!(preview.text.contains(told), "{told} in {}", preview.text);
    }
    assert!(!preview.text.contains("Restarted: Mint"));
    assert!(fixture.chosen().is_empty());

    let form = format!("token={token}&mode=solo&basis={}", hidden(&preview.text, "basis"));
    let made = rig.post("/settings/apply", &cookie, &form).await;
    assert_eq!(made.headers[LOCATION], "/settings/change?id=1", "{}", made.text);
    assert_eq!(fixture.chosen()["apply"], "pool\n");
    let followed = rig.get("/settings/change?id=1").await.text;
    assert!(followed.contains("Log in to undo it") && followed.contains("restarts"), "{followed}");

    let page = rig.as_admin("/settings/change?id=1", &cookie).await.text;
    assert!(page.contains("Undo: as it was before"));
    let undone = rig.post("/settings/undo", &cookie, &format!("token={token}&id=1")).await;
    assert_eq!(undone.headers[LOCATION], "/settings/change?id=1");
    assert_eq!(fixture.chosen().into_keys().collect::<Vec<_>>(), ["apply"]);
    let again = rig.post("/settings/undo", &cookie, &format!("token={token}&id=1")).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_field_and_shown_as_text() {
    let fixture = Fixture::new();
    let rig = on(&fixture);
    let cookie = rig.set_up().await;
    let token = token(&rig.as_admin("/settings", &cookie).await.text);
    for (form, told) in [
        ("fee=101", "The box&#39;s fee: "),
        ("fee=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "The box&#39;s fee: "),
        ("onchain=%3Cimg%20src=x%3E", "Pay bitcoin addresses from: "),
        // By the program's own rule.
        ("onchain=10", "Pay bitcoin addresses from: payouts.onchain_threshold_sat = 10"),
        ("lightning=-1", "Pay Lightning addresses from: "),
        ("mode=both", "Mode: "),
        ("mode=proxy&upstream_url=%3Cscript%3E&upstream_user=me", "Pool upstream: "),
        ("mode=proxy&upstream_url=pool.example:3333&upstream_user=", "User name there: "),
        ("network=%3Cscript%3E", "Network: "),
        ("network=signet", "Network: "),
        ("mode=pool", "It is so already"),
    ] {
        for path in ["/settings/preview", "/settings/apply"] {
            for guided in ["", "&guided=true"] {
                let form = format!("token={token}&basis=0&{form}{guided}");
                let answer = rig.post(path, &cookie, &form).await;
                if answer.headers.get(LOCATION).is_some_and(|to| to == "/start?step=seed") {
                    assert!(form.contains("mode=pool"), "{form}");
                    continue;
                }
                assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path} {form}");
                let plain = answer.text.replace("&#x27;", "&#39;");
                assert!(plain.contains(told), "{told} for {form} in {plain}");
                assert!(!answer.text.contains("<script>") && !answer.text.contains("<img src=x"), "{form}");
            }
        }
    }
    let unknown = rig.post("/settings/restart", &cookie, &format!("token={token}&service=sshd")).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(fixture.chosen().is_empty());
}

#[tokio::test]
async fn the_first_steps_lead_to_a_miner_and_each_can_be_skipped() {
    let fixture = Fixture::new();
    let rig = on(&fixture);
    let code = std::fs::read_to_string(rig.dir.path().join("presence.code")).unwrap();
    let form = format!("code={code}&password=a+long+secret&again=a+long+secret");
    let answer = rig.post("/setup", "", &form).await;
    assert_eq!(answer.headers[LOCATION], "/start");
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();

    let first = rig.as_admin("/start", &cookie).await.text;
    assert!(first.contains("value=\"mainnet\" checked") && first.contains("/start?step=payout\">Skip"));
    let second = rig.as_admin("/start?step=payout&network=devnet", &cookie).await.text;
    assert_eq!(hidden(&second, "network"), "devnet");
    let token = token(&second);

    // Skipped with the network that is there: nothing to do but add a miner.
    let skip = format!("token={token}&guided=true&network=mainnet&mode=solo&leave=true");
    let skipped = rig.post("/settings/preview", &cookie, &skip).await;
    assert_eq!(skipped.headers[LOCATION], "/start?step=seed");
    let no_mint = rig.as_admin("/start?step=seed", &cookie).await;
    assert_eq!(no_mint.headers[LOCATION], "/start?step=miner", "no mint that has a seed answers");
    assert!(rig.as_admin("/start?step=miner", &cookie).await.text.contains("href=\"/add\""));

    let next = format!("token={token}&guided=true&network=devnet&mode=solo&fee=0&onchain=&lightning=");
    let preview = rig.post("/settings/preview", &cookie, &next).await.text;
    assert!(preview.contains("Template provider, Node, Pool, Mint, Dashboard"), "{preview}");
    let made =
        rig.post("/settings/apply", &cookie, &format!("{next}&basis={}", hidden(&preview, "basis"))).await;
    assert_eq!(made.headers[LOCATION], "/settings/change?id=1&guided=true");
    let followed = rig.as_admin("/settings/change?id=1&guided=true", &cookie).await.text;
    assert!(followed.contains("Next step"));
    let chosen = fixture.chosen();
    assert_eq!(chosen["network"], "devnet\n");
    assert_eq!(chosen["apply"], "template-provider node pool mint dashboard\n");
    assert!(chosen["devnet/pool.toml"].contains("solo") && !chosen.contains_key("devnet/mint.toml"));
}

#[tokio::test]
async fn elsewhere_the_page_says_which_files_to_edit() {
    let rig = Rig::new(snapshot(1));
    let cookie = rig.set_up().await;
    let page = rig.as_admin("/settings", &cookie).await.text;
    assert!(page.contains("Changed in files") && page.contains("services.poolbox"));
    assert!(!page.contains("/settings/preview"));
    let token = token(&page);
    for (path, form) in FORMS {
        let answer = rig.post(path, &cookie, &form.replace('T', &token)).await;
        assert_eq!(answer.headers[LOCATION], "/settings", "{path}");
    }
    assert_eq!(rig.as_admin("/start", &cookie).await.headers[LOCATION], "/settings");
}
