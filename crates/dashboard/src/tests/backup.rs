//! Backup, restore and the seed's words as forms come in. The system and the mint are fakes: this test writes what
//! the one would, and the other has their answers.

use std::path::PathBuf;
use std::sync::{Arc as Shared, Mutex};

use axum::http::header::CONTENT_DISPOSITION;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use poolbox_accounting::Sats;
use poolbox_api::mint::SatTotals;

use super::*;
use crate::choices::fixture::Fixture;

const PASSPHRASE: &str = "four words at random";
const MAKE: &str = "passphrase=four+words+at+random&again=four+words+at+random";
const WORDS: [&str; 12] = [
    "abandon", "ability", "able", "about", "above", "absent", "absorb", "abstract", "absurd", "abuse",
    "access", "accident",
];

/// An appliance with the folders that it shares with its system.
struct Box {
    rig: Rig,
    _fixture: Fixture,
    dir: TempDir,
}

impl Box {
    fn new(now: Snapshot) -> Self {
        let fixture = Fixture::new();
        let dir = tempfile::tempdir().unwrap();
        for folder in ["requests", "answers", "made", "uploaded"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let more = format!(
            "listen_tls = '0.0.0.0:443'\n{}[box.backup]\nrequests_dir = '{1}/requests'\nanswers_dir = '{1}/answers'\nmade = '{1}/made/box.age'\n\
             uploaded = '{1}/uploaded/box.age'\n",
            fixture.in_settings(),
            dir.path().display(),
        );
        Self { rig: Rig::made(now, &more, Some(mint()), None), _fixture: fixture, dir }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        std::fs::write(self.at(path), text).unwrap();
    }

    /// Takes a request away, as the system does.
    fn take(&self, request: &str) -> String {
        let text = std::fs::read_to_string(self.at("requests").join(request)).unwrap();
        std::fs::remove_file(self.at("requests").join(request)).unwrap();
        text
    }

    async fn admin(&self) -> (String, String) {
        let cookie = self.rig.set_up().await;
        let token = token(&self.rig.as_admin("/backup", &cookie).await.text);
        (cookie, token)
    }

    /// A form with a file, as a browser sends it.
    async fn upload(&self, cookie: &str, token: &str, content: &str) -> Answer {
        let part = |name: &str, content: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
        };
        let body = format!("{}{}--b--\r\n", part("token", token), part("file", content));
        let request = Request::post("/backup/upload")
            .header(CONTENT_TYPE, "multipart/form-data; boundary=b")
            .header(ORIGIN, "http://poolbox.local")
            .header(COOKIE, cookie);
        self.rig.ask(request.body(Body::from(body)).unwrap()).await
    }
}

/// A fake mint: its seed, which was not written down yet, and a restored state that is accepted when asked.
fn mint() -> Router {
    let confirmed = Shared::new(Mutex::new(false));
    let told = |confirmed: bool| {
        let at = confirmed.then_some(NOW - 600);
        Json(json!({ "fingerprint": "73c5da0a", "confirmed_at": at, "renewed_at": null }))
    };
    let (state, showing, confirming) = (confirmed.clone(), confirmed.clone(), confirmed);
    let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    let show = move || async move {
        if *showing.lock().unwrap() {
            return refused("the seed was written down and is not shown again");
        }
        Json(json!({ "words": WORDS, "ask": [3, 7] })).into_response()
    };
    let confirm = move |Json(body): Json<Value>| async move {
        let right = json!([{ "position": 3, "word": "able" }, { "position": 7, "word": "absorb" }]);
        if body["words"] != right {
            return refused("word 3 is not the one of the seed");
        }
        *confirming.lock().unwrap() = true;
        told(true).into_response()
    };
    let accept =
        || async { Json(json!({ "made_at": NOW - 9000, "restored_at": NOW - 60, "accepted_at": NOW })) };
    Router::new()
        .route("/seed", get(move || async move { told(*state.lock().unwrap()) }))
        .route("/seed/show", post(show))
        .route("/seed/confirm", post(confirm))
        .route("/restored/accept", post(accept))
}

