//! Restore: the file of a backup takes the place of a box that has nothing yet; then the owner's word that the
//! restored mint may sign.

use askama::Template;
use axum::Form;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use poolbox_api::mint::{self, Restored};
use serde::Deserialize;

use crate::admin::{Turned, Visitor};
use crate::app::{App, Shared};
use crate::backups::{Errand, Progress, Refused, Step, is_one_line};
use crate::feed::Snapshot;
use crate::frame::{Frame, Section, page_with};
use crate::pages::backup::allowed;
use crate::pages::claims::spoken;
use crate::pages::door::Token;
use crate::pages::encrypted::Offer;
use crate::words;

#[derive(Template)]
#[template(path = "restore.html")]
struct Page {
    frame: Frame,
    trouble: Option<String>,
    progress: Progress,
    /// What is done now, for everybody.
    step: &'static str,
    /// What the program said, for the admin.
    said: Option<String>,
    /// The restored mint that waits for its owner's word: when its backup was made.
    waits: Option<String>,
    /// The restored mint that has it: when its backup was made.
    accepted: Option<String>,
    /// Why this box cannot be replaced, if so.
    held: Option<String>,
    /// Size of the uploaded file.
    uploaded: Option<String>,
    offer: Option<Offer>,
}

/// The passphrase of the uploaded backup.
#[derive(Deserialize)]
pub struct Given {
    token: String,
    passphrase: String,
}

/// `GET /backup/restore`
pub async fn show(State(app): State<Shared>, visitor: Visitor) -> Response {
    drawn(&app, &visitor, None)
}

/// `POST /backup/upload`
pub async fn upload(State(app): State<Shared>, visitor: Visitor, request: Request) -> Response {
    if let Err(door) = visitor.admin() {
        return door.into_response();
    }
    let Some(backups) = &app.backups else { return Redirect::to("/settings").into_response() };
    if let Some(held) = held(&app.now()) {
        return drawn(&app, &visitor, Some(held));
    }
    let (parts, body) = request.into_parts();
    match backups.take_in(&parts.headers, body, |token| visitor.changes(token).is_ok()).await {
        Ok(()) => Redirect::to("/backup/restore").into_response(),
        Err(Refused::Foreign) => Turned::Foreign.into_response(),
        Err(Refused::Sentence(trouble)) => drawn(&app, &visitor, Some(trouble)),
    }
}

/// `POST /backup/restore`
pub async fn begin(State(app): State<Shared>, visitor: Visitor, Form(given): Form<Given>) -> Response {
    let backups = match allowed(&app, &visitor, &given.token) {
        Ok(backups) => backups,
        Err(turned) => return turned.into_response(),
    };
    if let Some(held) = held(&app.now()) {
        return drawn(&app, &visitor, Some(held));
    }
    if backups.uploaded().is_none() {
        return drawn(&app, &visitor, Some("Choose the file of the backup first.".to_owned()));
    }
    let asked = match given.passphrase.as_str() {
        "" => Err("Type the passphrase of the backup.".to_owned()),
        passphrase => is_one_line(passphrase).and_then(|()| backups.ask(Errand::Restore, passphrase)),
    };
    match asked {
        Ok(()) => Redirect::to("/backup/restore").into_response(),
        Err(trouble) => drawn(&app, &visitor, Some(trouble)),
    }
}

/// `POST /backup/accept`: the restored mint may sign.
pub async fn accept(State(app): State<Shared>, visitor: Visitor, Form(form): Form<Token>) -> Response {
    if let Err(turned) = visitor.changes(&form.token) {
        return turned.into_response();
    }
    let Some(mint) = &app.mint else { return Redirect::to("/settings").into_response() };
    match mint.post_patiently::<_, Restored>(mint::RESTORED_ACCEPT, &()).await {
        Ok(restored) => {
            tracing::info!(made_at = restored.made_at, "the admin let the restored mint sign");
            Redirect::to("/backup/restore").into_response()
        }
        Err(error) => drawn(&app, &visitor, Some(spoken(&error))),
    }
}

/// Why a backup must not take the place of this box.
fn held(now: &Snapshot) -> Option<String> {
    let Some(mint) = &now.mint else {
        return Some(
            "The mint of this box does not say yet whether people have ecash of it. Wait until it answers."
                .to_owned(),
        );
    };
    mint.held().map(|held| {
        format!(
            "This box is in use and is not replaced: {held}. A backup is restored to a machine that was set up anew."
        )
    })
}

/// Whoever watches a restore is logged out by it: how far it is, everybody may see.
fn drawn(app: &App, visitor: &Visitor, trouble: Option<String>) -> Response {
    let progress = app.backups.as_ref().map(|backups| backups.progress(Errand::Restore));
    if progress.as_ref().is_none_or(|progress| *progress == Progress::Idle)
        && let Err(door) = visitor.admin()
    {
        return door.into_response();
    }
    let (Some(backups), Some(progress)) = (&app.backups, progress) else {
        return Redirect::to("/settings").into_response();
    };
    let now = app.now();
    let is_admin = visitor.session.is_some();
    let restored = now.mint.as_ref().and_then(|mint| mint.restored.as_ref());
    let made = |restored: &Restored| words::stamp(restored.made_at);
    let step = match progress {
        Progress::Asked => "The request is taken up.",
        Progress::Running { step: Step::Checking, .. } => {
            "The file is read through and checked. Nothing is changed yet."
        }
        Progress::Running { .. } => {
            "The box is stopped and its files are put in place. These pages are away for some seconds."
        }
        _ => "",
    };
    let said = match &progress {
        Progress::Done { said, .. } | Progress::Failed { said, .. } => Some(said.clone()),
        _ => None,
    };
    let status = if trouble.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = Page {
        frame: Frame::of(&now, visitor, Section::Settings, "Restore"),
        trouble,
        step,
        said: said.filter(|_| is_admin),
        waits: restored.filter(|restored| restored.accepted_at.is_none()).map(made),
        accepted: restored.filter(|restored| restored.accepted_at.is_some()).map(made),
        held: held(&now),
        offer: Offer::of(app, visitor, "/backup/restore"),
        uploaded: backups.uploaded().map(|lying| words::bytes(lying.bytes)),
        progress,
    };
    page_with(status, &page)
}
