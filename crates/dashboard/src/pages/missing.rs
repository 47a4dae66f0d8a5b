//! An address that leads nowhere.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::Visitor;
use crate::feed::Snapshot;
use crate::frame::{Frame, Section, page_with};

#[derive(Template)]
#[template(path = "missing.html")]
struct Page {
    frame: Frame,
}

/// The page.
pub fn show(visitor: &Visitor) -> Response {
    let frame = Frame::of(&Snapshot::default(), visitor, Section::Nowhere, "Not found");
    page_with(StatusCode::NOT_FOUND, &Page { frame })
}