/// A box whose mint has so many sats, and was restored or not.
fn with_mint(reserve: u64, restored: Value) -> Snapshot {
    let sats = SatTotals { reserve: Sats::new(reserve), ..SatTotals::default() };
    let mint = json!({
        "network": "devnet", "version": "0", "started_at": 1, "url": "", "ehash_url": "", "halted": null,
        "chain": { "height": 1, "hash": "", "connected": true }, "queue": { "cursor": 0, "waiting": 0 },
        "epoch": 1, "ehash": { "credited": 7, "issued": 0, "redeemed": 0 }, "sats": sats, "restored": restored,
    });
    Snapshot { mint: Some(serde_json::from_value(mint).unwrap()), ..snapshot(1) }
}

#[tokio::test]
async fn pages_of_passphrases_and_words_offer_the_encrypted_address() {
    let all = Box::new(with_mint(0, json!(null)));
    let (cookie, _) = all.admin().await;
    for path in ["/backup", "/backup/restore", "/start?step=seed"] {
        let page = all.rig.as_admin(path, &cookie).await.text;
        assert!(page.contains(&format!("href=\"https://poolbox.local{path}\"")), "{path}: {page}");
    }
    assert!(!all.rig.as_admin("/start?step=miner", &cookie).await.text.contains("https://poolbox.local"));
}

#[tokio::test]
async fn only_the_admin_backs_up_restores_and_sees_the_words() {
    let all = Box::new(with_mint(0, json!(null)));
    let (cookie, _) = all.admin().await;
    for path in ["/backup", "/backup/file", "/backup/restore"] {
        assert_eq!(all.rig.get(path).await.headers[LOCATION], "/login", "{path}");
    }
    let forms = [
        ("/backup/make", MAKE),
        ("/backup/forget", ""),
        ("/backup/restore", "passphrase=four+words+at+random"),
        ("/backup/accept", ""),
        ("/seed/show", ""),
        ("/seed/confirm", "first=3&first_word=able&second=7&second_word=absorb"),
    ];
    for (path, form) in forms {
        let form = format!("token=T&{form}");
        let open = all.rig.post(path, "", &form).await;
        assert_eq!(open.headers[LOCATION], "/login", "{path}");
        let foreign = all.rig.post(path, &cookie, &form).await;
        assert_eq!(foreign.status, StatusCode::FORBIDDEN, "{path}");
        assert!(!foreign.text.contains("abstract"), "{path}");
    }
    assert_eq!(all.upload("", "T", "age-encryption.org/v1\n").await.headers[LOCATION], "/login");
    assert_eq!(all.upload(&cookie, "T", "age-encryption.org/v1\n").await.status, StatusCode::FORBIDDEN);
    for folder in ["requests", "uploaded"] {
        assert_eq!(std::fs::read_dir(all.at(folder)).unwrap().count(), 0, "{folder}");
    }
}

