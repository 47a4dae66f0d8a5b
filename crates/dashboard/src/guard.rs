//! What stands before every route: only by names that are ours (a foreign site cannot reach in by pointing
//! its name at the box), only from our own pages when something is changed, and headers that leave a
//! browser nothing to run but what the box serves.

use std::net::IpAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::{Refusal, Shared};
use crate::wire::{Peer, Wire};

/// No inline script or style, nothing from elsewhere, no frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Checks the request, and sets the headers of the answer.
pub async fn check(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let wire = peer.map(|info| info.0.wire).unwrap_or_default();
    let mut answer = match refusal(wire, request.method(), request.headers(), &app.settings.host_names) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

fn refusal(wire: Wire, method: &Method, headers: &HeaderMap, names: &[String]) -> Option<Refusal> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_ours(host, names) {
        return Some(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            "This box does not go by that name. Use its address, poolbox.local, or a name set in host_names.",
        ));
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    // Browsers send it with every form; what is not a browser has no session that could be abused.
    let origin = headers.get(ORIGIN)?.to_str().unwrap_or_default();
    let ours = |(scheme, authority): (&str, &str)| {
        // A page that came over the open wire may be anybody's, also when it names this box.
        scheme == wire.scheme() && authority.eq_ignore_ascii_case(host)
    };
    let same = origin.split_once("://").is_some_and(ours);
    (!same).then(|| Refusal::new(StatusCode::FORBIDDEN, "Changes are made from the box's own pages only."))
}

/// An address cannot be pointed elsewhere, and `.local` names are given on the local network only.
fn is_ours(host: &str, names: &[String]) -> bool {
    let host = host.to_ascii_lowercase();
    let name = without_port(&host).trim_matches(['[', ']']).trim_end_matches('.');
    name == "localhost"
        || name.ends_with(".local")
        || name.parse::<IpAddr>().is_ok()
        || names.iter().any(|ours| ours == name)
}

/// The name or address that the box was called by; one of version 6 in its brackets.
pub fn without_port(host: &str) -> &str {
    match host.rfind([':', ']']).map(|at| host.split_at(at)) {
        Some((name, port)) if port.starts_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(method: Method, host: &str, origin: Option<&str>) -> bool {
        allowed_over(Wire::Open, method, host, origin)
    }

    fn allowed_over(wire: Wire, method: Method, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        refusal(wire, &method, &headers, &["mining.example".to_owned()]).is_none()
    }

    #[test]
    fn a_foreign_name_is_refused_wherever_it_points() {
        for ours in ["poolbox.local", "LOCALHOST:8080", "192.168.1.9", "[::1]:80", "mining.example:80"] {
            assert!(allowed(Method::GET, ours, None), "{ours}");
        }
        for foreign in ["evil.example", "poolbox.local.evil.example", "", "local", "192.168.1.9.evil.example"]
        {
            assert!(!allowed(Method::GET, foreign, None), "{foreign}");
        }
    }

    #[test]
    fn a_foreign_page_cannot_change_anything() {
        let host = "192.168.1.9:8080";
        assert!(allowed(Method::POST, host, Some("http://192.168.1.9:8080")));
        assert!(allowed(Method::GET, host, Some("http://evil.example")), "links may come from anywhere");
        for foreign in ["http://evil.example", "null", "http://192.168.1.9:81", "http://192.168.1.9"] {
            assert!(!allowed(Method::POST, host, Some(foreign)), "{foreign}");
        }
        let (open, encrypted) = (Some("http://poolbox.local"), Some("https://poolbox.local"));
        assert!(allowed_over(Wire::Encrypted, Method::POST, "poolbox.local", encrypted));
        assert!(!allowed_over(Wire::Encrypted, Method::POST, "poolbox.local", open), "an open page");
        assert!(!allowed_over(Wire::Open, Method::POST, "poolbox.local", encrypted));
    }

    #[test]
    fn the_port_is_not_part_of_a_name() {
        for (host, name) in [
            ("poolbox.local:8080", "poolbox.local"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("box", "box"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
