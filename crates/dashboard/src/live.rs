//! `GET /live`: a word whenever there is something new, as server-sent events. The script on a page then
//! asks for the page again and takes over what changed; without script nothing is missing but that.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;

use crate::app::{Refusal, Shared};

/// Tells of every new snapshot until the page is closed.
pub async fn stream(State(app): State<Shared>) -> Response {
    let Ok(seat) = std::sync::Arc::clone(&app.seats).try_acquire_owned() else {
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Too many pages are open; reload by hand.")
            .into_response();
    };
    let (feed, stop) = (app.feed.clone(), app.stop.clone());
    let events = stream::unfold((feed, stop, seat), |(mut feed, stop, seat)| async move {
        tokio::select! {
            changed = feed.changed() => changed.ok()?,
            () = stop.cancelled() => return None,
        }
        let at = feed.borrow_and_update().at;
        Some((Ok::<_, Infallible>(Event::default().data(at.to_string())), (feed, stop, seat)))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
