//! A token as an animated QR code (NUT-16): a uniform resource of type `bytes`, in fragments, any
//! sufficiently many of which give the token.

use anyhow::anyhow;

/// Longest text for one QR code that a phone reads from a screen without trouble.
const ONE_CODE: usize = 400;
/// Bytes of the token in one fragment.
const FRAGMENT: usize = 150;

/// The fragments of `token`, each once and as many mixed ones again, so that who misses some need
/// not wait for the next round. None when one code is enough.
///
/// # Errors
/// Never: a token is not empty.
pub fn fragments(token: &str) -> anyhow::Result<Vec<String>> {
    if token.len() <= ONE_CODE {
        return Ok(Vec::new());
    }
    let message = byte_string(token.as_bytes());
    let failed = |error| anyhow!("cut a token into fragments: {error}");
    let mut encoder = ur::Encoder::bytes(&message, FRAGMENT).map_err(failed)?;
    (0..2 * encoder.fragment_count()).map(|_| encoder.next_part().map_err(failed)).collect()
}

/// CBOR: a byte string.
fn byte_string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut encoded = match length {
        [0, 0, 0, short @ 0..24] => vec![0x40 | short],
        [0, 0, 0, short] => vec![0x58, short],
        [0, 0, high, low] => vec![0x59, high, low],
        [a, b, c, d] => vec![0x5a, a, b, c, d],
    };
    encoded.extend(bytes);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_token_needs_no_animation() {
        assert!(fragments(&"c".repeat(ONE_CODE)).unwrap().is_empty());
    }

    #[test]
    fn a_long_token_comes_back_from_its_fragments_even_when_every_third_is_missed() {
        let token = "cashuB".to_owned() + &"0123456789".repeat(120);
        let fragments = fragments(&token).unwrap();
        assert!(fragments.iter().all(|fragment| fragment.starts_with("ur:bytes/")));
        let mut decoder = ur::Decoder::default();
        for fragment in fragments.iter().enumerate().filter(|(n, _)| n % 3 != 2).map(|(_, text)| text) {
            decoder.receive(fragment).unwrap();
        }
        let message = decoder.message().unwrap().expect("enough fragments");
        assert_eq!(message, byte_string(token.as_bytes()));
        assert_eq!(message[..3], [0x59, 0x04, 0xb6]);
    }
}
