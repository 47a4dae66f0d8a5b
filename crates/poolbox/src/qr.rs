//! QR codes in the terminal: a token to scan with a wallet on a phone.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use poolbox_service::Misconfigured;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// How long each part of an animated code stays: what phones follow without trouble.
const FRAME: Duration = Duration::from_millis(250);

/// Shows `text` as one code; or, where there are `fragments`, those one after the other until Enter
/// is pressed.
pub async fn show(text: &str, fragments: &[String]) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if fragments.is_empty() {
        return Ok(writeln!(out, "{}", code(text)?)?);
    }
    if !out.is_terminal() {
        let sentence = "the token is too long for one QR code, and an animated one needs a terminal; \
                        leave --qr out";
        return Err(Misconfigured::new(sentence).into());
    }
    let frames = fragments.iter().map(|fragment| code(fragment)).collect::<anyhow::Result<Vec<_>>>()?;
    eprintln!("scan it with a wallet that knows animated codes; press Enter when it has it");
    let entered = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    tokio::pin!(entered);
    for frame in frames.iter().cycle() {
        writeln!(out, "{frame}")?;
        out.flush()?;
        tokio::select! {
            _ = &mut entered => break,
            () = tokio::time::sleep(FRAME) => {}
        }
        // Back to the frame's first line.
        write!(out, "\x1b[{}A", frame.lines().count())?;
    }
    Ok(())
}

/// Light on dark and with the quiet zone, as a dark terminal needs it.
fn code(text: &str) -> anyhow::Result<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).context("make a QR code")?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fragment_of_a_token_makes_a_code_of_the_same_height() {
        let fragments =
            poolbox_wallet::fragments(&("cashuB".to_owned() + &"0123456789".repeat(100))).unwrap();
        let heights: Vec<_> =
            fragments.iter().map(|fragment| code(fragment).unwrap().lines().count()).collect();
        assert!(heights.len() > 5 && heights.iter().all(|height| (20..45).contains(height)), "{heights:?}");
    }
}
