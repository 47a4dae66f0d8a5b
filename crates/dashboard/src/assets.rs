//! Style sheet, script and icon, compiled in. Their address carries their content's fingerprint, so that a
//! browser keeps them for ever and never shows a page with the style of an older version.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::app::Refusal;

const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Name, type and content.
const FILES: [(&str, &str, &str); 3] = [
    ("style.css", "text/css; charset=utf-8", include_str!("../../../web/static/style.css")),
    ("live.js", "text/javascript; charset=utf-8", include_str!("../../../web/static/live.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../../web/static/icon.svg")),
];

/// Changes when one of the files does.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    FILES.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
});

/// `GET /static/{name}`
pub async fn serve(Path(name): Path<String>) -> Response {
    find(&name).map_or_else(
        || Refusal::new(StatusCode::NOT_FOUND, "There is no such file.").into_response(),
        IntoResponse::into_response,
    )
}

/// `GET /favicon.ico`, which browsers ask for unasked.
pub async fn icon() -> Response {
    serve(Path("icon.svg".to_owned())).await
}

type File = ([(HeaderName, &'static str); 2], &'static str);

fn find(name: &str) -> Option<File> {
    let (_, kind, content) = FILES.iter().find(|(known, ..)| *known == name)?;
    Some(([(CONTENT_TYPE, *kind), (CACHE_CONTROL, FOR_EVER)], *content))
}
