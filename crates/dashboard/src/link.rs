//! Text in addresses.

/// Percent-encoded: nothing but letters, digits, `-` and `_` stays as it is.
pub fn encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_means_something_in_an_address_stays() {
        assert_eq!(encoded("a/b?c=d&e#<é>"), "a%2Fb%3Fc%3Dd%26e%23%3C%C3%A9%3E");
    }
}
