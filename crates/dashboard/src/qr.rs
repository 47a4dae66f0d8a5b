//! QR codes as SVG: black on white in every theme, as scanners want them.

use qrcode::render::svg::Color;
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode};

/// A QR code of `text`; none when it is too long for one.
pub fn svg(text: &str) -> Option<String> {
    let made: Result<QrCode, QrError> = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L);
    let drawn = made.ok()?.render::<Color<'_>>().min_dimensions(200, 200).build();
    // As a part of a page it must not announce itself as a document.
    let start = drawn.find("<svg")?;
    drawn.get(start..).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_code_and_too_much_becomes_none() {
        let code = svg("stratum+tcp://192.168.1.20:3333").unwrap();
        assert!(code.starts_with("<svg") && code.ends_with("</svg>"));
        assert_eq!(svg(&"x".repeat(4000)), None);
    }
}
