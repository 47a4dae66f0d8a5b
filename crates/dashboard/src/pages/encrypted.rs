//! The encrypted address, on the pages where something is typed or shown that nobody else may read.

use crate::admin::Visitor;
use crate::app::App;
use crate::wire::Wire;

/// For who came over the open wire; `encrypted.html` shows it.
pub struct Offer {
    /// The same page there.
    pub url: String,
    /// Of the certificate, SHA-256.
    pub fingerprint: String,
    /// Whether a screen on the box shows the fingerprint too.
    pub on_screen: bool,
}

impl Offer {
    /// Of the page at `path`, unless the visitor is there.
    pub fn of(app: &App, visitor: &Visitor, path: &str) -> Option<Self> {
        let encrypted = app.encrypted.as_ref().filter(|_| visitor.peer.wire == Wire::Open)?;
        Some(Self {
            url: encrypted.url(&visitor.host) + path,
            fingerprint: encrypted.fingerprint.clone(),
            on_screen: app.choices.is_some(),
        })
    }
}
