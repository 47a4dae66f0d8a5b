//! Backup: a passphrase in, an encrypted file out; and when the last one was fetched.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tokio::io::AsyncReadExt;

use crate::admin::{Turned, Visitor};
use crate::app::{App, Refusal, Shared};
use crate::backups::{Backups, Errand, MADE_LASTS, PASSPHRASE_LEAST, Progress, fits};
use crate::frame::{Frame, Section, page_with};
use crate::pages::door::Token;
use crate::pages::encrypted::Offer;
use crate::pages::seed::{Paper, paper};
use crate::words;

/// A file goes to the browser in pieces of so many bytes.
const PIECE: usize = 1 << 16;
/// A backup older than this is called old.
const OLD_S: u64 = 7 * 86_400;

#[derive(Template)]
#[template(path = "backup.html")]
struct Page {
    frame: Frame,
    trouble: Option<String>,
    reminder: Reminder,
    progress: Progress,
    /// What is done now, or was done.
    told: String,
    made: Option<Made>,
    least: usize,
    paper: Paper,
    offer: Option<Offer>,
}

/// A backup that can be fetched.
struct Made {
    size: String,
    when: String,
    left: String,
    network: String,
    left_out: Vec<String>,
}

/// When the last backup was made.
pub struct Reminder {
    /// Class in the style sheet.
    pub class: &'static str,
    /// In one sentence.
    pub title: String,
    /// What that means.
    pub text: &'static str,
}

/// The passphrase of a new backup.
#[derive(Deserialize)]
pub struct New {
    token: String,
    passphrase: String,
    again: String,
}

/// `GET /backup`
pub async fn show(State(app): State<Shared>, visitor: Visitor) -> Response {
    drawn(&app, &visitor, None).await
}

/// `POST /backup/make`
pub async fn make(State(app): State<Shared>, visitor: Visitor, Form(new): Form<New>) -> Response {
    let backups = match allowed(&app, &visitor, &new.token) {
        Ok(backups) => backups,
        Err(turned) => return turned.into_response(),
    };
    let asked = fits(&new.passphrase, &new.again).and_then(|()| backups.ask(Errand::Backup, &new.passphrase));
    match asked {
        Ok(()) => Redirect::to("/backup").into_response(),
        Err(trouble) => drawn(&app, &visitor, Some(trouble)).await,
    }
}

/// `POST /backup/forget`: the file that was made goes before its time.
pub async fn forget(State(app): State<Shared>, visitor: Visitor, Form(form): Form<Token>) -> Response {
    let backups = match allowed(&app, &visitor, &form.token) {
        Ok(backups) => backups,
        Err(turned) => return turned.into_response(),
    };
    match backups.ask(Errand::Forget, "") {
        Ok(()) => Redirect::to("/backup").into_response(),
        Err(trouble) => drawn(&app, &visitor, Some(trouble)).await,
    }
}

/// `GET /backup/file`: the encrypted file.
pub async fn fetch(State(app): State<Shared>, visitor: Visitor) -> Response {
    if let Err(door) = visitor.admin() {
        return door.into_response();
    }
    let Some(backups) = &app.backups else { return Redirect::to("/settings").into_response() };
    let Some((lying, manifest)) = backups.made() else {
        return Refusal::new(StatusCode::NOT_FOUND, "There is no backup here now; make one.").into_response();
    };
    let file = match tokio::fs::File::open(&backups.place.made).await {
        Ok(file) => file,
        Err(error) => {
            tracing::error!(%error, "a backup cannot be read");
            let sentence = "The backup cannot be read; see the log.";
            return Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence).into_response();
        }
    };
    let day = words::stamp(manifest.made_at);
    let day = day.get(..10).unwrap_or_default();
    let name = format!("attachment; filename=\"poolbox-{}-{day}.age\"", plain(&manifest.network));
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, lying.bytes.to_string()),
        (CONTENT_DISPOSITION, name),
    ];
    (headers, Body::from_stream(pieces(file, lying.bytes, Arc::clone(backups), manifest.made_at)))
        .into_response()
}

/// The file piece by piece. That it was fetched is noted when the last piece was asked for.
fn pieces(
    file: tokio::fs::File,
    bytes: u64,
    backups: Arc<Backups>,
    made_at: u64,
) -> impl futures::Stream<Item = std::io::Result<Vec<u8>>> {
    futures::stream::try_unfold((file, bytes), move |(mut file, left)| {
        let backups = Arc::clone(&backups);
        async move {
            if left == 0 {
                return Ok(None);
            }
            let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
            let read = file.read(&mut piece).await?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            piece.truncate(read);
            let left = left.saturating_sub(read as u64);
            if left == 0 {
                backups.note_taken(made_at);
            }
            Ok(Some((piece, (file, left))))
        }
    })
}

/// Letters and digits only, for a file's name.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).take(20).collect()
}

/// The keeper of backups, for a form of the admin.
///
/// # Errors
/// [`Turned`], also where there are no backups.
pub fn allowed<'a>(app: &'a App, visitor: &Visitor, token: &str) -> Result<&'a Arc<Backups>, Turned> {
    visitor.changes(token)?;
    app.backups.as_ref().ok_or(Turned::Away("/settings"))
}

async fn drawn(app: &App, visitor: &Visitor, trouble: Option<String>) -> Response {
    if let Err(door) = visitor.admin() {
        return door.into_response();
    }
    let Some(backups) = &app.backups else { return Redirect::to("/settings").into_response() };
    let now = app.now();
    let progress = backups.progress(Errand::Backup);
    let told = match &progress {
        Progress::Running { since, .. } => {
            let (so_far, since) = (words::bytes(backups.written()), words::ago(*since, now.at));
            format!("It was begun {since}; {so_far} are written so far.")
        }
        Progress::Failed { said, .. } => said.clone(),
        Progress::Idle | Progress::Asked | Progress::Ignored | Progress::Done { .. } => String::new(),
    };
    let made = backups.made().map(|(lying, manifest)| Made {
        size: words::bytes(lying.bytes),
        when: words::ago(manifest.made_at, now.at),
        left: words::duration(MADE_LASTS.saturating_sub(lying.age).as_secs()),
        network: manifest.network,
        left_out: manifest.left_out.into_iter().map(|left| left.reason).collect(),
    });
    let status = if trouble.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = Page {
        frame: Frame::of(&now, visitor, Section::Settings, "Backup"),
        trouble,
        reminder: Reminder::new(backups, now.at),
        progress,
        told,
        made,
        least: PASSPHRASE_LEAST,
        offer: Offer::of(app, visitor, "/backup"),
        paper: paper(app).await,
    };
    page_with(status, &page)
}

impl Reminder {
    /// As it is now.
    pub fn new(backups: &Backups, now: u64) -> Self {
        let Some(taken) = backups.taken() else {
            return Self {
                class: "alarm",
                title: "No backup was ever made.".to_owned(),
                text: "If the disk of this box breaks today, all that is on it is gone: the coins of its wallet, and \
                       what everybody at home has earned and not taken out yet.",
            };
        };
        let ago = words::ago(taken.made_at, now);
        if now.saturating_sub(taken.made_at) > OLD_S {
            return Self {
                class: "warning",
                title: format!("The last backup was made {ago}."),
                text: "What was mined, paid and claimed since is not in it. Make a new one; old files do no harm.",
            };
        }
        Self {
            class: "well",
            title: format!("The last backup was made {ago}."),
            text: "What was mined, paid and claimed since is not in it.",
        }
    }
}
