//! One way to read a settings file: TOML, every key known.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::Misconfigured;

/// Reads the TOML file at `path`. Give `T` `#[serde(deny_unknown_fields)]`, so that a misspelt key
/// is an error and not a silent default.
///
/// # Errors
/// [`Misconfigured`], naming the file, the line and the key.
pub fn load_settings<T: DeserializeOwned>(path: &Path) -> Result<T, Misconfigured> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Misconfigured::new(format!(
            "settings file {} cannot be read: {error}; name one with --config",
            path.display()
        ))
    })?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let reason = error.message().replace('\n', " ");
        Misconfigured::new(format!("settings file {}, line {line}: {reason}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[allow(dead_code)]
        port: u16,
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.toml");
        std::fs::write(&file, "port = 3333\nprot = 1\n").unwrap();
        let error = load_settings::<Example>(&file).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("prot"), "{error}");
        std::fs::write(&file, "port = 3333\n").unwrap();
        assert!(load_settings::<Example>(&file).is_ok());
    }
}
