//! `[node]`: how to reach the node's RPC.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Misconfigured;

/// How to reach the node's RPC. Read from `rpc_port`, `rpc_host` (127.0.0.1 unless set), and either `cookie_file` or
/// `user` and `password_file`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Raw")]
pub struct NodeSettings {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Who we are.
    pub login: NodeLogin,
}

/// Where the RPC's user and password are found. They are read again whenever the node refuses
/// them, so both ways survive a node restart.
#[derive(Clone, Debug)]
pub enum NodeLogin {
    /// The node's own cookie, new at each of its starts.
    Cookie(PathBuf),
    /// A user and a file with the password (`rpcauth`, or `rpcuser` and `rpcpassword`).
    Password {
        /// `rpcuser`.
        user: String,
        /// File whose only line is `rpcpassword`.
        file: PathBuf,
    },
}

/// A user and password as given to the node. Debug output hides the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// RPC user.
    pub user: String,
    /// RPC password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl NodeLogin {
    /// Reads user and password.
    ///
    /// # Errors
    /// One sentence naming the setting and the file.
    pub fn read(&self) -> Result<Credentials, Misconfigured> {
        let read = |setting: &str, file: &Path| {
            std::fs::read_to_string(file).map_err(|error| {
                let file = file.display();
                Misconfigured::new(format!(
                    "node.{setting} {file} cannot be read ({error}); is the node running, and may this user read it?"
                ))
            })
        };
        match self {
            Self::Cookie(file) => {
                let text = read("cookie_file", file)?;
                let (user, password) = text.trim().split_once(':').ok_or_else(|| {
                    Misconfigured::new(format!(
                        "node.cookie_file {} is no cookie; name the node's .cookie",
                        file.display()
                    ))
                })?;
                Ok(Credentials { user: user.to_owned(), password: password.to_owned() })
            }
            Self::Password { user, file } => {
                let password = read("password_file", file)?.trim().to_owned();
                Ok(Credentials { user: user.clone(), password })
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default = "default_rpc_host")]
    rpc_host: String,
    rpc_port: u16,
    cookie_file: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
}

fn default_rpc_host() -> String {
    "127.0.0.1".to_owned()
}

impl TryFrom<Raw> for NodeSettings {
    type Error = Misconfigured;

    fn try_from(raw: Raw) -> Result<Self, Misconfigured> {
        let login = match (raw.cookie_file, raw.user, raw.password_file) {
            (Some(file), None, None) => NodeLogin::Cookie(file),
            (None, Some(user), Some(file)) => NodeLogin::Password { user, file },
            _ => {
                return Err(Misconfigured::new(
                    "[node] needs either cookie_file, or user and password_file; give one of the two",
                ));
            }
        };
        Ok(Self { host: raw.rpc_host, port: raw.rpc_port, login })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_to_log_in_is_given() {
        let read = |text: &str| toml::from_str::<NodeSettings>(text);
        let cookie = read("rpc_port = 8332\ncookie_file = '/n/.cookie'").unwrap();
        assert_eq!((cookie.host.as_str(), cookie.port), ("127.0.0.1", 8332));
        assert!(read("rpc_port = 1\nuser = 'me'\npassword_file = '/p'").is_ok());
        for wrong in ["", "\nuser = 'me'", "\ncookie_file = '/c'\nuser = 'me'\npassword_file = '/p'"] {
            let error = read(&format!("rpc_port = 1{wrong}")).unwrap_err();
            assert!(error.message().contains("[node] needs either cookie_file"), "{error}");
        }
        assert!(read("rpc_port = 1\ncookie_file = '/c'\nhost = 'x'").is_err());
    }

    #[test]
    fn a_cookie_is_read_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".cookie");
        std::fs::write(&file, "__cookie__:s3cret\n").unwrap();
        let login = NodeLogin::Cookie(file).read().unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("__cookie__", "s3cret"));
        assert!(!format!("{login:?}").contains("s3cret"));
    }
}