#[tokio::test]
async fn a_backup_is_asked_for_followed_and_fetched() {
    let all = Box::new(with_mint(5, json!(null)));
    let (cookie, token) = all.admin().await;
    let settings = all.rig.as_admin("/settings", &cookie).await.text;
    assert!(
        settings.contains("No backup was ever made.") && settings.contains("href=\"/backup\""),
        "{settings}"
    );
    for (form, told) in [
        ("passphrase=four+words+at+random&again=other", "not the same"),
        ("passphrase=short&again=short", "at least 10 characters"),
    ] {
        let refused = all.rig.post("/backup/make", &cookie, &format!("token={token}&{form}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.text.contains(told), "{}", refused.text);
    }
    let make = format!("token={token}&{MAKE}");
    let page = async || all.rig.as_admin("/backup", &cookie).await.text;
    assert_eq!(all.rig.post("/backup/make", &cookie, &make).await.headers[LOCATION], "/backup");
    assert!(page().await.contains("The request is taken up"));
    assert_eq!(all.rig.post("/backup/make", &cookie, &make).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(all.take("backup"), format!("{PASSPHRASE}\n"));

    all.put("answers/backup", &format!("making {}\n", NOW - 90));
    all.put("made/box.age.partial", "half of it");
    let making = page().await;
    assert!(making.contains("begun 1 min ago; 10.0\u{a0}B are written so far"), "{making}");
    assert_eq!(all.rig.as_admin("/backup/file", &cookie).await.status, StatusCode::NOT_FOUND);

    all.put("answers/backup", "failed 7\npoolbox: there is <b>no room\nnor hope\n");
    let failed = page().await;
    assert!(failed.contains("there is &#60;b&#62;no room\nnor hope"), "the whole of it: {failed}");

    all.put("made/box.age", "age-encryption.org/v1\nsealed");
    let manifest = json!({ "made_at": NOW - 60, "network": "devnet", "left_out": [{ "path": "x", "reason": "no channels" }] });
    all.put("answers/backup", &format!("done {NOW}\n{manifest}\n"));
    let ready = page().await;
    for told in ["Your backup is ready", "of devnet", "no channels", "No backup was ever made."] {
        assert!(ready.contains(told), "{told} in {ready}");
    }
    let file = all.rig.as_admin("/backup/file", &cookie).await;
    assert_eq!(file.text, "age-encryption.org/v1\nsealed");
    let name = file.headers[CONTENT_DISPOSITION].to_str().unwrap();
    assert!(
        name.starts_with("attachment; filename=\"poolbox-devnet-2026-") && name.ends_with(".age\""),
        "{name}"
    );
    assert!(page().await.contains("The last backup was made 1 min ago."));
    let status: Value = serde_json::from_str(&all.rig.get("/api/v1/status").await.text).unwrap();
    assert_eq!(status["backup_made_at"], NOW - 60);
    let kept = std::fs::read_to_string(all.rig.dir.path().join("backups.json")).unwrap();
    for text in [making, failed, ready, kept] {
        assert!(!text.contains(PASSPHRASE));
    }

    let forget = all.rig.post("/backup/forget", &cookie, &format!("token={token}")).await;
    assert_eq!(forget.headers[LOCATION], "/backup");
    assert!(all.at("requests/forget").exists());
}

#[tokio::test]
async fn a_backup_is_uploaded_and_restored_where_nobody_has_anything() {
    let all = Box::new(with_mint(0, json!(null)));
    let (cookie, token) = all.admin().await;
    let restore = format!("token={token}&passphrase=four+words+at+random");
    let early = all.rig.post("/backup/restore", &cookie, &restore).await;
    assert!(early.text.contains("Choose the file of the backup first."), "{}", early.text);
    for (content, told) in
        [("", "No file was chosen."), ("a picture of a cat, and long", "That is no backup")]
    {
        let refused = all.upload(&cookie, &token, content).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.text.contains(told), "{}", refused.text);
        assert_eq!(std::fs::read_dir(all.at("uploaded")).unwrap().count(), 0);
    }
    let content = format!("age-encryption.org/v1\n{}", "sealed\r\n--".repeat(20_000));
    let taken = all.upload(&cookie, &token, &content).await;
    assert_eq!(taken.headers[LOCATION], "/backup/restore", "{}", taken.text);
    assert_eq!(std::fs::read_to_string(all.at("uploaded/box.age")).unwrap(), content);

    let page = all.rig.as_admin("/backup/restore", &cookie).await.text;
    assert!(page.contains("2. Its passphrase"), "{page}");
    let empty = all.rig.post("/backup/restore", &cookie, &format!("token={token}&passphrase=")).await;
    assert!(empty.text.contains("Type the passphrase"));
    assert_eq!(all.rig.post("/backup/restore", &cookie, &restore).await.headers[LOCATION], "/backup/restore");
    assert_eq!(all.take("restore"), format!("{PASSPHRASE}\n"));

    // Everybody sees how far it is, and the admin why it failed.
    all.put("answers/restore", "checking 7\n");
    let seen = all.rig.get("/backup/restore").await.text;
    assert!(seen.contains("read through and checked") && !seen.contains("<form"), "{seen}");
    let busy = all.upload(&cookie, &token, &content).await;
    assert!(busy.text.contains("A restore is under way"), "{}", busy.text);
    all.put("answers/restore", "failed 8\npoolbox: it does not open with this passphrase\n");
    let seen = all.rig.get("/backup/restore").await.text;
    assert!(seen.contains("Nothing was restored") && !seen.contains("does not open"), "{seen}");
    let told = all.rig.as_admin("/backup/restore", &cookie).await.text;
    assert!(
        told.contains("does not open with this passphrase") && told.contains("2. Its passphrase"),
        "{told}"
    );
}

#[tokio::test]
async fn a_box_that_people_have_something_of_is_not_replaced() {
    for (now, told) in [
        (with_mint(5, json!(null)), "its treasury has 5 sat"),
        (snapshot(1), "does not say yet whether people"),
    ] {
        let all = Box::new(now);
        let (cookie, token) = all.admin().await;
        let page = all.rig.as_admin("/backup/restore", &cookie).await.text;
        assert!(page.contains(told) && !page.contains("type=\"file\""), "{page}");
        let refused = all.upload(&cookie, &token, "age-encryption.org/v1\n").await;
        assert!(refused.text.contains(told), "{}", refused.text);
        all.put("uploaded/box.age", "age-encryption.org/v1\n");
        let form = format!("token={token}&passphrase=four+words+at+random");
        let refused = all.rig.post("/backup/restore", &cookie, &form).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(std::fs::read_dir(all.at("requests")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_restored_mint_signs_when_its_owner_says_so() {
    let restored = json!({ "made_at": NOW - 9000, "restored_at": NOW - 60, "accepted_at": null });
    let all = Box::new(with_mint(5, restored));
    all.put("answers/restore", "done 8\nrestored 7 files\n");
    let overview = all.rig.get("/").await.text;
    assert!(overview.contains("signs nothing until you say so"), "{overview}");
    let (cookie, token) = all.admin().await;
    let page = all.rig.as_admin("/backup/restore", &cookie).await.text;
    for told in ["The box is back", "May the mint sign again?", "Never let the old box run again"] {
        assert!(page.contains(told), "{told} in {page}");
    }
    let accepted = all.rig.post("/backup/accept", &cookie, &format!("token={token}")).await;
    assert_eq!(accepted.headers[LOCATION], "/backup/restore", "{}", accepted.text);
}

#[tokio::test]
async fn the_words_are_shown_until_two_of_them_were_entered() {
    let all = Box::new(with_mint(0, json!(null)));
    let (cookie, token) = all.admin().await;
    let backup = all.rig.as_admin("/backup", &cookie).await.text;
    assert!(backup.contains("They are not on paper yet") && !backup.contains("abstract"));
    let step = all.rig.as_admin("/start?step=seed", &cookie).await.text;
    assert!(step.contains("The seed, on paper") && !step.contains("abstract"), "{step}");
    assert_eq!(all.rig.as_admin("/seed/show", &cookie).await.status, StatusCode::METHOD_NOT_ALLOWED);

    let shown = all.rig.post("/seed/show", &cookie, &format!("token={token}&guided=true")).await;
    assert!(WORDS.iter().all(|word| shown.text.contains(&format!(">{word}</li>"))), "{}", shown.text);
    assert_eq!(shown.headers["cache-control"], "no-store");
    let form = |words: [&str; 2]| {
        format!("token={token}&guided=true&first=3&first_word={}&second=7&second_word={}", words[0], words[1])
    };
    let wrong = all.rig.post("/seed/confirm", &cookie, &form(["abuse", "absorb"])).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("word 3 is not the one") && wrong.text.contains(">accident</li>"));
    let right = all.rig.post("/seed/confirm", &cookie, &form(["able", "absorb"])).await;
    assert_eq!(right.headers[LOCATION], "/start?step=miner", "{}", right.text);

    let again = all.rig.post("/seed/show", &cookie, &format!("token={token}")).await;
    assert!(again.text.contains("not shown again") && !again.text.contains("abstract"), "{}", again.text);
    assert_eq!(all.rig.as_admin("/start?step=seed", &cookie).await.headers[LOCATION], "/start?step=miner");
    assert!(all.rig.as_admin("/backup", &cookie).await.text.contains("Written down 10 min ago"));
}

#[tokio::test]
async fn elsewhere_backups_are_for_the_command_line() {
    let rig = Rig::new(snapshot(1));
    let cookie = rig.set_up().await;
    let settings = rig.as_admin("/settings", &cookie).await.text;
    assert!(settings.contains("poolbox backup /mnt/usb") && !settings.contains("href=\"/backup\""));
    let form = format!("token={}&{MAKE}", token(&settings));
    for path in ["/backup", "/backup/file", "/backup/restore"] {
        assert_eq!(rig.as_admin(path, &cookie).await.headers[LOCATION], "/settings", "{path}");
    }
    assert_eq!(rig.post("/backup/make", &cookie, &form).await.headers[LOCATION], "/settings");
}
